//! The fields that tag responses: who gets them, and what is not stored for their sake.

use std::fmt::Write as _;

use crate::support::{
    browser::Answer,
    origin::{Asked, Origin, Step, answer, ok},
    story::{On, Story, everything},
};

on_both_stores![
    tags_reach_clients_unless_the_rule_strips_them,
    stripped_tags_reach_nobody,
    strip_tags_is_about_its_own_rule,
    an_edited_strip_tags_acts_on_what_is_stored,
    a_renewed_response_has_no_more_of_them,
    what_has_too_many_tags_is_passed_on_and_not_stored,
];

const TAGGED: &str = "Cache-Tag: a, b\r\nSURROGATE-KEY: c d\r\ncache-groups: \"e\"\r\ncache-tag: f\r\n\
    X-Cache-Tag: kept\r\nETag: \"x\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

const STRIPPED: &str = "{ ttl: 10s, strip_tags: true }";

fn tags(answer: &Answer) -> [Vec<&str>; 3] {
    ["cache-tag", "surrogate-key", "cache-groups"].map(|name| answer.all(name))
}

fn assert_tagged(answer: &Answer) {
    assert_eq!(tags(answer), [vec!["a, b", "f"], vec!["c d"], vec!["\"e\""]], "{answer:?}");
}

fn assert_stripped(answer: &Answer) {
    assert_eq!(tags(answer).concat(), [""; 0], "{answer:?}");
    assert_eq!(answer.field("x-cache-tag"), "kept", "{answer:?}");
    assert_eq!(answer.field("etag"), "\"x\"", "{answer:?}");
}

async fn tags_reach_clients_unless_the_rule_strips_them(on: On) {
    let story = Story::cached(on, Origin::saying(TAGGED).await, "10s").await;
    let miss = story.get("/a").await;
    assert_eq!(miss.fine(), "fwd=uri-miss; stored");
    assert_tagged(&miss);
    let hit = story.get("/a").await;
    assert!(hit.is_hit());
    assert_tagged(&hit);
    assert_tagged(&story.get_with("/a", &[("cookie", "a=1")]).await);
}

async fn stripped_tags_reach_nobody(on: On) {
    let story = Story::cached(on, Origin::saying(TAGGED).await, STRIPPED).await;
    let miss = story.get("/a").await;
    assert_eq!(miss.fine(), "fwd=uri-miss; stored");
    assert_stripped(&miss);
    story.pass_millis(500);
    for (line, field, said) in [
        ("GET /a", None, "hit; ttl=9"),
        ("HEAD /a", None, "hit; ttl=9"),
        ("GET /a", Some(("if-none-match", "\"x\"")), "hit; ttl=9"),
        ("GET /a", Some(("range", "bytes=0-2")), "hit; ttl=9"),
        ("GET /b", Some(("if-none-match", "\"x\"")), "fwd=uri-miss; stored"),
        ("HEAD /c", None, "fwd=uri-miss; detail=head"),
        ("GET /a", Some(("cookie", "a=1")), "fwd=bypass; detail=cookie"),
        ("POST /a", None, "fwd=method"),
        ("OPTIONS /a", None, "fwd=method"),
    ] {
        let answer = story.ask(line, field.as_slice()).await;
        assert_eq!(answer.says(), said, "{line} {field:?}");
        assert_stripped(&answer);
    }
}

async fn strip_tags_is_about_its_own_rule(on: On) {
    let yaml = "routes:
  - { match: /a, cache: { ttl: 10s, strip_tags: true } }
  - { match: /b, cache: 10s }
  - { match: /c, cache: off }
";
    let story = Story::start(on, Origin::saying(TAGGED).await, yaml).await;
    assert_stripped(&story.get("/a").await);
    for target in ["/b", "/b", "/c", "/d"] {
        assert_tagged(&story.get(target).await);
    }
}

async fn an_edited_strip_tags_acts_on_what_is_stored(on: On) {
    let story = Story::cached(on, Origin::saying(TAGGED).await, "10s").await;
    story.get("/a").await;
    story.edit(&everything(STRIPPED));
    let hit = story.get("/a").await;
    assert!(hit.is_hit());
    assert_stripped(&hit);
    story.edit(&everything("10s"));
    let hit = story.get("/a").await;
    assert!(hit.is_hit());
    assert_tagged(&hit);
}

async fn a_renewed_response_has_no_more_of_them(on: On) {
    let origin = Origin::start(|asked| match asked.field("if-none-match") {
        Some(_) => answer("304 Not Modified", TAGGED, ""),
        None => ok(TAGGED, "answer"),
    });
    let story = Story::cached(on, origin.await, STRIPPED).await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let renewed = story.get("/a").await;
    assert_eq!(renewed.fine(), "fwd=stale; fwd-status=304; stored");
    assert_stripped(&renewed);
}

/// As many tags as the target says, of each kind one.
fn numbered(asked: &Asked) -> Vec<Step> {
    let count: usize = asked.target.trim_start_matches("/").parse().unwrap();
    let mut fields = "Surrogate-Key: s\r\nCache-Groups: \"g\"\r\nCache-Tag: t0".to_owned();
    for number in 1..count - 2 {
        write!(fields, ", t{number}").unwrap();
    }
    ok(&format!("{fields}\r\n"), "answer")
}

async fn what_has_too_many_tags_is_passed_on_and_not_stored(on: On) {
    let story = Story::cached(on, Origin::start(numbered).await, "{ ttl: 10s, tags: [ours, t1] }").await;
    assert_eq!(story.get("/255").await.fine(), "fwd=uri-miss; stored");
    assert!(story.get("/255").await.is_hit());
    for _ in 0..2 {
        let passed = story.get("/256").await;
        assert_eq!(passed.fine(), "fwd=uri-miss; detail=too-many-tags");
        assert_eq!(passed.body, "answer");
        assert_eq!(passed.all("surrogate-key"), ["s"]);
    }
}
