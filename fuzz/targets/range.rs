//! `Range`, `If-Range` and `Content-Range`: the first line is the length of the body, the rest are fields.
#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use sidecache::policy::{
    facts::ResponseFacts,
    range::{ContentRange, RangeRequest, Selection},
};
use sidecache_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let length = std::str::from_utf8(&data[..end]).ok().and_then(|text| text.parse::<u64>().ok());
    let headers = fields(data.get(end + 1..).unwrap_or_default());
    let _ = ContentRange::of(&headers);
    let (Some(length), Some(asked)) = (length, RangeRequest::of(&headers)) else { return };
    if let Selection::Spans(spans) = asked.select(&ResponseFacts::of(StatusCode::OK, &headers), length) {
        assert!(spans.iter().all(|span| span.start < span.end && span.end <= length));
        assert!(spans.iter().map(|span| span.length()).sum::<u64>() <= length);
    }
});
