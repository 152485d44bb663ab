//! Ranges of what is stored whole.

use crate::{
    parts::{DIGITS, part},
    support::{
        origin::{Asked, Origin, Step, answer, ok},
        story::{On, Story},
    },
};

on_both_stores![
    section_14_2_one_range_is_cut_from_a_stored_response,
    section_14_6_several_ranges_come_in_parts,
    section_15_5_17_what_is_beyond_the_end_is_not_satisfiable,
    section_14_2_what_is_not_understood_gets_the_whole,
    section_13_1_5_if_range_decides_between_part_and_whole,
    section_13_2_2_conditions_go_before_ranges,
    section_14_2_only_a_200_to_a_get_has_ranges,
    a_stale_response_has_ranges_too,
];

const VALIDATED: &str = "ETag: \"x\"\r\nContent-Type: text/plain\r\nCache-Control: max-age=9\r\n\
    Date: Mon, 07 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
/// With these, what is stored is fresh for so long as the rule says.
const OVERRIDDEN: &str = "{ ttl: 10s, override: true }";

async fn digits(on: On, fields: &'static str, cache: &str) -> Story {
    let story = Story::cached(on, Origin::start(|_| ok(fields, DIGITS)).await, cache).await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    story
}

async fn section_14_2_one_range_is_cut_from_a_stored_response(on: On) {
    let story = digits(on, VALIDATED, OVERRIDDEN).await;
    story.pass_millis(2500);
    for (range, content_range, body) in [
        ("bytes=0-1", "bytes 0-1/10", "01"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=0-", "bytes 0-9/10", DIGITS),
        ("bytes=4-400", "bytes 4-9/10", "456789"),
        ("bytes=1-2, 99-", "bytes 1-2/10", "12"),
    ] {
        let cut = story.get_with("/a", &[("range", range)]).await;
        assert_eq!(part(&cut), (206, content_range, body), "{range}");
        assert_eq!((cut.says(), cut.field("age")), ("hit; ttl=7", "2"));
        // RFC 9110 §15.3.7: what a 200 would have had.
        assert_eq!(cut.field("content-length"), body.len().to_string());
        assert_eq!((cut.field("etag"), cut.field("content-type")), ("\"x\"", "text/plain"));
        assert_eq!((cut.all("date").len(), cut.field("cache-control")), (1, "max-age=9"));
    }
    assert_eq!(story.origin.count(), 1);
}

async fn section_14_6_several_ranges_come_in_parts(on: On) {
    let body = |asked: &Asked| match asked.target.as_str() {
        "/typed" => ok("Content-Type: text/plain\r\n", &DIGITS.repeat(30)),
        _ => ok("", &DIGITS.repeat(30)),
    };
    let story = Story::cached(on, Origin::start(body).await, "10s").await;
    for (target, media_type) in [("/typed", "content-type: text/plain\r\n"), ("/plain", "")] {
        story.get(target).await;
        let parts = story.get_with(target, &[("range", "bytes=-2,0-2,1-4,150-153")]).await;
        assert_eq!(part(&parts).0, 206);
        assert!(parts.says().starts_with("hit; "), "{parts:?}");
        assert!(parts.all("content-range").is_empty(), "{parts:?}");
        let boundary = parts.field("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert_eq!(boundary.len(), 32);
        let delimiter = format!("\r\n--{boundary}");
        let wanted = [("298-299", "89"), ("0-4", "01234"), ("150-153", "0123")].map(|(range, bytes)| {
            format!("{delimiter}\r\n{media_type}content-range: bytes {range}/300\r\n\r\n{bytes}")
        });
        assert_eq!(parts.body, format!("{}{delimiter}--\r\n", wanted.concat()));
        assert_eq!(parts.field("content-length"), parts.body.len().to_string());
        let again = story.get_with(target, &[("range", "bytes=-2,0-2")]).await;
        assert_ne!(again.field("content-type"), parts.field("content-type"), "nobody foresees a boundary");
    }
    // Together: one part, which needs no envelope.
    let near = story.get_with("/typed", &[("range", "bytes=20-29,0-9")]).await;
    assert_eq!(part(&near), (206, "bytes 0-29/300", DIGITS.repeat(3).as_str()));
    assert_eq!(story.origin.count(), 2);
}

async fn section_15_5_17_what_is_beyond_the_end_is_not_satisfiable(on: On) {
    let fields = "CDN-Cache-Control: max-age=60\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT\r\n\
        Content-Type: text/plain\r\nAccess-Control-Allow-Origin: *\r\n";
    let story = digits(on, fields, OVERRIDDEN).await;
    for range in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99-,50-60"] {
        let none = story.get_with("/a", &[("range", range)]).await;
        assert_eq!(part(&none), (416, "bytes */10", ""), "{range}");
        assert_eq!((&none.says()[..5], none.field("content-length")), ("hit; ", "0"));
        // A cache behind us that kept it would answer whole requests with it.
        assert_eq!(none.field("cache-control"), "no-store");
        for name in ["expires", "cdn-cache-control", "content-type"] {
            assert!(none.all(name).is_empty(), "{name}");
        }
        assert_eq!(none.field("access-control-allow-origin"), "*");
    }
    assert!(story.get("/a").await.is_hit());
}

async fn section_14_2_what_is_not_understood_gets_the_whole(on: On) {
    let story = digits(on, "", "10s").await;
    let many: Vec<_> = (0..17).map(|n| format!("{n}-{n}")).collect();
    let many = format!("bytes={}", many.join(","));
    for range in ["bytes=2-1", "bytes=x", "items=0-1", "bytes=0-1,x", "", &many] {
        let whole = story.get_with("/a", &[("range", range)]).await;
        assert_eq!((whole.is_hit(), whole.body.as_str()), (true, DIGITS), "{range}");
    }
    let twice = story.get_with("/a", &[("range", "bytes=0-1"), ("range", "bytes=0-1")]).await;
    assert!(twice.is_hit());
}

async fn section_13_1_5_if_range_decides_between_part_and_whole(on: On) {
    let story = digits(on, VALIDATED, OVERRIDDEN).await;
    for (condition, status) in [
        ("\"x\"", 206),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("\"y\"", 200),
        ("W/\"x\"", 200),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ] {
        let answer = story.get_with("/a", &[("range", "bytes=0-1"), ("if-range", condition)]).await;
        assert_eq!(answer.status, status, "{condition}");
        assert_eq!(answer.body, if status == 206 { "01" } else { DIGITS }, "{condition}");
    }
    assert_eq!(story.origin.count(), 1);
}

async fn section_13_2_2_conditions_go_before_ranges(on: On) {
    let story = digits(on, VALIDATED, OVERRIDDEN).await;
    let same = [("range", "bytes=0-1"), ("if-none-match", "\"x\"")];
    let unchanged = story.get_with("/a", &same).await;
    assert_eq!((unchanged.status, unchanged.field("content-range")), (304, ""));
    let beyond = [("range", "bytes=99-"), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
    assert_eq!(story.get_with("/a", &beyond).await.status, 304);
    let other = [("range", "bytes=0-1"), ("if-none-match", "\"y\"")];
    assert_eq!(part(&story.get_with("/a", &other).await), (206, "bytes 0-1/10", "01"));
}

async fn section_14_2_only_a_200_to_a_get_has_ranges(on: On) {
    let script = |asked: &Asked| match asked.target.as_str() {
        "/none" => answer("404 Not Found", "", DIGITS),
        _ => ok("", DIGITS),
    };
    let story = Story::cached(on, Origin::start(script).await, "{ ttl: 10s, status: { 404: 10s } }").await;
    story.get("/none").await;
    let none = story.get_with("/none", &[("range", "bytes=0-1")]).await;
    assert_eq!((part(&none), &none.says()[..5]), ((404, "", DIGITS), "hit; "));
    story.get("/a").await;
    let head = story.ask("HEAD /a", &[("range", "bytes=0-1")]).await;
    assert_eq!((head.is_hit(), head.field("content-length")), (true, "10"));
}

async fn a_stale_response_has_ranges_too(on: On) {
    for (directive, says) in [
        ("stale-while-revalidate", "; detail=stale-while-revalidate"),
        ("stale-if-error", "fwd=stale; detail=stale-if-error"),
    ] {
        let script = move |asked: &Asked| match asked.number {
            1 => ok(&format!("Cache-Control: max-age=10, {directive}=10\r\n"), DIGITS),
            _ => vec![Step::Reset],
        };
        let story = Story::cached(on, Origin::start(script).await, "origin").await;
        story.get("/a").await;
        story.pass_millis(12_500);
        let stale = story.get_with("/a", &[("range", "bytes=0-1")]).await;
        assert_eq!(part(&stale), (206, "bytes 0-1/10", "01"));
        assert!(stale.says().ends_with(says), "{stale:?}");
    }
}
