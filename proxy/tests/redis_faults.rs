//! What a bad Redis may cost: a miss, a counter, a line in the log. Faults are made for real.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use redis::{Connection, Value};
use sidecache::{
    clock::{Clock, Offset},
    key::{KeyPolicy, ResourceKey, VariantKey},
    store::{
        Claim, Claimant, Lookup, Marker, Selector, Store, StoreError,
        redis::{BreakerState, Health, LARGEST_BODY, Lease, RedisStore, Settings, Waits},
        tiers::{TierSettings, Tiers},
    },
    stored::{Compression, Encoded, MAX_HEAD, Seal, Stored},
};
use support::{
    entries::{CLAIM, KEEP, TIERS, body, commit as commit_entry, entry, fleet, request, resource},
    redis::{NarrowLine, PATIENCE, RedisServer, eventually},
    users::Rights,
};

/// What a look-up may take: the budget of 50 ms, and as much again thrice for a busy machine.
const IN_TIME: Duration = Duration::from_millis(200);

fn start(url: &str) -> RedisStore {
    RedisStore::start(Settings::new(url, "test").unwrap(), Clock::System)
}

async fn is_up(store: &RedisStore) {
    let is_up = || store.health() == Health::Up && store.takes_writes() && store.takes_bodies();
    eventually("the store is up", async || is_up()).await;
}

/// A server, a store on it, and one response in it.
async fn with_one_entry() -> (RedisServer, RedisStore, ResourceKey) {
    let server = RedisServer::start();
    let store = start(&server.url());
    is_up(&store).await;
    let key = resource("/one");
    commit(&store, &key).await.unwrap();
    (server, store, key)
}

async fn commit(store: &RedisStore, key: &ResourceKey) -> Result<(), StoreError> {
    commit_entry(store, key, entry(key, &HeaderMap::new(), &[], "one"), KEEP).await
}

async fn lease(store: &RedisStore, key: &ResourceKey) -> Lease {
    match store.claim(key, &VariantKey::only(), Claimant::Flight, CLAIM).await.unwrap() {
        Claim::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

async fn try_lookup(store: &RedisStore, key: &ResourceKey) -> Result<Lookup, StoreError> {
    store.lookup(key, &Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() }).await
}

async fn is_hit(store: &RedisStore, key: &ResourceKey) -> bool {
    matches!(try_lookup(store, key).await, Ok(Lookup::Found(_)))
}

/// A look-up that must fail, and must do so in time.
async fn fails_in_time(store: &RedisStore, key: &ResourceKey) {
    let started = Instant::now();
    let outcome = try_lookup(store, key).await;
    let took = started.elapsed();
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(took < IN_TIME, "it took {took:?}: {outcome:?}");
}

#[tokio::test]
async fn a_second_look_has_only_what_the_first_one_left() {
    let (server, store, key) = with_one_entry().await;
    let tiers = Tiers::Redis(Box::new(fleet(store.clone(), TierSettings { memory: 0, ..TIERS })));
    let (headers, keyed) = (HeaderMap::new(), KeyPolicy::default());
    let selector = Selector { headers: &headers, keyed: &keyed };
    let mut visit = tiers.visit();
    server.freeze();
    assert!(matches!(visit.lookup(&key, &selector).await, Err(StoreError::Budget)));
    let started = Instant::now();
    // The first look has used up the budget: nothing is left to wait.
    assert!(matches!(visit.lookup(&key, &selector).await, Err(StoreError::Budget)));
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    drop(visit);
    let Waits { requests, sum } = store.stats().waits;
    assert_eq!(requests.iter().sum::<u64>(), 1, "one request, two look-ups: {requests:?}");
    assert!(sum >= Duration::from_millis(50), "{sum:?}");
    server.thaw();
}

fn why_down(store: &RedisStore) -> String {
    match store.health() {
        Health::Up => String::new(),
        Health::Down { reason, .. } => reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start_then_there() {
    let mut server = RedisServer::absent();
    let store = start(&server.url());
    let key = resource("/early");
    fails_in_time(&store, &key).await;
    assert!(matches!(commit(&store, &key).await, Err(StoreError::Unavailable)));
    eventually("an attempt has failed", async || why_down(&store) != "not connected yet").await;
    fails_in_time(&store, &key).await;

    server.restart_empty();
    is_up(&store).await;
    assert!(matches!(try_lookup(&store, &key).await, Ok(Lookup::Nothing)));
    commit(&store, &key).await.unwrap();
    assert!(is_hit(&store, &key).await);
    assert_eq!(store.stats().leases.failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_costs_three_budgets_then_nothing() {
    let (server, store, key) = with_one_entry().await;
    server.freeze();
    for _ in 0..3 {
        fails_in_time(&store, &key).await;
    }
    assert_eq!(store.stats().read_breaker, BreakerState::Open);
    assert!(matches!(store.health(), Health::Down { .. }));
    let held_back = Instant::now();
    for _ in 0..1000 {
        assert!(matches!(try_lookup(&store, &key).await, Err(StoreError::Unavailable)));
    }
    assert!(held_back.elapsed() < IN_TIME, "a thousand are not asked at all: {:?}", held_back.elapsed());
    assert!(store.stats().timeouts <= 3);

    server.thaw();
    eventually("hits come back", async || is_hit(&store, &key).await).await;
    assert_eq!(store.stats().read_breaker, BreakerState::Closed);
    assert_eq!(store.health(), Health::Up);
}

/// Who had nearly nothing left to wait says little of Redis.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_waited_for_too_briefly_holds_nothing_back() {
    let (server, store, key) = with_one_entry().await;
    let (briefly, variant) = (Duration::from_millis(1), VariantKey::only());
    let (headers, keyed) = (HeaderMap::new(), KeyPolicy::default());
    let selector = Selector { headers: &headers, keyed: &keyed };
    server.freeze();
    for _ in 0..5 {
        let looked = store.lookup_within(briefly, &key, &selector).await;
        assert!(matches!(looked, Err(StoreError::Budget)), "{looked:?}");
        let claimed = store.claim(&key, &variant, Claimant::Flight, briefly).await;
        assert!(matches!(claimed, Err(StoreError::Budget)), "{claimed:?}");
    }
    server.thaw();
    assert_eq!(store.stats().read_breaker, BreakerState::Closed);
    // Not held back, that is: it takes a claim at once, and tells when it is late.
    let claimed = store.claim(&resource("/other"), &variant, Claimant::Flight, CLAIM).await;
    assert!(matches!(claimed, Ok(Claim::Granted(_))), "{claimed:?}");
    assert!(is_hit(&store, &key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_under_a_crowd_leaves_no_queue() {
    let (server, store, key) = with_one_entry().await;
    server.freeze();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..4000 {
        let (store, key) = (store.clone(), key.clone());
        crowd.spawn(async move {
            let outcome = try_lookup(&store, &key).await;
            assert!(outcome.is_err(), "{outcome:?}");
        });
    }
    crowd.join_all().await;
    let stats = store.stats();
    assert!(stats.timeouts <= 1024, "no more were sent than may be on their way: {stats:?}");
    assert_eq!(stats.timeouts + stats.refused + stats.errors, 4000);
    server.thaw();
    eventually("hits come back", async || is_hit(&store, &key).await).await;
}

#[tokio::test]
async fn clients_that_leave_do_not_pile_up_commands() {
    let (server, store, key) = with_one_entry().await;
    server.freeze();
    let mut left = 0;
    for _ in 0..4000 {
        // Polled once, then dropped: the command is sent, and nobody waits for it.
        match tokio::time::timeout(Duration::ZERO, try_lookup(&store, &key)).await {
            Err(_) => left += 1,
            // On a busy machine a turn on a core may take longer than the budget.
            Ok(Err(StoreError::Budget)) => left += 1,
            Ok(outcome) => assert!(matches!(outcome, Err(StoreError::Unavailable)), "{outcome:?}"),
        }
    }
    assert!((1..=1024).contains(&left), "{left} commands were sent to a frozen server");
    server.thaw();
    eventually("there is room again", async || is_hit(&store, &key).await).await;
    for _ in 0..2000 {
        eventually("and it stays", async || is_hit(&store, &key).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_empty() {
    let (mut server, store, key) = with_one_entry().await;
    server.kill();
    for _ in 0..10 {
        fails_in_time(&store, &key).await;
    }
    eventually("the loss is noticed", async || store.health() != Health::Up && !store.takes_writes()).await;

    server.restart_empty();
    is_up(&store).await;
    assert!(matches!(try_lookup(&store, &key).await, Ok(Lookup::Nothing)));
    commit(&store, &key).await.unwrap();
    assert!(is_hit(&store, &key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_another_type_is_a_miss_and_goes() {
    let (server, store, key) = with_one_entry().await;
    let name = server.keys().remove(0);
    for other in [&["SET", name.as_str(), "x"][..], &["LPUSH", &name, "x"], &["SADD", &name, "x"]] {
        server.command(&["DEL", &name]);
        server.command(other);
        assert_eq!(body(&store, &key, &HeaderMap::new()).await, "", "{other:?}");
        eventually("it is deleted", async || server.keys().is_empty()).await;
        // A commit need not wait for that.
        server.command(other);
        commit(&store, &key).await.unwrap();
        assert!(is_hit(&store, &key).await);
        assert!(matches!(server.command(&["PTTL", &name]), Value::Int(1..)));
    }
    assert_eq!(store.stats().corrupt, 3);
}

/// A resource as it was committed, to be damaged one field at a time.
struct Whole {
    connection: Connection,
    name: String,
    dump: Vec<u8>,
}

impl Whole {
    fn of(server: &RedisServer) -> Self {
        let (mut connection, name) = (server.connect().unwrap(), server.keys().remove(0));
        let dump = redis::cmd("DUMP").arg(&name).query(&mut connection).unwrap();
        Self { connection, name, dump }
    }

    fn restore(&mut self) {
        let mut restore = redis::cmd("RESTORE");
        restore.arg(&self.name).arg(60_000).arg(&self.dump).arg("REPLACE");
        restore.exec(&mut self.connection).unwrap();
    }

    fn damage(&mut self, field: &str, bytes: &[u8]) {
        self.restore();
        redis::cmd("HSET").arg(&self.name).arg(field).arg(bytes).exec(&mut self.connection).unwrap();
    }

    fn get(&mut self, field: &str) -> Vec<u8> {
        redis::cmd("HGET").arg(&self.name).arg(field).query(&mut self.connection).unwrap()
    }
}

/// Every single bit turned, every length cut to, and one byte too many.
fn damaged(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    flipped.chain(cut).chain([[whole, b"x"].concat()])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damaged_entry_is_served() {
    let server = RedisServer::start();
    let settings = Settings::new(&server.url(), "test").unwrap().with_budget(PATIENCE);
    let store = RedisStore::start(settings, Clock::System);
    is_up(&store).await;
    let (key, german) = (resource("/damaged"), request(&[(ACCEPT_LANGUAGE, "de")]));
    let written = entry(&key, &german, &[ACCEPT_LANGUAGE], "hallo");
    commit_entry(&store, &key, Arc::clone(&written), KEEP).await.unwrap();
    let mut whole = Whole::of(&server);

    let field = format!("v{:032x}", written.variant.id());
    let original = whole.get(&field);
    let mut tried = 0;
    for bytes in damaged(&original) {
        whole.damage(&field, &bytes);
        assert_eq!(body(&store, &key, &german).await, "", "{}", bytes.escape_ascii());
        tried += 1;
    }
    assert!(tried > 1000);
    assert_eq!(store.stats().corrupt, tried);
    eventually("the last of them is deleted", async || server.keys().is_empty()).await;

    whole.restore();
    let names = whole.get("m");
    for bytes in damaged(&names) {
        whole.damage("m", &bytes);
        assert_ne!(body(&store, &key, &german).await, "hallo", "{}", bytes.escape_ascii());
    }
    whole.damage("m", &names);
    assert_eq!(body(&store, &key, &german).await, "hallo", "and undamaged it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_read_is_deleted() {
    let (server, store, key) = with_one_entry().await;
    let mut whole = Whole::of(&server);
    let german = request(&[(ACCEPT_LANGUAGE, "de")]);
    let varied = resource("/varied");
    for language in ["de", "fr"] {
        let headers = request(&[(ACCEPT_LANGUAGE, language)]);
        commit_entry(&store, &varied, entry(&varied, &headers, &[ACCEPT_LANGUAGE], language), KEEP)
            .await
            .unwrap();
    }
    whole.name = server.keys().into_iter().find(|name| *name != whole.name).unwrap();
    let bad = entry(&varied, &german, &[ACCEPT_LANGUAGE], "").variant.id();
    server.command(&["HSET", &whole.name, &format!("v{bad:032x}"), "damaged"]);
    assert_eq!(body(&store, &varied, &german).await, "");
    eventually("the damaged variant is deleted", async || {
        server.command(&["HEXISTS", &whole.name, &format!("v{bad:032x}")]) == Value::Int(0)
    })
    .await;
    assert_eq!(body(&store, &varied, &german).await, "-");
    assert_eq!(body(&store, &varied, &request(&[(ACCEPT_LANGUAGE, "fr")])).await, "fr");
    assert!(is_hit(&store, &key).await);
    commit_entry(&store, &varied, entry(&varied, &german, &[ACCEPT_LANGUAGE], "de"), KEEP).await.unwrap();
    assert_eq!(body(&store, &varied, &request(&[(ACCEPT_LANGUAGE, "fr")])).await, "fr", "the index is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_set_while_it_runs() {
    let (server, store, key) = with_one_entry().await;
    let mut operator = server.connect().unwrap();
    let mut tell = |line: &str| {
        let mut command = redis::Cmd::new();
        line.split(' ').for_each(|word| {
            command.arg(word.trim_matches('"'));
        });
        command.exec(&mut operator).unwrap();
    };
    tell("CONFIG SET requirepass canary");
    tell("CLIENT KILL TYPE normal");
    eventually("it is denied", async || why_down(&store).starts_with("NOAUTH")).await;
    fails_in_time(&store, &key).await;
    assert!(matches!(commit(&store, &key).await, Err(StoreError::Unavailable)));

    let wrong = start(&server.url_as("default", "wrong-canary"));
    eventually("a wrong one is denied", async || why_down(&wrong).contains("WRONGPASS")).await;
    assert!(!format!("{wrong:?} {:?}", wrong.health()).contains("canary"));
    let right = start(&server.url_as("default", "canary"));
    is_up(&right).await;
    assert!(is_hit(&right, &key).await);
    assert!(!format!("{right:?} {:?}", right.health()).contains("canary"));

    tell("CONFIG SET requirepass \"\"");
    eventually("hits come back", async || is_hit(&store, &key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_gets_hits() {
    let (server, _writer, key) = with_one_entry().await;
    let store = start(&Rights::reading().granted(&server));
    is_up(&store).await;
    assert!(is_hit(&store, &key).await);
    let refused = commit(&store, &key).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.starts_with("NOPERM")), "{refused:?}");
    assert!(is_hit(&store, &key).await);
    assert_eq!(store.health(), Health::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_that_is_documented_is_enough() {
    let server = RedisServer::start();
    let store = start(&Rights::documented().granted(&server));
    is_up(&store).await;
    let key = resource("/least");
    commit(&store, &key).await.unwrap();
    assert!(is_hit(&store, &key).await);
    store.remove(std::slice::from_ref(&key)).await.unwrap();
    assert!(server.keys().is_empty());
    commit(&store, &key).await.unwrap();
    let name = server.keys().remove(0);
    lease(&store, &key).await.ends_with(Some(Marker::Failed));
    eventually("it is said how it ended", async || server.command(&["HEXISTS", &name, "u"]) == Value::Int(1))
        .await;
    server.command(&["HSET", &name, &format!("v{:032x}", 0), "damaged"]);
    assert!(!is_hit(&store, &key).await);
    eventually("it is deleted", async || server.keys().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_means_hits_and_no_commits() {
    let (server, store, key) = with_one_entry().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let other = resource("/other");
    for _ in 0..10 {
        let refused = commit(&store, &other).await;
        match refused {
            Err(StoreError::Refused(why)) => assert!(why.starts_with("OOM"), "{why}"),
            other => assert!(matches!(other, Err(StoreError::Unavailable)), "{other:?}"),
        }
        assert!(is_hit(&store, &key).await);
    }
    assert!(commit(&store, &key).await.is_err());
    assert!(is_hit(&store, &key).await, "what was stored stays");
    assert_eq!(store.stats().write_breaker, BreakerState::Closed, "it answers, and at once");
    assert_eq!((store.stats().read_breaker, store.health()), (BreakerState::Closed, Health::Up));

    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("commits are taken again", async || commit(&store, &other).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_back_writes_are_dropped_and_hits_go_on() {
    let (server, store, key) = with_one_entry().await;
    let paused: Vec<_> = (0..200).map(|n| resource(&format!("/paused/{n}"))).collect();
    let mut leases = Vec::new();
    for key in &paused {
        leases.push(lease(&store, key).await);
    }
    server.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let mut commits = tokio::task::JoinSet::new();
    for (key, lease) in paused.into_iter().zip(leases) {
        let store = store.clone();
        let entry = entry(&key, &HeaderMap::new(), &[], "one");
        commits.spawn(async move { store.commit(&key, entry, KEEP, lease).await });
    }
    let started = Instant::now();
    let mut hits = 0;
    while let Some(outcome) = commits.join_next().await {
        let outcome = outcome.unwrap();
        assert!(outcome.is_err(), "{outcome:?}");
        assert!(is_hit(&store, &key).await);
        hits += 1;
    }
    assert_eq!(hits, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(store.stats().dropped_writes, 200);
    assert_eq!(store.health(), Health::Up);

    eventually("the held-back connection is given up", async || {
        let clients = server.command(&["INFO", "clients"]);
        String::from_utf8_lossy(&bulk(clients)).contains("blocked_clients:0")
    })
    .await;
    server.command(&["CLIENT", "UNPAUSE"]);
    let late = resource("/late");
    eventually("commits are taken again", async || commit(&store, &late).await.is_ok()).await;
    assert_eq!(server.resources().len(), 2, "nothing of what was dropped: {:?}", server.keys());
}

fn bulk(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::VerbatimString { text, .. } => text.into_bytes(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_serves_hits_or_says_why_not() {
    let (server, store, key) = with_one_entry().await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = commit(&store, &resource("/refused")).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.starts_with("READONLY")), "{refused:?}");
    assert!(is_hit(&store, &key).await);

    server.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    eventually("it says why not", async || why_down(&store).starts_with("MASTERDOWN")).await;
    fails_in_time(&store, &key).await;

    server.command(&["REPLICAOF", "NO", "ONE"]);
    is_up(&store).await;
    assert!(is_hit(&store, &key).await);
    eventually("commits are taken again", async || commit(&store, &key).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_script_is_a_miss() {
    let (server, store, key) = with_one_entry().await;
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
    let mut other = server.connect().unwrap();
    let script = std::thread::spawn(move || {
        redis::cmd("EVAL").arg("while true do end").arg(0).query::<Value>(&mut other)
    });
    eventually("it says why", async || {
        assert!(!is_hit(&store, &key).await || why_down(&store).is_empty());
        why_down(&store).starts_with("BUSY")
    })
    .await;
    fails_in_time(&store, &key).await;
    server.command(&["SCRIPT", "KILL"]);
    assert!(script.join().unwrap().is_err());
    eventually("hits come back", async || is_hit(&store, &key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_last_clone_the_connections_go() {
    let server = RedisServer::start();
    let clients = || {
        let list = bulk(server.command(&["CLIENT", "LIST", "TYPE", "normal"]));
        // One of them is the one that asks.
        String::from_utf8_lossy(&list).lines().filter(|line| !line.is_empty()).count() - 1
    };
    let store = start(&server.url());
    is_up(&store).await;
    let clone = store.clone();
    drop(store);
    assert!(is_up_now(&clone).await);
    assert_eq!(clients(), 5);
    drop(clone);
    eventually("all are closed", async || clients() == 0).await;
}

async fn is_up_now(store: &RedisStore) -> bool {
    matches!(try_lookup(store, &resource("/any")).await, Ok(Lookup::Nothing))
}

async fn remove(store: &RedisStore, key: &ResourceKey) -> Result<(), StoreError> {
    let started = Instant::now();
    let outcome = store.remove(std::slice::from_ref(key)).await;
    let took = started.elapsed();
    assert!(took < IN_TIME, "it took {took:?}: {outcome:?}");
    outcome
}

fn large(key: &ResourceKey, bytes: usize) -> Arc<Stored> {
    entry(key, &HeaderMap::new(), &[], &"x".repeat(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_removals() {
    let (server, store, key) = with_one_entry().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for n in 0..5 {
        let refused = commit(&store, &resource(&format!("/full/{n}"))).await;
        assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.starts_with("OOM")), "{refused:?}");
    }
    remove(&store, &key).await.unwrap();
    assert!(!is_hit(&store, &key).await);
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn removals_do_not_wait_for_room_among_commits() {
    let (_server, store, key) = with_one_entry().await;
    let others: Vec<_> = (0..100).map(|n| resource(&format!("/other/{n}"))).collect();
    let mut leases = Vec::new();
    for other in &others {
        leases.push(lease(&store, other).await);
    }
    let mut polled = Poll::Pending;
    for (other, lease) in others.iter().zip(leases) {
        // Sent, then dropped: it keeps its room until the next beat.
        let mut commit = pin!(store.commit(other, entry(other, &HeaderMap::new(), &[], "one"), KEEP, lease));
        polled = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
    }
    assert!(matches!(polled, Poll::Ready(Err(StoreError::Overload))), "{polled:?}");
    remove(&store, &key).await.unwrap();
    assert!(!is_hit(&store, &key).await);
    eventually("there is room again", async || commit(&store, &key).await.is_ok()).await;
    eventually("it is found", async || is_hit(&store, &key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_overtake_a_large_commit() {
    let (server, _, key) = with_one_entry().await;
    let line = NarrowLine::to(&server);
    let store = start(&line.url());
    is_up(&store).await;
    assert!(is_hit(&store, &key).await);
    let (behind, other) = (store.clone(), resource("/large"));
    let stuck =
        tokio::spawn(async move { commit_entry(&behind, &other, large(&other, 1 << 20), KEEP).await });
    eventually("the commit is stuck", async || line.is_stuck()).await;
    remove(&store, &key).await.unwrap();
    assert!(!stuck.is_finished());
    assert!(!is_hit(&store, &key).await);
    assert!(server.resources().is_empty());
    assert!(matches!(stuck.await.unwrap(), Err(StoreError::Budget)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_redis_did_not_remove_is_not_served() {
    let (server, store, key) = with_one_entry().await;
    let untouched = resource("/untouched");
    commit(&store, &untouched).await.unwrap();
    server.freeze();
    for n in 0..3 {
        assert!(remove(&store, &resource(&format!("/frozen/{n}"))).await.is_err());
    }
    // Not even sent.
    assert!(matches!(remove(&store, &key).await, Err(StoreError::Unavailable)));
    server.thaw();
    eventually("hits come back", async || {
        assert!(!is_hit(&store, &key).await);
        is_hit(&store, &untouched).await
    })
    .await;
    eventually("the removal is made up for", async || {
        assert!(!is_hit(&store, &key).await);
        server.keys().len() == 1
    })
    .await;
    eventually("and what is stored now is served", async || {
        commit(&store, &key).await.is_ok() && is_hit(&store, &key).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_more_lost_removals_than_are_noted_nothing_older_is_served() {
    let server = RedisServer::start();
    let (key, other) = (resource("/one"), resource("/other"));
    let store = start(&server.url());
    is_up(&store).await;
    let fetched = |key: &ResourceKey| {
        let mut entry = entry(key, &HeaderMap::new(), &[], "body");
        Arc::get_mut(&mut entry).unwrap().epoch = store.purges().epoch();
        entry
    };
    let older = fetched(&key);
    commit_entry(&store, &key, Arc::clone(&older), KEEP).await.unwrap();
    assert!(is_hit(&store, &key).await);
    server.freeze();
    assert!(remove(&store, &key).await.is_err());
    for n in 0..10_000 {
        assert!(remove(&store, &resource(&format!("/lost/{n}"))).await.is_err());
    }
    server.thaw();
    let newer = fetched(&other);
    eventually("what is fetched now is served", async || {
        assert!(!is_hit(&store, &key).await);
        let _ = commit_entry(&store, &other, Arc::clone(&newer), KEEP).await;
        is_hit(&store, &other).await
    })
    .await;
    eventually("it is written", async || commit_entry(&store, &key, Arc::clone(&older), KEEP).await.is_ok())
        .await;
    assert!(!is_hit(&store, &key).await, "it was fetched before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_we_write_is_not_served() {
    let server = RedisServer::start();
    let settings = Settings::new(&server.url(), "test").unwrap().with_budget(PATIENCE);
    let store = RedisStore::start(settings, Clock::System);
    is_up(&store).await;
    let key = resource("/large");
    commit_entry(&store, &key, large(&key, LARGEST_BODY), KEEP).await.unwrap();
    assert!(is_hit(&store, &key).await);
    let larger = large(&key, LARGEST_BODY + MAX_HEAD);
    let refused = commit_entry(&store, &key, large(&key, LARGEST_BODY + 1), KEEP).await;
    assert!(matches!(refused, Err(StoreError::TooLarge)), "{refused:?}");
    let (name, id) = (server.resources().remove(0), larger.variant.id());
    let mut connection = server.connect().unwrap();
    let Encoded { entry, body } = larger.encode(Offset::NONE, Compression::Off, &Seal::default()).unwrap();
    let mut write = redis::cmd("HSET");
    write.arg(name).arg(format!("v{id:032x}")).arg(entry).arg(format!("V{id:032x}")).arg(&*body.unwrap());
    write.exec(&mut connection).unwrap();
    assert!(matches!(try_lookup(&store, &key).await, Ok(Lookup::Nothing)));
    assert_eq!(store.stats().corrupt, 1);
    eventually("it is deleted", async || server.keys().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_nothing_is_not_filled_to_the_brim() {
    let (server, store, key) = with_one_entry().await;
    let begun = lease(&store, &resource("/begun")).await;
    server.fill_nearly();
    eventually("it is nearly full", async || !store.takes_writes()).await;
    let refused = commit(&store, &resource("/more")).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("nearly full")), "{refused:?}");
    let (granted, dropped) = (store.stats().leases.granted, store.stats().dropped_writes);
    let entry = entry(&resource("/begun"), &HeaderMap::new(), &[], "one");
    let refused = store.commit(&resource("/begun"), entry, KEEP, begun).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("nearly full")), "{refused:?}");
    assert_eq!((granted, store.stats().dropped_writes), (2, dropped + 1), "only what had begun got as far");
    assert!(is_hit(&store, &key).await);
    server.make_room();
    eventually("there is room again", async || store.takes_writes()).await;
    commit(&store, &resource("/more")).await.unwrap();
    // For whoever watches it.
    let Value::Int(keys) = server.command(&["DBSIZE"]) else { panic!("no number of keys") };
    let told = async || store.room().is_some_and(|room| room.keys == u64::try_from(keys).unwrap());
    eventually("it tells what it holds", told).await;
    let room = store.room().unwrap();
    assert!(room.used > 1 << 19 && room.most > 16 << 20, "{room:?}");
}
