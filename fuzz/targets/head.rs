//! The head of a request, and the trailers of its body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sidecache::admit::{Framing, Head, HeadLimits, Scan, Scheme, read_trailers, scan};
use sidecache_fuzz::strict;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20, target: 512 };

/// Another parser reads the same, and a body ends in one way only.
fn agrees(head: &Head, bytes: &[u8]) {
    let (other, length) = strict::lines(bytes).expect("another parser takes it too");
    assert_eq!(length, bytes.len(), "another parser sees it end elsewhere");
    assert_eq!(head.method.as_str(), other.method);
    assert_eq!(head.headers.len(), other.fields.len());
    for (name, value) in &other.fields {
        assert!(head.headers.get_all(name).iter().any(|ours| ours.as_bytes() == value), "{name} differs");
    }
    let framings = [other.values("content-length").len(), other.values("transfer-encoding").len()];
    let expected = match head.framing {
        Framing::None => [0, 0],
        Framing::Length(_) => [1, 0],
        Framing::Chunked => [0, 1],
    };
    assert_eq!(framings, expected, "framed as {:?}", head.framing);
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(Scan::Whole(length)) = scan(data, 0, &LIMITS)
        && let Ok(head) = Head::parse(&bytes.slice(..length), Scheme::Http, &LIMITS)
    {
        assert!(head.headers.len() <= LIMITS.fields);
        agrees(&head, &data[..length]);
    }
    let _ = Head::parse(&bytes, Scheme::Https, &LIMITS);
    let _ = read_trailers(&bytes, &LIMITS);
});
