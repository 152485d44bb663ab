//! Large bodies in Redis: apart from the entries they belong to, never in the way of what is small, and never
//! another's.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderMap,
    header::{ACCEPT_LANGUAGE, ETAG, USER_AGENT},
};
use redis::{Connection, FromRedisValue, cmd};
use sidecache::{
    clock::Clock,
    key::{KeyPolicy, ResourceKey},
    store::{
        Lookup, MAX_VARIANTS, Selector, Store, StoreError,
        redis::{Health, LARGEST_BODY, RedisStore, Settings},
    },
    stored::{APART, Stored},
};
use support::{
    entries::{KEEP, body, commit, entry, entry_with, lookup, request, resource},
    redis::{PATIENCE, RedisServer, eventually},
    relay::{Class, Flow, Relay, Seen, Target, Way, Which},
};

/// What a look-up may take where something is stalled: four times the usual budget, for a busy machine.
const IN_TIME: Duration = Duration::from_millis(200);

/// A store that waits for as long as it takes, and where it is.
async fn patient(url: &str) -> RedisStore {
    start(Settings::new(url, "test").unwrap().with_budget(PATIENCE)).await
}

async fn start(settings: Settings) -> RedisStore {
    let store = RedisStore::start(settings, Clock::System);
    let is_up = || store.health() == Health::Up && store.takes_writes() && store.takes_bodies();
    eventually("the store is up", async || is_up()).await;
    store
}

/// A store behind a relay, and one that is not.
async fn behind_a_relay(server: &RedisServer, budget: Duration) -> (Relay, RedisStore) {
    let relay = Relay::to(Target::Unix(server.socket())).await;
    let store = start(Settings::new(&relay.url(), "test").unwrap().with_budget(budget)).await;
    (relay, store)
}

fn speaking(language: &str) -> HeaderMap {
    request(&[(ACCEPT_LANGUAGE, language)])
}

/// The response to one who speaks this language.
fn spoken(key: &ResourceKey, language: &str, body: &str) -> Arc<Stored> {
    entry(key, &speaking(language), &[ACCEPT_LANGUAGE], body)
}

/// Bytes of one letter.
fn text(letter: &str, length: usize) -> String {
    letter.repeat(length)
}

/// One resource in Redis.
struct Hash {
    connection: Connection,
    name: String,
}

impl Hash {
    fn of(server: &RedisServer) -> Self {
        let names = server.resources();
        assert_eq!(names.len(), 1, "{names:?}");
        Self { connection: server.connect().unwrap(), name: names[0].clone() }
    }

    fn ask<T: FromRedisValue>(&mut self, command: &str, arguments: &[&[u8]]) -> T {
        cmd(command).arg(&self.name).arg(arguments).query(&mut self.connection).unwrap()
    }

    fn get(&mut self, field: &str) -> Vec<u8> {
        self.ask("HGET", &[field.as_bytes()])
    }

    fn set(&mut self, fields: &[(&str, &[u8])]) {
        let words: Vec<_> = fields.iter().flat_map(|(field, value)| [field.as_bytes(), value]).collect();
        let _: i64 = self.ask("HSET", &words);
    }

    /// How many fields begin with this letter.
    fn count(&mut self, letter: char) -> usize {
        let fields: Vec<String> = self.ask("HKEYS", &[]);
        fields.iter().filter(|field| field.starts_with(letter)).count()
    }

    fn entries_and_bodies(&mut self) -> (usize, usize) {
        let left: i64 = self.ask("PTTL", &[]);
        assert!((1..=60_000).contains(&left), "it goes in {left} ms");
        (self.count('v'), self.count('V'))
    }
}

fn fields(stored: &Stored) -> [String; 2] {
    ["v", "V"].map(|kind| format!("{kind}{:032x}", stored.variant.id()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_left_behind_by_its_entry() {
    let server = RedisServer::start();
    let store = patient(&server.url()).await;
    let (key, none) = (resource("/sizes"), HeaderMap::new());
    for (length, apart) in [(APART - 1, 0), (APART, 1), (APART + 1, 1), (5, 0), (LARGEST_BODY, 1), (0, 0)] {
        let written = text("x", length);
        commit(&store, &key, entry(&key, &none, &[], &written), KEEP).await.unwrap();
        assert!(body(&store, &key, &none).await == written, "{length}");
        assert_eq!(Hash::of(&server).entries_and_bodies(), (1, apart), "{length}");
    }
    // Other fields nominated: what cannot be selected any more goes with its bodies.
    let large = text("x", APART);
    for language in ["de", "fr"] {
        commit(&store, &key, spoken(&key, language, &large), KEEP).await.unwrap();
    }
    assert_eq!(Hash::of(&server).entries_and_bodies(), (2, 2));
    commit(&store, &key, entry(&key, &none, &[USER_AGENT], "small"), KEEP).await.unwrap();
    assert_eq!(Hash::of(&server).entries_and_bodies(), (1, 0));
    // What is over.
    commit(&store, &key, spoken(&key, "de", &large), KEEP).await.unwrap();
    commit(&store, &key, spoken(&key, "fr", &large), Duration::from_millis(1)).await.unwrap();
    eventually("the other one is pruned", async || {
        commit(&store, &key, spoken(&key, "en", "small"), KEEP).await.unwrap();
        Hash::of(&server).entries_and_bodies() == (2, 1)
    })
    .await;
    assert_eq!(body(&store, &key, &speaking("de")).await, large);
    // The oldest makes room.
    for n in 0..MAX_VARIANTS + 2 {
        commit(&store, &key, spoken(&key, &format!("x-{n}"), &large), KEEP).await.unwrap();
    }
    assert_eq!(Hash::of(&server).entries_and_bodies(), (MAX_VARIANTS, MAX_VARIANTS));
    store.remove(&[key]).await.unwrap();
    assert!(server.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damaged_or_other_body_is_served() {
    let server = RedisServer::start();
    let store = patient(&server.url()).await;
    let key = resource("/damaged");
    let [mine, other] = ["de", "fr"].map(|language| spoken(&key, language, &text(language, APART)));
    for one in [&mine, &other] {
        commit(&store, &key, Arc::clone(one), KEEP).await.unwrap();
    }
    let (mut hash, [head, large]) = (Hash::of(&server), fields(&mine));
    let (whole_head, whole, index) = (hash.get(&head), hash.get(&large), hash.get("i"));
    let original = [(&*head, &*whole_head), (&*large, &*whole), ("i", &*index)];
    let others = fields(&other).map(|field| hash.get(&field));

    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let mut bad: Vec<(&str, Vec<u8>)> = Vec::new();
    bad.extend((0..whole.len() * 8).step_by(9973).map(|bit| (&*large, flipped(&whole, bit))));
    bad.extend((0..whole.len()).step_by(4999).map(|length| (&*large, whole[..length].to_vec())));
    bad.extend((0..whole_head.len() * 8).step_by(7).map(|bit| (&*head, flipped(&whole_head, bit))));
    bad.extend((0..whole_head.len()).step_by(5).map(|length| (&*head, whole_head[..length].to_vec())));
    bad.push((&large, [&whole[..], b"x"].concat()));
    bad.push((&large, others[1].clone()));
    bad.push((&head, others[0].clone()));
    bad.push((&head, [&whole_head[..], &whole].concat()));
    for (field, bytes) in &bad {
        hash.set(&original);
        assert_eq!(body(&store, &key, &speaking("de")).await, text("de", APART));
        hash.set(&[(field, bytes)]);
        assert_eq!(body(&store, &key, &speaking("de")).await, "", "{field}: {}", bytes.len());
        // What is somebody else's entry, or of another version, is left to the next commit.
        let is_of_others = bytes.starts_with(b"SC") && !bytes.starts_with(&whole_head[..4]);
        if *bytes != others[0] && !is_of_others {
            eventually("both fields go", async || hash.entries_and_bodies() == (1, 1)).await;
        }
    }
    assert!(bad.len() > 150);
    assert_eq!(store.stats().corrupt, bad.len() as u64);

    hash.set(&original);
    let _: i64 = hash.ask("HDEL", &[large.as_bytes()]);
    assert_eq!(body(&store, &key, &speaking("de")).await, "");
    eventually("an entry without its body goes", async || hash.entries_and_bodies() == (1, 1)).await;
    assert_eq!(body(&store, &key, &speaking("fr")).await, text("fr", APART), "the other one is untouched");
    commit(&store, &key, mine, KEEP).await.unwrap();
    assert_eq!(body(&store, &key, &speaking("de")).await, text("de", APART));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_swapped_are_no_bodies() {
    let server = RedisServer::start();
    let store = patient(&server.url()).await;
    let key = resource("/swapped");
    let both = ["de", "fr"].map(|language| spoken(&key, language, &text(&language[..1], APART)));
    for one in &both {
        commit(&store, &key, Arc::clone(one), KEEP).await.unwrap();
    }
    let mut hash = Hash::of(&server);
    let [[_, one], [_, other]] = both.each_ref().map(|stored| fields(stored));
    let (ones, others) = (hash.get(&one), hash.get(&other));
    hash.set(&[(&one, &others), (&other, &ones)]);
    for language in ["de", "fr"] {
        assert_eq!(body(&store, &key, &speaking(language)).await, "");
    }
    eventually("nothing is left", async || server.resources().is_empty()).await;
}

/// What has come on the connection for commits.
fn written(relay: &Relay) -> u64 {
    let writing = relay.connections().into_iter().filter(|seen| seen.class == Class::Writing);
    writing.map(|seen| seen.asks.0).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_there_is_not_written_again() {
    let server = RedisServer::start();
    let (relay, store) = behind_a_relay(&server, PATIENCE).await;
    let (key, none, large) = (resource("/renewed"), HeaderMap::new(), text("x", 4 * APART));
    let tagged = |tag: &str, body: &str| entry_with(&key, &none, &[], body, &[(ETAG, tag)]);
    let commit = async |entry: Arc<Stored>| {
        let before = written(&relay);
        commit(&store, &key, Arc::clone(&entry), KEEP).await.unwrap();
        let Lookup::Found(found) = lookup(&store, &key, &none).await else { panic!("a miss") };
        assert!(found.body == entry.body);
        assert_eq!(found.lines.as_bytes(), entry.lines.as_bytes());
        usize::try_from(written(&relay) - before).unwrap() > large.len()
    };
    assert!(commit(tagged("\"a\"", &large)).await, "it was not there");
    assert!(!commit(tagged("\"b\"", &large)).await, "it was");
    assert!(commit(tagged("\"c\"", &text("y", large.len()))).await, "another one was");
    assert!(commit(tagged("\"d\"", &large)).await);

    let (mut hash, [head, body]) = (Hash::of(&server), fields(&tagged("", "")));
    let _: i64 = hash.ask("HDEL", &[body.as_bytes()]);
    assert!(commit(tagged("\"e\"", &large)).await, "nor is it there without its field");
    let _: i64 = hash.ask("HDEL", &[head.as_bytes()]);
    assert!(commit(tagged("\"f\"", &large)).await, "nor without its entry");
    hash.set(&[(&head, b"damaged")]);
    assert!(commit(tagged("\"g\"", &large)).await);
    assert_eq!(hash.entries_and_bodies(), (1, 1));
    assert_eq!(store.stats().corrupt, 0);
}

/// The connection that has brought the most.
fn of_bodies(relay: &Relay) -> Seen {
    relay.connections().into_iter().max_by_key(|seen| seen.answers.0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_body_delays_nothing_that_is_small() {
    let server = RedisServer::start();
    let direct = patient(&server.url()).await;
    let (small, large) = (resource("/small"), resource("/large"));
    commit(&direct, &small, entry(&small, &HeaderMap::new(), &[], "small"), KEEP).await.unwrap();
    let german = text("x", 4 * APART);
    commit(&direct, &large, spoken(&large, "de", &german), KEEP).await.unwrap();

    let (relay, store) = behind_a_relay(&server, IN_TIME).await;
    let look = async |budget, key, headers| {
        let selector = Selector { headers: &headers, keyed: &KeyPolicy::default() };
        store.lookup_within(budget, key, &selector).await
    };
    let is_small_hit = async || {
        let found = look(IN_TIME, &small, HeaderMap::new()).await;
        matches!(found, Ok(Lookup::Found(found)) if found.body == "small")
    };
    let large_hit = async || look(IN_TIME, &large, speaking("de")).await;
    eventually("both are hits", async || {
        is_small_hit().await && matches!(large_hit().await, Ok(Lookup::Found(_)))
    })
    .await;
    let stalled = of_bodies(&relay).number;
    relay.set(Which::One(stalled), Way::Answers, Flow::Held);
    let begun = Instant::now();
    let outcome = large_hit().await;
    assert!(matches!(outcome, Err(StoreError::Budget | StoreError::Unavailable)), "{outcome:?}");
    assert!(begun.elapsed() < 2 * IN_TIME, "it took {:?}", begun.elapsed());
    for _ in 0..20 {
        assert!(is_small_hit().await);
        // What is known without a body.
        let other = look(IN_TIME, &large, speaking("fr")).await;
        assert!(matches!(other, Ok(Lookup::OtherVariants(_))), "{other:?}");
        if let Ok(Lookup::Found(found)) = look(Duration::from_millis(5), &large, speaking("de")).await {
            assert_eq!(found.body, german.as_bytes(), "over another connection");
        }
    }
    eventually("another connection takes its place", async || {
        assert!(is_small_hit().await);
        matches!(large_hit().await, Ok(Lookup::Found(_)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_wants_large_bodies_takes_turns() {
    let server = RedisServer::start();
    let (relay, store) = behind_a_relay(&server, PATIENCE).await;
    let (small, large, none) = (resource("/small"), resource("/large"), HeaderMap::new());
    commit(&store, &small, entry(&small, &none, &[], "small"), KEEP).await.unwrap();
    let expected = text("x", LARGEST_BODY);
    commit(&store, &large, entry(&large, &none, &[], &expected), KEEP).await.unwrap();
    assert!(body(&store, &large, &none).await == expected);
    let bodies = of_bodies(&relay);
    let asked = bodies.asks.0;
    relay.set(Which::One(bodies.number), Way::Answers, Flow::Delayed(Duration::from_millis(20)));

    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, large) = (store.clone(), large.clone());
        crowd.spawn(async move { body(&store, &large, &HeaderMap::new()).await.len() });
    }
    eventually("they ask", async || of_bodies(&relay).asks.0 > asked).await;
    assert_eq!(body(&store, &small, &none).await, "small");
    // Two of them, and perhaps a beat; all of them would be two thousand.
    let sent = of_bodies(&relay).asks.0 - asked;
    assert!(sent < 1000, "{sent} bytes");
    let mut answered = 0;
    while let Some(length) = crowd.join_next().await {
        assert_eq!(length.unwrap(), LARGEST_BODY);
        assert_eq!(body(&store, &small, &none).await, "small");
        answered += 1;
    }
    assert_eq!(answered, 16);
    assert_eq!(store.stats().timeouts + store.stats().refused + store.stats().errors, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_between_an_entry_and_its_body_is_found() {
    let server = RedisServer::start();
    let direct = patient(&server.url()).await;
    let (key, none) = (resource("/torn"), HeaderMap::new());
    let commit = async |letter| {
        commit(&direct, &key, entry(&key, &none, &[], &text(letter, APART)), KEEP).await.unwrap();
    };
    commit("a").await;
    let (relay, store) = behind_a_relay(&server, PATIENCE).await;
    assert_eq!(body(&store, &key, &none).await, text("a", APART));
    let bodies = of_bodies(&relay).number;
    let waits =
        || relay.connections().iter().any(|seen| seen.number == bodies && seen.asks.0 > seen.asks.1 + 100);
    relay.set(Which::One(bodies), Way::Asks, Flow::Held);
    let (reader, wanted) = (store.clone(), key.clone());
    let read = tokio::spawn(async move { body(&reader, &wanted, &HeaderMap::new()).await });
    eventually("the body is asked for", async || waits()).await;
    commit("b").await;
    relay.set(Which::One(bodies), Way::Asks, Flow::Free);
    assert_eq!(read.await.unwrap(), text("b", APART));
    assert_eq!(store.stats().corrupt, 0);
}
