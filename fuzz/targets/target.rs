//! What is asked for: the first line is the target, the second the host.
#![no_main]

use bytes::Bytes;
use http::header::HOST;
use libfuzzer_sys::fuzz_target;
use sidecache::admit::{Scheme, Target};
use sidecache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let host = lines_of(&HOST, data.get(end + 1..).unwrap_or_default());
    let raw = Bytes::copy_from_slice(&data[..end]);
    if let Ok(target) = Target::parse(&raw, &host, Scheme::Http, false) {
        // Nothing is tidied: what is forwarded and keyed is what was sent.
        assert!(raw.ends_with(target.path_and_query().as_str().as_bytes()) || target.path() == "/");
        let _ = target.is_ambiguous();
    }
});
