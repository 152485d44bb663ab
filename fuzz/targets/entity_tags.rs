//! Entity tags: the first line is the stored one, the others are asked for; a weak one is as good.
#![no_main]

use http::{
    HeaderValue, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use libfuzzer_sys::fuzz_target;
use sidecache::policy::{facts::ResponseFacts, validation::is_not_modified};
use sidecache_fuzz::lines_of;

fuzz_target!(|data: &[u8]| {
    let (tag, asked) = data.split_at(data.iter().position(|&b| b == b'\n').unwrap_or(data.len()));
    let request = lines_of(&IF_NONE_MATCH, asked);
    let is_met = |tag: &[u8]| {
        let tag = HeaderValue::from_bytes(tag).ok()?;
        let facts = ResponseFacts::of(StatusCode::OK, &[(ETAG, tag)].into_iter().collect());
        Some(is_not_modified(&request, &facts))
    };
    if tag.starts_with(b"\"") {
        assert_eq!(is_met(tag), is_met(&[b"W/", tag].concat()));
    }
    is_met(tag);
});
