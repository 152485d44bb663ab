//! Whether the answer to a POST may answer later GETs (RFC 9110 §9.3.3).

use http::{HeaderMap, Method, StatusCode, header::CONTENT_LOCATION};

use super::{
    facts::ResponseFacts,
    freshness::{Source, lifetime},
    rule::CacheRule,
};
use crate::admit::Target;

/// "Responses to POST requests are only cacheable when they include explicit freshness information and
/// a Content-Location header field that has the same value as the POST's target URI."
#[must_use]
pub fn represents_target(
    target: &Target,
    method: &Method,
    status: StatusCode,
    told: &HeaderMap,
    rule: &CacheRule,
) -> bool {
    if method != Method::POST || !status.is_success() {
        return false;
    }
    let mut locations = told.get_all(CONTENT_LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return false };
    let names_target = target.refers_to(location).is_some_and(|named| named == *target);
    let stated = lifetime(&ResponseFacts::of(status, told), rule);
    names_target && stated.is_some_and(|stated| stated.source == Source::Origin && !stated.length.is_zero())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, header::HOST};

    use super::*;
    use crate::admit::Scheme;

    #[test]
    fn rfc_9110_section_9_3_3_explicit_freshness_and_the_same_location() {
        let mut host = HeaderMap::new();
        host.insert(HOST, "shop.example".parse().unwrap());
        let target = Target::parse(&Bytes::from_static(b"/a?b"), &host, Scheme::Http, true).unwrap();
        let may = |method: &Method, status: u16, fields: &[(&'static str, &str)]| {
            let mut told = HeaderMap::new();
            for (name, value) in fields {
                told.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            represents_target(&target, method, status, &told, &CacheRule::new(None))
        };
        let fresh = ("cache-control", "max-age=60");
        for same in ["/a?b", "", "http://shop.example/a?b"] {
            assert!(may(&Method::POST, 200, &[fresh, ("content-location", same)]), "{same}");
        }
        for other in ["/a", "/a?c", "http://other.example/a?b"] {
            assert!(!may(&Method::POST, 200, &[fresh, ("content-location", other)]), "{other}");
        }
        let same = ("content-location", "/a?b");
        assert!(!may(&Method::POST, 200, &[same]));
        assert!(!may(&Method::POST, 200, &[("cache-control", "max-age=0"), same]));
        assert!(!may(&Method::POST, 200, &[("cache-control", "no-cache, max-age=9"), same]));
        assert!(!may(&Method::POST, 404, &[fresh, same]));
        assert!(!may(&Method::PUT, 200, &[fresh, same]));
        assert!(!may(&Method::POST, 200, &[fresh]));
        assert!(!may(&Method::POST, 200, &[fresh, same, same]));
    }
}
