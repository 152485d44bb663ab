//! Where Redis does not tell what changes, memory serves an entry for a while and no longer.

use std::time::{Duration, SystemTime};

use redis::Value;
use sidecache::{
    clock::{Clock, ManualClock},
    store::{
        redis::{BreakerState, TrackingCondition},
        tiers::TierSettings,
    },
};

use crate::{
    Sidecar,
    support::{
        entries::{TIERS, resource},
        redis::{RedisServer, eventually},
    },
};

const MAX_AGE: Duration = Duration::from_secs(1);
const SETTINGS: TierSettings = TierSettings { untracked_max_age: MAX_AGE, ..TIERS };
/// All that a Redis user needs, but to be told of changes.
const UNTRACKED: &str = "ACL SETUSER app on >pw ~test:* +hello +time +hmget +eval +evalsha +script|load +type \
                         +hkeys +hget +hset +hdel +pexpire +unlink +get";

fn tell(server: &RedisServer, line: &str) {
    server.command(&line.split_whitespace().collect::<Vec<_>>());
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
    assert!(matches!(written, Value::BulkString(written) if written.starts_with(b"1000 ")));

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
    tell(&server, UNTRACKED);
    serves_for_a_while(&server, &server.url_as("app", "pw"), "NOPERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_speak_resp3() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    serves_for_a_while(&server, &server.url(), "HELLO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_is_documented_is_told() {
    let server = RedisServer::start();
    tell(&server, &format!("{UNTRACKED} +client|tracking"));
    let sidecar = Sidecar::at(&server.url_as("app", "pw"), TIERS).await;
    let key = resource("/one");
    sidecar.keep(&key, "one").await;
    server.command(&["DEL", &server.keys().remove(0)]);
    eventually("it goes", async || sidecar.holds() == 0).await;
}

/// As it was documented before there was memory in front.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_neither_track_nor_ask_for_the_epoch_writes_on() {
    let server = RedisServer::start();
    tell(&server, &UNTRACKED.replace(" +get", ""));
    let settings = TierSettings { untracked_max_age: MAX_AGE, ..TIERS };
    let sidecar = Sidecar::start(&server.url_as("app", "pw"), settings, Clock::System, Vec::new()).await;
    eventually("it is not to be tracked", async || sidecar.fleet().tracking().is_untracked()).await;
    let writes = sidecar.fleet().redis().stats().write_breaker;
    assert_eq!(writes, BreakerState::Closed);
    sidecar.keep(&resource("/one"), "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_may_only_read_has_no_memory() {
    let server = RedisServer::start();
    let writer = Sidecar::on(&server).await;
    let key = resource("/one");
    writer.commit(&key, "one").await.unwrap();
    tell(&server, "ACL SETUSER reader on >pw ~test:* +hmget +hello +time +client|tracking");
    let reader = Sidecar::start(&server.url_as("reader", "pw"), SETTINGS, Clock::System, Vec::new()).await;
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
    tell(&server, UNTRACKED);
    let settings = TierSettings { untracked_max_age: Duration::ZERO, ..TIERS };
    let sidecar = Sidecar::start(&server.url_as("app", "pw"), settings, Clock::System, Vec::new()).await;
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
