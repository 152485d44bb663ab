//! Fields by which a request passes for another one than it is.
//!
//! Two kinds. Some apps let a field say by which method, for which URL, host or address a request was made:
//! it *rewrites* the request. And whatever hands fields to an app as variables (CGI, WSGI, Rack, PHP) makes
//! `-` and `_` one, and some every other sign too: `Content_Length` is a *lookalike* of `Content-Length`, which
//! nothing in front of the app has looked at.
//!
//! | request | what does not reach the app |
//! |---|---|
//! | one that is passed on for its own sake | lookalikes of fields that matter to a proxy, or that rewrite |
//! | one whose answer may be stored | all that rewrite, and every name with `_` or the like, unless they are keyed |
//!
//! The second is the stricter, because its answer goes to others: any field may select there, by `Vary`, and
//! its lookalike would do so unseen (`Accept_Language`). The first is for one client alone, whose app may
//! know `api_key`. What matters in front of a request has no place behind it either: no trailer of such a name, nor
//! of a lookalike, reaches the app.

use http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, HOST, MAX_FORWARDS},
};

use super::{
    HOP_BY_HOP, NEVER_HOP_BY_HOP, TRACEPARENT, TRACESTATE, X_FORWARDED_FOR, X_FORWARDED_HOST,
    X_FORWARDED_PROTO, X_REQUEST_ID,
};
use crate::admit::Notable;

/// Words, or what is within one, which say that a field is about what the request was, or should be, before or
/// behind somebody.
const WITHIN: [&str; 6] = ["forwarded", "middleware", "original", "override", "rewrite", "sendfile"];
/// Words of that kind that count as whole words alone: they are within harmless ones, too.
const ANYWHERE: [&str; 8] =
    ["accel", "forward", "ip", "originating", "real", "rewritten", "script", "subrequest"];
/// Words that name a part of a request, or a place, at the end of a name.
const AT_THE_END: [&str; 17] = [
    "addr", "address", "clientip", "host", "hostname", "https", "matches", "method", "path", "port",
    "prefix", "proto", "protocol", "root", "scheme", "ssl", "verb",
];
/// The same of what a name may end with, whatever stands before it.
const LAST: [&str; 2] = ["uri", "url"];
/// Handed on as a variable, it names the proxy for the app's own requests (CVE-2016-5385).
const PROXY: &str = "proxy";

/// Whether some apps let this field say how or where a request was made, judged by the words of its name.
///
/// Not `Host` itself, nor what the proxy writes anew in any case: `Forwarded`, and `X-Forwarded-For`, `-Host` and
/// `-Proto`.
fn rewrites(name: &HeaderName) -> bool {
    let rebuilt = [&HOST, &FORWARDED, &X_FORWARDED_FOR, &X_FORWARDED_HOST, &X_FORWARDED_PROTO];
    !rebuilt.contains(&name) && says_how(name.as_str())
}

fn says_how(name: &str) -> bool {
    let mut words = name.split(|sign: char| !sign.is_ascii_alphanumeric());
    name == PROXY
        || LAST.iter().any(|end| name.ends_with(end))
        || words.clone().any(|word| ANYWHERE.contains(&word) || WITHIN.iter().any(|part| word.contains(part)))
        || words.next_back().is_some_and(|word| AT_THE_END.contains(&word))
}

/// Whether an app may take a field for another one of its name.
fn is_ambiguous(name: &HeaderName) -> bool {
    name.as_str().bytes().any(is_odd)
}

/// What stands in a name where `-` is meant, for all that an app can tell.
fn is_odd(sign: u8) -> bool {
    !sign.is_ascii_alphanumeric() && sign != b'-'
}

/// The name that an app may take this one for.
#[must_use]
pub fn taken_for(name: &HeaderName) -> HeaderName {
    if !is_ambiguous(name) {
        return name.clone();
    }
    let plain = name.as_str().replace(|sign: char| u8::try_from(sign).is_ok_and(is_odd), "-");
    HeaderName::try_from(plain).unwrap_or_else(|_| name.clone())
}

/// Whether a field matters to whoever stands before an app: it frames or routes a request, carries credentials or
/// conditions, names it, or rewrites it.
#[must_use]
pub fn matters(name: &HeaderName) -> bool {
    let mut noted = Notable::default();
    noted.note(name);
    let others = [MAX_FORWARDS, X_REQUEST_ID, TRACEPARENT, TRACESTATE];
    let mut known = HOP_BY_HOP.iter().chain(&NEVER_HOP_BY_HOP).chain(&others);
    noted != Notable::default() || known.any(|known| known == name) || says_how(name.as_str())
}

/// Whether what it may be taken for matters.
fn is_lookalike(name: &HeaderName) -> bool {
    name == PROXY || is_ambiguous(name) && matters(&taken_for(name))
}

/// Removes the lookalikes of fields that matter: for a request that is passed on for its own sake.
pub fn remove_lookalikes(headers: &mut HeaderMap) {
    remove(headers, is_lookalike);
}

/// Removes what rewrites a request, and what is ambiguous, and is not `keyed`: for a request whose answer may
/// go to others.
pub fn remove_rewriting(headers: &mut HeaderMap, keyed: &[HeaderName]) {
    remove(headers, |name| passes_for_another(name, keyed));
}

/// Whether any field is one that [`remove_rewriting`] removes.
#[must_use]
pub fn has_rewriting(headers: &HeaderMap, keyed: &[HeaderName]) -> bool {
    headers.keys().any(|name| passes_for_another(name, keyed))
}

fn passes_for_another(name: &HeaderName, keyed: &[HeaderName]) -> bool {
    (rewrites(name) || is_ambiguous(name)) && !keyed.contains(name)
}

fn remove(headers: &mut HeaderMap, which: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| which(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::try_from(text).unwrap()
    }

    /// One name in each line, `#` before a remark.
    fn names(list: &'static str) -> Vec<&'static str> {
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    #[test]
    fn fields_that_say_how_or_where_a_request_was_made_are_known_by_their_words() {
        let rewriting = names(include_str!("../../tests/fields/rewriting.txt"));
        assert!(rewriting.len() > 100, "only {}", rewriting.len());
        for listed in rewriting {
            assert!(rewrites(&name(listed)), "{listed}");
        }
    }

    #[test]
    fn what_clients_send_of_their_own_accord_is_none_of_them() {
        let ordinary = names(include_str!("../../tests/fields/ordinary.txt"));
        assert!(ordinary.len() > 50, "only {}", ordinary.len());
        for listed in ordinary {
            assert!(!rewrites(&name(listed)) && !is_lookalike(&name(listed)), "{listed}");
        }
    }

    #[test]
    fn a_lookalike_is_known_by_what_it_looks_like() {
        for lookalike in [
            "Content_Length",
            "Transfer_Encoding",
            "X_Original_URL",
            "X_HTTP_Method_Override",
            "X-HTTP_Method-Override",
            "X_Forwarded_For",
            "X_Forwarded-Host",
            "X_Real_IP",
            "If_None_Match",
            "Proxy_Authorization",
            "Cache_Control",
            "Max_Forwards",
            "X_Request_Id",
            "_method",
            "Content.Length",
            "X~Forwarded~Host",
            "X.Original.URL",
        ] {
            assert!(is_lookalike(&name(lookalike)), "{lookalike}");
            assert!(passes_for_another(&name(lookalike), &[]), "{lookalike}");
        }
        for other in ["api_key", "x_tenant", "user_id", "Accept_Language", "api.key"] {
            assert!(!is_lookalike(&name(other)), "{other}");
            assert!(passes_for_another(&name(other), &[]), "{other}");
            assert!(!passes_for_another(&name(other), &[name(other)]), "{other} keyed");
        }
    }

    #[test]
    fn what_names_a_proxy_for_the_apps_own_requests_never_reaches_it() {
        assert!(is_lookalike(&name("Proxy")) && passes_for_another(&name("Proxy"), &[]));
    }

    #[test]
    fn each_line_of_what_is_removed_goes_and_the_rest_stays() {
        let mut headers = HeaderMap::new();
        for (field, value) in
            [("x-host", "1"), ("x-host", "2"), ("x_a", "3"), ("accept", "4"), ("accept", "5")]
        {
            headers.append(name(field), HeaderValue::from_static(value));
        }
        assert!(has_rewriting(&headers, &[name("x_a")]));
        assert!(!has_rewriting(&headers, &[name("x_a"), name("x-host")]));
        remove_rewriting(&mut headers, &[name("x_a")]);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.get("x_a").unwrap(), "3");
        assert_eq!(headers.get_all("accept").iter().collect::<Vec<_>>(), ["4", "5"]);
    }
}
