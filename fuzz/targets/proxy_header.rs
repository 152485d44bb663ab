//! The header of the PROXY protocol, read as far as the reader is told.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use sidecache::admit::proxy_header::{LEAST, ProxyHeader, Source, read};

/// Signature, version and command, family, length; and the most that may be announced.
const FIXED: usize = 16;
const MOST_ANNOUNCED: usize = 4096;
/// The longest line, without its end.
const LONGEST_LINE: usize = 105;

/// What a connection finds that reads what it is told to, and how many bytes it has read then.
fn as_told(data: &[u8]) -> Option<(Source, usize)> {
    let mut length = LEAST;
    loop {
        match read(data.get(..length)?).ok()? {
            ProxyHeader::Whole(source) => return Some((source, length)),
            ProxyHeader::Partial(more) => {
                assert!(more > 0, "it would wait for ever");
                length += more;
                assert!(length <= FIXED + MOST_ANNOUNCED, "it is told to read {length} bytes");
            }
        }
    }
}

/// The same by somebody who has all of it before him.
fn at_once(data: &[u8]) -> Option<(Source, usize)> {
    match data.strip_prefix(b"PROXY ") {
        Some(_) => line(data),
        None => binary(data),
    }
}

fn line(data: &[u8]) -> Option<(Source, usize)> {
    let end = data.windows(2).take(LONGEST_LINE + 1).position(|pair| pair == b"\r\n")?;
    let text = std::str::from_utf8(&data[..end]).ok()?;
    if text.chars().any(|letter| letter.is_ascii_control()) {
        return None;
    }
    let source = match text.split(' ').collect::<Vec<_>>()[..] {
        ["PROXY", "UNKNOWN", ..] => Source::Unknown,
        ["PROXY", "TCP4", from, to, ours, theirs] if is_port(ours) && is_port(theirs) => {
            to.parse::<Ipv4Addr>().ok()?;
            Source::Client(IpAddr::V4(from.parse().ok()?))
        }
        ["PROXY", "TCP6", from, to, ours, theirs] if is_port(ours) && is_port(theirs) => {
            to.parse::<Ipv6Addr>().ok()?;
            Source::Client(from.parse::<Ipv6Addr>().ok()?.to_canonical())
        }
        _ => return None,
    };
    Some((source, end + 2))
}

/// As it would be written.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port.to_string() == text)
}

fn binary(data: &[u8]) -> Option<(Source, usize)> {
    let header = data.first_chunk::<FIXED>().filter(|header| header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"))?;
    let length = usize::from(header[14]) * 256 + usize::from(header[15]);
    let announced = data[FIXED..].get(..length).filter(|announced| announced.len() <= MOST_ANNOUNCED)?;
    let source = match header[12] {
        0x20 => Source::Proxy,
        0x21 if header[13] == 0 => Source::Unknown,
        0x21 => announced_source(header[13] >> 4, header[13] & 0xf, announced)?,
        _ => return None,
    };
    Some((source, FIXED + length))
}

/// Families: IPv4, IPv6, unix. Transports: streams, datagrams.
fn announced_source(family: u8, transport: u8, announced: &[u8]) -> Option<Source> {
    let addresses = match family {
        1 => 4 + 4 + 2 + 2,
        2 => 16 + 16 + 2 + 2,
        3 => 108 + 108,
        _ => return None,
    };
    if announced.len() < addresses || !(1..=2).contains(&transport) {
        return None;
    }
    Some(match (family, transport) {
        (1, 1) => Source::Client(Ipv4Addr::from(*announced.first_chunk()?).into()),
        (2, 1) => Source::Client(Ipv6Addr::from(*announced.first_chunk()?).to_canonical()),
        _ => Source::Unknown,
    })
}

fuzz_target!(|data: &[u8]| {
    let found = as_told(data);
    assert_eq!(found, at_once(data));
    if let Some((_, length)) = found {
        assert_eq!(as_told(&data[..length]), found, "what follows does not matter");
        assert_eq!(as_told(&data[..length - 1]), None, "all of it belongs to it");
    }
    // A reader that is not told how much to read must not bring it down either.
    let _ = read(data);
});
