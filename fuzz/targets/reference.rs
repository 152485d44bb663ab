//! A URI reference of an answer: the first line is the target that was asked for, the second the reference.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sidecache::admit::{Scheme, Target};

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let raw = Bytes::copy_from_slice(&data[..end]);
    let Ok(target) = Target::parse(&raw, &HeaderMap::new(), Scheme::Http, false) else { return };
    let Ok(reference) = HeaderValue::from_bytes(data.get(end + 1..).unwrap_or_default()) else { return };
    if let Some(named) = target.refers_to(&reference) {
        assert_eq!(named.authority(), target.authority());
        assert!(named.path().starts_with('/') || named.path() == "*");
    }
});
