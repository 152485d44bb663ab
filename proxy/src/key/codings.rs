//! `Accept-Encoding`, as far as it tells one response from another (RFC 9110 §12.5.3).
//!
//! Anybody can invent codings and weights, and each would be a variant. So only what is common counts: which of
//! four codings a client takes, and whether it takes plain content. That is what selects, and all that the origin
//! is sent with a request whose answer may be stored: else the answer to `x-own, gzip` would go to whoever says
//! `gzip`. What is malformed, or said in two ways, is not taken; so nobody gets a coding that it has not named.

use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING, header::GetAll};

use super::meaning::weight;

/// The codings that count, in the order in which browsers name them.
const KNOWN: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
/// The bit of plain content being refused.
const NOT_PLAIN: u8 = 1 << KNOWN.len();

/// Which codings a client takes: 32 sets in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codings(u8);

impl Codings {
    /// What the lines of the field say; nothing without any, which is to take whatever comes.
    ///
    /// `*` names no coding that a client surely knows, so it adds none; it can refuse plain content.
    pub(super) fn of(lines: &GetAll<'_, HeaderValue>) -> Option<Self> {
        let (mut taken, mut refused, mut plain, mut any) = (0, 0, None, None);
        let mut lines = lines.iter().peekable();
        lines.peek()?;
        for member in lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')) {
            let mut parts = member.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
            match bit(name) {
                Some(bit) if weight > 0 => taken |= bit,
                Some(bit) => refused |= bit,
                None if name.eq_ignore_ascii_case(b"identity") => plain = Some(weight > 0),
                None if name == b"*" => any = Some(weight > 0),
                None => {}
            }
        }
        let not_plain = if plain.or(any) == Some(false) { NOT_PLAIN } else { 0 };
        Some(Self(taken & !refused | not_plain))
    }

    /// As one byte.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// The one spelling of it.
    fn line(self) -> HeaderValue {
        let taken = KNOWN.iter().enumerate().filter(|(at, _)| self.0 & 1 << at != 0).map(|(_, name)| *name);
        let plain = match self.0 {
            0 => Some("identity"),
            bits if bits & NOT_PLAIN != 0 => Some("identity;q=0"),
            _ => None,
        };
        let line = taken.chain(plain).collect::<Vec<_>>().join(", ");
        HeaderValue::from_maybe_shared(bytes::Bytes::from(line))
            .unwrap_or(HeaderValue::from_static("identity"))
    }
}

/// §8.4.1.3: "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"".
fn bit(name: &[u8]) -> Option<u8> {
    let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
    let at = KNOWN.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
    Some(1 << at)
}

/// Says no more in `Accept-Encoding` than selects a response: for a request whose answer may be stored.
pub fn normalise_codings(headers: &mut HeaderMap) {
    if let Some(codings) = Codings::of(&headers.get_all(ACCEPT_ENCODING)) {
        headers.insert(ACCEPT_ENCODING, codings.line());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(lines: &[&[u8]]) -> Option<String> {
        let lines = lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_bytes(line).unwrap()));
        let mut headers: HeaderMap = lines.collect();
        normalise_codings(&mut headers);
        let lines: Vec<_> = headers.get_all(ACCEPT_ENCODING).iter().collect();
        assert!(lines.len() <= 1);
        lines.first().map(|line| line.to_str().unwrap().to_owned())
    }

    #[test]
    fn section_12_5_3_only_what_is_surely_taken_is_said() {
        for (sent, said) in [
            ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
            ("zstd,BR;q=0.3 , x-gzip", "gzip, br, zstd"),
            ("xyz, gzip", "gzip"),
            ("", "identity"),
            ("xyz", "identity"),
            ("*", "identity"),
            ("identity", "identity"),
            ("gzip;q=0", "identity"),
            ("gzip;q=0, *", "identity"),
            ("gzip, gzip;q=0", "identity"),
            ("gzip, identity;q=0", "gzip, identity;q=0"),
            ("br, *;q=0", "br, identity;q=0"),
            ("br, identity, *;q=0.0", "br"),
            ("identity;q=0", "identity;q=0"),
            ("gzip;q=1.1, br;q, zstd;q=0.1234, deflate", "deflate"),
            ("gzip;q=0.5;q=1", "gzip"),
        ] {
            assert_eq!(normal(&[sent.as_bytes()]).as_deref(), Some(said), "{sent}");
        }
        assert_eq!(normal(&[]), None, "whatever comes is taken");
        assert_eq!(normal(&[b"br", b"gzip;q=0.1,"]).as_deref(), Some("gzip, br"));
        assert_eq!(normal(&[b"gzip;q=\xff, br"]).as_deref(), Some("br"));
    }

    proptest! {
        #[test]
        fn any_lines_are_one_of_32_and_say_the_same_again(
            lines in proptest::collection::vec("([a-z*]{1,4}|gzip|br|zstd|deflate|identity|[,; q=.01]){0,9}", 1..4),
        ) {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.trim().as_bytes()).collect();
            let said = normal(&lines).unwrap();
            prop_assert_eq!(normal(&[said.as_bytes()]).unwrap(), said);
        }
    }
}
