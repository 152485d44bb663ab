//! Where an answer ends (RFC 9112 §6.3). Pure.
//!
//! hyper frames the body; this refuses what it would only guess at. A length stated twice, or a length beside
//! a coding, is an answer two readers may cut differently, and the second one is behind us.

use http::{
    HeaderMap, Method, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    response::Parts,
};

use crate::reply::has_no_body;

/// How the end of an answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has no body: 1xx, 204, 304, or the answer to a HEAD.
    Empty,
    /// So many bytes.
    Length(u64),
    /// The last chunk ends it.
    Chunked,
    /// The frame of HTTP/2 that says so ends it.
    Frames,
    /// The close of the connection ends it, so a clean end cannot be told from a cut: never store it.
    Close,
}

/// Why the end of an answer is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// `Content-Length` is repeated or no number.
    #[error("Content-Length is repeated or not a number")]
    Length,
    /// `Transfer-Encoding` is anything but one `chunked`; we never offer another coding (`TE`).
    #[error("Transfer-Encoding is not exactly `chunked`")]
    Coding,
    /// `Transfer-Encoding` in an HTTP/1.0 answer, or beside a `Content-Length`.
    #[error("Transfer-Encoding where it must not be")]
    CodingMisplaced,
}

impl Framing {
    /// How the answer `head` to a request of `method` ends.
    ///
    /// # Errors
    /// When its fields contradict each other.
    pub fn of(method: &Method, head: &Parts) -> Result<Self, FramingError> {
        let length = content_length(&head.headers)?;
        let chunked = is_chunked(&head.headers)?;
        if chunked && (length.is_some() || head.version == Version::HTTP_10) {
            return Err(FramingError::CodingMisplaced);
        }
        if *method == Method::HEAD || has_no_body(head.status) {
            return Ok(Self::Empty);
        }
        Ok(match length {
            Some(length) => Self::Length(length),
            None if chunked => Self::Chunked,
            None if head.version == Version::HTTP_2 => Self::Frames,
            None => Self::Close,
        })
    }

    /// Whether a clean end of the body can be told from a cut one.
    #[must_use]
    pub fn proves_end(self) -> bool {
        self != Self::Close
    }
}

/// The one `Content-Length`, digits only; equal copies are refused too, as nginx does.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.as_bytes();
    if values.next().is_some() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::Length);
    }
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or(FramingError::Length)
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, FramingError> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_some() || !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(FramingError::Coding);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(method: &Method, status: u16, fields: &[(&str, &str)]) -> Result<Framing, FramingError> {
        Framing::of(method, &answer(status, fields))
    }

    fn answer(status: u16, fields: &[(&str, &str)]) -> Parts {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        answer.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_statement_of_the_end_is_taken() {
        let get = &Method::GET;
        assert_eq!(framing(get, 200, &[("content-length", "12")]), Ok(Framing::Length(12)));
        assert_eq!(framing(get, 200, &[("content-length", "0")]), Ok(Framing::Length(0)));
        assert_eq!(framing(get, 200, &[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked));
        assert_eq!(framing(get, 200, &[]), Ok(Framing::Close));
        assert_eq!(framing(get, 204, &[]), Ok(Framing::Empty));
        assert_eq!(framing(get, 304, &[("content-length", "12")]), Ok(Framing::Empty));
        assert_eq!(framing(&Method::HEAD, 200, &[("content-length", "12")]), Ok(Framing::Empty));
    }

    #[test]
    fn contradictions_are_refused() {
        for value in ["", "+2", "-1", "0x2", "1_0", "2, 2", "1 0", "18446744073709551616", "foo"] {
            let got = framing(&Method::GET, 200, &[("content-length", value)]);
            assert_eq!(got, Err(FramingError::Length), "{value:?}");
        }
        let twice = [("content-length", "2"), ("content-length", "2")];
        assert_eq!(framing(&Method::GET, 200, &twice), Err(FramingError::Length));
        for value in ["foo", "gzip, chunked", ",chunked", "chunked, chunked", "chunked;a=b", "\"chunked\""] {
            let got = framing(&Method::GET, 200, &[("transfer-encoding", value)]);
            assert_eq!(got, Err(FramingError::Coding), "{value:?}");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(framing(&Method::GET, 200, &twice), Err(FramingError::Coding));
        let both = [("transfer-encoding", "chunked"), ("content-length", "5")];
        assert_eq!(framing(&Method::GET, 200, &both), Err(FramingError::CodingMisplaced));
    }

    #[test]
    fn an_http_1_0_answer_has_no_coding() {
        let mut answer = answer(200, &[("transfer-encoding", "chunked")]);
        answer.version = Version::HTTP_10;
        assert_eq!(Framing::of(&Method::GET, &answer), Err(FramingError::CodingMisplaced));
    }
}
