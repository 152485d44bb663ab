//! Reads the chunked transfer coding (RFC 9112 §7.1), to the letter. Pure.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use crate::admit::{HeadLimits, Scan, read_trailers, scan};

/// What the bytes received so far give.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    /// Some of the body.
    Data(Bytes),
    /// Nothing yet.
    More,
    /// The end, with the trailer fields.
    End(HeaderMap),
}

/// Longest line of a chunk's size and extensions, in bytes: nobody uses extensions.
const MAX_SIZE_LINE: usize = 256;

/// Where in the coding the next byte is.
#[derive(Debug)]
pub(super) enum ChunkDecoder {
    /// In the line with the size.
    Size,
    /// In the data, with so many bytes left.
    Data(u64),
    /// In the CRLF after the data.
    DataEnd,
    /// In the trailer section, scanned up to here.
    Trailers(usize),
}

impl ChunkDecoder {
    /// Takes what it can from the front of `buffer`.
    ///
    /// # Errors
    /// Whatever another parser might read in another way: a bare LF, a sign or space around the
    /// size, a quote in an extension.
    pub(super) fn decode(
        &mut self,
        buffer: &mut BytesMut,
        limits: &HeadLimits,
    ) -> Result<Decoded, &'static str> {
        loop {
            match self {
                Self::Size => match size_line(buffer)? {
                    None => return Ok(Decoded::More),
                    Some(0) => *self = Self::Trailers(0),
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(_) if buffer.is_empty() => return Ok(Decoded::More),
                Self::Data(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= length as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Decoded::Data(buffer.split_to(length).freeze()));
                }
                Self::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err("chunk data is longer than its size"),
                    None if buffer.first().is_some_and(|&b| b != b'\r') => {
                        return Err("chunk data is longer than its size");
                    }
                    None => return Ok(Decoded::More),
                },
                Self::Trailers(scanned) => return trailers(buffer, scanned, limits),
            }
        }
    }
}

/// The size of the next chunk, once its line is whole.
fn size_line(buffer: &mut BytesMut) -> Result<Option<u64>, &'static str> {
    let Some(end) = memchr::memchr(b'\n', buffer.get(..MAX_SIZE_LINE.min(buffer.len())).unwrap_or_default())
    else {
        return if buffer.len() < MAX_SIZE_LINE {
            Ok(None)
        } else {
            Err("the line of a chunk size is too long")
        };
    };
    let line = buffer.split_to(end + 1).freeze();
    let line = line.strip_suffix(b"\r\n").ok_or("the line of a chunk size ends without CR")?;
    let (digits, extensions) = line.split_at(memchr::memchr(b';', line).unwrap_or(line.len()));
    if extensions.iter().any(|&b| b == b'"' || (b.is_ascii_control() && b != b'\t')) {
        return Err("a chunk extension has a quote or a control character");
    }
    chunk_size(digits).map(Some)
}

fn chunk_size(digits: &[u8]) -> Result<u64, &'static str> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let plain = !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let size = u64::from_str_radix(text, 16).ok().filter(|_| plain);
    size.ok_or("a chunk size is not a hexadecimal number")
}

/// The section after the last chunk: nothing but the empty line, or fields before it.
fn trailers(
    buffer: &mut BytesMut,
    scanned: &mut usize,
    limits: &HeadLimits,
) -> Result<Decoded, &'static str> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Decoded::End(HeaderMap::new()));
    }
    match scan(buffer, *scanned, limits).map_err(|refusal| refusal.reason)? {
        Scan::Whole(length) => {
            let section = buffer.split_to(length).freeze();
            let fields = read_trailers(&section, limits).map_err(|refusal| refusal.reason)?;
            Ok(Decoded::End(fields))
        }
        Scan::Partial(next) => {
            *scanned = next;
            Ok(Decoded::More)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 256, fields: 4, target: 64 };

    /// Body, trailers and rest.
    type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Decodes what is fed in pieces of `step` bytes.
    fn decode(text: &[u8], step: usize) -> Result<Whole, &'static str> {
        let mut decoder = ChunkDecoder::Size;
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(step);
        loop {
            match decoder.decode(&mut buffer, &LIMITS)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::End(fields) => {
                    pieces.for_each(|piece| buffer.extend_from_slice(piece));
                    return Ok((body, Some(fields), buffer.to_vec()));
                }
                Decoded::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return Ok((body, None, buffer.to_vec())),
                },
            }
        }
    }

    #[test]
    fn section_7_1_reads_chunks_extensions_and_trailers_however_they_are_cut() {
        let text = b"5\r\nhello\r\n1;a=b\r\n!\r\n000\r\nX-Sum: 1\r\n\r\nGET /";
        for step in [1, 2, 3, 7, text.len()] {
            let (body, trailers, rest) = decode(text, step).unwrap();
            assert_eq!(body, b"hello!", "{step}");
            assert_eq!(trailers.unwrap().get("x-sum").unwrap(), "1");
            assert_eq!(rest, b"GET /");
        }
        assert_eq!(decode(b"0\r\n\r\n", 1).unwrap().1, Some(HeaderMap::new()));
        assert_eq!(decode(b"5\r\nhel", 1).unwrap().1, None);
    }

    #[test]
    fn section_7_1_repairs_nothing() {
        for bad in [
            &b"0x5\r\nhello\r\n"[..],
            b"+5\r\nhello\r\n",
            b"5_0\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"-1\r\n",
            b"\r\n",
            b"FFFFFFFFFFFFFFED\r\n",
            b"1000000000000000000001\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello!!\r\n0\r\n\r\n",
            b"5\rhello\n",
            b"1;a=\"\r\nX\r\n0\r\n\r\n",
            b"0\r\nX : 1\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
        ] {
            for step in [1, bad.len()] {
                assert!(decode(bad, step).is_err(), "{:?}", bad.escape_ascii().to_string());
            }
        }
        assert!(decode(format!("5;{}", "a".repeat(300)).as_bytes(), 9).is_err());
        assert!(decode(format!("0\r\nX: {}", "a".repeat(300)).as_bytes(), 9).is_err());
    }
}
