//! What a Redis adds to the story: it outlives the sidecar, and people can read it.

use redis::Value;

use crate::support::{
    origin::Origin,
    redis::eventually,
    story::{On, Story, everything},
};

#[tokio::test]
async fn one_readable_key_that_goes_by_itself() {
    let story = Story::cached(On::Redis, Origin::saying("Vary: accept\r\n").await, "10s").await;
    let redis = story.redis.as_ref().unwrap();
    for kind in ["a", "b"] {
        story.get_with("/list?page=2", &[("accept", kind)]).await;
    }
    eventually("both variants are stored", async || {
        let fields: Vec<_> = redis.keys().iter().map(|key| redis.command(&["HLEN", key])).collect();
        fields == [Value::Int(5)]
    })
    .await;
    let keys = redis.keys();
    let tail = keys[0].strip_prefix("story:v1:r:{").unwrap().split_once("}:").unwrap().1;
    assert_eq!(tail, "/list%3Fpage=2");
    let Value::Int(left) = redis.command(&["PTTL", &keys[0]]) else { panic!("a number") };
    assert!((1..=70_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn another_sidecar_finds_what_was_stored() {
    let mut story = Story::cached(On::Redis, Origin::saying("ETag: \"x\"\r\n").await, "10s").await;
    story.get("/a").await;
    story.stores(1).await;
    story.pass_millis(4500);
    story.restart(&everything("10s")).await;
    let hit = story.get("/a").await;
    assert_eq!((hit.fine(), hit.field("age"), hit.field("etag")), ("hit; ttl=5", "4", "\"x\""));
    assert_eq!(hit.body, "answer 1");
    story.restart(&everything("{ ttl: 10s, set_cookie: strip }")).await;
    assert_eq!(story.get("/a").await.fine(), "fwd=miss; stored; detail=rule-changed");
}

#[tokio::test]
async fn an_invalidation_reaches_what_another_sidecar_stored() {
    let mut story = Story::cached(On::Redis, Origin::saying("").await, "10s").await;
    story.get("/a").await;
    story.stores(1).await;
    story.restart(&everything("10s")).await;
    story.post("POST /a", "x").await;
    assert!(story.redis.as_ref().unwrap().keys().is_empty());
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
}
