//! How the body of an entry is written: as it is, or packed by zstd (RFC 8878).
//!
//! Whoever serves it never sees the difference: bodies are unpacked when they are read. So this is no
//! content coding, and what the origin has coded itself is left as it is.

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::Corrupt;

/// Whether bodies are packed where that may pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// They are written as they are.
    #[default]
    Off,
    /// Text is packed by zstd.
    Zstd,
}

/// How a body is written. The discriminants are those of the entry's preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    Plain = 0,
    /// As a frame of zstd.
    Zstd = 1,
}

/// Shorter bodies are not worth it, in bytes.
const SHORTEST: usize = 1024;
/// The longest body that is packed, and that a packed one is believed to be, in bytes. Packing it takes some
/// milliseconds of a thread that others wait for, and unpacking it one.
const LONGEST: usize = 1024 * 1024;
/// Stronger ones take twice the time for a few per cent.
const LEVEL: i32 = 3;

impl Packing {
    /// Reads what the preamble says.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Plain, Self::Zstd].into_iter().find(|packing| *packing as u8 == byte)
    }
}

/// The body packed, if it is text that gets smaller by it.
pub(super) fn packed(body: &[u8], fields: &HeaderMap) -> Option<Vec<u8>> {
    let worth_it = (SHORTEST..=LONGEST).contains(&body.len()) && is_plain_text(fields);
    let packed = worth_it.then(|| zstd::bulk::compress(body, LEVEL).ok())??;
    (packed.len() < body.len()).then_some(packed)
}

/// The body of this length that was written so. No more than that is allocated, whatever the bytes say.
///
/// # Errors
/// [`Corrupt::Length`], for a length that cannot be, before anything is allocated; [`Corrupt::Body`], for bytes
/// that are no such body.
pub(super) fn unpacked(written: Bytes, packing: Packing, length: usize) -> Result<Bytes, Corrupt> {
    match packing {
        Packing::Plain if written.len() == length => Ok(written),
        Packing::Zstd if length <= LONGEST && written.len() < length => {
            let body = zstd::bulk::decompress(&written, length).map_err(|_| Corrupt::Body)?;
            if body.len() == length { Ok(body.into()) } else { Err(Corrupt::Body) }
        }
        Packing::Plain | Packing::Zstd => Err(Corrupt::Length),
    }
}

/// Whether it is of a type that is text, and not coded already.
fn is_plain_text(fields: &HeaderMap) -> bool {
    let Some(media_type) = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !fields.contains_key(CONTENT_ENCODING) && is_text(&essence)
}

fn is_text(essence: &str) -> bool {
    const APPLICATIONS: [&str; 8] = [
        "json",
        "xml",
        "javascript",
        "x-javascript",
        "ecmascript",
        "graphql",
        "x-ndjson",
        "x-www-form-urlencoded",
    ];
    let structured = ["+json", "+xml", "+yaml"].iter().any(|suffix| essence.ends_with(suffix));
    let application = essence.strip_prefix("application/");
    structured || essence.starts_with("text/") || application.is_some_and(|name| APPLICATIONS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_type(media_type: &'static str) -> HeaderMap {
        [(CONTENT_TYPE, media_type.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn text_is_packed_and_nothing_else() {
        let body = "some text, ".repeat(200);
        for text in [
            "text/html; charset=utf-8",
            "TEXT/CSV",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/javascript;v=1",
        ] {
            assert!(packed(body.as_bytes(), &of_type(text)).is_some_and(|p| p.len() < 100), "{text}");
        }
        for other in ["image/png", "application/octet-stream", "application/jsonx", "", "json"] {
            assert_eq!(packed(body.as_bytes(), &of_type(other)), None, "{other}");
        }
        assert_eq!(packed(body.as_bytes(), &HeaderMap::new()), None);
        let mut coded = of_type("text/html");
        coded.insert(CONTENT_ENCODING, "br".parse().unwrap());
        assert_eq!(packed(body.as_bytes(), &coded), None);
        assert_eq!(packed(&body.as_bytes()[..SHORTEST - 1], &of_type("text/html")), None);
        assert_eq!(packed(&vec![b'a'; LONGEST + 1], &of_type("text/html")), None);
    }

    #[test]
    fn no_more_is_unpacked_than_was_stated() {
        let body = vec![b'a'; LONGEST];
        let bomb = Bytes::from(packed(&body, &of_type("text/plain")).unwrap());
        let unpack = |length| unpacked(bomb.clone(), Packing::Zstd, length).map(|body| body.len());
        assert_eq!(unpack(LONGEST), Ok(LONGEST));
        assert_eq!(unpack(LONGEST - 1), Err(Corrupt::Body), "more than was stated");
        assert_eq!(unpack(LONGEST + 1), Err(Corrupt::Length), "more than is ever packed");
        assert_eq!(unpack(usize::MAX), Err(Corrupt::Length));
        assert_eq!(unpack(bomb.len()), Err(Corrupt::Length), "nothing would have been gained");
        let less = Bytes::from(packed(&body[..LONGEST / 2], &of_type("text/plain")).unwrap());
        assert_eq!(unpacked(less, Packing::Zstd, LONGEST), Err(Corrupt::Body), "less than was stated");
        assert_eq!(unpacked(Bytes::from_static(b"text"), Packing::Zstd, 9), Err(Corrupt::Body));
        assert_eq!(unpacked(Bytes::from_static(b"text"), Packing::Plain, 5), Err(Corrupt::Length));
    }
}
