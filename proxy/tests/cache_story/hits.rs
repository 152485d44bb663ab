//! Hits: their age, their head, their conditions.

use crate::support::{
    origin::{Gate, Origin, Step, answer, ok, send},
    story::{On, Story},
};

on_both_stores![
    a_silent_origin_is_cached_for_the_ttl,
    a_head_is_answered_from_a_stored_get,
    a_head_fills_nothing,
    a_condition_is_answered_from_the_store,
    a_date_is_a_condition_too,
    a_condition_does_not_reach_the_origin_on_a_fill,
    the_first_bytes_pass_while_the_origin_still_sends,
    members_of_cache_status_from_upstream_stay,
    an_answer_that_was_in_caches_before_is_that_much_older,
    what_an_answer_says_to_one_connection_is_not_stored,
    one_connection_tells_many_stories,
];

async fn a_silent_origin_is_cached_for_the_ttl(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let miss = story.get("/a").await;
    assert_eq!(miss.fine(), "fwd=uri-miss; stored");
    assert!(miss.all("age").is_empty());
    story.pass_millis(3500);
    for _ in 0..2 {
        let hit = story.get("/a").await;
        assert_eq!((hit.fine(), hit.field("age"), hit.body.as_str()), ("hit; ttl=6", "3", "answer 1"));
    }
    story.pass_millis(6000);
    let hit = story.get("/a").await;
    assert_eq!((hit.fine(), hit.field("age")), ("hit; ttl=0", "9"));
    story.pass_millis(1000);
    let stale = story.get("/a").await;
    assert_eq!((stale.fine(), stale.body.as_str()), ("fwd=stale; stored", "answer 2"));
    let hit = story.get("/a").await;
    assert_eq!((hit.is_hit(), hit.field("age"), hit.body.as_str()), (true, "0", "answer 2"));
    assert_eq!(story.origin.count(), 2);
}

async fn a_head_is_answered_from_a_stored_get(on: On) {
    let story = Story::cached(on, Origin::saying("ETag: \"x\"\r\n").await, "10s").await;
    story.get("/a").await;
    let head = story.ask("HEAD /a", &[]).await;
    assert!(head.is_hit());
    assert_eq!((head.field("content-length"), head.field("etag"), head.field("age")), ("8", "\"x\"", "0"));
    assert_eq!(head.body, "");
    assert_eq!(story.origin.count(), 1);
}

async fn a_head_fills_nothing(on: On) {
    let script = |asked: &crate::support::origin::Asked| match asked.method.as_str() {
        "HEAD" => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")],
        _ => ok("", "answer 2"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let head = story.ask("HEAD /a", &[]).await;
    assert_eq!((head.fine(), head.field("content-length")), ("fwd=uri-miss; detail=head", "8"));
    assert_eq!(story.origin.last().method, "HEAD");
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    assert!(story.ask("HEAD /a", &[]).await.is_hit());
    assert_eq!(story.origin.count(), 2);
}

const REPRESENTATION: &str = "ETag: \"x\"\r\nContent-Type: text/plain\r\nContent-Language: de\r\n\
    Cache-Control: max-age=9\r\nVary: accept\r\nContent-Location: /b\r\n\
    Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

async fn a_condition_is_answered_from_the_store(on: On) {
    let story = Story::cached(on, Origin::saying(REPRESENTATION).await, "10s").await;
    story.get("/a").await;
    let fresh = story.get_with("/a", &[("if-none-match", "\"y\", W/\"x\"")]).await;
    assert_eq!((fresh.status, fresh.body.as_str()), (304, ""));
    assert!(fresh.says().starts_with("hit; ttl="), "{fresh:?}");
    // RFC 9110 §15.4.5: these must be sent, …
    for (name, value) in [
        ("etag", "\"x\""),
        ("cache-control", "max-age=9"),
        ("vary", "accept"),
        ("content-location", "/b"),
        ("age", "0"),
    ] {
        assert_eq!(fresh.field(name), value, "{name}");
    }
    assert_eq!(fresh.all("date").len(), 1);
    // … and these describe content that is not there.
    for name in ["content-type", "content-language", "content-length", "transfer-encoding"] {
        assert!(fresh.all(name).is_empty(), "{name}");
    }
    let head = story.ask("HEAD /a", &[("if-none-match", "*")]).await;
    assert_eq!(head.status, 304);
    let other = story.get_with("/a", &[("if-none-match", "\"y\"")]).await;
    assert!(other.is_hit());
    assert_eq!(story.origin.count(), 1);
}

async fn a_date_is_a_condition_too(on: On) {
    let story = Story::cached(on, Origin::saying(REPRESENTATION).await, "10s").await;
    story.get("/a").await;
    for (date, status) in
        [("Sun, 06 Nov 1994 08:49:37 GMT", 304), ("Sun, 06 Nov 1994 08:49:36 GMT", 200), ("yesterday", 200)]
    {
        assert_eq!(story.get_with("/a", &[("if-modified-since", date)]).await.status, status, "{date}");
    }
    let both = [("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"), ("if-none-match", "\"y\"")];
    assert_eq!(story.get_with("/a", &both).await.status, 200);
}

async fn a_condition_does_not_reach_the_origin_on_a_fill(on: On) {
    let story = Story::cached(on, Origin::saying(REPRESENTATION).await, "10s").await;
    let conditions = [("if-none-match", "\"x\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let fresh = story.get_with("/a", &conditions).await;
    assert_eq!((fresh.status, fresh.says()), (304, "fwd=uri-miss; stored"));
    assert_eq!(story.origin.last().field("if-none-match"), None);
    assert_eq!(story.origin.last().field("if-modified-since"), None);
    let whole = story.get("/a").await;
    assert_eq!((whole.is_hit(), whole.body.as_str()), (true, "answer 1"));
}

async fn the_first_bytes_pass_while_the_origin_still_sends(on: On) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |_: &_| {
        vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"),
            Step::Wait(door.clone()),
            send("-last"),
        ]
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let (mut one, mut two) = (story.browser().await, story.browser().await);
    for browser in [&mut one, &mut two] {
        browser.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
        let head = browser.head().await.unwrap();
        assert_eq!(head.field("content-length"), "10");
        assert_eq!(browser.bytes(5).await.unwrap(), b"first");
    }
    gate.open();
    for browser in [&mut one, &mut two] {
        assert_eq!(browser.bytes(5).await.unwrap(), b"-last");
    }
    let hit = story.get("/a").await;
    assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "first-last"));
    assert_eq!(story.origin.count(), 1);
}

async fn members_of_cache_status_from_upstream_stay(on: On) {
    let story = Story::cached(on, Origin::saying("Cache-Status: app; hit\r\n").await, "10s").await;
    let miss = story.get("/a").await;
    assert_eq!(miss.all("cache-status"), ["app; hit", "sidecache; fwd=uri-miss; stored"]);
    story.pass_millis(500);
    let hit = story.get("/a").await;
    assert_eq!(hit.all("cache-status"), ["app; hit", "sidecache; hit; ttl=9"]);
}

async fn an_answer_that_was_in_caches_before_is_that_much_older(on: On) {
    let story = Story::cached(on, Origin::saying("Age: 7\r\n").await, "10s").await;
    assert_eq!(story.get("/a").await.field("age"), "7");
    story.pass_millis(1500);
    let hit = story.get("/a").await;
    assert_eq!((hit.fine(), hit.field("age")), ("hit; ttl=1", "8"));
    story.pass_millis(2000);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
}

/// `TE: trailers` too, which stays in a request alone: no stored response may have it.
async fn what_an_answer_says_to_one_connection_is_not_stored(on: On) {
    const SAID: &str =
        "TE: trailers\r\nKeep-Alive: timeout=5\r\nCache-Control: max-age=10\r\nETag: \"x\"\r\n";
    let origin = Origin::start(|asked| match asked.field("if-none-match") {
        Some(_) => answer("304 Not Modified", SAID, ""),
        None => ok(SAID, "kept"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    for is_hit in [false, true, false, true] {
        let got = story.get("/a").await;
        assert_eq!((got.is_hit(), got.body.as_str()), (is_hit, "kept"), "{}", got.fine());
        assert!(got.all("te").is_empty() && got.all("keep-alive").is_empty(), "{}", got.fine());
        story.settled().await;
        if is_hit {
            story.pass_millis(11_000);
        }
    }
    assert_eq!(story.origin.count(), 2);
}

async fn one_connection_tells_many_stories(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let mut browser = story.browser().await;
    assert_eq!(browser.ask("GET /a", &[]).await.fine(), "fwd=uri-miss; stored");
    assert!(browser.ask("GET /a", &[]).await.is_hit());
    story.settled().await;
    assert!(browser.ask("HEAD /a", &[]).await.is_hit());
    assert_eq!(browser.ask("GET /b", &[]).await.fine(), "fwd=uri-miss; stored");
    assert!(browser.ask("GET /a", &[]).await.is_hit());
    assert_eq!(browser.ask("DELETE /a", &[]).await.fine(), "fwd=method");
    assert_eq!(browser.ask("GET /a", &[]).await.fine(), "fwd=uri-miss; stored");
}
