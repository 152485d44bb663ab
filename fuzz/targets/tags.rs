//! `Cache-Tag`, `Surrogate-Key`, `Cache-Groups` and `Cache-Group-Invalidation`: so many and no more, and
//! the order of lines does not matter.
#![no_main]

use http::{HeaderMap, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use sidecache::policy::tags::{MAX_TAGS, groups_to_invalidate, tags_of};
use sidecache_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let headers = fields(data);
    let read = tags_of(&headers, [], b"origin");
    assert!(read.as_ref().map_or(true, |tags| tags.len() <= MAX_TAGS));
    let lines: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let backwards: HeaderMap = lines.into_iter().rev().collect();
    if !headers.contains_key("cache-groups") {
        assert_eq!(tags_of(&backwards, [], b"origin"), read);
    }
    assert!(groups_to_invalidate(&Method::POST, StatusCode::OK, &headers, b"origin").len() <= MAX_TAGS);
});
