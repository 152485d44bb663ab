//! What a success makes obsolete (RFC 9111 §4.4).

use http::{Method, StatusCode};

/// "A cache MUST invalidate the target URI when it receives a non-error status code in response to
/// an unsafe request method (including methods whose safety is unknown)." Non-error: 2xx and 3xx.
#[must_use]
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

#[cfg(test)]
mod tests {
    use super::*;

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
