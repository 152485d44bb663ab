//! Where Redis does not tell what changes, memory serves an entry for a while and no longer.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use redis::Value;
use sidecache::{
    clock::{Clock, ManualClock},
    store::{
        Purge, Store, Wait,
        redis::{BreakerState, TrackingCondition},
        tiers::TierSettings,
    },
    tags::Tag,
};

use crate::{
    Sidecar,
    support::{
        entries::{TIERS, resource},
        redis::{RedisServer, eventually},
        users::Rights,
    },
};

const MAX_AGE: Duration = Duration::from_secs(1);
const SETTINGS: TierSettings = TierSettings { untracked_max_age: MAX_AGE, ..TIERS };

/// All that a Redis user needs, but to be told of changes.
fn untracked() -> Rights {
    Rights::documented().without("+client|tracking")
}

async fn serves_for_a_while(server: &RedisServer, url: &str, reason: &str) {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let sidecar = Sidecar::start(url, SETTINGS, Clock::Manual(clock.clone()), Vec::new()).await;
    let tracking = sidecar.fleet().tracking();
    eventually("it is not to be tracked", async || tracking.is_untracked()).await;
    let TrackingCondition::Untracked { reason: said } = tracking.condition() else {
        panic!("{:?}", tracking.condition())
    };
    assert!(said.contains(reason), "{said}");
    assert_eq!(sidecar.session(), None);
    let member = tracking.member().to_string();
    let written = server.command(&["HGET", "test:v1:m", &member]);
    assert!(matches!(written, Value::BulkString(written) if written.starts_with(b"2000 ")));

    let key = resource("/one");
    sidecar.keep(&key, "one").await;
    server.command(&["DEL", &server.keys().remove(0)]);
    clock.advance(MAX_AGE);
    assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), true), "nobody told");
    clock.advance(Duration::from_nanos(1));
    assert_eq!(sidecar.finds(&key).await, (String::new(), false));
    // A membership that is not renewed might be waited for by nobody.
    eventually("it is renewed", async || tracking.is_untracked()).await;
    sidecar.keep(&key, "two").await;
    clock.advance(10 * MAX_AGE);
    assert!(!tracking.is_untracked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_track() {
    let server = RedisServer::start();
    serves_for_a_while(&server, &untracked().granted(&server), "NOPERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_speak_resp3() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    serves_for_a_while(&server, &server.url(), "HELLO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_is_documented_is_told() {
    let server = RedisServer::start();
    let url = Rights::documented().granted(&server);
    let (sidecar, other) = (Sidecar::at(&url, TIERS).await, Sidecar::at(&url, TIERS).await);
    let key = resource("/one");
    sidecar.keep(&key, "one").await;
    server.command(&["DEL", &server.keys().remove(0)]);
    eventually("it goes", async || sidecar.holds() == 0).await;
    let everything = Purge { tags: vec![Tag::everything()], ..Purge::default() };
    let purged = other.0.purge(&everything, Wait::ForFleet, SystemTime::now()).await.unwrap();
    assert_eq!(purged.applied, 2, "the purge is acknowledged");
}

/// Others write over the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_is_refused_holds_back_no_writes() {
    let server = RedisServer::start();
    let keys = ["r", "l", "t", "p", "e"].map(|kind| format!("test:v1:{kind}*"));
    let url = untracked().granted_for(&server, &keys.each_ref().map(String::as_str));
    let sidecar = Sidecar::start(&url, SETTINGS, Clock::System, Vec::new()).await;
    // More often than the connection may fail.
    eventually("it is refused", async || denials(&server, "test:v1:m") > 3).await;
    assert_eq!(sidecar.fleet().redis().stats().write_breaker, BreakerState::Closed);
    let key = resource("/one");
    sidecar.commit(&key, "one").await.unwrap();
    assert!(!sidecar.fleet().tracking().is_untracked());
    assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), false), "nobody would wait for it");
}

/// How often a user was refused this key.
fn denials(server: &RedisServer, key: &str) -> u64 {
    let log: Vec<HashMap<String, Value>> = redis::from_redis_value(server.command(&["ACL", "LOG"])).unwrap();
    let object = Value::BulkString(key.as_bytes().to_vec());
    let about = log.iter().filter(|entry| entry["object"] == object);
    about.map(|entry| redis::from_redis_value::<u64>(entry["count"].clone()).unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_may_only_read_has_no_memory() {
    let server = RedisServer::start();
    let writer = Sidecar::on(&server).await;
    let key = resource("/one");
    writer.commit(&key, "one").await.unwrap();
    let url = Rights::reading().with("+client|tracking").granted(&server);
    let reader = Sidecar::start(&url, SETTINGS, Clock::System, Vec::new()).await;
    let denied =
        async || matches!(reader.fleet().tracking().condition(), TrackingCondition::Untracked { .. });
    eventually("it is denied", denied).await;
    for _ in 0..3 {
        assert_eq!(reader.finds(&key).await, ("one".to_owned(), false), "nobody would wait for it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_age_is_no_memory() {
    let server = RedisServer::start();
    let settings = TierSettings { untracked_max_age: Duration::ZERO, ..TIERS };
    let url = untracked().granted(&server);
    let sidecar = Sidecar::start(&url, settings, Clock::System, Vec::new()).await;
    let denied =
        async || matches!(sidecar.fleet().tracking().condition(), TrackingCondition::Untracked { .. });
    eventually("it is denied", denied).await;
    let key = resource("/one");
    sidecar.commit(&key, "one").await.unwrap();
    for _ in 0..3 {
        assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), false));
    }
    assert_eq!(sidecar.holds(), 0);
}
