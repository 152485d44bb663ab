//! What a success makes obsolete (RFC 9111 §4.4).

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LOCATION, LOCATION},
};

use crate::admit::Target;

/// "A cache MUST invalidate the target URI when it receives a non-error status code in response to
/// an unsafe request method (including methods whose safety is unknown)." Non-error: 2xx and 3xx.
#[must_use]
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// All that is obsolete after the answer: nothing, or the target and "the URIs in the Location and
/// Content-Location response header fields (if present)", which a cache "MUST NOT" invalidate "if the
/// origin of that URI differs": one app could clear another's.
#[must_use]
pub fn obsolete(target: &Target, method: &Method, status: StatusCode, told: &HeaderMap) -> Vec<Target> {
    if !invalidates(method, status) {
        return Vec::new();
    }
    let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| told.get(name));
    let named = named.filter_map(|reference| target.refers_to(reference));
    let mut all = vec![target.clone()];
    all.extend(named.filter(|named| named != target));
    all
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, header::HOST};

    use super::*;
    use crate::admit::Scheme;

    fn after(fields: &[(&'static str, &str)], status: StatusCode) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "shop.example".parse().unwrap());
        let target = Target::parse(&Bytes::from_static(b"/orders"), &headers, Scheme::Http, true).unwrap();
        let mut told = HeaderMap::new();
        for (name, value) in fields {
            told.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let obsolete = obsolete(&target, &Method::POST, status, &told);
        obsolete.iter().map(|target| target.path_and_query().to_string()).collect()
    }

    #[test]
    fn section_4_4_location_and_content_location_of_the_same_origin() {
        let both = [("location", "/orders/5"), ("content-location", "orders?page=1")];
        assert_eq!(after(&both, StatusCode::CREATED), ["/orders", "/orders/5", "/orders?page=1"]);
        assert_eq!(after(&both, StatusCode::BAD_REQUEST), [""; 0]);
        let elsewhere = [("location", "http://other.example/orders/5"), ("content-location", "/orders")];
        assert_eq!(after(&elsewhere, StatusCode::SEE_OTHER), ["/orders"]);
    }

    #[test]
    fn section_4_4_unsafe_and_unknown_methods_that_succeed() {
        let method = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        for name in ["POST", "PUT", "DELETE", "PATCH", "PURGE", "get"] {
            assert!(invalidates(&method(name), StatusCode::CREATED), "{name}");
            assert!(invalidates(&method(name), StatusCode::SEE_OTHER), "{name}");
            assert!(!invalidates(&method(name), StatusCode::CONFLICT), "{name}");
            assert!(!invalidates(&method(name), StatusCode::BAD_GATEWAY), "{name}");
        }
        for name in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(!invalidates(&method(name), StatusCode::OK), "{name}");
        }
    }
}
