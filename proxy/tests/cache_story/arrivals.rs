//! What has come whole and is not in the store yet: to those who ask for it, it is stored.

use crate::{
    parts::{DIGITS, part, resource},
    support::{
        browser::Answer,
        origin::{Asked, Origin, Step, answer, ok},
        redis::eventually,
        relay::{Class, Flow, Seen, Way, Which},
        story::{STORES, Story, everything},
    },
};

/// What is fetched and not stored, because what was fetched before is on its way into the store.
const UNDER_WAY: &str = "fwd=uri-miss; detail=lease-held";

/// A story whose commits and purges are held back on their way to Redis, longer than either is waited
/// for; it can be read, and leases are granted.
async fn held_back(origin: Origin, routes: &str) -> Story {
    let story = Story::relayed(origin, routes).await;
    story.relay.as_ref().unwrap().set(Which::Each(Class::Writing), Way::Asks, Flow::Held);
    story
}

/// Asks, and waits for the answer alone.
async fn ask(story: &Story, line: &str, fields: &[(&str, &str)]) -> Answer {
    story.browser().await.ask(line, fields).await
}

async fn range(story: &Story, range: &str) -> Answer {
    ask(story, "GET /a", &[("range", &format!("bytes={range}"))]).await
}

fn nothing_is_stored(story: &Story) -> bool {
    story.redis.as_ref().unwrap().resources().is_empty()
}

/// What an app does that knows ranges: of the form `first-last` alone.
fn served(asked: &Asked, fields: &str) -> Vec<Step> {
    let range = asked.field("range").and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return ok(fields, DIGITS);
    };
    let body = &DIGITS[first.parse().unwrap()..=last.parse().unwrap()];
    answer("206 Partial Content", &format!("{fields}Content-Range: bytes {first}-{last}/10\r\n"), body)
}

async fn serving(fields: &'static str) -> Origin {
    Origin::start(move |asked| served(asked, fields)).await
}

#[tokio::test]
async fn section_3_3_a_part_answers_before_it_is_stored() {
    let story = held_back(serving("ETag: \"x\"\r\n").await, &everything("10s")).await;
    assert_eq!(range(&story, "2-6").await.says(), "fwd=uri-miss; stored");
    for (asked, content_range, body) in [("2-6", "bytes 2-6/10", "23456"), ("3-4", "bytes 3-4/10", "34")] {
        let hit = range(&story, asked).await;
        assert_eq!((part(&hit), hit.says()), ((206, content_range, body), "hit; ttl=10"));
    }
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 1);
}

#[tokio::test]
async fn section_3_3_a_part_that_is_not_stored_answers_nothing_else_either() {
    let story = held_back(serving("ETag: \"x\"\r\n").await, &everything("10s")).await;
    range(&story, "2-6").await;
    for asked in ["1-3", "6-7"] {
        assert_eq!(range(&story, asked).await.says(), UNDER_WAY);
    }
    let whole = ask(&story, "GET /a", &[]).await;
    assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=uri-miss; stored", DIGITS));
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 4);
}

#[tokio::test]
async fn a_short_part_is_what_came_of_it_before_it_is_stored_too() {
    let script = |asked: &Asked| match asked.number {
        1 => answer("206 Partial Content", "Content-Range: bytes 4-9/10\r\n", "45678"),
        _ => served(asked, ""),
    };
    let story = held_back(Origin::start(script).await, &everything("10s")).await;
    assert_eq!(part(&range(&story, "4-9").await), (206, "bytes 4-9/10", "45678"));
    assert_eq!(part(&range(&story, "6-8").await), (206, "bytes 6-8/10", "678"));
    assert_eq!(story.origin.count(), 1);
    assert_eq!(part(&range(&story, "6-9").await), (206, "bytes 6-9/10", "6789"));
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 2);
}

#[tokio::test]
async fn a_whole_answers_ranges_and_heads_before_it_is_stored() {
    let story = held_back(serving("").await, &everything("10s")).await;
    assert_eq!(ask(&story, "GET /a", &[]).await.fine(), "fwd=uri-miss; stored");
    assert_eq!(part(&range(&story, "7-8").await), (206, "bytes 7-8/10", "78"));
    let head = ask(&story, "HEAD /a", &[]).await;
    assert_eq!((head.fine(), head.field("content-length")), ("hit; ttl=10", "10"));
    assert!(ask(&story, "GET /a", &[]).await.is_hit());
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 1);
}

#[tokio::test]
async fn what_is_not_stored_is_kept_apart_like_everything_else() {
    let story = held_back(serving("Vary: Accept\r\n").await, &everything("{ ttl: 10s }")).await;
    let ask = async |fields: &[_]| ask(&story, "GET /a", &[&[("range", "bytes=0-4")], fields].concat()).await;
    assert_eq!(ask(&[("accept", "a")]).await.says(), "fwd=uri-miss; stored");
    assert_eq!(ask(&[("accept", "b")]).await.says(), UNDER_WAY);
    assert_eq!(ask(&[("accept", "a"), ("cookie", "session=1")]).await.says(), "fwd=bypass; detail=cookie");
    story.edit(&everything("{ ttl: 10s, set_cookie: store }"));
    assert_eq!(ask(&[("accept", "a")]).await.says(), UNDER_WAY, "under another rule");
    story.edit(&everything("{ ttl: 10s }"));
    assert!(ask(&[("accept", "a")]).await.says().starts_with("hit; "));
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 4);
}

#[tokio::test]
async fn what_is_stale_when_it_comes_answers_nobody() {
    let story =
        held_back(serving("ETag: \"x\"\r\nCache-Control: no-cache\r\n").await, &everything("origin")).await;
    for says in ["fwd=uri-miss; stored", UNDER_WAY] {
        assert_eq!(range(&story, "0-4").await.says(), says);
    }
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 2);
}

#[tokio::test]
async fn what_becomes_obsolete_before_it_is_stored_answers_nobody() {
    let story = held_back(serving("").await, &everything("10s")).await;
    range(&story, "0-4").await;
    let commits = |seen: &Seen| seen.class == Class::Writing;
    let relay = story.relay.as_ref().unwrap();
    eventually("it is to be stored", async || relay.connections().iter().any(commits)).await;
    let latest = || story.app.purges.resource(resource().wide_hash());
    let before = latest();
    // Its answer waits for Redis to remove what it changed.
    let mut writer = story.browser().await;
    writer.send("POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n").await;
    eventually("it is obsolete", async || latest() != before).await;
    assert!(story.app.flights.landings(&resource()) == 0, "it is still on its way");
    assert_eq!(range(&story, "0-4").await.says(), UNDER_WAY);
    assert!(nothing_is_stored(&story));
    assert_eq!(story.origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_moment_is_between_coming_and_being_stored() {
    const ROUNDS: usize = 300;
    for on in STORES {
        let story = Story::cached(on, serving("").await, "10s").await;
        let mut browser = story.browser().await;
        for round in 0..ROUNDS {
            let line = format!("GET /{round}");
            for asked in ["bytes=2-6", "bytes=3-4"] {
                assert_eq!(browser.ask(&line, &[("range", asked)]).await.status, 206);
            }
        }
        assert_eq!(story.origin.count(), ROUNDS, "{on:?}");
    }
}
