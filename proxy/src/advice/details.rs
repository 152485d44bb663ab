//! Of every detail.

use super::Advice;

pub(super) const NO_RULE: Advice = Advice {
    meaning: "no rule matches",
    because: "`routes`: what matches no rule passes straight through",
    action: "add one; `match` is exact: `/a` is not `/a/`",
};
pub(super) const RULE_OFF: Advice = Advice {
    meaning: "the rule that matches says `cache: off`",
    because: "`cache: off` of the rule",
    action: "put the rule you meant before it",
};
pub(super) const AMBIGUOUS_TARGET: Advice = Advice {
    meaning: "the path has `//`, `..`, `%2F` or the like",
    because: "RFC 3986 §6: servers normalise such paths in different ways, so two of them may be one page, or one of them two",
    action: "link to the plain path",
};
pub(super) const REQUEST_BODY: Advice = Advice {
    meaning: "a GET or HEAD with a body",
    because: "RFC 9110 §9.3.1: content in a GET has no defined meaning, so an answer may depend on it and be keyed by nothing",
    action: "send it without",
};
pub(super) const UPGRADE: Advice = Advice {
    meaning: "a WebSocket or another upgrade",
    because: "RFC 9110 §7.8: after the 101 the connection is no longer HTTP",
    action: "nothing; it is passed through",
};
pub(super) const HIDDEN_FIELDS: Advice = Advice {
    meaning: "`Connection` names fields that are not passed on",
    because: "RFC 9110 §7.6.1: fields that `Connection` names end here, so the app cannot select by what the key would",
    action: "let the client send only what is about the connection there",
};
pub(super) const EVENT_STREAM: Advice = Advice {
    meaning: "the app answers with `text/event-stream`",
    because: "such a body has no end to wait for, and only what has come whole is stored (RFC 9111 §3)",
    action: "nothing; it is passed on as it comes, and never stored",
};
pub(super) const RANGE: Advice = Advice {
    meaning: "what came for `Range` is not one part of known length: a 416, several parts, or the answer to a range that is not of bytes",
    because: "RFC 9111 §3.3: a part is stored only where it is known which bytes of how many it is",
    action: "of a 416, nothing; else ask for one range of bytes at a time",
};
pub(super) const PRECONDITION: Advice = Advice {
    meaning: "`If-Match` or `If-Unmodified-Since`",
    because: "RFC 9110 §13.1.1 and §13.1.4: these conditions are about the current state at the origin",
    action: "nothing; the app must judge it",
};
pub(super) const COOKIE: Advice = Advice {
    meaning: "a cookie that is not keyed",
    because: "`credentials: bypass` of the rule: what one user gets is not for others, unless the response says so",
    action: "`credentials: ignore` if all see the same page; `key: { cookies: [name] }` if a few values matter; or let the app say `Cache-Control: public`",
};
pub(super) const AUTHORIZATION: Advice = Advice {
    meaning: "`Authorization` that is not keyed",
    because: "RFC 9111 §3.5: such an answer is shared only where the response says `public`, `s-maxage` or `must-revalidate`; `credentials` of the rule",
    action: "`credentials: ignore`; or let the app say `public` or `s-maxage`",
};
pub(super) const CLIENT_NO_STORE: Advice = Advice {
    meaning: "the client's `no-store`, which the rule honours",
    because: "RFC 9111 §5.2.1.5, which the rule's `client_control` lets count",
    action: "`client_control: ignore`",
};
pub(super) const CLIENT_CONTROL: Advice = Advice {
    meaning: "the client's `no-cache`, `max-age`, `min-fresh` or `Pragma`, as a browser's reload sends them",
    because: "RFC 9111 §5.2.1.1, §5.2.1.3, §5.2.1.4 and §5.4, which the rule's `client_control` lets count",
    action: "`client_control: ignore`",
};
pub(super) const RULE_CHANGED: Advice = Advice {
    meaning: "stored under a rule of another name (without a `name`, editing `match`, `host`, `methods` or `headers` gives it another), or before `key`, `credentials`, `set_cookie`, `ignore`, `content_type`, `shadow` or `targeted_cache_control` was edited, or a `ttl` added or taken away",
    because: "the rule decides how an entry is made; one that was made under another rule may hold what this one keeps out",
    action: "nothing; this fetch replaces it",
};
pub(super) const NO_STORE: Advice = Advice {
    meaning: "the app says `no-store`, in the field that counts: clients do not see `Sidecache-Cache-Control`",
    because: "RFC 9111 §5.2.2.5: a cache does not store any part of a response that says `no-store`",
    action: "change it there, or `override: true` and `ignore: [no-store]`",
};
pub(super) const PRIVATE: Advice = Advice {
    meaning: "the app says `private`",
    because: "RFC 9111 §5.2.2.7: a shared cache does not store a response that says `private`",
    action: "change it there, or `override: true` and `ignore: [private]`, if it is not",
};
pub(super) const NO_CACHE: Advice = Advice {
    meaning: "the app says `no-cache`, and nothing to ask about it by",
    because: "RFC 9111 §5.2.2.4: it may only be used after the app has been asked if it still holds, which takes a validator",
    action: "let it send an `ETag` or `Last-Modified`, or `override: true`",
};
pub(super) const STATUS_NOT_LISTED: Advice = Advice {
    meaning: "with `ttl`: not a 200, and not in `status`; without: a status for which the app would have to say for how long, or one that is never stored (206, 304, 428, 429, 431, 511)",
    because: "RFC 9111 §3 and `status` of the rule",
    action: "`status: { 404: 10s }`; of a 5xx, nothing",
};
pub(super) const ODD_REQUEST: Advice = Advice {
    meaning: "an error (400, 405, 413, 414, 431, 501) to a request that apps may refuse for its size: over 2 KiB of fields, over 40 of them, or bytes beyond ASCII. Another request may fare better",
    because: "RFC 9110 §15.5: these errors may be about how this one request was sent, which no key shows",
    action: "nothing, unless it is often: then look at who sends such requests",
};
pub(super) const STALE_NOT_ALLOWED: Advice = Advice {
    meaning: "the app answered 5xx, and what is stored may not stand in: `stale_if_error` is over or was never set, the app prohibits it, or it is an error itself",
    because: "RFC 9111 §4.2.4: without a word that allows it, a stale response is not served",
    action: "a longer `stale_if_error`",
};
pub(super) const CONTENT_TYPE: Advice = Advice {
    meaning: "of a type that the rule's `content_type` does not list",
    because: "`content_type` of the rule",
    action: "nothing, if it should not be there; else list it",
};
pub(super) const NO_LIFETIME: Advice = Advice {
    meaning: "neither app nor rule says for how long",
    because: "RFC 9111 §3: something has to state a lifetime, or the status and `Last-Modified` have to allow a guess (§4.2.2)",
    action: "add `ttl`",
};
pub(super) const NOT_FRESH: Advice = Advice {
    meaning: "the app's lifetime is over on arrival (`max-age=0`, an old `Expires`, a large `Age`), and there is nothing to ask about it by",
    because: "RFC 9111 §4.2: its age is not below its lifetime when it comes",
    action: "let it send an `ETag` or `Last-Modified`, or `override: true`",
};
pub(super) const SET_COOKIE: Advice = Advice {
    meaning: "the response sets a cookie",
    because: "`set_cookie: bypass` of the rule: a cookie is meant for one user",
    action: "`set_cookie: strip`",
};
pub(super) const VARY_STAR: Advice = Advice {
    meaning: "the app says `Vary: *`, one that is malformed, or one that names what the proxy writes (`X-Request-Id`, `traceparent`, `tracestate`, `X-Forwarded-For`, `Forwarded`, `Via`)",
    because: "RFC 9111 §4.1: a `Vary` with `*` never matches; nor does an id, or who asked by what way",
    action: "change it there",
};
pub(super) const VARY_TOO_LONG: Advice = Advice {
    meaning: "`Vary` names more than 16 fields",
    because: "RFC 9111 §4.1: all of the fields would have to match, and nearly no two requests would",
    action: "change it there",
};
pub(super) const TOO_MANY_TAGS: Advice = Advice {
    meaning: "more than 256 tags (`Cache-Tag`, `Surrogate-Key`, `Cache-Groups` and the rule's together), or one longer than 1024 bytes: without all of them a purge would miss it",
    because: "a purge has to find all that carries a tag",
    action: "let the app send fewer: one for what many have in common",
};
pub(super) const TOO_LARGE: Advice = Advice {
    meaning: "longer than `max_body`",
    because: "`max_body` of the rule",
    action: "raise `max_body`",
};
pub(super) const NO_LENGTH: Advice = Advice {
    meaning: "its end is marked by closing the connection, which a crash looks like too",
    because: "RFC 9112 §8: a message is complete only where its end is marked; RFC 9111 §3.3: one that is not is not stored as a whole",
    action: "let the app send `Content-Length` or chunks",
};
pub(super) const HEAD: Advice = Advice {
    meaning: "a HEAD stores nothing of its own: it renews or removes what a GET stored",
    because: "RFC 9111 §4.3.5: an answer to a HEAD can freshen what a GET stored; it has no body to store",
    action: "nothing; the next GET does",
};
pub(super) const OTHER_VARIANT: Advice = Advice {
    meaning: "the fetch it waited for was for other values of what `Vary` names",
    because: "RFC 9111 §4.1: the answer that came is selected by other values of what `Vary` names",
    action: "nothing; it went alone",
};
pub(super) const NOT_SHAREABLE: Advice = Advice {
    meaning: "what it waited for may not be shared; it went alone",
    because: "RFC 9111 §3: the answer that came was for the one request alone",
    action: "look at the `detail` of the request that did not wait",
};
pub(super) const COLLAPSE_TIMEOUT: Advice = Advice {
    meaning: "the fetch it waited for took longer than `timeouts.first_byte`",
    because: "`timeouts.first_byte` is the longest that others wait for a fetch",
    action: "look at the app",
};
pub(super) const COLLAPSE_FAILED: Advice = Advice {
    meaning: "the fetch it waited for ended without a word",
    because: "a defect: no key of the file and no RFC asks for it",
    action: "report it: a defect",
};
pub(super) const STALE_WHILE_REVALIDATE: Advice = Advice {
    meaning: "served after its time, while it is fetched anew",
    because: "RFC 5861 §3: a stale response may be served while it is fetched anew; `stale_while_revalidate`, or the app's own",
    action: "nothing, if the next one is fresh; else the refresh fails: look for its warnings in the log, and at `sidecache_refreshes_total{result=\"failed\"}`",
};
pub(super) const STALE_IF_ERROR: Advice = Advice {
    meaning: "served after its time, because the app failed: with `fwd=stale` just now, and `fwd-status` is what it answered, if it did; with `hit` a moment ago, and it is asked beside",
    because: "RFC 5861 §4: a stale response may be served when the app fails; `stale_if_error`, or the app's own",
    action: "look at the app",
};
pub(super) const MAX_STALE: Advice = Advice {
    meaning: "served after its time, because the client's `max-stale` takes it",
    because: "RFC 9111 §5.2.1.2, which the rule's `client_control` lets count",
    action: "`client_control: ignore`",
};
pub(super) const STORE_DOWN: Advice = Advice {
    meaning: "Redis did not answer within 50 ms, or is known to be away; with `hit`, this sidecar goes on without it, and a purge, or a write that another sidecar passed on, may have been missed",
    because: "`store.on_outage`: a store that does not answer costs a miss, never an error",
    action: "look at Redis, and at `/readyz`; `store.on_outage: bypass` if that must not be",
};
pub(super) const STORE_REFUSED: Advice = Advice {
    meaning: "Redis answers, but takes no writes: it is full; or nearly, and evicts nothing; or it is a replica, lacks its disk or its replicas; or its user may not",
    because: "Redis refused the last write, or has less than a tenth of its memory left for all who share it",
    action: "`/readyz` says which: its `maxmemory` and the policy of that, where the master is, the ACL of its user",
};
pub(super) const LEASE_HELD: Advice = Advice {
    meaning: "not stored here: another sidecar fetches the same and will store it, and there was no use in waiting for that",
    because: "one fetch for the fleet: who has the lease of a URL stores what it fetches, and nobody else",
    action: "nothing, unless it is often: then look at the `detail` of the others",
};
pub(super) const LEASE_TIMEOUT: Advice = Advice {
    meaning: "another sidecar's fetch of the same took longer than 5 seconds, or `timeouts.first_byte`; it went alone",
    because: "one fetch for the fleet: the lease is another sidecar's, who is waited for no longer",
    action: "look at the app",
};
pub(super) const SHADOW_HIT: Advice = Advice {
    meaning: "it would have been a hit, and the rule says `shadow: true`",
    because: "`shadow: true` of the rule: it says what it would answer, and the app answers",
    action: "take `shadow` away when you trust it",
};
pub(super) const PURGED: Advice = Advice {
    meaning: "a purge by tag, by rule or of everything covers it, and came while the app was being asked: who waited gets it, nobody else will",
    because: "RFC 9111 §4.4: what was asked for before a purge may be from before the change",
    action: "nothing",
};
