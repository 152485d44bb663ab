//! Of every outcome.

use super::Advice;

pub(super) const HIT: Advice = Advice {
    meaning: "answered from the cache",
    because: "RFC 9111 §4: a stored response may be reused where key and selecting fields match and it is fresh, or may be served stale",
    action: "nothing; to have it go, `sidecache purge --url`",
};
pub(super) const URI_MISS: Advice = Advice {
    meaning: "nothing was stored for this URL",
    because: "RFC 9111 §4: only what is stored under the same key can be reused; there is nothing",
    action: "ask twice: the first one stores; if it stays so, the `detail` says why nothing is stored",
};
pub(super) const VARY_MISS: Advice = Advice {
    meaning: "something was, though for other values of the headers or cookies that select",
    because: "RFC 9111 §4.1: what `Vary` nominates has to match the request for which the response was stored; so has what the rule's `key` names",
    action: "nothing, unless there are many: then let the app name fewer fields in `Vary`, or shorten `key.headers` and `key.cookies`",
};
pub(super) const STALE: Advice = Advice {
    meaning: "something was, and its time is over",
    because: "RFC 9111 §4.2.4: a response whose lifetime is over is not used without asking the app, unless staleness is allowed",
    action: "nothing, or a longer `ttl`; `stale_while_revalidate` answers at once meanwhile",
};
pub(super) const MISS: Advice = Advice {
    meaning: "what was stored may not be used, or the store could not be asked",
    because: "RFC 9111 §4: what is stored does not meet the conditions of reuse, or the store did not answer",
    action: "look at its `detail`",
};
pub(super) const BYPASS: Advice = Advice {
    meaning: "the rules say not to look",
    because: "the rules: this request is neither answered from the cache nor fills it",
    action: "look at its `detail`",
};
pub(super) const METHOD: Advice = Advice {
    meaning: "not a GET or HEAD",
    because: "RFC 9111 §4: only the answer to a GET, or a HEAD by what a GET stored, is reused; RFC 9111 §4.4: an unsafe method that succeeds makes obsolete what is stored",
    action: "nothing; writes go to the app",
};
pub(super) const PARTIAL: Advice = Advice {
    meaning: "a part of it was stored, and not the one asked for",
    because: "RFC 9111 §3.3: a stored part answers only requests for bytes within it",
    action: "nothing; the part that comes is kept, too",
};
pub(super) const REQUEST: Advice = Advice {
    meaning: "the request's own headers rule the cache out",
    because: "RFC 9111 §5.2.1 or RFC 9110 §13.1: what the request's own fields ask for",
    action: "look at its `detail`",
};
pub(super) const REFUSED: Advice = Advice {
    meaning: "not passed on: malformed, too large, not for this host; or under way when what came on its stream or connection of HTTP/2 ended that (log and metrics only)",
    because: "RFC 9112 and the file's `limits` and `hosts`: what could be read in two ways, or is not for this proxy, goes no further",
    action: "look at the status, and at the errors below",
};
pub(super) const ORIGIN_FAILED: Advice = Advice {
    meaning: "the app gave no answer (log and metrics only)",
    because: "RFC 9110 §15.6: a gateway that gets no valid answer says 502, 503 or 504",
    action: "look at the app, and at the `error` of `Proxy-Status`; `stale_if_error` serves what is stored meanwhile",
};
pub(super) const NOT_CACHED: Advice = Advice {
    meaning: "the request said `only-if-cached`, and nothing was (log and metrics only)",
    because: "RFC 9111 §5.2.1.7: `only-if-cached` asks for a stored response or a 504",
    action: "ask without `only-if-cached`",
};
pub(super) const ANSWERED: Advice = Advice {
    meaning: "an OPTIONS with `Max-Forwards: 0`, which is for the proxy itself (log and metrics only)",
    because: "RFC 9110 §7.6.2: at `Max-Forwards: 0` the proxy answers as the final recipient",
    action: "ask without `Max-Forwards` to reach the app",
};
pub(super) const CLIENT_GONE: Advice = Advice {
    meaning: "the client left before there was an answer; the log shows it with status 499 (log and metrics only)",
    because: "the connection was closed before the answer began",
    action: "look at how long the app takes, and at the client's timeout",
};
pub(super) const FAILED: Advice = Advice {
    meaning: "a defect of the proxy (log and metrics only)",
    because: "a defect: no key of the file and no RFC asks for it",
    action: "report it",
};
