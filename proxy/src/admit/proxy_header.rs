//! The header by which a proxy in front says whom it speaks for: the PROXY protocol, versions 1 and 2, as
//! HAProxy specifies it. Pure.
//!
//! It comes before anything else on a connection, and where it ends only it says itself. So whoever reads it
//! is told how many bytes still belong to it at least, and never reads one that does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::sabotage::Omission;

/// Bytes that every header has.
pub const LEAST: usize = 12;
/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// The most that version 2 may announce: addresses and what is told beside them, which is skipped.
const MOST_ANNOUNCED: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// Version 2 with its commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// What a beginning of a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// So many more bytes belong to it, at least.
    Partial(usize),
    /// All of it, and who is spoken for.
    Whole(Source),
}

/// Who sends what follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client over TCP.
    Client(IpAddr),
    /// A client of which nothing is told that would concern us: it came otherwise, or the proxy does not know.
    Unknown,
    /// The proxy itself, for a health check.
    Proxy,
}

/// Why a connection does not begin with such a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// It begins otherwise.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// Version 1, but not to the letter.
    #[error("the PROXY line is malformed")]
    Line,
    /// Version 2, but not to the letter.
    #[error("the PROXY header is malformed")]
    Binary,
    /// More than anybody has to say.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads a header of which `bytes`, [`LEAST`] at the least, are the beginning.
///
/// # Errors
/// It is none, or not to the letter.
pub fn read(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    if let Some(rest) = bytes.strip_prefix(SIGNATURE) {
        return binary(rest);
    }
    if bytes.starts_with(b"PROXY ") {
        return line(bytes);
    }
    Err(ProxyHeaderError::Missing)
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    if let Some(text) = bytes.strip_suffix(b"\r\n") {
        let text = std::str::from_utf8(text).map_err(|_| ProxyHeaderError::Line)?;
        return source(text).map(ProxyHeader::Whole).ok_or(ProxyHeaderError::Line);
    }
    let more = if bytes.ends_with(b"\r") { 1 } else { 2 };
    let end = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if end.iter().any(u8::is_ascii_control) {
        return Err(ProxyHeaderError::Line);
    }
    if bytes.len() + more > LONGEST_LINE {
        return Err(ProxyHeaderError::TooLong);
    }
    Ok(ProxyHeader::Partial(more))
}

/// The source that a whole line names.
fn source(text: &str) -> Option<Source> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let mut words = text.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Unknown); // Whatever follows says nothing.
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    let (source, _) = (address(words.next()?)?, address(words.next()?)?);
    port(words.next()?)?;
    port(words.next()?)?;
    words.next().is_none().then_some(Source::Client(source.to_canonical()))
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2, behind its signature.
fn binary(rest: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let &[command, family, high, low, ref announced @ ..] = rest else {
        return Ok(ProxyHeader::Partial(FIXED - SIGNATURE.len() - rest.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_ANNOUNCED {
        return Err(ProxyHeaderError::TooLong);
    }
    let needed = match (command, family) {
        (LOCAL, _) | (PROXY, 0x00) => 0,
        (PROXY, 0x11 | 0x12) => 12,
        (PROXY, 0x21 | 0x22) => 36,
        (PROXY, 0x31 | 0x32) => 216,
        _ => return Err(ProxyHeaderError::Binary),
    };
    if length < needed && !Omission::ProxyAddresses.is_made() {
        return Err(ProxyHeaderError::Binary);
    }
    match length.checked_sub(announced.len()) {
        Some(0) if command == LOCAL => Ok(ProxyHeader::Whole(Source::Proxy)),
        Some(0) => Ok(ProxyHeader::Whole(announced_source(family, announced))),
        Some(more) => Ok(ProxyHeader::Partial(more)),
        None => Err(ProxyHeaderError::Binary),
    }
}

/// The source of a connection over TCP. Others say nothing that concerns us.
fn announced_source(family: u8, announced: &[u8]) -> Source {
    let address = match family {
        0x11 => announced.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        0x21 => announced.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    };
    address.map_or(Source::Unknown, |address| Source::Client(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version 2 with this command, family and rest.
    fn v2(command: u8, family: u8, announced: &[u8]) -> Vec<u8> {
        let length = u16::try_from(announced.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, announced].concat()
    }

    /// What somebody finds who reads as it is told, and how many bytes that takes.
    fn read_from(bytes: &[u8]) -> Result<(Source, usize), Option<ProxyHeaderError>> {
        let mut length = LEAST;
        loop {
            match read(bytes.get(..length).ok_or(None)?).map_err(Some)? {
                ProxyHeader::Whole(source) => return Ok((source, length)),
                ProxyHeader::Partial(more) => {
                    assert!(more > 0);
                    length += more;
                }
            }
        }
    }

    fn client(address: &str) -> Source {
        Source::Client(address.parse().unwrap())
    }

    fn is_from(bytes: &[u8], expected: Source) {
        let followed = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let shown = bytes.escape_ascii();
        assert_eq!(read_from(&followed), Ok((expected, bytes.len())), "{shown}");
    }

    #[test]
    fn the_line_of_version_1() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", client("192.0.2.1")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255")),
            ("PROXY TCP6 2001:db8::1 ::1 1 0\r\n", client("2001:db8::1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", client("192.0.2.1")),
            ("PROXY UNKNOWN\r\n", Source::Unknown),
            ("PROXY UNKNOWN ffff::1 whatever it says\r\n", Source::Unknown),
        ] {
            is_from(line.as_bytes(), source);
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
        is_from(longest.as_bytes(), Source::Unknown);
    }

    #[test]
    fn section_2_1_what_is_not_that_line_to_the_letter() {
        use ProxyHeaderError::{Line, Missing, TooLong};
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 15));
        for (line, error) in [
            ("GET / HTTP/1.1\r\n", Missing),
            ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Missing),
            ("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", Missing),
            (" PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Missing),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Line),
            ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Line),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Line),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nGET / HTTP/1.1\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rGET / HTTP/1.1\r\n", Line),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n", Line),
            ("PROXY UNKNOWN \u{1}\r\n", Line),
            (&long, TooLong),
        ] {
            assert_eq!(read_from(line.as_bytes()), Err(Some(error)), "{}", line.escape_debug());
        }
        assert_eq!(read_from(b"PROXY UNKNOWN \xff\r\n"), Err(Some(Line)));
    }

    #[test]
    fn the_header_of_version_2() {
        let v4 = [&[192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4][..], &[0; 24], &[0; 180]].concat();
        let v6: Vec<u8> = Ipv6Addr::LOCALHOST.octets().into_iter().chain([0; 20]).collect();
        // Something told beside the addresses: the name of TLS (0x02), then nonsense.
        let told = [&v4[..12], &[2, 0, 1, b'a'], &[9; 500]].concat();
        is_from(&v2(0x21, 0x11, &v4[..12]), client("192.0.2.1"));
        is_from(&v2(0x21, 0x11, &told), client("192.0.2.1"));
        is_from(&v2(0x21, 0x21, &v6), client("::1"));
        // The proxy itself; and who is of no family, of datagrams, of a unix socket.
        is_from(&v2(0x20, 0x00, &[]), Source::Proxy);
        is_from(&v2(0x20, 0x11, &v4[..12]), Source::Proxy);
        is_from(&v2(0x20, 0xff, &[7; 9]), Source::Proxy);
        is_from(&v2(0x21, 0x00, &[]), Source::Unknown);
        is_from(&v2(0x21, 0x00, &[7; 9]), Source::Unknown);
        is_from(&v2(0x21, 0x12, &v4[..12]), Source::Unknown);
        is_from(&v2(0x21, 0x31, &v4), Source::Unknown);
        is_from(&v2(0x20, 0x00, &[0; MOST_ANNOUNCED]), Source::Proxy);
    }

    #[test]
    fn section_2_2_what_is_not_that_header_to_the_letter() {
        use ProxyHeaderError::{Binary, Missing, TooLong};
        for (bytes, error) in [
            (v2(0x11, 0x11, &[0; 12]), Binary),
            (v2(0x22, 0x11, &[0; 12]), Binary),
            (v2(0x01, 0x11, &[0; 12]), Binary),
            (v2(0x21, 0x11, &[0; 11]), Binary),
            (v2(0x21, 0x21, &[0; 35]), Binary),
            (v2(0x21, 0x31, &[0; 215]), Binary),
            (v2(0x21, 0x13, &[0; 12]), Binary),
            (v2(0x21, 0x01, &[0; 12]), Binary),
            (v2(0x21, 0x41, &[0; 12]), Binary),
            (v2(0x21, 0x11, &[0; MOST_ANNOUNCED + 1]), TooLong),
            (v2(0x20, 0x00, &[0; 65_535]), TooLong),
            (b"\r\n\r\n\0\r\nQUIT\r\x21\x11".to_vec(), Missing),
        ] {
            assert_eq!(read_from(&bytes), Err(Some(error)), "{}", bytes.escape_ascii());
        }
        assert_eq!(read_from(&v2(0x21, 0x11, &[0; 12])[..27]), Err(None), "it is cut");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_within_its_limits(
            start in prop_oneof![
                Just(b"PROXY ".to_vec()), Just(b"PROXY TCP4 ".to_vec()), Just(SIGNATURE.to_vec()),
                Just([&SIGNATURE[..], b"\x21\x11\0"].concat()), Just(Vec::new()),
            ],
            rest in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let bytes = [start, rest].concat();
            if let Ok((_, length)) = read_from(&bytes) {
                prop_assert!(length <= FIXED + MOST_ANNOUNCED);
            }
        }

        #[test]
        fn what_a_proxy_writes_is_read_to_its_last_byte_and_no_further(
            source: IpAddr, port: u16, told in prop::collection::vec(any::<u8>(), 0..300), rest in "\\PC{0,40}",
        ) {
            let (name, family, octets) = match source {
                IpAddr::V4(address) => ("TCP4", 0x11, address.octets().to_vec()),
                IpAddr::V6(address) => ("TCP6", 0x21, address.octets().to_vec()),
            };
            let line = format!("PROXY {name} {source} {source} {port} {port}\r\n").into_bytes();
            let binary = v2(0x21, family, &[&octets[..], &octets, &[0; 4], &told].concat());
            for header in [line, binary] {
                let bytes = [&header[..], rest.as_bytes()].concat();
                prop_assert_eq!(read_from(&bytes), Ok((Source::Client(source.to_canonical()), header.len())));
            }
        }
    }
}
