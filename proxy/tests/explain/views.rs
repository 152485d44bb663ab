//! What an explanation shows beside the words.

use sidecache::{advice::Advice, status::Detail};

use super::{Fields, afterwards, explained, explained_by_the_app};
use crate::support::{
    browser::request,
    origin::{Asked, Gate, Origin, Step, chunk, chunked_head, last_chunk, ok},
    redis::eventually,
    story::{On, Story, everything},
};

const NONE: Fields<'static> = &[];

#[tokio::test]
async fn the_rule_and_why_not_those_before() {
    let yaml = "routes:
  - { match: /b, cache: 1m }
  - { match: /a, methods: [POST], cache: off }
  - { match: /a, host: other.test, name: elsewhere, cache: 1m }
  - { match: /a, headers: { x-beta: present }, name: beta, cache: 1m }
  - { match: /a, name: page, cache: { ttl: 5m, key: { query: [p], headers: [x-a], cookies: [lang] } } }
  - { match: /**, cache: off }
";
    let story = Story::start(On::Memory, Origin::saying("Vary: accept\r\n").await, yaml).await;
    let report = explained(&story, "GET /a?p=1&q=2", NONE).await;
    let rule = report.rule.unwrap();
    assert_eq!((rule.name.as_str(), rule.pattern.as_str(), rule.cache.as_str()), ("page", "/a", "300s"));
    assert!(rule.says.iter().any(|line| line.starts_with("stored for 5m unless")), "{:?}", rule.says);
    let why: Vec<&str> = report.passed_over.iter().map(|rule| rule.why.as_str()).collect();
    assert_eq!(why[0], "the path is not /b");
    assert_eq!(why[1], "it is for POST alone");
    assert_eq!(why[2], "it is for the host other.test alone");
    assert!(why[3].starts_with("`x-beta`"), "{why:?}");
    assert_eq!(why.len(), 4);
    let key = report.key.unwrap();
    assert_eq!(key.resource, "http://shop/a?p=1");
    assert_eq!(key.selected_by, ["x-a", "cookie lang"]);
    story.get("/a?p=1&q=2").await.fine();
    let key = explained(&story, "GET /a?p=1", NONE).await.key.unwrap();
    assert_eq!(key.selected_by, ["x-a", "accept", "cookie lang"]);
    let other = explained(&story, "GET /c", NONE).await;
    assert_eq!((other.rule.unwrap().cache.as_str(), other.key), ("off", None));
}

#[tokio::test]
async fn what_is_stored_and_for_how_long() {
    for (on, first, then, others) in [
        (On::Memory, "memory", "memory", Some(1)),
        (On::Redis, "redis", "redis", Some(1)),
        (On::Tiers, "redis", "memory", Some(1)),
    ] {
        let origin = Origin::saying("Vary: accept\r\nCache-Tag: t, u\r\nSurrogate-Key: v\r\n").await;
        let story = Story::cached(on, origin, "{ ttl: 10s, tags: [mine] }").await;
        for accept in ["1", "2"] {
            story.get_with("/a", &[("accept", accept)]).await.fine();
        }
        story.pass_millis(4500);
        for tier in [first, then] {
            let report = explained(&story, "GET /a", &[("accept", "1")]).await;
            let stored = report.stored.unwrap();
            assert_eq!(stored.tier, tier);
            assert_eq!((stored.status, stored.body_bytes), (200, 8));
            assert_eq!(
                (stored.age_seconds, stored.lifetime_seconds, stored.left_seconds),
                (4, Some(10), Some(6))
            );
            assert_eq!(stored.tags, ["mine", "t", "u", "v", "rule /**"]);
            assert_eq!(stored.other_variants, others);
            assert_eq!(report.decision.outcome, "hit");
            assert!(report.decision.because.contains("which the rule gives"), "{:?}", report.decision);
        }
        story.pass_millis(8000);
        let stale = explained(&story, "GET /a", &[("accept", "1")]).await;
        assert_eq!(stale.stored.unwrap().left_seconds, Some(-2));
        assert_eq!(stale.decision.outcome, "stale");
        let other = explained(&story, "GET /a", &[("accept", "3")]).await;
        assert_eq!((other.decision.outcome.as_str(), other.stored), ("vary-miss", None));
        assert_eq!(other.key.unwrap().selected_by, ["accept"]);
    }
}

#[tokio::test]
async fn advice_that_was_followed_is_not_given_again() {
    let story = Story::cached(On::Memory, Origin::saying("Set-Cookie: a=b\r\n").await, "10s").await;
    story.get("/a").await.fine();
    let before = afterwards(&story, "GET /a", NONE, "uri-miss").await;
    assert_eq!(before.decision.action, Advice::of(Detail::SetCookie).action);
    story.edit(&everything("{ ttl: 10s, set_cookie: strip }"));
    let followed = explained(&story, "GET /a", NONE).await;
    assert_eq!(followed.last, None);
    assert_ne!(followed.decision.action, before.decision.action);
}

#[tokio::test]
async fn it_is_found_by_the_tags_that_it_was_stored_with() {
    let story = Story::cached(On::Memory, Origin::saying("").await, "{ ttl: 10s, tags: [old] }").await;
    story.get("/a").await.fine();
    story.edit(&everything("{ ttl: 10s, tags: [old, new] }"));
    assert_eq!(explained(&story, "GET /a", NONE).await.stored.unwrap().tags, ["old", "rule /**"]);
}

#[tokio::test]
async fn a_question_stores_nothing_and_asks_nobody() {
    let story = Story::cached(On::Memory, Origin::saying("").await, "10s").await;
    for _ in 0..3 {
        let report = explained(&story, "GET /a", NONE).await;
        assert_eq!((report.decision.outcome.as_str(), report.last), ("uri-miss", None));
    }
    assert_eq!(story.origin.count(), 0);
    let asked = explained_by_the_app(&story, "GET /a", NONE).await;
    let origin = asked.origin.unwrap();
    assert_eq!((origin.status, origin.would_store, origin.lifetime_seconds), (200, true, Some(10)));
    assert!(asked.decision.summary.contains("would be stored for 10s"), "{:?}", asked.decision);
    assert_eq!(story.origin.count(), 1);
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    eventually("one request was seen", async || story.observed.all().len() == 1).await;
    assert_eq!(story.app.flights.under_way(), 0);
}

#[tokio::test]
async fn the_app_is_asked_as_a_fetch_would_and_only_where_one_would() {
    let fields =
        "Cache-Control: max-age=0\r\nCDN-Cache-Control: max-age=600\r\nSidecache-Cache-Control: x\r\n";
    let story =
        Story::cached(On::Memory, Origin::saying(fields).await, "{ ttl: 10s, credentials: ignore }").await;
    let sent: Fields<'_> = &[("cookie", "session=s3cret"), ("if-none-match", "\"a\"")];
    let origin = explained_by_the_app(&story, "GET /a", sent).await.origin.unwrap();
    let asked = story.origin.last();
    assert_eq!(
        (asked.field("cookie"), asked.field("if-none-match"), asked.field("host")),
        (None, None, Some("shop"))
    );
    assert!(origin.would_store, "{origin:?}");
    for line in ["POST /a", "DELETE /a", "GET /a//b", "OPTIONS /a"] {
        assert_eq!(explained_by_the_app(&story, line, NONE).await.origin, None, "{line}");
    }
    assert_eq!(story.origin.count(), 1);
}

#[tokio::test]
async fn the_field_that_is_the_cause_is_named() {
    let fields =
        "Cache-Control: max-age=600\r\nSidecache-Cache-Control: no-store\r\nSet-Cookie: session=s3cret\r\n";
    let story = Story::cached(On::Memory, Origin::saying(fields).await, "10s").await;
    let origin = explained_by_the_app(&story, "GET /a", NONE).await.origin.unwrap();
    assert!(origin.summary.ends_with("(sidecache-cache-control: no-store)"), "{}", origin.summary);
    story.edit(&everything("{ ttl: 10s, override: true, ignore: [no-store] }"));
    let origin = explained_by_the_app(&story, "GET /a", NONE).await.origin.unwrap();
    assert!(origin.summary.ends_with("(set-cookie: session=…)"), "{}", origin.summary);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_or_cut_is_not_storable() {
    let script = |asked: &Asked| match asked.target.as_str() {
        "/large" => vec![chunked_head(""), chunk("0123456789"), last_chunk()],
        "/cut" => vec![chunked_head(""), chunk("0"), Step::Close],
        "/reset" => vec![Step::Reset],
        _ => ok("", "0123"),
    };
    let story = Story::cached(On::Memory, Origin::start(script).await, "{ ttl: 10s, max_body: 4B }").await;
    let ask = async |line| explained_by_the_app(&story, line, NONE).await.origin.unwrap();
    assert!(ask("GET /fits").await.would_store);
    assert_eq!(ask("GET /large").await.detail.as_deref(), Some("too-large"));
    let cut = ask("GET /cut").await;
    assert!(!cut.would_store && cut.summary.contains("cut"), "{cut:?}");
    let gone = ask("GET /reset").await;
    assert_eq!((gone.status, gone.would_store), (502, false));
}

#[tokio::test]
async fn the_last_answer_is_of_the_same_resource_and_method_alone() {
    let script = |asked: &Asked| match asked.target.as_str() {
        "/a" => ok("Cache-Control: no-store\r\n", "a"),
        _ => ok("", "b"),
    };
    let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
    story.get("/a").await.fine();
    afterwards(&story, "GET /a", NONE, "no-store").await;
    story.pass_millis(3500);
    let report = explained(&story, "GET /a", NONE).await;
    assert!(
        report.decision.summary.contains("the last answer, 3s ago, was not stored"),
        "{:?}",
        report.decision
    );
    assert_eq!(report.last.unwrap().status, 200);
    for line in ["GET /b", "HEAD /a", "GET /a?x"] {
        assert_eq!(explained(&story, line, NONE).await.last, None, "{line}");
    }
    story.get("/b").await.fine();
    story.get("/b").await.fine();
    let hit = afterwards(&story, "GET /b", NONE, "uri-miss").await;
    assert_eq!(
        (hit.decision.outcome.as_str(), hit.last.unwrap().verdict.outcome.as_str()),
        ("hit", "uri-miss")
    );
}

#[tokio::test]
async fn the_last_answer_is_known_once_its_head_is_seen() {
    let gate = Gate::shut();
    let end = gate.clone();
    let script = move |_: &Asked| {
        vec![chunked_head("Cache-Control: no-store\r\n"), Step::Wait(end.clone()), last_chunk()]
    };
    let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
    let mut browser = story.browser().await;
    browser.send(&request("GET /a", NONE, "")).await;
    browser.head().await.unwrap();
    let last = explained(&story, "GET /a", NONE).await.last.unwrap();
    assert_eq!(last.verdict.detail.as_deref(), Some("no-store"));
    gate.open();
}

#[tokio::test]
async fn what_would_be_refused_is_told_with_its_reason() {
    let story = Story::cached(On::Memory, Origin::saying("").await, "10s").await;
    for (fields, why) in [
        (&[("content-length", "x")][..], "refused with 400"),
        (&[("via", "1.1 sidecache")], "came back"),
        (&[("expect", "miracles")], "417"),
    ] {
        let report = explained(&story, "GET /a", fields).await;
        assert_eq!(report.decision.outcome, "refused", "{report:?}");
        assert!(report.decision.summary.contains(why), "{:?}", report.decision);
    }
}
