//! What a lease promises, on a real Redis: one holder at a time, and no commit by any other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use redis::Value;
use sidecache::{
    clock::Clock,
    key::{ResourceKey, VariantKey},
    store::{
        Claim, Claimant, Marker, Store, StoreError,
        redis::{Health, Lease, RedisStore, Settings},
    },
};
use support::{
    entries::{CLAIM, KEEP, body, entry, resource},
    redis::{RedisServer, eventually},
};

async fn store(server: &RedisServer) -> RedisStore {
    let store = RedisStore::start(Settings::new(&server.url(), "test").unwrap(), Clock::System);
    eventually("the store is up", async || store.health() == Health::Up && store.takes_writes()).await;
    store
}

async fn claim(store: &RedisStore, key: &ResourceKey, claimant: Claimant) -> Claim<Lease> {
    store.claim(key, &VariantKey::only(), claimant, CLAIM).await.unwrap()
}

async fn granted(store: &RedisStore, key: &ResourceKey, claimant: Claimant) -> Lease {
    match claim(store, key, claimant).await {
        Claim::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

async fn commit(store: &RedisStore, key: &ResourceKey, lease: Lease) -> Result<(), StoreError> {
    store.commit(key, entry(key, &HeaderMap::new(), &[], "one"), KEEP, lease).await
}

async fn is_stored(store: &RedisStore, key: &ResourceKey) -> bool {
    body(store, key, &HeaderMap::new()).await == "one"
}

/// All that was given back is.
async fn settled(store: &RedisStore) {
    eventually("nothing is held", async || store.stats().leases.held == 0).await;
}

fn every_key_goes_by_itself(server: &RedisServer) {
    for name in server.keys() {
        assert!(matches!(server.command(&["PTTL", &name]), Value::Int(1..)), "{name}");
    }
}

#[tokio::test]
async fn it_is_for_one_at_a_time_and_over_with_the_commit() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let lease = granted(&one, &key, Claimant::Flight).await;
    assert!(matches!(claim(&other, &key, Claimant::Flight).await, Claim::Held));
    assert!(matches!(claim(&one, &key, Claimant::Flight).await, Claim::Held), "nor twice for one");
    drop(granted(&other, &resource("/b"), Claimant::Flight).await);
    every_key_goes_by_itself(&server);
    commit(&one, &key, lease).await.unwrap();
    assert!(is_stored(&other, &key).await);
    commit(&other, &key, granted(&other, &key, Claimant::Flight).await).await.unwrap();
    settled(&other).await;
    assert_eq!(server.resources(), [server.keys().into_iter().find(|name| name.ends_with("/a")).unwrap()]);
    assert_eq!((one.stats().leases.granted, one.stats().leases.held, one.stats().leases.lost), (1, 0, 0));
}

#[tokio::test]
async fn it_lasts_as_long_as_it_is_held() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let lease = granted(&one, &key, Claimant::Flight).await;
    // Longer than a lease that is not renewed.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert!(matches!(claim(&other, &key, Claimant::Flight).await, Claim::Held));
    commit(&one, &key, lease).await.unwrap();
}

/// When nothing has come for so long, another one may fetch it beside.
const SILENCE: Duration = Duration::from_secs(4);

/// The lease of another one beside one of which nothing comes, while something comes of one that is `moving`.
async fn beside(other: &RedisStore, key: &ResourceKey, moving: &Lease) -> Lease {
    let mut beside = None;
    eventually("another one is let beside it", async || {
        moving.goes_on();
        if let Claim::Granted(lease) = claim(other, key, Claimant::Flight).await {
            beside = Some(lease);
        }
        beside.is_some()
    })
    .await;
    beside.unwrap()
}

/// Where the leases of a resource are, and the field of the one of its only variant.
fn place(key: &ResourceKey) -> [String; 2] {
    [format!("test:v1:l:{{{:032x}}}", key.wide_hash()), format!("v{:032x}", 0)]
}

/// What is there: a token, when it lapses, whose it is, and the token of one that it was granted beside.
fn words(server: &RedisServer, key: &ResourceKey) -> Vec<String> {
    let [name, field] = place(key);
    let lease: String = redis::from_redis_value(server.command(&["HGET", &name, &field])).unwrap();
    lease.split(' ').map(str::to_owned).collect()
}

/// As if nothing came of this one either.
fn falls_silent(server: &RedisServer, key: &ResourceKey) {
    let ([name, field], token) = (place(key), words(server, key).remove(0));
    let renew = include_str!("../src/store/redis/renew.lua");
    assert_eq!(server.command(&["EVAL", renew, "1", &name, &field, &token, "2000", "s"]), Value::Int(1));
}

#[tokio::test]
async fn one_of_which_nothing_comes_lets_one_other_beside_it_and_what_is_first_is_stored() {
    let server = RedisServer::start();
    let (one, other, third) = (store(&server).await, store(&server).await, store(&server).await);
    let [late, never, purged, moves] = ["/late", "/never", "/purged", "/moves"].map(resource);
    let begun = tokio::time::Instant::now();
    let moving = granted(&one, &moves, Claimant::Flight).await;
    let late_one = granted(&one, &late, Claimant::Flight).await;
    let never_one = granted(&one, &never, Claimant::Flight).await;
    let purged_one = granted(&one, &purged, Claimant::Flight).await;
    let late_other = beside(&other, &late, &moving).await;
    assert!(begun.elapsed() >= SILENCE, "{:?}", begun.elapsed());
    let never_other = beside(&other, &never, &moving).await;
    let purged_other = beside(&other, &purged, &moving).await;
    falls_silent(&server, &late);
    for key in [&late, &never, &moves] {
        assert!(matches!(claim(&third, key, Claimant::Flight).await, Claim::Held), "{:?}", key.readable());
    }
    every_key_goes_by_itself(&server);

    commit(&one, &moves, moving).await.unwrap();
    commit(&one, &late, late_one).await.unwrap();
    commit(&other, &never, never_other).await.unwrap();
    other.remove(std::slice::from_ref(&purged)).await.unwrap();
    let refused = [
        commit(&other, &late, late_other).await,
        commit(&one, &never, never_one).await,
        commit(&one, &purged, purged_one).await,
        commit(&other, &purged, purged_other).await,
    ];
    assert!(refused.iter().all(|outcome| matches!(outcome, Err(StoreError::LeaseLost))), "{refused:?}");
}

#[tokio::test]
async fn of_two_beside_each_other_the_one_that_gives_up_leaves_the_other_its_right() {
    let server = RedisServer::start();
    let (one, other) = (store(&server).await, store(&server).await);
    let [first, second, moves] = ["/first", "/second", "/moves"].map(resource);
    let moving = granted(&one, &moves, Claimant::Flight).await;
    let (first_one, second_one) =
        (granted(&one, &first, Claimant::Flight).await, granted(&one, &second, Claimant::Flight).await);
    let first_other = beside(&other, &first, &moving).await;
    let second_other = beside(&other, &second, &moving).await;
    // Longer than a lease that is not renewed, in which those that are silent hear nothing against it.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    drop((first_one, second_other));
    eventually("each is by itself", async || {
        (words(&server, &first).len(), words(&server, &second).len()) == (3, 3)
    })
    .await;
    assert_eq!((&*words(&server, &first)[2], &*words(&server, &second)[2]), ("f", "s"));
    every_key_goes_by_itself(&server);
    assert!(matches!(claim(&other, &first, Claimant::Flight).await, Claim::Held));
    let again = granted(&other, &second, Claimant::Flight).await;
    commit(&other, &first, first_other).await.unwrap();
    commit(&one, &second, second_one).await.unwrap();
    let lost = commit(&other, &second, again).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
}

/// The leases of all variants of a resource are one key.
#[tokio::test]
async fn what_ends_cuts_no_other_variant_short() {
    let server = RedisServer::start();
    let [name, field] = place(&resource("/a"));
    let soon = millis(Duration::from_millis(500));
    server.command(&["HSET", &name, &field, &format!("1 {soon} f 2")]);
    server.command(&["PEXPIRE", &name, "60000"]);
    let release = include_str!("../src/store/redis/release.lua");
    let ended = server.command(&["EVAL", release, "2", "test:v1:r:a", &name, &field, "1", "", "0", "0"]);
    assert_eq!((ended, words(&server, &resource("/a")).remove(0)), (Value::Int(1), "2".into()));
    assert!(
        matches!(server.command(&["PTTL", &name]), Value::Int(1000..)),
        "the key lasts as long as it did"
    );
}

#[tokio::test]
async fn a_removal_breaks_it() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let lease = granted(&one, &key, Claimant::Flight).await;
    other.remove(std::slice::from_ref(&key)).await.unwrap();
    let refused = commit(&one, &key, lease).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    assert!(server.keys().is_empty() && one.stats().leases.lost == 1);
}

#[tokio::test]
async fn nor_does_who_has_lost_it_remove_anything() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let lost = granted(&one, &key, Claimant::Flight).await;
    other.remove(std::slice::from_ref(&key)).await.unwrap();
    commit(&other, &key, granted(&other, &key, Claimant::Flight).await).await.unwrap();
    one.forget(lost).await.unwrap();
    assert!(is_stored(&other, &key).await);
    one.forget(granted(&one, &key, Claimant::Flight).await).await.unwrap();
    assert!(!is_stored(&other, &key).await);
}

#[tokio::test]
async fn one_alone_gives_way_to_one_for_whom_others_wait() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let alone = granted(&one, &key, Claimant::Alone).await;
    assert!(matches!(claim(&other, &key, Claimant::Alone).await, Claim::Held));
    let flight = granted(&other, &key, Claimant::Flight).await;
    assert!(matches!(commit(&one, &key, alone).await, Err(StoreError::LeaseLost)));
    assert!(matches!(claim(&one, &key, Claimant::Alone).await, Claim::Held));
    commit(&other, &key, flight).await.unwrap();
}

#[tokio::test]
async fn how_it_ends_says_whether_to_wait_for_the_next() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let ends = [(Some(Marker::Failed), "f"), (Some(Marker::Unshared), "u"), (None, "-")];
    for (marker, shown) in ends {
        server.command(&["FLUSHALL"]);
        let mut lease = granted(&one, &key, Claimant::Flight).await;
        lease.ends_with(marker);
        drop(lease);
        settled(&one).await;
        every_key_goes_by_itself(&server);
        let next = granted(&one, &key, Claimant::Flight).await;
        let told = match claim(&other, &key, Claimant::Flight).await {
            Claim::Unshared(Marker::Unshared) => "u",
            Claim::Unshared(Marker::Failed) => "f",
            Claim::Held => "-",
            Claim::Granted(_) => panic!("it is held"),
        };
        assert_eq!(told, shown);
        // What is stored is for others again.
        commit(&one, &key, next).await.unwrap();
        let next = granted(&one, &key, Claimant::Flight).await;
        assert!(matches!(claim(&other, &key, Claimant::Flight).await, Claim::Held));
        drop(next);
        settled(&one).await;
    }
}

#[tokio::test]
async fn what_is_not_a_lease_is_none() {
    let server = RedisServer::start();
    let (store, key) = (store(&server).await, resource("/a"));
    let lease = granted(&store, &key, Claimant::Flight).await;
    let name = server.keys().remove(0);
    drop(lease);
    settled(&store).await;
    let field = format!("v{:032x}", 0);
    let lies: [&[&str]; 4] = [
        &["SET", &name, "x"],
        &["LPUSH", &name, "x"],
        &["HSET", &name, &field, "x"],
        &["HSET", &name, &field, "0 9 f"],
    ];
    for lie in lies {
        server.command(&["DEL", &name]);
        server.command(lie);
        commit(&store, &key, granted(&store, &key, Claimant::Flight).await).await.unwrap();
        let lease = granted(&store, &key, Claimant::Flight).await;
        server.command(&["DEL", &name]);
        server.command(lie);
        assert!(matches!(commit(&store, &key, lease).await, Err(StoreError::LeaseLost)), "{lie:?}");
    }
}

#[tokio::test]
async fn a_resource_has_only_so_many() {
    let server = RedisServer::start();
    let (store, key) = (store(&server).await, resource("/a"));
    let lease = granted(&store, &key, Claimant::Flight).await;
    let name = server.keys().remove(0);
    let mut connection = server.connect().unwrap();
    let mut fill = |value: &str| {
        for n in 0..256 {
            redis::cmd("HSET").arg(&name).arg(format!("x{n}")).arg(value).exec(&mut connection).unwrap();
        }
    };
    let other = VariantKey::from_material("other".into());
    fill(&format!("0 {} f", millis(Duration::from_secs(1))));
    let refused = store.claim(&key, &other, Claimant::Flight, CLAIM).await;
    assert!(matches!(refused, Err(StoreError::Overload)), "{refused:?}");
    fill("0 9 f");
    let claimed = store.claim(&key, &other, Claimant::Flight, CLAIM).await.unwrap();
    assert!(matches!(claimed, Claim::Granted(_)), "those that have lapsed make room");
    assert_eq!(server.command(&["HLEN", &name]), Value::Int(2));
    drop(lease);
}

/// So many milliseconds of the clock are over after that.
fn millis(after: Duration) -> u128 {
    (SystemTime::now() + after).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}

/// Redis' clock has been set back, and whoever it was had died before.
#[tokio::test]
async fn what_ends_later_than_it_could_last_is_none() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let ([name, field], ahead) = (place(&key), millis(Duration::from_secs(600)));
    server.command(&["HSET", &name, &field, &format!("0 {ahead} f")]);
    let mut lease = granted(&one, &key, Claimant::Flight).await;
    lease.ends_with(Some(Marker::Unshared));
    drop(lease);
    settled(&one).await;

    let resource = server.keys().remove(0);
    for marker in ["u", "f"] {
        server.command(&["HSET", &resource, "u", &format!("{ahead} {marker}")]);
        let lease = granted(&one, &key, Claimant::Flight).await;
        assert_eq!(lease.met(), None, "{marker}");
        assert!(matches!(claim(&other, &key, Claimant::Flight).await, Claim::Held), "{marker}");
        drop(lease);
        settled(&one).await;
    }

    // One of now takes its place.
    server.command(&["HSET", &resource, "u", &format!("{ahead} u")]);
    let mut lease = granted(&one, &key, Claimant::Flight).await;
    lease.ends_with(Some(Marker::Unshared));
    drop(lease);
    settled(&one).await;
    assert_eq!(granted(&one, &key, Claimant::Flight).await.met(), Some(Marker::Unshared));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_nobody_waits_for_any_more_are_given_back() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    // A short sleep of Redis, in which the claim stays where it is, and a long one.
    for sleep in [100, 1500] {
        server.freeze();
        let outcome = one.claim(&key, &VariantKey::only(), Claimant::Flight, Duration::from_millis(50)).await;
        assert!(matches!(outcome, Err(StoreError::Budget)), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(sleep)).await;
        server.thaw();
        let thawed = tokio::time::Instant::now();
        eventually("another one has it", async || {
            let claimed = other.claim(&key, &VariantKey::only(), Claimant::Flight, CLAIM).await;
            matches!(claimed, Ok(Claim::Granted(_)))
        })
        .await;
        assert!(thawed.elapsed() < Duration::from_millis(1900), "{:?}", thawed.elapsed());
        eventually("they are connected", async || one.takes_writes() && other.takes_writes()).await;
        settled(&other).await;
    }
}
