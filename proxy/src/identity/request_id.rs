//! `X-Request-Id`: one name for a request in the logs of all that it passes.

use std::fmt;

use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::random;
use crate::headers::X_REQUEST_ID;

/// The longest id that is taken over, in bytes.
const LONGEST: usize = 128;
/// What an id may have besides letters and digits: what those have that are in use, and nothing that means
/// something to a log, a shell or a page.
const PUNCTUATION: &[u8] = b"+-./:=@_";

/// The id of a request: given by a proxy in front, or 32 hexadecimal digits of our own.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(SmallVec<[u8; 36]>);

impl RequestId {
    /// A new one.
    #[must_use]
    pub fn make() -> Self {
        let digits = random::number().to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        Self(digits.map(digit).collect())
    }

    /// The one that came with a request, if it is one: a single line of 1 to 128 letters, digits and `+-./:=@_`.
    #[must_use]
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(X_REQUEST_ID).iter();
        let (line, None) = (lines.next()?.as_bytes(), lines.next()) else { return None };
        let fits = (1..=LONGEST).contains(&line.len());
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || PUNCTUATION.contains(byte);
        (fits && line.iter().all(harmless)).then(|| Self(line.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As the value of a field.
    #[must_use]
    pub fn to_value(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.0).ok()
    }

    /// A number from 0 to 99 that the same id draws everywhere.
    #[must_use]
    pub fn lot(&self) -> u8 {
        u8::try_from(xxh3_64(&self.0) % 100).unwrap_or_default()
    }
}

/// Of a number below 16.
fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        RequestId::given(&headers).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn ids_in_use_are_taken_as_they_are() {
        let longest = "a".repeat(LONGEST);
        for id in [
            "7b4e2c1a-54f1-4d4d-9f5b-2f5a3a1c0e11",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "Root=1-67891233-abcdef012345678912345678",
            "host/kT9x+a=:1_2.3@b",
            "1",
            &longest,
        ] {
            assert_eq!(given(&[id]).as_deref(), Some(id));
        }
    }

    #[test]
    fn what_is_none_or_could_do_harm_is_not_taken() {
        let long = "a".repeat(LONGEST + 1);
        for id in ["", " ", "a b", "a,b", "a\"b", "a;b", "<b>", "$(x)", "a\tb", "\u{e9}", &long] {
            assert_eq!(given(&[id]), None, "{id}");
        }
        assert_eq!((given(&[]), given(&["a", "a"])), (None, None));
    }

    #[test]
    fn our_own_are_hexadecimal_and_are_taken_by_the_next() {
        let id = RequestId::make();
        assert!(
            id.as_str().len() == 32 && id.as_str().bytes().all(|b| b"0123456789abcdef".contains(&b)),
            "{id}"
        );
        assert_eq!(given(&[id.as_str()]).as_deref(), Some(id.as_str()));
        assert_eq!(id.to_value().unwrap(), id.as_str());
    }

    #[test]
    fn lots_are_even_and_the_same_everywhere() {
        let drawn = (0..10_000).filter(|_| RequestId::make().lot() < 10).count();
        assert!((800..1200).contains(&drawn), "{drawn} of 10000 in a tenth");
        let id = RequestId::make();
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, id.to_value().unwrap());
        assert_eq!(RequestId::given(&headers).unwrap().lot(), id.lot());
    }
}
