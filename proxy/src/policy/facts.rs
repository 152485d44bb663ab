//! What the policy needs of a response, read from its fields once, when it is stored or decoded.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, SET_COOKIE},
};

use super::{
    cache_control::{CacheControl, delta_seconds},
    rule::CacheRule,
};

/// A response as the policy sees it.
#[derive(Clone, Debug)]
pub struct ResponseFacts {
    /// Its status code.
    pub status: StatusCode,
    /// Its `Cache-Control`.
    pub cache_control: CacheControl,
    /// When it was made, by its own `Date`.
    pub date: Option<SystemTime>,
    /// `Expires`, where there is one.
    pub expires_field: Option<Expires>,
    /// Seconds it spent in caches before it came here (RFC 9111 §5.1).
    pub age: Duration,
    /// `ETag`, as sent.
    pub etag: Option<HeaderValue>,
    /// `Last-Modified`, where it is a date.
    pub last_modified: Option<SystemTime>,
    /// Whether it sets a cookie.
    pub sets_cookie: bool,
}

/// `Expires` (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// A date.
    At(SystemTime),
    /// Anything else, `0` above all: a time in the past.
    Invalid,
}

impl ResponseFacts {
    /// Reads them.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status,
            cache_control: response_control(headers),
            date: single(headers, &DATE).and_then(http_date),
            expires_field: expires(headers),
            age: age(headers),
            // A copy of its own: the field may be a slice of a whole read buffer.
            etag: headers.get(ETAG).and_then(|tag| HeaderValue::from_bytes(tag.as_bytes()).ok()),
            last_modified: single(headers, &LAST_MODIFIED).and_then(http_date),
            sets_cookie: headers.contains_key(SET_COOKIE),
        }
    }

    /// The directives of the field that governs under this rule.
    #[must_use]
    pub fn control(&self, _rule: &CacheRule) -> &CacheControl {
        &self.cache_control
    }

    /// `Expires`, unless another field governs that rules it out.
    #[must_use]
    pub fn expires(&self, _rule: &CacheRule) -> Option<Expires> {
        self.expires_field
    }
}

/// `Cache-Control`; without one, `Pragma: no-cache` from servers of long ago (RFC 9111 §5.4 leaves
/// its meaning in responses open; taking it at its word can only cost a hit).
fn response_control(headers: &HeaderMap) -> CacheControl {
    let mut control = CacheControl::of(headers, &CACHE_CONTROL);
    if !headers.contains_key(CACHE_CONTROL) && has_pragma_no_cache(headers) {
        control.no_cache = true;
    }
    control
}

/// RFC 9111 §5.4.
#[must_use]
pub fn has_pragma_no_cache(headers: &HeaderMap) -> bool {
    CacheControl::of(headers, &PRAGMA).no_cache
}

/// The dates of RFC 9110 §5.6.7, all three forms, and nothing else.
#[must_use]
pub fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

fn single<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn expires(headers: &HeaderMap) -> Option<Expires> {
    headers
        .contains_key(EXPIRES)
        .then(|| single(headers, &EXPIRES).and_then(http_date).map_or(Expires::Invalid, Expires::At))
}

/// RFC 9111 §5.1: of a list the first member counts; what is no number is ignored.
fn age(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|line| line.as_bytes().split(|&b| b == b',').next());
    first.and_then(|text| delta_seconds(text.trim_ascii())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn facts(fields: &[(&'static str, &str)]) -> ResponseFacts {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        ResponseFacts::of(StatusCode::OK, &headers)
    }

    #[test]
    fn section_5_1_age_never_overflows_and_ignores_nonsense() {
        let cases =
            [("7", 7), ("7, 9", 7), ("-1", 0), ("1.5", 0), ("x", 0), ("18446744073709551616", 1 << 31)];
        for (text, wanted) in cases {
            assert_eq!(facts(&[("age", text)]).age, Duration::from_secs(wanted), "{text}");
        }
    }

    #[test]
    fn section_5_3_expires_that_is_no_date_is_in_the_past() {
        assert_eq!(facts(&[]).expires_field, None);
        for bad in ["0", "-1", "soon", "Thu, 18 Aug 2050 02:01:18 PST"] {
            assert_eq!(facts(&[("expires", bad)]).expires_field, Some(Expires::Invalid), "{bad}");
        }
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(matches!(facts(&[("expires", date)]).expires_field, Some(Expires::At(_))));
        assert_eq!(facts(&[("expires", date), ("expires", date)]).expires_field, Some(Expires::Invalid));
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        assert!(facts(&[("pragma", "no-cache")]).cache_control.no_cache);
        assert!(!facts(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]).cache_control.no_cache);
    }
}
