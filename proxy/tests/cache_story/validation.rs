//! What is stale is renewed by a 304 (RFC 9111 §4.3).

use crate::support::{
    origin::{Asked, Origin, Step, answer, ok},
    story::{On, Story},
};

on_both_stores![
    a_304_renews_body_and_fields,
    a_date_validates_where_there_is_no_tag,
    a_new_answer_takes_the_place_of_the_old,
    an_answer_that_may_not_be_stored_leaves_nothing_behind,
    the_clients_conditions_are_answered_from_what_was_renewed,
    what_a_304_forbids_to_store_goes_to_the_client_alone,
    those_who_wait_share_one_validation,
    without_a_validator_it_is_fetched_whole,
    a_client_that_wants_a_fresh_answer_has_it_validated,
    a_304_about_another_version_is_asked_again,
    a_refusal_of_one_client_leaves_what_is_stored,
];

const FOR_TEN: &str = "ETag: \"a\"\r\nCache-Control: max-age=10\r\n";

/// An origin that knows one tag, and counts what it tells.
fn tagged(asked: &Asked) -> Vec<Step> {
    match asked.field("if-none-match") {
        Some("\"a\"") => answer(
            "304 Not Modified",
            &format!("ETag: \"a\"\r\nCache-Control: max-age=20\r\nX-Told: {}\r\n", asked.number),
            "",
        ),
        _ => ok(&format!("{FOR_TEN}X-First: yes\r\nX-Told: 1\r\n"), "whole"),
    }
}

async fn a_304_renews_body_and_fields(on: On) {
    let story = Story::cached(on, Origin::start(tagged).await, "origin").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    story.pass_millis(10_500);
    let renewed = story.get("/a").await;
    assert_eq!(renewed.fine(), "fwd=stale; fwd-status=304; stored");
    assert_eq!((renewed.status, renewed.body.as_str()), (200, "whole"));
    assert_eq!((renewed.field("x-told"), renewed.field("x-first")), ("2", "yes"));
    story.pass_millis(15_000);
    let hit = story.get("/a").await;
    assert!(hit.is_hit(), "{}", hit.says());
    assert_eq!((hit.body.as_str(), hit.field("x-told"), hit.field("age")), ("whole", "2", "15"));
    assert_eq!(story.origin.count(), 2);
}

async fn a_date_validates_where_there_is_no_tag(on: On) {
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::start(|asked| match asked.field("if-modified-since") {
        Some(MODIFIED) => answer("304 Not Modified", "", ""),
        _ => ok(&format!("Last-Modified: {MODIFIED}\r\nCache-Control: max-age=10\r\n"), "whole"),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; fwd-status=304; stored");
    assert_eq!(story.origin.last().field("if-none-match"), None);
    assert!(story.get("/a").await.is_hit());
}

async fn a_new_answer_takes_the_place_of_the_old(on: On) {
    let origin =
        Origin::start(|asked| ok(&format!("ETag: \"{0}\"\r\n", asked.number), &asked.number.to_string()));
    let story = Story::cached(on, origin.await, "10s").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let replaced = story.get("/a").await;
    assert_eq!((replaced.fine(), replaced.body.as_str()), ("fwd=stale; stored", "2"));
    assert_eq!(story.origin.last().field("if-none-match"), Some("\"1\""));
    assert_eq!(story.get("/a").await.body, "2");
}

async fn an_answer_that_may_not_be_stored_leaves_nothing_behind(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("ETag: \"a\"\r\nCache-Control: max-age=10, stale-if-error=600\r\n", "old"),
        2 => ok("Cache-Control: no-store\r\n", "secret"),
        _ => answer("503 No", "", "down"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; detail=no-store");
    story.stores(0).await;
    assert_eq!(story.get("/a").await.status, 503);
}

async fn the_clients_conditions_are_answered_from_what_was_renewed(on: On) {
    let story = Story::cached(on, Origin::start(tagged).await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let mine = story.get_with("/a", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((mine.status, mine.says()), (304, "fwd=stale; fwd-status=304; stored"));
    story.pass_millis(20_500);
    let other = story.get_with("/a", &[("if-none-match", "\"b\"")]).await;
    assert_eq!((other.status, other.body.as_str()), (200, "whole"));
    assert_eq!(story.origin.last().field("if-none-match"), Some("\"a\""));
}

async fn what_a_304_forbids_to_store_goes_to_the_client_alone(on: On) {
    let origin = Origin::start(|asked| match asked.field("if-none-match") {
        Some(_) => answer("304 Not Modified", "Cache-Control: private\r\nX-New: 1\r\n", ""),
        _ => ok(FOR_TEN, "whole"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let mine = story.get("/a").await;
    assert_eq!((mine.status, mine.body.as_str(), mine.field("x-new")), (200, "whole", "1"));
    assert_eq!(mine.fine(), "fwd=stale; detail=private");
}

async fn those_who_wait_share_one_validation(on: On) {
    let story = Story::cached(on, Origin::start(tagged).await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let (one, other) = tokio::join!(story.get("/a"), story.get("/a"));
    assert_eq!((one.body, other.body), ("whole".into(), "whole".into()));
    assert_eq!(story.origin.count(), 2);
}

async fn without_a_validator_it_is_fetched_whole(on: On) {
    let story = Story::cached(on, Origin::start(|_| ok("", "whole")).await, "10s").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get_with("/a", &[("if-none-match", "\"b\"")]).await.fine(), "fwd=stale; stored");
    let last = story.origin.last();
    assert_eq!((last.field("if-none-match"), last.field("if-modified-since")), (None, None));
}

async fn a_client_that_wants_a_fresh_answer_has_it_validated(on: On) {
    let story = Story::cached(on, Origin::start(tagged).await, "origin").await;
    story.get("/a").await;
    let fresh = story.get_with("/a", &[("cache-control", "no-cache")]).await;
    assert_eq!(fresh.fine(), "fwd=request; fwd-status=304; stored; detail=client-control");
    assert_eq!((fresh.body.as_str(), story.origin.count()), ("whole", 2));
}

async fn a_304_about_another_version_is_asked_again(on: On) {
    const MODIFIED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let origin = Origin::start(|asked| match asked.number {
        1 => ok(&format!("ETag: \"a\"\r\n{MODIFIED}"), "old"),
        2 => answer("304 Not Modified", "ETag: \"b\"\r\nCache-Control: max-age=3600\r\n", ""),
        _ => ok("ETag: \"b\"\r\n", "new"),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get("/a").await.body, "new");
    let last = story.origin.last();
    assert_eq!((last.field("if-none-match"), last.field("if-modified-since")), (None, None));
    assert_eq!(story.origin.count(), 3);
}

async fn a_refusal_of_one_client_leaves_what_is_stored(on: On) {
    let origin = Origin::start(|asked| match asked.field("user-agent") {
        Some("bot") => answer("429 No", "", "slow down"),
        _ => ok("Cache-Control: max-age=10\r\n", "body"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    let bot = story.get_with("/a", &[("user-agent", "bot"), ("cache-control", "no-cache")]).await;
    assert_eq!(bot.status, 429);
    assert!(story.get("/a").await.is_hit());
}
