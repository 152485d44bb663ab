//! A rule in shadow says what a cache would have done, and lets the app answer.

use crate::support::{
    origin::{Asked, Origin, Step, answer, chunk, chunked_head, last_chunk, ok, send},
    story::{On, Story, everything},
};

on_both_stores![
    what_would_be_a_hit_says_so_and_the_app_answers,
    what_would_be_a_miss_says_what_it_would_say,
    the_client_gets_what_the_app_sent,
    its_end_counts_from_what_a_cache_would_have_stored,
    variants_are_told_apart,
    a_body_that_is_cut_or_too_long_is_not_noted,
    a_purge_counts,
    nothing_noted_is_ever_served,
];

const SHADOW: &str = "{ ttl: 10s, shadow: true }";

fn numbered() -> impl Fn(&Asked) -> Vec<Step> {
    |asked: &Asked| ok("", &format!("number {}", asked.number))
}

async fn what_would_be_a_hit_says_so_and_the_app_answers(on: On) {
    let story = Story::cached(on, Origin::start(numbered()).await, SHADOW).await;
    let first = story.get("/a").await;
    assert_eq!((first.fine(), &*first.body), ("fwd=uri-miss; stored", "number 1"));
    story.stores(1).await;
    for number in 2..5 {
        let next = story.get("/a").await;
        assert_eq!(next.fine(), "fwd=bypass; detail=shadow-hit");
        assert_eq!(next.body, format!("number {number}"));
        assert_eq!(next.field("age"), "");
    }
    let head = story.ask("HEAD /a", &[]).await;
    assert_eq!(head.fine(), "fwd=bypass; detail=shadow-hit");
    let part = story.get_with("/a", &[("range", "bytes=0-1")]).await;
    assert_eq!(part.fine(), "fwd=bypass; detail=shadow-hit");
    assert_eq!(story.origin.last().field("range"), Some("bytes=0-1"));
}

async fn what_would_be_a_miss_says_what_it_would_say(on: On) {
    let script = |asked: &Asked| match asked.target.as_str() {
        "/private" => ok("Cache-Control: private\r\n", "mine"),
        "/session" => ok("Set-Cookie: id=1\r\n", "hello"),
        "/missing" => answer("404 Not Found", "", ""),
        _ => ok("", "all"),
    };
    let story = Story::cached(on, Origin::start(script).await, SHADOW).await;
    for (target, said) in [
        ("/private", "fwd=uri-miss; detail=private"),
        ("/session", "fwd=uri-miss; detail=set-cookie"),
        ("/missing", "fwd=uri-miss; detail=status-not-listed"),
    ] {
        for _ in 0..2 {
            assert_eq!(story.get(target).await.says(), said, "{target}");
        }
    }
    let mine = story.get_with("/a", &[("cookie", "id=1")]).await;
    assert_eq!(mine.fine(), "fwd=bypass; detail=cookie");
    assert_eq!(story.origin.last().field("cookie"), Some("id=1"));
}

async fn the_client_gets_what_the_app_sent(on: On) {
    let script = |asked: &Asked| match asked.field("if-none-match") {
        Some("\"1\"") => answer("304 Not Modified", "ETag: \"1\"\r\n", ""),
        _ => ok("ETag: \"1\"\r\nSet-Cookie: id=1\r\nCache-Tag: t\r\n", "all"),
    };
    let cache = "{ ttl: 10s, shadow: true, set_cookie: strip, credentials: ignore, client_control: honour }";
    let story = Story::cached(on, Origin::start(script).await, cache).await;
    for (round, said) in [(0, "fwd=uri-miss; stored"), (1, "fwd=bypass; detail=shadow-hit")] {
        let whole = story.get_with("/a", &[("cookie", "who=me"), ("accept-encoding", "br;q=0.3")]).await;
        assert_eq!((whole.fine(), whole.field("set-cookie")), (said, "id=1"), "{round}");
        assert_eq!((whole.field("cache-tag"), &*whole.body), ("t", "all"));
        let asked = story.origin.last();
        assert_eq!(
            (asked.field("cookie"), asked.field("accept-encoding")),
            (Some("who=me"), Some("br;q=0.3"))
        );
        story.stores(1).await;
    }
    let unchanged = story.get_with("/a", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((unchanged.status, unchanged.says()), (304, "fwd=bypass; detail=shadow-hit"));
    let unknown = story.get_with("/b", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((unknown.status, unknown.says()), (304, "fwd=uri-miss"));
    let nowhere = story.get_with("/c", &[("cache-control", "only-if-cached")]).await;
    assert_eq!((nowhere.status, nowhere.says()), (200, "fwd=request; stored; detail=client-control"));
}

async fn its_end_counts_from_what_a_cache_would_have_stored(on: On) {
    let story = Story::cached(on, Origin::start(numbered()).await, SHADOW).await;
    story.get("/a").await;
    story.stores(1).await;
    story.pass_millis(6_500);
    assert_eq!(story.get("/a").await.fine(), "fwd=bypass; detail=shadow-hit");
    story.pass_millis(6_500);
    // That one would not have fetched it, so what is noted is as old as the first.
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
}

async fn variants_are_told_apart(on: On) {
    let story = Story::cached(on, Origin::start(|_| ok("Vary: X-Kind\r\n", "all")).await, SHADOW).await;
    let mut said = Vec::new();
    for kind in ["1", "2", "1"] {
        said.push(story.get_with("/a", &[("x-kind", kind)]).await.fine().to_owned());
        story.stores(1).await;
    }
    assert_eq!(said, ["fwd=uri-miss; stored", "fwd=vary-miss; stored", "fwd=bypass; detail=shadow-hit"]);
}

async fn a_body_that_is_cut_or_too_long_is_not_noted(on: On) {
    let script = |asked: &Asked| match asked.target.as_str() {
        "/cut" => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Step::Close],
        "/long" => ok("", "0123456789"),
        _ => vec![chunked_head(""), chunk("0123456789"), last_chunk()],
    };
    let cache = "{ ttl: 10s, shadow: true, max_body: 9B }";
    let story = Story::cached(on, Origin::start(script).await, cache).await;
    for _ in 0..2 {
        assert_eq!(story.get("/long").await.fine(), "fwd=uri-miss; detail=too-large");
        let chunked = story.get("/chunked").await;
        assert_eq!((chunked.fine(), &*chunked.body), ("fwd=uri-miss; stored", "0123456789"));
        let cut = story.get("/cut").await;
        assert_eq!((cut.says(), &*cut.body, cut.whole), ("fwd=uri-miss; stored", "half", false));
    }
}

async fn a_purge_counts(on: On) {
    let story = Story::cached(on, Origin::start(numbered()).await, SHADOW).await;
    story.get("/a").await;
    story.stores(1).await;
    assert_eq!(story.post("POST /a", "").await.status, 200);
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
}

async fn nothing_noted_is_ever_served(on: On) {
    let story = Story::cached(on, Origin::start(numbered()).await, SHADOW).await;
    story.get("/a").await;
    story.stores(1).await;
    story.edit(&everything("10s"));
    let first = story.get("/a").await;
    assert_eq!((first.fine(), &*first.body), ("fwd=miss; stored; detail=rule-changed", "number 2"));
    assert_eq!((story.get("/a").await.is_hit(), &*story.get("/a").await.body), (true, "number 2"));
    // And the other way: what is served is not taken for what is noted.
    story.edit(&everything(SHADOW));
    assert_eq!(story.get("/a").await.fine(), "fwd=miss; stored; detail=rule-changed");
}
