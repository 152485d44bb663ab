//! What a status code lets a cache do (RFC 9110 §15, RFC 9111 §3, §5.2.2.3).

use http::StatusCode;

use super::cache_control::CacheControl;

/// RFC 9110 §15.1: storable without a word of the origin, and fresh by heuristics.
const HEURISTICALLY_CACHEABLE: [u16; 12] = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];

/// Those of RFC 9110 that ask nothing of a cache but to repeat them. Not among them: 206 and 304, which
/// are about another response; 407, 408, 412, 416, 417, 421 and 426, which are about a connection or
/// about fields that do not select; and what is reserved or deprecated.
const UNDERSTOOD: [u16; 31] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 411,
    413, 414, 415, 422, 500, 501, 502, 503, 504, 505,
];

/// RFC 6585 §3 to §6: responses with these "MUST NOT be stored by a cache".
const NOT_TO_BE_STORED: [u16; 4] = [428, 429, 431, 511];

/// §3: "the response status code is final". Nobody knows what one beyond 599 is.
#[must_use]
pub fn is_final(status: StatusCode) -> bool {
    (200..=599).contains(&status.as_u16())
}

/// RFC 5861 §4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response
/// status code being returned".
#[must_use]
pub fn is_server_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether it stands for part of a stored response (206, §3.4) or for its renewal (304, §4.3.4): no
/// response of its own, so stored only by what combines the two.
#[must_use]
pub fn is_about_another(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether its definition keeps it from every cache.
#[must_use]
pub fn is_not_to_be_stored(status: StatusCode) -> bool {
    NOT_TO_BE_STORED.contains(&status.as_u16())
}

/// RFC 9110 §15.1.
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    HEURISTICALLY_CACHEABLE.contains(&status.as_u16())
}

/// §5.2.2.3: whether this cache "understands and conforms to the requirements for that response's
/// status code".
#[must_use]
pub fn is_understood(status: StatusCode) -> bool {
    UNDERSTOOD.contains(&status.as_u16())
}

/// §5.2.2.5: whether `no-store` counts. §5.2.2.3: beside `must-understand` it is for caches that do not
/// understand the status.
#[must_use]
pub fn no_store_counts(control: &CacheControl, status: StatusCode) -> bool {
    control.no_store && !(control.must_understand && is_understood(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = StatusCode> {
        (100..=999).map(|code| StatusCode::from_u16(code).unwrap())
    }

    fn those(is: fn(StatusCode) -> bool) -> Vec<u16> {
        all().filter(|status| is(*status)).map(|status| status.as_u16()).collect()
    }

    #[test]
    fn section_15_1_of_9110_names_the_heuristically_cacheable_ones() {
        let named = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
        assert_eq!(those(is_heuristically_cacheable), named);
    }

    #[test]
    fn section_3_only_final_ones() {
        let last = those(is_final);
        assert_eq!((last.first(), last.last(), last.len()), (Some(&200), Some(&599), 400));
    }

    #[test]
    fn section_5_2_2_3_no_store_is_for_those_who_do_not_understand() {
        let both = CacheControl { no_store: true, must_understand: true, ..CacheControl::default() };
        let alone = CacheControl { no_store: true, ..CacheControl::default() };
        for status in all() {
            assert!(no_store_counts(&alone, status), "{status}");
            assert_eq!(no_store_counts(&both, status), !is_understood(status), "{status}");
            assert!(!no_store_counts(&CacheControl::default(), status), "{status}");
        }
        for other in [100, 206, 299, 304, 306, 407, 412, 416, 429, 499, 599] {
            assert!(!is_understood(StatusCode::from_u16(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn what_is_understood_is_final_and_may_be_stored() {
        let unfit = |status| !is_final(status) || is_about_another(status) || is_not_to_be_stored(status);
        assert_eq!(all().filter(|status| is_understood(*status) && unfit(*status)).count(), 0);
    }
}
