//! All that the policy reads of a response: dates, `Age`, `Expires`, `Pragma`, directives. The order of
//! fields of different names does not matter.
#![no_main]

use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use sidecache::policy::facts::{ResponseFacts, http_date};
use sidecache_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let headers = fields(data);
    let mut turned = HeaderMap::new();
    for name in headers.keys().collect::<Vec<_>>().into_iter().rev() {
        for value in headers.get_all(name) {
            turned.append(name, value.clone());
        }
    }
    let read = ResponseFacts::of(StatusCode::OK, &headers);
    assert_eq!(read, ResponseFacts::of(StatusCode::OK, &turned));
    assert!(read.age.as_secs() <= 1 << 31);
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let _ = http_date(&value);
    }
});
