//! The path and query of a target, as they came: read once, for what is refused and for what different
//! servers may take for different resources.

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::TargetError;

/// A path with its query, if any, byte for byte; `*` for `OPTIONS *`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RawPath {
    text: PathAndQuery,
    is_ambiguous: bool,
}

impl RawPath {
    /// What `http` takes as path and query, but no fragment, which it would drop without a word.
    pub(super) fn read(raw: Bytes) -> Result<Self, TargetError> {
        let (path, query) = glance(&raw);
        if (path | query) & FORBIDDEN != 0 {
            return Err(TargetError::Byte);
        }
        let text = PathAndQuery::from_maybe_shared(raw).map_err(|_| TargetError::Byte)?;
        let is_ambiguous = path & (DOUBTFUL | AFTER_SLASH) != 0 && is_ambiguous(text.path().as_bytes());
        Ok(Self { text, is_ambiguous })
    }

    /// `*`: the server itself.
    pub(super) fn asterisk() -> Self {
        Self { text: PathAndQuery::from_static("*"), is_ambiguous: false }
    }

    pub(super) fn text(&self) -> &PathAndQuery {
        &self.text
    }

    /// As [`Target::is_ambiguous`](super::Target::is_ambiguous) has it.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }
}

/// It has no place in a target.
const FORBIDDEN: u8 = 1;
/// It may make a path ambiguous.
const DOUBTFUL: u8 = 2;
const SLASH: u8 = 4;
/// It may make a path ambiguous after a slash. One place above [`SLASH`].
const AFTER_SLASH: u8 = 8;

fn kind(byte: u8) -> u8 {
    match byte {
        0..=b' ' | b'#' | 0x7f => FORBIDDEN,
        b'%' | b'\\' => DOUBTFUL,
        b'/' => SLASH | AFTER_SLASH,
        b'.' => AFTER_SLASH,
        _ => 0,
    }
}

/// All kinds of bytes in the path and in the query: one pass, in which hardly any path turns out to need a closer
/// look.
fn glance(raw: &[u8]) -> (u8, u8) {
    let (mut path, mut before) = (0, 0);
    let mut bytes = raw.iter();
    for &byte in bytes.by_ref().take_while(|&&byte| byte != b'?') {
        let kind = kind(byte);
        path |= kind & (FORBIDDEN | DOUBTFUL | before << 1);
        before = kind & SLASH;
    }
    (path, bytes.fold(0, |query, &byte| query | kind(byte)))
}

fn is_ambiguous(path: &[u8]) -> bool {
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || has_doubtful_byte(segment) || is_dot_segment(segment) {
            return true;
        }
    }
    false
}

/// A backslash, a `%` that escapes nothing, or an escape of `/`, `\`, `%`, a delimiter or a control byte, or of what
/// only a careless reader takes for such.
fn has_doubtful_byte(segment: &[u8]) -> bool {
    let from = |at| segment.get(at..).unwrap_or_default();
    segment.contains(&b'\\')
        || memchr::memchr_iter(b'%', segment).map(from).any(|escape| match first_escaped(escape) {
            Some(byte) => {
                byte.is_ascii_control() || b"/\\%?#;&".contains(&byte) || begins_overlong(byte, escape)
            }
            None => true,
        })
}

/// Whether these escapes spell a character in more bytes than it needs, as UTF-8 must not (RFC 3629 §3).
fn begins_overlong(first: u8, escapes: &[u8]) -> bool {
    let second = escapes.get(3..).filter(|rest| rest.starts_with(b"%")).and_then(first_escaped);
    matches!(
        (first, second),
        (0xc0 | 0xc1, Some(0x80..=0xbf)) | (0xe0, Some(0x80..=0x9f)) | (0xf0, Some(0x80..=0x8f))
    )
}

/// `.` or `..`, each dot plain or encoded, with or without `;parameters`, and blanks, which some drop.
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|&b| b == b';').next().unwrap_or_default();
    let mut rest = name;
    let mut dots = 0;
    while !rest.is_empty() && dots < 3 {
        rest = match rest {
            [b'%', b'2', b'0', tail @ ..] => tail,
            [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => {
                dots += 1;
                tail
            }
            _ => return false,
        };
    }
    dots == 1 || dots == 2
}

/// Of what begins with a `%`.
fn first_escaped(text: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match text {
        [_, high, low, ..] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_ambiguous(path: &str) -> bool {
        RawPath::read(Bytes::from(path.to_owned())).unwrap().is_ambiguous()
    }

    #[test]
    fn paths_that_servers_read_differently_are_ambiguous() {
        let plain = [
            "/",
            "/a",
            "/a/",
            "/a.css",
            "/a/.well-known/b",
            "/%C3%A4",
            "/a%20b",
            "/a;v=1",
            "/...",
            "/a..b",
            "/M%FCller",
            "/%D6%D0%B9%FA",
            "/%C0",
            "/%E0%A0%80",
            "/%F0%90%80%80",
            "/%C0a%80",
        ];
        for path in plain {
            assert!(!is_ambiguous(path), "{path}");
        }
        for doubtful in [
            "//a",
            "/a//b",
            "/./a",
            "/a/..",
            "/../a",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0A.css",
            "/a%3B.css",
            "/a%23",
            "/a%3fb",
            "/a%2",
            "/a%",
            "/a%zz",
            "/%252e",
            "/a/..;/b",
            "/a/..%20/b",
            "/a/.%20./b",
            "/a/%c0%ae%c0%ae/b",
            "/a/%C1%80",
            "/a/%E0%80%AE%e0%80%ae/b",
            "/a/%F0%80%80%AE",
        ] {
            assert!(is_ambiguous(doubtful), "{doubtful}");
        }
    }

    proptest! {
        #[test]
        fn a_glance_overlooks_nothing(path in "/[a./%2eE\\\\;?#\x7f ]{0,12}") {
            let asked = path.split('?').next().unwrap_or_default();
            match RawPath::read(Bytes::from(path.clone())) {
                Ok(read) => prop_assert_eq!(read.is_ambiguous(), super::is_ambiguous(asked.as_bytes())),
                Err(_) => prop_assert!(path.contains(['#', ' ', '\x7f'])),
            }
        }
    }
}
