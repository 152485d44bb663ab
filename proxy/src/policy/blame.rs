//! Errors that an app gives because of how one request was sent, and that say nothing of the resource.
//!
//! RFC 9111 lets many of them be stored, and RFC 9110 §15.1 some of them even without a lifetime. But if a request
//! with a large field, which is not keyed, can bring one about, then whoever asks after it has the error too.

use http::{HeaderMap, StatusCode};

/// The most bytes that the fields of an ordinary request have, and the most fields. Browsers send half as much
/// before cookies. More is no fault, and its answer is stored like any, unless it is an error of this kind.
const ORDINARY_BYTES: usize = 2048;
const ORDINARY_FIELDS: usize = 40;

/// Whether an answer of this status, to a request with these fields, may be the request's own fault.
#[must_use]
pub fn blames_request(status: StatusCode, asked: &HeaderMap) -> bool {
    may_blame(status) && is_odd(asked)
}

fn may_blame(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            | StatusCode::NOT_IMPLEMENTED
    )
}

/// Whether apps may refuse a request for the size of its fields, or for bytes beyond ASCII in them.
fn is_odd(asked: &HeaderMap) -> bool {
    let bytes: usize = asked.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let is_ascii = asked.values().all(|value| value.as_bytes().is_ascii());
    bytes > ORDINARY_BYTES || asked.len() > ORDINARY_FIELDS || !is_ascii
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(count: usize, value: &[u8]) -> HeaderMap {
        let names = (0..count).map(|n| HeaderName::try_from(format!("x-{n:02}")).unwrap());
        names.map(|name| (name, HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn an_odd_request_may_be_to_blame_for_some_errors() {
        let odd = [fields(1, &[b'a'; 2041]), fields(41, b"1"), fields(1, b"caf\xe9")];
        let ordinary = [fields(0, b""), fields(1, &[b'a'; 2040]), fields(40, b"1")];
        let blames = |status: u16, asked| blames_request(StatusCode::from_u16(status).unwrap(), asked);
        for status in [400, 405, 413, 414, 431, 501] {
            assert!(odd.iter().all(|asked| blames(status, asked)), "{status}");
            assert!(!ordinary.iter().any(|asked| blames(status, asked)), "{status}");
        }
        for status in [200, 301, 403, 404, 410, 500, 503] {
            assert!(!odd.iter().any(|asked| blames(status, asked)), "{status}");
        }
    }
}
