//! `Vary`: the same names, in whatever case and on however many lines.
#![no_main]

use http::{HeaderValue, header::VARY};
use libfuzzer_sys::fuzz_target;
use sidecache::policy::vary::nominated;
use sidecache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let headers = lines_of(&VARY, data);
    let joined = headers.get_all(VARY).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    let mut one = headers.clone();
    one.insert(VARY, HeaderValue::from_bytes(&joined.to_ascii_uppercase()).expect("of values"));
    assert_eq!(nominated(&headers), nominated(&one));
});
