//! `Cache-Control` of requests and responses: nothing before a directive hides it if it restricts.
#![no_main]

use http::{HeaderValue, header::CACHE_CONTROL};
use libfuzzer_sys::fuzz_target;
use sidecache::policy::cache_control::{CacheControl, MAX_WITHHELD};
use sidecache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let mut headers = lines_of(&CACHE_CONTROL, data);
    let response = CacheControl::of_response(&headers, &CACHE_CONTROL);
    assert!(response.withheld.len() <= 2 * MAX_WITHHELD);
    let request = CacheControl::of(&headers, &CACHE_CONTROL);
    assert!(request.withheld.is_empty());
    assert_eq!((request.max_age, request.no_store), (response.max_age, response.no_store));

    if let Ok(line) = HeaderValue::from_bytes(&[data, b", no-store"].concat()) {
        headers.append(CACHE_CONTROL, line);
        assert!(CacheControl::of_response(&headers, &CACHE_CONTROL).no_store);
    }
});
