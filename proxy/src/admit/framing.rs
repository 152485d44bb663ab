//! Where a request's body ends (RFC 9112 §6).

use http::{
    HeaderMap, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::Refusal;
use crate::sabotage::Omission;

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// As the chunks say, or the frames of HTTP/2.
    Chunked,
}

impl Framing {
    /// RFC 9112 §6.3, in the strictest reading: one `Content-Length` or one `chunked`, never both.
    ///
    /// # Errors
    /// Everything that another server might frame in another way.
    pub fn of(headers: &HeaderMap, version: Version) -> Result<Self, Refusal> {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Self::None),
            (Some(_), Some(_)) if !Omission::OneFraming.is_made() => {
                Err(Refusal::bad("a request cannot have both Transfer-Encoding and Content-Length"))
            }
            (Some(_), _) if version < Version::HTTP_11 => {
                Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(coding), _) if codings.next().is_none() => chunked(coding.as_bytes()),
            (Some(_), _) => Err(Refusal::bad("a request can have only one Transfer-Encoding field")),
            (None, Some(length)) if lengths.next().is_none() => content_length(length.as_bytes()),
            (None, Some(_)) => Err(Refusal::bad("a request can have only one Content-Length field")),
        }
    }

    /// Whether a body announces to be longer than it may be. One that does not say is counted as it comes.
    #[must_use]
    pub fn is_longer_than(self, limit: Option<u64>) -> bool {
        matches!((self, limit), (Self::Length(length), Some(most)) if length > most)
    }

    /// Whether there is a body at all, an empty one included.
    #[must_use]
    pub fn has_body(self) -> bool {
        self != Self::None
    }
}

fn chunked(coding: &[u8]) -> Result<Framing, Refusal> {
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let reason = "the only Transfer-Encoding understood is exactly chunked";
    Err(Refusal::with(StatusCode::NOT_IMPLEMENTED, reason))
}

/// Decimal digits and nothing else; a length beyond 63 bits is no length.
fn content_length(digits: &[u8]) -> Result<Framing, Refusal> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse::<u64>().ok().filter(|&n| plain && n <= u64::MAX / 2);
    length.map(Framing::Length).ok_or(Refusal::bad("Content-Length is not a decimal number"))
}
