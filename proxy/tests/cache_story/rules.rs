//! What a rule says, and what the origin says against it.

use crate::support::{
    origin::{Origin, answer, ok},
    story::{On, Story, everything},
};

on_both_stores![
    the_origins_word_beats_a_ttl,
    section_4_2_1_a_lifetime_that_cannot_be_read_is_none,
    under_cache_origin_the_origin_decides,
    override_beats_all_but_two_directives,
    ignore_beats_those_two,
    only_listed_statuses_are_stored,
    a_set_cookie_is_for_one,
    only_listed_types_of_content_are_stored,
    a_reload_key_cannot_undo_the_shield,
    a_client_is_heard_where_the_rule_says_so,
    only_if_cached_is_answered_here,
    an_edited_ttl_acts_on_what_is_stored,
    a_rule_that_stores_otherwise_is_a_miss,
    the_first_rule_that_matches_counts,
];

/// An origin that says what the target's query asks for, one field line for each parameter:
/// `/x?cache-control=no-store`.
async fn obedient() -> Origin {
    Origin::start(|asked| {
        let query = asked.target.split_once('?').map_or("", |halves| halves.1);
        let fields = query.split('&').filter_map(|line| line.split_once('='));
        let fields: String =
            fields.map(|(name, value)| format!("{name}: {}\r\n", value.replace('_', " "))).collect();
        ok(&fields, &format!("answer {}", asked.number))
    })
    .await
}

async fn assert_stories(story: &Story, stories: &[(&str, &str, bool)]) {
    for (query, first, again) in stories {
        let target = format!("/x?{query}");
        assert_eq!(story.get(&target).await.fine(), *first, "{query}");
        assert_eq!(story.get(&target).await.is_hit(), *again, "{query}");
    }
}

async fn the_origins_word_beats_a_ttl(on: On) {
    let story = Story::cached(on, obedient().await, "10s").await;
    assert_stories(
        &story,
        &[
            ("", "fwd=uri-miss; stored", true),
            ("cache-control=public", "fwd=uri-miss; stored", true),
            ("cache-control=max-age=5", "fwd=uri-miss; stored", true),
            ("cache-control=max-age=0", "fwd=uri-miss; detail=not-fresh", false),
            ("cache-control=max-age=5,_s-maxage=0", "fwd=uri-miss; detail=not-fresh", false),
            ("cache-control=no-store", "fwd=uri-miss; detail=no-store", false),
            ("cache-control=max-age=5,_private", "fwd=uri-miss; detail=private", false),
            ("cache-control=no-cache", "fwd=uri-miss; detail=no-cache", false),
            ("pragma=no-cache", "fwd=uri-miss; detail=no-cache", false),
            ("expires=0", "fwd=uri-miss; detail=not-fresh", false),
            ("expires=Sun,_06_Nov_1994_08:49:37_GMT", "fwd=uri-miss; detail=not-fresh", false),
        ],
    )
    .await;
    story.pass_millis(5500);
    assert_eq!(story.get("/x?cache-control=max-age=5").await.fine(), "fwd=stale; stored");
    assert!(story.get("/x?cache-control=public").await.is_hit());
}

async fn section_4_2_1_a_lifetime_that_cannot_be_read_is_none(on: On) {
    for cache in ["10s", "origin"] {
        let story = Story::cached(on, obedient().await, cache).await;
        for control in ["-1", "'1'", "abc", "1.5", "0x10", "1;_s-maxage", "", "1s", "+5", "1_2"] {
            let target = format!("/x?cache-control=max-age={control}");
            for _ in 0..2 {
                assert!(!story.get(&target).await.is_hit(), "{cache}: {control}");
            }
        }
        // What is too large is the most there is.
        for control in ["2147483648", "9223372036854775808", "99999999999999999999999"] {
            let target = format!("/x?cache-control=max-age={control}");
            assert_eq!(story.get(&target).await.fine(), "fwd=uri-miss; stored", "{cache}: {control}");
            story.pass_millis(3_600_000);
            assert!(story.get(&target).await.is_hit(), "{cache}: {control}");
        }
    }
}

async fn under_cache_origin_the_origin_decides(on: On) {
    let story = Story::cached(on, obedient().await, "origin").await;
    assert_stories(
        &story,
        &[
            ("", "fwd=uri-miss; detail=no-lifetime", false),
            ("cache-control=public", "fwd=uri-miss; detail=no-lifetime", false),
            ("cache-control=max-age=5", "fwd=uri-miss; stored", true),
            ("cache-control=max-age=0,_s-maxage=5", "fwd=uri-miss; stored", true),
            ("expires=Fri,_06_Nov_2099_08:49:37_GMT", "fwd=uri-miss; stored", true),
            ("expires=0", "fwd=uri-miss; detail=not-fresh", false),
            ("cache-control=no-store", "fwd=uri-miss; detail=no-store", false),
        ],
    )
    .await;
    story.pass_millis(5500);
    assert_eq!(story.get("/x?cache-control=max-age=5").await.fine(), "fwd=stale; stored");
    assert!(story.get("/x?expires=Fri,_06_Nov_2099_08:49:37_GMT").await.is_hit());
}

async fn override_beats_all_but_two_directives(on: On) {
    let story = Story::cached(on, obedient().await, "{ ttl: 10s, override: true }").await;
    assert_stories(
        &story,
        &[
            ("cache-control=max-age=1", "fwd=uri-miss; stored", true),
            ("cache-control=no-cache", "fwd=uri-miss; stored", true),
            ("expires=0", "fwd=uri-miss; stored", true),
            ("pragma=no-cache", "fwd=uri-miss; stored", true),
            ("cache-control=no-store", "fwd=uri-miss; detail=no-store", false),
            ("cache-control=private", "fwd=uri-miss; detail=private", false),
        ],
    )
    .await;
    story.pass_millis(9500);
    assert_eq!(story.get("/x?cache-control=max-age=1").await.fine(), "hit; ttl=0");
}

async fn ignore_beats_those_two(on: On) {
    let cache = "{ ttl: 10s, override: true, ignore: [no-store, private] }";
    let story = Story::cached(on, obedient().await, cache).await;
    assert_stories(
        &story,
        &[
            ("cache-control=no-store", "fwd=uri-miss; stored", true),
            ("cache-control=private", "fwd=uri-miss; stored", true),
        ],
    )
    .await;
}

/// An origin that answers `/404` with 404.
async fn with_statuses() -> Origin {
    Origin::start(|asked| {
        let status = asked.target.trim_start_matches('/');
        answer(&format!("{status} Because"), "", &format!("answer {}", asked.number))
    })
    .await
}

async fn only_listed_statuses_are_stored(on: On) {
    let story = Story::cached(on, with_statuses().await, "{ ttl: 10s, status: { 404: 2s } }").await;
    for status in [500, 503, 301, 410, 203] {
        let target = format!("/{status}");
        for _ in 0..2 {
            let answer = story.get(&target).await;
            assert_eq!((answer.status, answer.says()), (status, "fwd=uri-miss; detail=status-not-listed"));
        }
    }
    let missing = story.get("/404").await;
    assert_eq!((missing.status, missing.says()), (404, "fwd=uri-miss; stored"));
    story.pass_millis(1500);
    let hit = story.get("/404").await;
    assert_eq!((hit.status, hit.says(), hit.field("age")), (404, "hit; ttl=0", "1"));
    // Conditions are for what a 200 would be: a 404 is repeated.
    assert_eq!(story.get_with("/404", &[("if-none-match", "*")]).await.status, 404);
    story.pass_millis(1000);
    assert_eq!(story.get("/404").await.says(), "fwd=stale; stored");
}

async fn a_set_cookie_is_for_one(on: On) {
    let sets = || Origin::saying("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n");
    let story = Story::cached(on, sets().await, "10s").await;
    for _ in 0..2 {
        let own = story.get("/a").await;
        assert_eq!(own.fine(), "fwd=uri-miss; detail=set-cookie");
        assert_eq!(own.all("set-cookie"), ["a=1", "b=2"]);
    }
    story.edit(&everything("{ ttl: 10s, set_cookie: strip }"));
    let first = story.get("/a").await;
    assert_eq!(first.fine(), "fwd=uri-miss; stored");
    let hit = story.get("/a").await;
    assert!(hit.is_hit());
    assert!(first.all("set-cookie").is_empty() && hit.all("set-cookie").is_empty());
    story.edit(&everything("{ ttl: 10s, set_cookie: store }"));
    assert_eq!(story.get("/a").await.fine(), "fwd=miss; stored; detail=rule-changed");
    let hit = story.get("/a").await;
    assert!(hit.is_hit());
    assert_eq!(hit.all("set-cookie"), ["a=1", "b=2"]);
}

async fn only_listed_types_of_content_are_stored(on: On) {
    let story = Story::cached(on, obedient().await, "{ ttl: 10s, content_type: [image/*, text/css] }").await;
    assert_stories(
        &story,
        &[
            ("content-type=image/png", "fwd=uri-miss; stored", true),
            ("content-type=text/css;charset=utf-8", "fwd=uri-miss; stored", true),
            ("content-type=text/html", "fwd=uri-miss; detail=content-type", false),
            ("content-type=text/css&content-type=text/html", "fwd=uri-miss; detail=content-type", false),
            ("", "fwd=uri-miss; detail=content-type", false),
        ],
    )
    .await;
    // What was stored before it was asked for is not served.
    story.edit(&everything("10s"));
    assert_eq!(story.get("/y?content-type=text/html").await.fine(), "fwd=uri-miss; stored");
    story.edit(&everything("{ ttl: 10s, content_type: image/* }"));
    let page = story.get("/y?content-type=text/html").await;
    assert_eq!(page.fine(), "fwd=miss; detail=rule-changed");
}

async fn a_reload_key_cannot_undo_the_shield(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    assert_eq!(story.get_with("/a", &[("cache-control", "no-store")]).await.fine(), "fwd=uri-miss; stored");
    for field in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
        ("cache-control", "min-fresh=100"),
    ] {
        assert!(story.get_with("/a", &[field]).await.is_hit(), "{field:?}");
    }
    assert_eq!(story.origin.count(), 1);
}

async fn a_client_is_heard_where_the_rule_says_so(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "{ ttl: 10s, client_control: honour }").await;
    let cold = story.get_with("/a", &[("cache-control", "no-store")]).await;
    assert_eq!(cold.fine(), "fwd=request; detail=client-no-store");
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    story.pass_millis(3500);
    for field in [
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "min-fresh=20"),
    ] {
        story.pass_millis(1500);
        let asked = story.get_with("/a", &[field]).await;
        assert_eq!(asked.fine(), "fwd=request; stored; detail=client-control", "{field:?}");
    }
    story.pass_millis(1500);
    assert!(story.get_with("/a", &[("cache-control", "max-age=2")]).await.is_hit());
    assert!(story.get_with("/a", &[("cache-control", "min-fresh=5")]).await.is_hit());
    // Newest of what was fetched for somebody's `no-cache`.
    assert_eq!(story.get("/a").await.body, "answer 6");
}

async fn only_if_cached_is_answered_here(on: On) {
    let story = Story::cached(on, Origin::saying("Cache-Control: max-age=5\r\n").await, "origin").await;
    let only = [("cache-control", "only-if-cached")];
    let cold = story.get_with("/a", &only).await;
    assert_eq!((cold.status, cold.all("cache-status").len()), (504, 0));
    assert_eq!(cold.field("proxy-status"), "sidecache; error=http_request_denied");
    story.get("/a").await;
    assert!(story.get_with("/a", &only).await.is_hit());
    story.pass_millis(6000);
    assert_eq!(story.get_with("/a", &only).await.status, 504);
    assert_eq!(story.origin.count(), 1);
}

async fn an_edited_ttl_acts_on_what_is_stored(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    story.get("/a").await;
    story.pass_millis(5500);
    story.edit(&everything("20s"));
    assert_eq!(story.get("/a").await.fine(), "hit; ttl=14");
    story.pass_millis(10_000);
    assert_eq!(story.get("/a").await.fine(), "hit; ttl=4");
    story.edit(&everything("5s"));
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
}

async fn a_rule_that_stores_otherwise_is_a_miss(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    for cache in [
        "{ ttl: 10s, credentials: ignore }",
        "{ ttl: 10s, set_cookie: strip }",
        "{ ttl: 10s, override: true, ignore: [private] }",
    ] {
        story.edit(&everything("10s"));
        story.get("/a").await;
        story.edit(&everything(cache));
        let changed = story.get("/a").await;
        assert_eq!(changed.fine(), "fwd=miss; stored; detail=rule-changed", "{cache}");
        assert!(story.get("/a").await.is_hit());
    }
}

async fn the_first_rule_that_matches_counts(on: On) {
    let yaml = "routes:\n  - { match: /off, cache: off }\n  - { match: /on, methods: [GET], cache: 10s }\n";
    let story = Story::start(on, Origin::saying("").await, yaml).await;
    for _ in 0..2 {
        assert_eq!(story.get("/off").await.fine(), "fwd=bypass; detail=rule-off");
        assert_eq!(story.get("/other").await.fine(), "fwd=bypass; detail=no-rule");
        assert_eq!(story.post("POST /off", "x").await.fine(), "fwd=bypass; detail=rule-off");
        assert_eq!(story.post("POST /on", "x").await.fine(), "fwd=bypass; detail=no-rule");
    }
    assert_eq!(story.get("/on").await.fine(), "fwd=uri-miss; stored");
    assert!(story.ask("HEAD /on", &[]).await.is_hit());
    assert!(story.get("/on").await.is_hit());
}
