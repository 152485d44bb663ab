//! The head of a request, and the trailers of its body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sidecache::admit::{Head, HeadLimits, Scan, Scheme, read_trailers, scan};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20, target: 512 };

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(Scan::Whole(length)) = scan(data, 0, &LIMITS)
        && let Ok(head) = Head::parse(&bytes.slice(..length), Scheme::Http, &LIMITS)
    {
        assert!(head.headers.len() <= LIMITS.fields);
    }
    let _ = Head::parse(&bytes, Scheme::Https, &LIMITS);
    let _ = read_trailers(&bytes, &LIMITS);
});
