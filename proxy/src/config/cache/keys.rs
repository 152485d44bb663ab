//! The keys of the map.

use super::super::{
    cache_key,
    keys::{ANY, Absent, Key, Keys, Kind, Text, words},
    scalar::{DURATION, SOME_SIZE, SOME_TIME},
    tags::TAGS,
};
use super::{CLIENT_CONTROL, CREDENTIALS, IGNORED, MAX_TYPES, SET_COOKIE};

/// Of `cache` itself.
pub(in super::super) const KIND: Kind =
    Kind::Either(&[Kind::Text(&SHORT), Kind::Words(&["off", "origin", "false"]), Kind::Map(&KEYS)]);
/// The words in other letters too.
const SHORT: Text = Text {
    is: "off, a duration (300s), origin, or a map",
    like: "([0-9]+(ms|s|m|h|d))*[0-9]*[1-9][0-9]*(ms|s|m|h|d)([0-9]+(ms|s|m|h|d))*\
           |[oO][fF][fF]|[fF][aA][lL][sS][eE]|[oO][rR][iI][gG][iI][nN]",
    bare: false,
};
const STATUS: Text = Text {
    is: "a status from 200 to 599, 404",
    like: "20[0-57-9]|2[1-9][0-9]|30[0-35-9]|3[1-9][0-9]|[45][0-9]{2}",
    bare: true,
};
const SHARE: Text =
    Text { is: "a share of the lifetime, 10%; 50% at most", like: "0*([0-9]|[1-4][0-9]|50)%", bare: false };
const MEDIA: Text = Text {
    is: "a type without parameters, text/css or image/*",
    like: r"[A-Za-z0-9!#$%&'+.^_`|~-][A-Za-z0-9!#$%&'*+.^_`|~-]*/[A-Za-z0-9!#$%&'*+.^_`|~-]+",
    bare: false,
};

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "ttl",
            Absent::Means("none"),
            Kind::Text(&SOME_TIME),
            "for how long, where the app does not say; without it, as `origin`",
        ),
        Key::new(
            "override",
            Absent::Is("false"),
            Kind::Switch,
            "`ttl` also beats the app's lifetime, `no-cache`, `must-revalidate` and `proxy-revalidate`, \
             never its `no-store` or `private`",
        ),
        Key::new(
            "ignore",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Words(&IGNORED), least: 0, most: ANY },
            "`[no-store, private]`, only with `override`: you vouch that the responses are for everybody",
        ),
        Key::new(
            "status",
            Absent::Is("{}"),
            Kind::Free { key: &STATUS, value: &Kind::Text(&SOME_TIME) },
            "lifetimes of other statuses where the app does not say: `{ 404: 10s, 301: 1h }`; with `ttl`, \
             those not listed are not stored",
        ),
        Key::new(
            "jitter",
            Absent::Is("0%"),
            Kind::Text(&SHARE),
            "up to this share is taken off each lifetime that the rule gives (`ttl`, `status`), by chance \
             but the same on every sidecar, so that what was fetched together does not end together; 50% \
             at most",
        ),
        Key::new(
            "refresh_ahead",
            Absent::Is("0%"),
            Kind::Text(&SHARE),
            "in the last part of its lifetime, of this share, a response that is asked for more than once \
             on one sidecar is fetched anew beside the hits, once for the fleet; 50% at most. Not what \
             credentials select",
        ),
        Key::new(
            "content_type",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Text(&MEDIA), least: 0, most: MAX_TYPES },
            "`[image/*, text/css]`: what is of another type by its `Content-Type`, or says none, is not \
             stored. For rules whose paths look like files: an app that answers `/account/logo.png` with \
             the account page is not cached then",
        ),
        Key::new(
            "stale_while_revalidate",
            Absent::Is("0s"),
            Kind::Text(&DURATION),
            "for how long after its time a response is served at once while it is fetched anew, where the \
             app does not say",
        ),
        Key::new(
            "stale_if_error",
            Absent::Is("0s"),
            Kind::Text(&DURATION),
            "for how long after its time it is served when the app fails, where the app does not say",
        ),
        Key::new(
            "key",
            Absent::Means("the whole query"),
            Kind::Map(&cache_key::KEYS),
            "which parts of a request select a stored response, beside scheme, host and path",
        ),
        Key::new(
            "credentials",
            Absent::Is("bypass"),
            Kind::Words(&words(&CREDENTIALS)),
            "requests with a cookie or `Authorization` that is not keyed: `bypass`, or `ignore`",
        ),
        Key::new(
            "set_cookie",
            Absent::Is("bypass"),
            Kind::Words(&words(&SET_COOKIE)),
            "responses with `Set-Cookie`: `bypass` (not stored), `strip` (stored without), `store`",
        ),
        Key::new(
            "client_control",
            Absent::Means("`ignore` with `ttl`, else `honour`"),
            Kind::Words(&words(&CLIENT_CONTROL)),
            "whether a client's `Cache-Control` (`stale-if-error` too) and `Pragma` count",
        ),
        Key::new(
            "tags",
            Absent::Is("[]"),
            TAGS,
            "names that every response of the rule is tagged with, beside those that the app sends; each \
             of up to 128 visible ASCII letters without a comma. Responses that are stored already keep \
             the tags that they have",
        ),
        Key::new(
            "strip_tags",
            Absent::Is("false"),
            Kind::Switch,
            "`true`: clients do not get `Cache-Tag`, `Surrogate-Key` and `Cache-Groups`, which a CDN in \
             front may need",
        ),
        Key::new(
            "max_body",
            Absent::Is("1MiB"),
            Kind::Text(&SOME_SIZE),
            "longer responses stream through and are not stored; at most an eighth of `store.memory`, or \
             8 MiB in Redis",
        ),
        Key::new(
            "shadow",
            Absent::Is("false"),
            Kind::Switch,
            "`true`: nothing is answered from the cache; `Cache-Status`, log and metrics say what it \
             would have done",
        ),
    ],
    foreign: &[
        ("max_age", "did you mean `ttl`?"),
        ("s_maxage", "did you mean `ttl`?"),
        ("s_max_age", "did you mean `ttl`?"),
        ("maxage", "did you mean `ttl`?"),
        ("default_ttl", "did you mean `ttl`?"),
        ("lifetime", "did you mean `ttl`?"),
        ("duration", "did you mean `ttl`?"),
        ("timeout", "did you mean `ttl`?"),
        ("expire", "did you mean `ttl`?"),
        ("expires", "did you mean `ttl`?"),
        ("age", "did you mean `ttl`?"),
        ("enabled", "write `cache: off`, or a ttl"),
        ("dry_run", "did you mean `shadow`?"),
        ("observe", "did you mean `shadow`?"),
        ("report_only", "did you mean `shadow`?"),
        ("off", "write `cache: off`"),
        ("force", "did you mean `override`?"),
        ("force_ttl", "write ttl and `override: true`"),
        ("ignore_origin", "did you mean `override`?"),
        ("swr", "did you mean `stale_while_revalidate`?"),
        ("grace", "did you mean `stale_while_revalidate`?"),
        ("stale", "did you mean `stale_while_revalidate` or `stale_if_error`?"),
        ("sie", "did you mean `stale_if_error`?"),
        ("spread", "did you mean `jitter`?"),
        ("splay", "did you mean `jitter`?"),
        ("ttl_jitter", "did you mean `jitter`?"),
        ("early_refresh", "did you mean `refresh_ahead`?"),
        ("prefetch", "did you mean `refresh_ahead`?"),
        ("refresh", "did you mean `refresh_ahead`?"),
        ("query", "write key: { query: … }"),
        ("headers", "write key: { headers: […] }"),
        ("cookies", "write key: { cookies: […] }"),
        ("vary", "write key: { headers: […] }; the app's own Vary is honoured without it"),
        ("statuses", "did you mean `status`?"),
        ("codes", "did you mean `status`?"),
        ("cookie", "did you mean `set_cookie`, `credentials` or `key`?"),
        ("auth", "did you mean `credentials`?"),
        ("authorization", "did you mean `credentials`?"),
        ("content_types", "did you mean `content_type`?"),
        ("type", "did you mean `content_type`?"),
        ("types", "did you mean `content_type`?"),
        ("mime_types", "did you mean `content_type`?"),
        ("max_size", "did you mean `max_body`?"),
        ("tag", "did you mean `tags`?"),
        ("cache_tag", "did you mean `tags`?"),
        ("cache_tags", "did you mean `tags`?"),
        ("surrogate_key", "did you mean `tags`?"),
        ("surrogate_keys", "did you mean `tags`?"),
        ("methods", "`methods` belongs beside `cache`, in the rule"),
        ("match", "`match` belongs beside `cache`, in the rule"),
    ],
};
