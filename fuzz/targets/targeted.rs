//! Targeted fields (RFC 9213): of any names, in any number.
#![no_main]

use http::header::CDN_CACHE_CONTROL;
use libfuzzer_sys::fuzz_target;
use sidecache::policy::targeted::{MAX_TARGETED, control, targeted};
use sidecache_fuzz::{fields, lines_of};

fuzz_target!(|data: &[u8]| {
    let one = lines_of(&CDN_CACHE_CONTROL, data);
    let read = control(&one, &CDN_CACHE_CONTROL);
    assert_eq!(targeted(&one).into_iter().next().map(|(_, control)| control), read);
    assert!(targeted(&fields(data)).len() <= MAX_TARGETED);
});
