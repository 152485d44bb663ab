//! What becomes of purges, and of what tells of them, where Redis loses them or only seems to have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::sync::Arc;

use futures_util::future::join_all;
use http::HeaderMap;
use redis::Value;
use sidecache::{
    clock::Clock,
    epoch::{Epoch, Mode},
    key::{ResourceKey, VariantKey},
    store::{
        Claim, Claimant, Purge, Purged, Store, StoreError, Wait,
        redis::{Health, RedisStore, Settings},
        tiers::{Fleet, TierSettings},
    },
    tags::Tag,
};
use support::{
    entries::{CLAIM, KEEP, TIERS, body, commit, entry, fleet, resource},
    redis::{PATIENCE, RedisServer, eventually},
    users::Rights,
};

/// A store on this server, connected.
async fn store(server: &RedisServer) -> RedisStore {
    store_at(&server.url()).await
}

/// The same at this URL. A look-up has all the time.
async fn store_at(url: &str) -> RedisStore {
    let settings = Settings::new(url, "test").unwrap().with_budget(PATIENCE);
    let store = RedisStore::start(settings, Clock::System);
    is_up(&store).await;
    store
}

async fn is_up(store: &RedisStore) {
    let knows_purges = || store.purges().epoch() > Epoch::FIRST;
    let is_up = || store.health() == Health::Up && store.takes_writes() && knows_purges();
    eventually("the store is up", async || is_up()).await;
}

/// Stores what was fetched now and carries these tags.
async fn keep(store: &RedisStore, key: &ResourceKey, text: &str, tags: &[Tag]) {
    let mut fetched = entry(key, &HeaderMap::new(), &[], text);
    let new = Arc::get_mut(&mut fetched).unwrap();
    (new.epoch, new.tags) = (store.purges().epoch(), tags.into());
    commit(store, key, fetched, KEEP).await.unwrap();
}

async fn finds(store: &RedisStore, key: &ResourceKey) -> String {
    body(store, key, &HeaderMap::new()).await
}

async fn try_purge(
    store: &RedisStore,
    mode: Mode,
    resources: &[&ResourceKey],
    tags: &[Tag],
) -> Result<Purged, StoreError> {
    let resources = resources.iter().map(|key| (*key).clone()).collect();
    let purge = Purge { resources, tags: tags.to_vec(), mode, ..Purge::default() };
    store.purge(&purge, Wait::ForStore, std::time::SystemTime::now()).await
}

async fn purge(store: &RedisStore, mode: Mode, resources: &[&ResourceKey], tags: &[Tag]) -> Purged {
    try_purge(store, mode, resources, tags).await.unwrap()
}

/// The latest purge that may concern a resource beside that one.
async fn latest(store: &RedisStore, beside: Purged, key: &ResourceKey) -> u64 {
    store.latest_purge_beside(beside, key, PATIENCE).await.unwrap().number()
}

/// What no purge was.
const NONE: Purged = Purged { epoch: Epoch::FIRST, before: Epoch::FIRST, applied: 0 };

/// Has the connections break, and waits until what this store has purged is sent again.
async fn lose_connections(server: &RedisServer, store: &RedisStore) {
    let canary = resource("/canary");
    keep(store, &canary, "lost", &[]).await;
    let is_its = |name: &String| name.ends_with("/canary");
    let name = server.resources().into_iter().find(is_its).unwrap();
    let mut own = server.connect().unwrap();
    let dump: Vec<u8> = redis::cmd("DUMP").arg(&name).query(&mut own).unwrap();
    purge(store, Mode::Hard, &[&canary], &[]).await;
    let restore = redis::cmd("RESTORE").arg(&name).arg(60_000).arg(dump).to_owned();
    restore.exec(&mut own).unwrap();
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    // All of it is sent at once.
    eventually("it is purged again", async || !server.resources().iter().any(is_its)).await;
    is_up(store).await;
}

fn announcements(server: &RedisServer) -> Vec<String> {
    let mut names = server.all_keys();
    names.retain(|name| name.contains(":v1:p:") && !name.contains(&canary()));
    names.sort_unstable();
    names
}

fn canary() -> String {
    format!("{:032x}", resource("/canary").wide_hash())
}

fn record(tag: Tag) -> String {
    format!("test:v1:t:{{{:032x}}}", tag.bits())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_after_a_purge_outlives_a_connection() {
    let server = RedisServer::start();
    let (ours, theirs) = (store(&server).await, store(&server).await);
    let (tag, rule) = (Tag::named(b"t"), Tag::rule("all"));
    let keys = [resource("/a"), resource("/b")];
    let tags = [tag, rule];
    for mode in [Mode::Hard, Mode::Soft] {
        for key in &keys {
            keep(&ours, key, "old", &tags).await;
        }
        purge(&ours, mode, &[], &[Tag::everything()]).await;
        purge(&ours, mode, &[&keys[0], &keys[1]], &[tag, rule]).await;
        for key in &keys {
            keep(&ours, key, "new", &tags).await;
        }
        let announced = announcements(&server);
        lose_connections(&server, &ours).await;
        is_up(&theirs).await;
        for key in &keys {
            assert_eq!(finds(&ours, key).await, "new", "{mode:?}");
            assert_eq!(finds(&theirs, key).await, "new", "{mode:?}");
        }
        assert_eq!(announcements(&server), announced, "nobody is told what is so already");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redis_has_lost_that_comes_back_is_purged_again() {
    let mut server = RedisServer::start();
    let ours = store(&server).await;
    let (tag, marked) = (Tag::named(b"t"), Tag::named(b"marked"));
    let [by_url, by_tag, soft, soft_tag, other] =
        ["/url", "/tag", "/soft", "/softtag", "/other"].map(resource);
    let none: &[Tag] = &[];
    let all = [(&by_url, none), (&by_tag, &[tag]), (&soft, none), (&soft_tag, &[marked]), (&other, none)];
    for (key, tags) in all {
        keep(&ours, key, "old", tags).await;
    }
    server.command(&["SAVE"]);
    purge(&ours, Mode::Hard, &[&by_url], &[tag]).await;
    purge(&ours, Mode::Soft, &[&soft], &[marked]).await;

    server.restart_as_saved();
    let wanted = [(&by_url, ""), (&by_tag, ""), (&soft, "old, stale"), (&soft_tag, "old, stale")];
    is_up(&ours).await;
    for (key, found) in wanted {
        assert_eq!(finds(&ours, key).await, found);
    }
    assert_eq!(finds(&ours, &other).await, "old");
    // One that has not heard of them depends on what Redis knows.
    let theirs = store(&server).await;
    eventually("Redis knows of them", async || {
        let mut known = true;
        for (key, found) in wanted {
            known &= finds(&theirs, key).await == found;
        }
        known
    })
    .await;
    assert_eq!(finds(&theirs, &other).await, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_sent_again_makes_nothing_valid() {
    let server = RedisServer::start();
    let (ours, theirs) = (store(&server).await, store(&server).await);
    let (tag, key) = (Tag::named(b"t"), resource("/a"));
    purge(&ours, Mode::Hard, &[], &[tag]).await;
    keep(&ours, &key, "between", &[tag]).await;
    purge(&theirs, Mode::Hard, &[], &[tag]).await;
    // As an eviction does: what it told of the later purge is gone.
    server.command(&["DEL", &record(tag)]);
    lose_connections(&server, &ours).await;
    assert_eq!(finds(&store(&server).await, &key).await, "");
    assert_eq!(server.command(&["EXISTS", &record(tag)]), Value::Int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_a_soft_purge_where_the_record_is_lost() {
    let server = RedisServer::start();
    let ours = store(&server).await;
    let (tag, key) = (Tag::named(b"t"), resource("/a"));
    keep(&ours, &key, "old", &[tag]).await;
    purge(&ours, Mode::Hard, &[], &[tag]).await;
    server.command(&["DEL", &record(tag)]);
    purge(&ours, Mode::Soft, &[], &[tag]).await;
    assert_eq!(finds(&store(&server).await, &key).await, "");
}

/// What Redis has as the last epoch.
fn last_epoch(server: &RedisServer) -> u64 {
    redis::from_redis_value(server.command(&["GET", "test:v1:e"])).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_redis_has_lost_is_not_taken_again() {
    let server = RedisServer::start();
    let (ours, theirs) = (store(&server).await, store(&server).await);
    let tiers = fleet(ours.clone(), TIERS);
    eventually("it is tracked", async || tiers.tracking().session().is_some()).await;
    // As by a Redis whose clock was ahead of this one's.
    let ahead = Epoch::from_number(last_epoch(&server) + 3_600_000_000).unwrap();
    ours.purges().catch_up(ahead);
    eventually("a renewal tells Redis", async || last_epoch(&server) > ahead.number()).await;
    let (tag, key) = (Tag::named(b"t"), resource("/a"));
    keep(&ours, &key, "old", &[tag]).await;
    purge(&theirs, Mode::Hard, &[], &[tag]).await;
    for store in [&ours, &theirs] {
        eventually("the purge is later than what was stored", async || finds(store, &key).await.is_empty())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_an_epoch_for_a_purge_that_is_on_its_way() {
    let server = RedisServer::start();
    let store = store(&server).await;
    purge(&store, Mode::Hard, &[&resource("/a")], &[]).await;
    let last = last_epoch(&server);
    store.purges().next(std::time::SystemTime::UNIX_EPOCH);
    assert!(store.purges().epoch().number() > last);
    assert_eq!(latest(&store, NONE, &resource("/a")).await, last);
    assert_eq!(last_epoch(&server), last);
}

/// Of a Redis whose clock is behind that of the one before it: each epoch is one that follows the last.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_while_a_purge_is_on_its_way_is_before_the_next_one_of_others() {
    let server = RedisServer::start();
    let (ours, theirs) = (store(&server).await, store(&server).await);
    let (tag, key) = (Tag::named(b"t"), resource("/a"));
    keep(&ours, &key, "old", &[tag]).await;
    let ahead = last_epoch(&server) + 3_600_000_000;
    server.command(&["SET", "test:v1:e", &ahead.to_string(), "PX", "60000"]);
    assert_eq!(latest(&ours, NONE, &key).await, ahead);
    for _ in 0..3 {
        ours.purges().next(std::time::SystemTime::UNIX_EPOCH);
    }
    let mut fetched = entry(&key, &HeaderMap::new(), &[], "fetched before");
    let new = Arc::get_mut(&mut fetched).unwrap();
    (new.epoch, new.tags) = (ours.purges().epoch(), [tag].into());
    purge(&theirs, Mode::Hard, &[], &[tag]).await;
    commit(&ours, &key, fetched, KEEP).await.unwrap();
    for store in [&ours, &theirs] {
        assert_eq!(finds(store, &key).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_came_between_only_its_own_is_known_to_concern_others() {
    let server = RedisServer::start();
    let (ours, theirs) = (store(&server).await, store(&server).await);
    let (key, [one, other]) = (resource("/a"), ["/b", "/c"].map(resource));
    let none: &[Tag] = &[];
    purge(&ours, Mode::Hard, &[&key], none).await;
    let begun = ours.purges().epoch().number();
    purge(&ours, Mode::Hard, &[&one], none).await;
    let own = purge(&ours, Mode::Hard, &[&key, &other], none).await;
    purge(&ours, Mode::Hard, &[&other], none).await;
    assert_eq!(latest(&ours, own, &key).await, begun);

    let of_others = purge(&theirs, Mode::Hard, &[&one], none).await.epoch;
    // A part of it, of which this process has heard: it may be of more.
    ours.purges().purge_resource(one.wide_hash(), Mode::Hard, of_others);
    assert_eq!(latest(&ours, own, &key).await, of_others.number());
    let own = purge(&ours, Mode::Hard, &[&key], none).await;
    assert_eq!(latest(&ours, own, &key).await, of_others.number());
    // Nor is anything known of the time before one that Redis has lost.
    let begun = ours.purges().epoch().number();
    server.command(&["SET", "test:v1:e", "7", "PX", "60000"]);
    let own = purge(&ours, Mode::Hard, &[&key], none).await;
    assert!(latest(&ours, own, &key).await > begun);
}

/// Redis' clock, in microseconds.
fn redis_time(server: &RedisServer) -> u64 {
    let (seconds, micros): (u64, u64) = redis::from_redis_value(server.command(&["TIME"])).unwrap();
    seconds * 1_000_000 + micros
}

/// However many purges there are in a second.
#[tokio::test(flavor = "multi_thread")]
async fn epochs_do_not_run_ahead_of_the_clock() {
    let server = RedisServer::start();
    let (store, key) = (store(&server).await, resource("/a"));
    purge(&store, Mode::Hard, &[&key], &[]).await;
    let begun = redis_time(&server);
    let many = (0..20).map(|_| async {
        for _ in 0..100 {
            purge(&store, Mode::Hard, &[&key], &[]).await;
        }
    });
    join_all(many).await;
    let (last, now) = (last_epoch(&server), redis_time(&server));
    assert!(last <= now, "{} purges took {} us, and their epochs {} us", 2000, now - begun, last - begun);
}

/// Of a clock that has only just caught up with the last one: that was ahead of it, and so may be what a process has
/// given its own purges since.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_purges_on_their_way_until_the_clock_has_caught_up() {
    let server = RedisServer::start();
    let (store, key) = (store(&server).await, resource("/a"));
    let ahead = redis_time(&server) + 3_600_000_000;
    server.command(&["SET", "test:v1:e", &ahead.to_string(), "PX", "60000"]);
    let taken = purge(&store, Mode::Hard, &[&key], &[]).await.epoch.number();
    assert!(taken >= ahead + 1000 && taken % 2 == 1, "{ahead} {taken}");
    let store = store_at(&server.url()).await;
    for _ in 0..10 {
        let last = redis_time(&server) | 1;
        server.command(&["SET", "test:v1:e", &last.to_string(), "PX", "60000"]);
        assert!(purge(&store, Mode::Hard, &[&key], &[]).await.epoch.number() >= last + 1000);
    }
}

/// Nobody tells it of purges: it learns that there have been some by the epoch, which its own purges raise too.
#[tokio::test(flavor = "multi_thread")]
async fn its_own_purge_does_not_hide_those_of_which_nobody_tells() {
    let server = RedisServer::start();
    let untracked = Rights::documented().without("+client|tracking");
    let ours = store_at(&untracked.granted(&server)).await;
    let (theirs, key) = (store(&server).await, resource("/a"));
    let tiers = fleet(ours.clone(), TIERS);
    eventually("it goes on untracked", async || tiers.tracking().is_untracked()).await;
    let begun = ours.purges().known();
    purge(&theirs, Mode::Hard, &[&key], &[]).await;
    purge(&ours, Mode::Hard, &[&resource("/other")], &[]).await;
    eventually("what is being fetched may be obsolete", async || {
        ours.purges().concern(key.wide_hash(), begun)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_sent_again_is_for_what_began_before_it() {
    let server = RedisServer::start();
    let (ours, key) = (store(&server).await, resource("/a"));
    let lease = async || match ours.claim(&key, &VariantKey::only(), Claimant::Flight, CLAIM).await.unwrap() {
        Claim::Granted(lease) => lease,
        other => panic!("{other:?}"),
    };
    let fetched = || {
        let mut fetched = entry(&key, &HeaderMap::new(), &[], "new");
        Arc::get_mut(&mut fetched).unwrap().epoch = ours.purges().epoch();
        fetched
    };
    let leases = format!("test:v1:l:{{{:032x}}}", key.wide_hash());
    let (before, began_before) = (lease().await, fetched());
    let mut own = server.connect().unwrap();
    let dump: Vec<u8> = redis::cmd("DUMP").arg(&leases).query(&mut own).unwrap();
    purge(&ours, Mode::Hard, &[&key], &[]).await;
    // As Redis has it that has lost the purge.
    redis::cmd("RESTORE").arg(&leases).arg(60_000).arg(dump).exec(&mut own).unwrap();
    lose_connections(&server, &ours).await;
    let stored = ours.commit(&key, began_before, KEEP, before).await;
    assert!(matches!(stored, Err(StoreError::LeaseLost)), "{stored:?}");

    server.command(&["DEL", &leases]);
    let (after, began_after) = (lease().await, fetched());
    lose_connections(&server, &ours).await;
    ours.commit(&key, began_after, KEEP, after).await.unwrap();
    assert_eq!(finds(&ours, &key).await, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_type_is_replaced() {
    let server = RedisServer::start();
    let ours = store(&server).await;
    let (tag, key, other) = (Tag::named(b"t"), resource("/a"), resource("/b"));
    let spoil = |name: &str| {
        server.command(&["LPUSH", "other", "x"]);
        server.command(&["RENAME", "other", name]);
    };
    keep(&ours, &key, "old", &[tag]).await;
    spoil(&record(tag));
    let theirs = store(&server).await;
    assert_eq!(finds(&theirs, &key).await, "", "it may have told of a purge");
    purge(&theirs, Mode::Hard, &[&other], &[tag]).await;
    spoil(&record(tag));
    keep(&theirs, &key, "new", &[tag]).await;
    assert_eq!(finds(&theirs, &key).await, "new");

    spoil("test:v1:e");
    purge(&theirs, Mode::Hard, &[&other], &[tag]).await;
    assert!(last_epoch(&server) > 0);
    assert_eq!(finds(&theirs, &key).await, "");

    let two = [fleet(ours, TIERS), fleet(theirs, TIERS)];
    eventually("all are members", async || {
        spoil("test:v1:m");
        eventually("it is renewed", async || {
            matches!(server.try_command(&["HLEN", "test:v1:m"]), Ok(Value::Int(3)))
        })
        .await;
        two.iter().all(|tiers| tiers.tracking().session().is_some())
    })
    .await;
}

/// Of a user who may do all but write one record.
#[tokio::test(flavor = "multi_thread")]
async fn what_redis_refuses_of_a_purge_does_not_hold_up_the_rest() {
    let server = RedisServer::start();
    let (forbidden, tag) = (Tag::named(b"forbidden"), Tag::named(b"t"));
    let names = ["test:v1:r:*", "test:v1:l:*", "test:v1:e", "test:v1:p:*"].map(str::to_owned);
    let names = [names.as_slice(), &[record(tag), record(Tag::everything())]].concat();
    let url =
        Rights::documented().granted_for(&server, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let ours = store_at(&url).await;
    let (key, by_tag) = (resource("/a"), resource("/b"));
    for round in ["first", "second"] {
        keep(&ours, &key, round, &[]).await;
        keep(&ours, &by_tag, round, &[tag]).await;
        assert_eq!(finds(&ours, &key).await, round, "it waits for nothing");
        let purged = try_purge(&ours, Mode::Hard, &[&key], &[tag, forbidden]).await;
        assert!(matches!(purged, Err(StoreError::Refused(_))), "{purged:?}");
        assert_eq!(finds(&ours, &key).await, "");
        assert_eq!(finds(&ours, &by_tag).await, "");
    }
}

/// A store that hears of purges and so reads no record twice, and what it has of one tag.
async fn with_a_record(server: &RedisServer) -> (Fleet, ResourceKey, String) {
    let tiers = fleet(store(server).await, TierSettings { memory: 0, ..TIERS });
    eventually("it is tracked", async || tiers.tracking().session().is_some()).await;
    let (tag, key) = (Tag::named(b"t"), resource("/a"));
    keep(tiers.redis(), &key, "kept", &[tag]).await;
    (tiers, key, record(tag))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_is_fetched_is_stored_whatever_else_is_purged_meanwhile() {
    let server = RedisServer::start();
    let (store, key) = (store(&server).await, resource("/a"));
    let tags = [Tag::rule("/a"), Tag::named(b"t")];
    store.expect(tags.into_iter());
    let names = [record(Tag::everything()), record(tags[0]), record(tags[1])];
    let there = |name: &String| server.command(&["EXISTS", name]) == Value::Int(1);
    eventually("what tells of their purges is there", async || names.iter().all(there)).await;
    let mut fetched = entry(&key, &HeaderMap::new(), &[], "kept");
    let new = Arc::get_mut(&mut fetched).unwrap();
    (new.epoch, new.tags) = (store.purges().epoch(), tags.into());
    purge(&store, Mode::Hard, &[&resource("/other")], &[]).await;
    commit(&store, &key, fetched, KEEP).await.unwrap();
    assert_eq!(finds(&store, &key).await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_type_holds_up_none_of_those_that_are_expected() {
    let server = RedisServer::start();
    let (tags, store) = ([Tag::rule("/a"), Tag::named(b"t")], store(&server).await);
    for spoilt in tags {
        server.command(&["DEL", &record(tags[0]), &record(tags[1])]);
        server.command(&["LPUSH", &record(spoilt), "x"]);
        store.expect(tags.into_iter());
        let there =
            |tag: Tag| server.command(&["TYPE", &record(tag)]) == Value::SimpleString("string".into());
        eventually("what tells of their purges is there", async || tags.into_iter().all(there)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_used_is_not_idle() {
    let server = RedisServer::start();
    let (tiers, key, name) = with_a_record(&server).await;
    let idle = |name: &str| match server.command(&["OBJECT", "IDLETIME", name]) {
        Value::Int(seconds) => seconds,
        other => panic!("{other:?}"),
    };
    let everything = record(Tag::everything());
    let idle = async || {
        assert_eq!(finds(tiers.redis(), &key).await, "kept");
        idle(&name).max(idle(&everything))
    };
    eventually("time passes", async || idle().await > 1).await;
    eventually("they are read again", async || idle().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_gone_is_made_anew_for_what_is_valid_still() {
    let server = RedisServer::start();
    let (tiers, key, name) = with_a_record(&server).await;
    server.command(&["DEL", &name]);
    let newcomer = store(&server).await;
    assert_eq!(finds(&newcomer, &key).await, "");
    eventually("it is made anew", async || {
        assert_eq!(finds(tiers.redis(), &key).await, "kept");
        finds(&newcomer, &key).await == "kept"
    })
    .await;
    // What it may have told of a purge since then is not lost.
    purge(tiers.redis(), Mode::Hard, &[], &[Tag::named(b"other")]).await;
    server.command(&["DEL", &name]);
    eventually("it is made anew", async || {
        let _ = finds(tiers.redis(), &key).await;
        server.command(&["EXISTS", &name]) == Value::Int(1)
    })
    .await;
    assert_eq!(finds(&newcomer, &key).await, "");
}

/// What is being fetched by one that nobody tells of purges is known to be obsolete when it has asked for the last one.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_last_purge_knows_what_came_before_it() {
    let server = RedisServer::start();
    let (one, other, key) = (store(&server).await, store(&server).await, resource("/a"));
    let asks = async || {
        let known = one.purges().known();
        one.ask_for_purges(PATIENCE).await.map(|()| one.purges().missed(known))
    };
    eventually("all are connected", async || asks().await.is_ok_and(|missed| !missed)).await;
    assert!(!asks().await.unwrap(), "there was none");
    purge(&other, Mode::Hard, &[&key], &[]).await;
    assert!(asks().await.unwrap(), "there was one");
    assert!(!asks().await.unwrap(), "and no other one");

    let known = one.purges().known();
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("it asks again", async || asks().await.is_ok()).await;
    assert!(one.purges().missed(known), "Redis may have lost one meanwhile");

    server.command(&["SET", "test:v1:e", "1"]);
    assert!(matches!(asks().await, Err(StoreError::Unavailable)), "it has lost some");
    server.command(&["DEL", "test:v1:e"]);
    assert!(matches!(asks().await, Err(StoreError::Unavailable)), "it has lost all");
    // Nor does it say anything with something else in that place, and look-ups go on.
    for other in [["SET", "test:v1:e", "anything"], ["LPUSH", "test:v1:e", "1"]] {
        server.command(&["DEL", "test:v1:e"]);
        server.command(&other);
        for _ in 0..5 {
            assert!(matches!(asks().await, Err(StoreError::Unavailable)), "{other:?}");
        }
        assert!(one.takes_reads_of(&key), "{other:?}");
    }
}
