//! What holds for every store, tried on each: memory, and Redis for real.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT_LANGUAGE, ETAG, USER_AGENT},
};
use redis::Value;
use sidecache::{
    clock::Clock,
    key::{KeyPolicy, VariantKey},
    store::{
        Lookup, MAX_TAGGED, MAX_TAGGED_BYTES, MAX_VARIANTS, Selector, Store, StoreError,
        memory::MemoryStore,
        redis::{Health, RedisStore, Settings},
        tiers::{TierSettings, Tiers},
    },
    stored::{Compression, Stored},
};
use support::{
    entries::{KEEP, TIERS, body, commit, entry, entry_with, fleet, lookup, request, resource},
    redis::{RedisServer, eventually},
};
use tempfile::NamedTempFile;

async fn what_is_committed_is_found(store: &impl Store) {
    let (key, none) = (resource("/found?a=1"), HeaderMap::new());
    assert_eq!(body(store, &key, &none).await, "");
    let written = entry(&key, &none, &[], "one");
    commit(store, &key, Arc::clone(&written), KEEP).await.unwrap();
    let Lookup::Found(read) = lookup(store, &key, &none).await else { panic!("a miss") };
    assert_eq!((&read.key, &read.body), (&written.key, &written.body));
    assert_eq!(read.lines.as_bytes(), written.lines.as_bytes());
    assert_eq!((read.fingerprint, read.facts.status), (7, StatusCode::OK));
    assert_eq!(read.facts.age, written.facts.age);
    assert_eq!(
        read.response_time.duration_since(read.request_time).unwrap(),
        Duration::from_millis(5),
        "both times are converted alike"
    );

    assert_eq!(body(store, &resource("/found?a=2"), &none).await, "");
    assert_eq!(body(store, &resource("/found"), &none).await, "");

    commit(store, &key, entry(&key, &none, &[], "two"), KEEP).await.unwrap();
    assert_eq!(body(store, &key, &none).await, "two", "in place of the one before");
}

async fn what_is_removed_is_gone(store: &impl Store) {
    let none = HeaderMap::new();
    let keys = ["/gone/1", "/gone/2", "/stays"].map(resource);
    for key in &keys {
        commit(store, key, entry(key, &none, &[], "x"), KEEP).await.unwrap();
    }
    store.remove(&keys[..2]).await.unwrap();
    store.remove(&[]).await.unwrap();
    store.remove(&[resource("/never/was")]).await.unwrap();
    assert_eq!(body(store, &keys[0], &none).await, "");
    assert_eq!(body(store, &keys[1], &none).await, "");
    assert_eq!(body(store, &keys[2], &none).await, "x");
}

async fn variants_are_told_apart(store: &impl Store) {
    let key = resource("/variants");
    let (german, french) = (request(&[(ACCEPT_LANGUAGE, "de")]), request(&[(ACCEPT_LANGUAGE, "fr")]));
    let by_language = [ACCEPT_LANGUAGE];
    commit(store, &key, entry(&key, &german, &by_language, "hallo"), KEEP).await.unwrap();
    assert_eq!(body(store, &key, &german).await, "hallo");
    assert_eq!(body(store, &key, &french).await, "-");
    let found = lookup(store, &key, &french).await;
    assert!(matches!(found, Lookup::OtherVariants(names) if *names == by_language));
    assert_eq!(body(store, &key, &HeaderMap::new()).await, "-");
    commit(store, &key, entry(&key, &french, &by_language, "salut"), KEEP).await.unwrap();
    assert_eq!(body(store, &key, &german).await, "hallo");
    assert_eq!(body(store, &key, &french).await, "salut");
    store.remove(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(body(store, &key, &german).await, "");
    assert_eq!(body(store, &key, &french).await, "");
}

async fn keyed_fields_select_too(store: &impl Store) {
    let (key, keyed) = (resource("/keyed"), KeyPolicy { headers: vec![USER_AGENT], ..KeyPolicy::default() });
    let (one, other) = (request(&[(USER_AGENT, "a")]), request(&[(USER_AGENT, "b")]));
    let plain = entry(&key, &one, &[], "for a");
    let keyed_entry = Stored {
        variant: VariantKey::new(&one, &keyed, &[]),
        key: plain.key.clone(),
        hidden: plain.hidden.clone(),
        nominated: Box::default(),
        tags: Box::default(),
        lines: plain.lines.clone(),
        facts: plain.facts.clone(),
        body: plain.body.clone(),
        ..*plain
    };
    commit(store, &key, Arc::new(keyed_entry), KEEP).await.unwrap();
    let found = store.lookup(&key, &Selector { headers: &one, keyed: &keyed }).await.unwrap();
    assert!(matches!(found, Lookup::Found(_)));
    let found = store.lookup(&key, &Selector { headers: &other, keyed: &keyed }).await.unwrap();
    assert!(matches!(found, Lookup::OtherVariants(names) if names.is_empty()));
}

async fn a_changed_vary_drops_what_it_cannot_select(store: &impl Store) {
    let key = resource("/vary");
    let both = request(&[(ACCEPT_LANGUAGE, "de"), (USER_AGENT, "a")]);
    commit(store, &key, entry(&key, &both, &[ACCEPT_LANGUAGE], "by language"), KEEP).await.unwrap();
    commit(store, &key, entry(&key, &both, &[USER_AGENT], "by agent"), KEEP).await.unwrap();
    assert_eq!(body(store, &key, &both).await, "by agent");
    assert_eq!(body(store, &key, &request(&[(ACCEPT_LANGUAGE, "de")])).await, "-");
    commit(store, &key, entry(&key, &both, &[], "for all"), KEEP).await.unwrap();
    assert_eq!(body(store, &key, &both).await, "for all");
    assert_eq!(body(store, &key, &HeaderMap::new()).await, "for all");
}

async fn the_oldest_variant_makes_room(store: &impl Store) {
    let key = resource("/capped");
    let language = |n: usize| request(&[(ACCEPT_LANGUAGE, &format!("x-{n}"))]);
    for n in 0..=MAX_VARIANTS {
        let headers = language(n);
        commit(store, &key, entry(&key, &headers, &[ACCEPT_LANGUAGE], &n.to_string()), KEEP).await.unwrap();
    }
    assert_eq!(body(store, &key, &language(0)).await, "-");
    for n in 1..=MAX_VARIANTS {
        assert_eq!(body(store, &key, &language(n)).await, n.to_string());
    }
}

async fn commits_at_once_lose_none<S: Store + 'static>(store: &Arc<S>) {
    let key = resource("/at/once");
    let language = |n: usize| request(&[(ACCEPT_LANGUAGE, &format!("x-{n}"))]);
    let mut commits = tokio::task::JoinSet::new();
    for n in 0..MAX_VARIANTS / 2 {
        let (store, key) = (Arc::clone(store), key.clone());
        let new = entry(&key, &language(n), &[ACCEPT_LANGUAGE], &n.to_string());
        commits.spawn(async move { commit(&*store, &key, new, KEEP).await });
    }
    for outcome in commits.join_all().await {
        outcome.unwrap();
    }
    for n in 0..MAX_VARIANTS / 2 {
        assert_eq!(body(&**store, &key, &language(n)).await, n.to_string());
    }
}

async fn the_newest_with_a_tag_are_brought(store: &impl Store) {
    let key = resource("/tagged");
    let tagged = async || {
        let all = store.tagged(&key, Duration::from_secs(10)).await.unwrap();
        all.iter().map(|stored| String::from_utf8(stored.body.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let commit = async |language: &str, body: &str, fields: &[_]| {
        let headers = request(&[(ACCEPT_LANGUAGE, language)]);
        let entry = entry_with(&key, &headers, &[ACCEPT_LANGUAGE], body, fields);
        commit(store, &key, entry, KEEP).await.unwrap();
    };
    let tag = [(ETAG, "\"a\"")];
    assert_eq!(tagged().await, [""; 0]);
    commit("plain", "plain", &[]).await;
    assert_eq!(tagged().await, [""; 0]);
    for n in 0..=MAX_TAGGED {
        commit(&format!("x-{n}"), &n.to_string(), &tag).await;
    }
    assert_eq!(tagged().await, ["8", "7", "6", "5", "4", "3", "2", "1"]);
    commit("x-3", "3 anew", &tag).await;
    commit("x-5", "no tag", &[]).await;
    assert_eq!(tagged().await, ["3 anew", "8", "7", "6", "4", "2", "1", "0"]);
    // What is too large is passed over, what is small enough is not.
    for (language, size) in [("large", MAX_TAGGED_BYTES - 1000), ("small", 10), ("huge", MAX_TAGGED_BYTES)] {
        commit(language, &"x".repeat(size), &tag).await;
    }
    let lengths = |all: Vec<String>| all.iter().map(String::len).collect::<Vec<_>>();
    assert_eq!(lengths(tagged().await), [MAX_TAGGED_BYTES]);
    commit("huge", &"x".repeat(MAX_TAGGED_BYTES - 100), &tag).await;
    assert_eq!(lengths(tagged().await), [MAX_TAGGED_BYTES - 100, 10, 6, 1, 1, 1, 1, 1]);
    store.remove(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(tagged().await, [""; 0]);
}

async fn contract<S: Store + 'static>(store: S) {
    let store = Arc::new(store);
    what_is_committed_is_found(&*store).await;
    what_is_removed_is_gone(&*store).await;
    variants_are_told_apart(&*store).await;
    keyed_fields_select_too(&*store).await;
    a_changed_vary_drops_what_it_cannot_select(&*store).await;
    the_oldest_variant_makes_room(&*store).await;
    the_newest_with_a_tag_are_brought(&*store).await;
    commits_at_once_lose_none(&store).await;
}

/// Memory before it, and told of changes.
async fn tiers(server: &RedisServer, settings: TierSettings) -> Tiers {
    let fleet = fleet(client(server).await, settings);
    eventually("Redis tells what changes", async || fleet.tracking().session().is_some()).await;
    Tiers::Redis(Box::new(fleet))
}

/// A client of this server, connected. What is tried here is not speed: the budget is large.
async fn client(server: &RedisServer) -> RedisStore {
    client_that(server, Compression::Off).await
}

/// The same, which writes bodies so.
async fn client_that(server: &RedisServer, compression: Compression) -> RedisStore {
    let settings = Settings::new(&server.url(), "test").unwrap().with_budget(Duration::from_secs(10));
    let settings = settings.with_compression(compression);
    let store = RedisStore::start(settings, Clock::System);
    let is_up = || store.health() == Health::Up && store.takes_writes() && store.takes_bodies();
    eventually("the store is connected", async || is_up()).await;
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    contract(MemoryStore::new(64 << 20, Arc::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start();
    contract(client(&server).await).await;
    every_key_is_well_formed(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_where_bodies_are_packed() {
    let server = RedisServer::start();
    contract(client_that(&server, Compression::Zstd).await).await;
    every_key_is_well_formed(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_packed_all_can_read_and_what_is_damaged_nobody_gets() {
    let server = RedisServer::start();
    let (packs, other) = (client_that(&server, Compression::Zstd).await, client(&server).await);
    let (key, none) = (resource("/packed"), HeaderMap::new());
    let text = "text that says the same again and again; ".repeat(1000);
    let written = entry(&key, &none, &[], &text);
    let field = format!("v{:032x}", written.variant.id());
    commit(&packs, &key, written, KEEP).await.unwrap();
    for store in [&packs, &other] {
        assert_eq!(body(store, &key, &none).await, text);
    }
    let name = server.keys().remove(0);
    let mut connection = server.connect().unwrap();
    let mut bytes: Vec<u8> = redis::cmd("HGET").arg(&name).arg(&field).query(&mut connection).unwrap();
    assert!(bytes.len() < text.len() / 10, "{} bytes", bytes.len());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    redis::cmd("HSET").arg(&name).arg(&field).arg(bytes).exec(&mut connection).unwrap();
    assert_eq!(body(&other, &key, &none).await, "");
    eventually("it is deleted", async || server.keys().is_empty()).await;
    assert_eq!(other.stats().corrupt, 1);
}

/// The same, which has these keys.
async fn client_with(server: &RedisServer, keys: &[&str]) -> RedisStore {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(keys.join("\n").as_bytes()).unwrap();
    let settings = Settings::new(&server.url(), "test").unwrap().with_budget(Duration::from_secs(10));
    let store = RedisStore::start(settings.with_keys(file.path()).unwrap(), Clock::System);
    let is_up = || store.health() == Health::Up && store.takes_writes() && store.takes_bodies();
    eventually("the store is connected", async || is_up()).await;
    store
}

const ONE: &str = "the key of one, of 32 bytes or more";
const OTHER: &str = "the key of another, of 32 or more";

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_where_entries_are_proven_with_a_key() {
    let server = RedisServer::start();
    contract(client_with(&server, &[ONE]).await).await;
    every_key_is_well_formed(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_with_no_key_of_ours_is_a_miss_and_stays_for_others() {
    let server = RedisServer::start();
    let (summed, one) = (client(&server).await, client_with(&server, &[ONE]).await);
    let (both, other) = (client_with(&server, &[OTHER, ONE]).await, client_with(&server, &[OTHER]).await);
    let (key, none) = (resource("/proven"), HeaderMap::new());
    for text in ["small".to_owned(), "0123456789abcdef".repeat(5000)] {
        // By the writer: who of these four can read it.
        for (writer, readers) in [
            (&summed, [true, false, false, false]),
            (&one, [false, true, true, false]),
            (&both, [false, false, true, true]),
        ] {
            commit(writer, &key, entry(&key, &none, &[], &text), KEEP).await.unwrap();
            for (reader, reads) in [&summed, &one, &both, &other].into_iter().zip(readers) {
                assert_eq!(body(reader, &key, &none).await == text, reads, "{writer:?} {reader:?}");
            }
            assert_eq!(body(writer, &key, &none).await, text, "nobody has deleted it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_entry_under_another_key_or_with_another_body_is_a_miss() {
    let server = RedisServer::start();
    let store = client_with(&server, &[ONE]).await;
    let none = HeaderMap::new();
    let mut connection = server.connect().unwrap();
    let mut of = HashMap::new();
    for (path, byte) in [("/a", "a"), ("/b", "b")] {
        let key = resource(path);
        let written = entry(&key, &none, &[], &byte.repeat(100_000));
        commit(&store, &key, written, KEEP).await.unwrap();
        let name = server.keys().into_iter().find(|name| !of.contains_key(name)).unwrap();
        let fields: HashMap<String, Vec<u8>> =
            redis::cmd("HGETALL").arg(&name).query(&mut connection).unwrap();
        of.insert(name, fields);
    }
    let [(mine, fields), (_, others)] = of.iter().collect::<Vec<_>>()[..] else { panic!("{of:?}") };
    let path = if fields.values().any(|value| value.starts_with(b"aaa")) { "/a" } else { "/b" };
    assert_ne!(body(&store, &resource(path), &none).await, "");
    for kind in ["v", "V"] {
        let (field, other) = others.iter().find(|(field, _)| field.starts_with(kind)).unwrap();
        redis::cmd("HSET").arg(mine).arg(field).arg(other).exec(&mut connection).unwrap();
        assert_eq!(body(&store, &resource(path), &none).await, "", "{kind}");
        if kind == "V" {
            // The entry is ours, and has no body.
            let entry = fields.keys().find(|field| field.starts_with('v')).unwrap();
            let is_there =
                || redis::cmd("HEXISTS").arg(mine).arg(entry).query::<bool>(&mut server.connect().unwrap());
            eventually("it is deleted", async || !is_there().unwrap()).await;
        }
        redis::cmd("DEL").arg(mine).exec(&mut connection).unwrap();
        redis::cmd("HSET").arg(mine).arg(fields).exec(&mut connection).unwrap();
        assert_ne!(body(&store, &resource(path), &none).await, "", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_over_tcp() {
    let server = RedisServer::start_on_tcp();
    contract(client(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_before_redis_keeps_the_contract() {
    let server = RedisServer::start();
    contract(tiers(&server, TIERS).await).await;
    every_key_is_well_formed(&server);
    server.command(&["FLUSHALL"]);
    contract(tiers(&server, TierSettings { memory: 0, ..TIERS }).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_lengths_is_read_and_kept() {
    let server = RedisServer::start();
    let store = client(&server).await;
    let key = resource("/index");
    let commit = async |language: &str, tag: &[_]| {
        let headers = request(&[(ACCEPT_LANGUAGE, language)]);
        let entry = entry_with(&key, &headers, &[ACCEPT_LANGUAGE], language, tag);
        commit(&store, &key, entry, KEEP).await.unwrap();
    };
    let tagged = async || store.tagged(&key, Duration::from_secs(10)).await.unwrap().len();
    let tag = [(ETAG, "\"a\"")];
    commit("de", &tag).await;
    commit("fr", &tag).await;
    assert_eq!(tagged().await, 2);
    let name = server.keys().remove(0);
    let Value::BulkString(index) = server.command(&["HGET", &name, "i"]) else { panic!("no index") };
    let index = String::from_utf8(index).unwrap();
    let lines = index.lines().map(|line| line.split_once(' ').unwrap().1);
    let without: String = lines.map(|line| format!("{line}\n")).collect();
    server.command(&["HSET", &name, "i", &without]);
    assert_eq!(tagged().await, 0);
    commit("en", &tag).await;
    assert_eq!(tagged().await, 1);
    for language in ["de", "fr", "en"] {
        assert_eq!(body(&store, &key, &request(&[(ACCEPT_LANGUAGE, language)])).await, language);
    }
    // Nor does it name what is not there, or is not the resource's.
    let one = index.split(' ').nth(1).unwrap();
    server.command(&["HSET", &name, "i", &format!("1 {one} 9\n1 v{} 9\n", "0".repeat(32))]);
    assert_eq!(tagged().await, 1);
    server.command(&["HSET", &name, one, "damaged"]);
    assert_eq!(tagged().await, 0);
    server.command(&["DEL", &name]);
    server.command(&["LPUSH", &name, "x"]);
    assert_eq!(tagged().await, 0);
    assert!(matches!(store.tagged(&key, Duration::ZERO).await, Err(StoreError::Budget)));
}

fn every_key_is_well_formed(server: &RedisServer) {
    let names = server.keys();
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        let rest = name.strip_prefix("test:v1:r:{").unwrap();
        let (hash, tail) = rest.split_once("}:/").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert!(tail.bytes().all(|b| b.is_ascii_graphic()) && !tail.contains(['{', '}', '*', '?']), "{name}");
        let Value::Int(left) = server.command(&["PTTL", &name]) else { panic!("no number") };
        assert!(left > 0 && left <= 60_000, "{name} goes in {left} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_reads_what_one_wrote() {
    let server = RedisServer::start();
    let german = request(&[(ACCEPT_LANGUAGE, "de")]);
    let (plain, varied) = (resource("/plain"), resource("/varied"));
    let one = client(&server).await;
    let written = entry(&plain, &german, &[], "plain");
    commit(&one, &plain, Arc::clone(&written), KEEP).await.unwrap();
    commit(&one, &varied, entry(&varied, &german, &[ACCEPT_LANGUAGE], "hallo"), KEEP).await.unwrap();
    drop(one);

    // It has yet to learn what the resources nominate.
    let other = client(&server).await;
    assert_eq!(body(&other, &varied, &german).await, "hallo");
    assert_eq!(body(&other, &varied, &HeaderMap::new()).await, "-");
    let Lookup::Found(read) = lookup(&other, &plain, &german).await else { panic!("a miss") };
    let error = read.response_time.duration_since(written.response_time).unwrap_or_else(|e| e.duration());
    assert!(error < Duration::from_secs(1), "the same moment by both clocks: {error:?}");

    // And learns that they nominate something else now.
    let third = client(&server).await;
    commit(&third, &varied, entry(&varied, &german, &[], "for all"), KEEP).await.unwrap();
    assert_eq!(body(&other, &varied, &HeaderMap::new()).await, "for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_under_another_key_is_a_miss() {
    let server = RedisServer::start();
    let (store, none) = (client(&server).await, HeaderMap::new());
    let (mine, theirs) = (resource("/mine"), resource("/theirs"));
    commit(&store, &theirs, entry(&theirs, &none, &[], "theirs"), KEEP).await.unwrap();
    let source = server.keys().remove(0);
    commit(&store, &mine, entry(&mine, &none, &[], "mine"), KEEP).await.unwrap();
    let target = server.keys().into_iter().find(|name| *name != source).unwrap();
    server.command(&["RENAME", &source, &target]);
    assert_eq!(body(&store, &mine, &none).await, "");
    assert_eq!(store.stats().corrupt, 1);
    commit(&store, &mine, entry(&mine, &none, &[], "mine"), KEEP).await.unwrap();
    assert_eq!(body(&store, &mine, &none).await, "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_prunes_expired_variants_and_keeps_the_longest_ttl() {
    let server = RedisServer::start();
    let store = client(&server).await;
    let key = resource("/prune");
    let language = |value: &str| request(&[(ACCEPT_LANGUAGE, value)]);
    let commit = async |value: &str, keep: Duration| {
        let new = entry(&key, &language(value), &[ACCEPT_LANGUAGE], value);
        commit(&store, &key, new, keep).await.unwrap();
    };
    commit("short", Duration::from_millis(1)).await;
    commit("long", KEEP * 10).await;
    let name = server.keys().remove(0);
    // The first is past its time once Redis' clock has moved on by a millisecond.
    eventually("the expired variant is pruned", async || {
        commit("middle", KEEP).await;
        server.command(&["HLEN", &name]) == Value::Int(5)
    })
    .await;
    assert_eq!(body(&store, &key, &language("short")).await, "-");
    assert_eq!(body(&store, &key, &language("long")).await, "long");
    let Value::Int(left) = server.command(&["PTTL", &name]) else { panic!("no number") };
    assert!(left > 590_000 && left <= 600_000, "the longest of its variants': {left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_time_to_keep_is_taken() {
    let server = RedisServer::start();
    let (store, none) = (client(&server).await, HeaderMap::new());
    let key = resource("/for/ever");
    commit(&store, &key, entry(&key, &none, &[], "x"), Duration::MAX).await.unwrap();
    assert_eq!(body(&store, &key, &none).await, "x");
    let name = server.keys().remove(0);
    let Value::Int(left) = server.command(&["TTL", &name]) else { panic!("no number") };
    assert!(left > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_refused_at_once() {
    let server = RedisServer::start();
    let (store, none) = (client(&server).await, HeaderMap::new());
    let key = resource("/large");
    let fits = "x".repeat(4 << 20);
    commit(&store, &key, entry(&key, &none, &[], &fits), KEEP).await.unwrap();
    assert_eq!(body(&store, &key, &none).await.len(), fits.len());
    let refused = commit(&store, &key, entry(&key, &none, &[], &"x".repeat(9 << 20)), KEEP).await;
    assert!(matches!(refused, Err(StoreError::TooLarge)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_share_nothing() {
    let server = RedisServer::start();
    let (one, none) = (client(&server).await, HeaderMap::new());
    let settings = Settings::new(&server.url(), "other").unwrap().with_budget(Duration::from_secs(10));
    let other = RedisStore::start(settings, Clock::System);
    eventually("the other is connected", async || other.health() == Health::Up && other.takes_writes()).await;
    let key = resource("/shared");
    commit(&one, &key, entry(&key, &none, &[], "one"), KEEP).await.unwrap();
    assert_eq!(body(&other, &key, &none).await, "");
    commit(&other, &key, entry(&key, &none, &[], "other"), KEEP).await.unwrap();
    other.remove(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(body(&one, &key, &none).await, "one");
    assert_eq!(server.keys().into_iter().collect::<HashSet<_>>().len(), 1);
}
