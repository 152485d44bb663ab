//! Whoever changes Redis changes memory too.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::Value;
use sidecache::{
    clock::Clock,
    epoch::{Epoch, Mode},
    store::{
        Store,
        redis::{Announcement, Heard, Kind},
    },
};

use crate::{
    Sidecar,
    relay::Relay,
    support::{
        entries::{TIERS, resource},
        redis::{RedisServer, eventually},
    },
    with_one,
};

/// How often Redis was asked for fields of a hash.
fn reads(server: &RedisServer) -> u64 {
    let text = match server.command(&["INFO", "commandstats"]) {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        Value::VerbatimString { text, .. } => text,
        other => panic!("{other:?}"),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_in_memory_needs_no_redis() {
    let (server, sidecar, key) = with_one().await;
    let (before, lookups) = (reads(&server), sidecar.fleet().redis().stats().hits);
    for _ in 0..1000 {
        assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), true));
    }
    assert_eq!(sidecar.fleet().redis().stats().hits, lookups);
    // Each connection proves itself once a second.
    assert!(reads(&server) - before < 100, "{before} reads before, {} after", reads(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_redis_goes_from_memory() {
    let (server, sidecar, key) = with_one().await;
    let name = server.keys().remove(0);
    let changes: [&[&str]; 5] = [
        &["DEL", &name],
        &["UNLINK", &name],
        &["PEXPIRE", &name, "1"],
        &["FLUSHALL"],
        &["RENAME", &name, "elsewhere"],
    ];
    for change in changes {
        sidecar.keep(&key, "one").await;
        assert_eq!(sidecar.holds(), 1);
        server.command(change);
        eventually("it goes", async || sidecar.holds() == 0).await;
        eventually("for good", async || sidecar.finds(&key).await.0.is_empty()).await;
        assert_eq!(sidecar.finds(&key).await, (String::new(), false), "{change:?}");
    }
    assert_eq!(sidecar.fleet().tracking().pushes().flushes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_that_are_junk_change_nothing() {
    const JUNK: usize = 20_000;
    let (server, sidecar, key) = with_one().await;
    let before = sidecar.fleet().tracking().pushes();
    let mut junk = redis::pipe();
    for number in 0..JUNK {
        let what = match number % 4 {
            0 => format!("junk {number}"),
            1 => format!("{{{number:032x}}}:uhn:{number}"),
            2 => format!("{{{number:032X}}}:thw:{number:016x}:"),
            _ => "\u{0}\r\n".repeat(1 + number % 90) + &number.to_string(),
        };
        junk.set(format!("test:v1:p:{what}"), "").ignore();
    }
    junk.exec(&mut server.connect().unwrap()).unwrap();
    eventually("all are heard", async || sidecar.fleet().tracking().pushes().junk >= JUNK as u64).await;
    assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), true));
    assert_eq!(sidecar.fleet().tracking().pushes().flushes, before.flushes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_evicts_goes_from_memory() {
    let (server, sidecar, key) = with_one().await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    eventually("it goes", async || {
        let _ = server.try_command(&["SET", "another", "x"]);
        sidecar.holds() == 0
    })
    .await;
    assert_eq!(sidecar.finds(&key).await, (String::new(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sidecar_stores_or_removes_goes_from_memory() {
    let (server, one, key) = with_one().await;
    let other = Sidecar::on(&server).await;
    other.remembers(&key, "one").await;
    other.commit(&key, "two").await.unwrap();
    assert_eq!(other.finds(&key).await, ("two".to_owned(), false), "its own commit it never overlooks");
    eventually("the other one hears of it", async || one.finds(&key).await.0 == "two").await;
    one.remembers(&key, "two").await;
    one.0.remove(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(one.finds(&key).await, (String::new(), false), "nor its own removal");
    eventually("the other one hears of it", async || other.finds(&key).await.0.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_on_its_way_is_not_inserted() {
    for (changed, kept) in [("/guarded", 0), ("/other", 1)] {
        let server = RedisServer::start();
        let (relay, key) = (Relay::before(&server), resource("/guarded"));
        let reader = Arc::new(Sidecar::at(&relay.url(), TIERS).await);
        let writer = Sidecar::on(&server).await;
        let has_heard = async |changes| reader.fleet().tracking().pushes().resources >= changes;
        writer.commit(&key, "old").await.unwrap();
        eventually("that is heard of", async || has_heard(1).await).await;

        let hold = relay.hold(is_read_of_guarded);
        let (asks, asked) = (Arc::clone(&reader), key.clone());
        let read = tokio::spawn(async move { asks.finds(&asked).await });
        eventually("the answer is held back", async || hold.holds()).await;
        writer.commit(&resource(changed), "new").await.unwrap();
        eventually("the change is heard of", async || has_heard(2).await).await;
        hold.release();
        assert_eq!(read.await.unwrap(), ("old".to_owned(), false), "what Redis had when it was asked");
        let stats = reader.fleet().stats();
        assert_eq!((reader.holds(), stats.inserted, stats.refused), (kept, kept as u64, 1 - kept as u64));
        let newest = if kept == 0 { "new" } else { "old" };
        assert_eq!(reader.finds(&key).await, (newest.to_owned(), kept == 1));
    }
}

/// Removing, or whatever its own commits and removals make obsolete, needs no news.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sidecar_changes_itself_on_its_way_is_not_inserted() {
    for removes in [true, false] {
        let server = RedisServer::start();
        let (relay, key) = (Relay::before(&server), resource("/guarded"));
        let sidecar = Arc::new(Sidecar::at(&relay.url(), TIERS).await);
        sidecar.commit(&key, "old").await.unwrap();
        let hears = async || sidecar.fleet().tracking().pushes().resources == 1;
        eventually("that is heard of", hears).await;
        let news = relay.hold(|asked| asked.contains("test:v1:m"));
        eventually("the news are held back", async || news.holds()).await;
        let read = relay.hold(is_read_of_guarded);
        let (asks, asked) = (Arc::clone(&sidecar), key.clone());
        let finds = tokio::spawn(async move { asks.finds(&asked).await });
        eventually("the answer is held back", async || read.holds()).await;
        match removes {
            true => sidecar.0.remove(std::slice::from_ref(&key)).await.unwrap(),
            false => sidecar.commit(&key, "new").await.unwrap(),
        }
        assert!(sidecar.session().is_some(), "memory is believed");
        read.release();
        assert_eq!(finds.await.unwrap(), ("old".to_owned(), false));
        assert_eq!((sidecar.holds(), sidecar.fleet().stats().refused), (0, 1));
        news.release();
    }
}

/// The question of a look-up, and no removal.
fn is_read_of_guarded(asked: &str) -> bool {
    asked.contains("HMGET") && asked.contains("/guarded")
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_crowd_of_readers_and_writers_nobody_keeps_what_is_old() {
    const KEYS: usize = 300;
    let server = RedisServer::start();
    let (reader, writer) = (Arc::new(Sidecar::on(&server).await), Arc::new(Sidecar::on(&server).await));
    let keys: Arc<Vec<_>> = Arc::new((0..KEYS).map(|n| resource(&format!("/{n}"))).collect());
    let mut crowd = tokio::task::JoinSet::new();
    for part in 0..4 {
        let (writes, all) = (Arc::clone(&writer), Arc::clone(&keys));
        crowd.spawn(async move {
            for version in ["1", "2", "3"] {
                for key in all.iter().skip(part).step_by(4) {
                    writes.commit(key, version).await.unwrap();
                }
            }
        });
        let (reads, all) = (Arc::clone(&reader), Arc::clone(&keys));
        crowd.spawn(async move {
            for _ in 0..4 {
                for key in all.iter() {
                    reads.try_lookup(key).await.unwrap();
                }
            }
        });
    }
    crowd.join_all().await;
    // Told after all that was written.
    server.command(&["SET", &announcement("uhn", 7), "", "PX", "60000"]);
    eventually("all is heard of", async || reader.fleet().tracking().pushes().announcements == 1).await;
    for key in keys.iter() {
        assert_eq!(reader.finds(key).await.0, "3", "{key:?}");
    }
    assert!(reader.fleet().stats().inserted > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hearing_memory_is_not_believed_and_then_emptied() {
    let server = RedisServer::start();
    let (relay, key) = (Relay::before(&server), resource("/one"));
    let sidecar = Sidecar::at(&relay.url(), TIERS).await;
    sidecar.keep(&key, "one").await;
    let first = sidecar.session();
    relay.lose_tracking();
    eventually("the loss is noticed", async || sidecar.session().is_none()).await;
    server.command(&["DEL", &server.keys().remove(0)]);
    assert_eq!(sidecar.finds(&key).await, (String::new(), false));
    assert_eq!(sidecar.holds(), 1, "not heard of");
    relay.allow_tracking();
    eventually("changes are heard of again", async || sidecar.session().is_some()).await;
    assert_ne!(sidecar.session(), first);
    assert_eq!(sidecar.holds(), 0);
    sidecar.keep(&key, "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_tracking_connection_comes_back_with_an_empty_memory() {
    let (server, sidecar, key) = with_one().await;
    let first = sidecar.session();
    let lines = server.tracking();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let id = lines[0].split(' ').next().unwrap().strip_prefix("id=").unwrap();
    server.command(&["CLIENT", "KILL", "ID", id]);
    eventually("a new session", async || sidecar.session().is_some_and(|next| Some(next) != first)).await;
    assert_eq!(sidecar.holds(), 0);
    assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_membership_is_renewed_and_goes_by_itself() {
    let (server, sidecar, _) = with_one().await;
    let member = sidecar.fleet().tracking().member().to_string();
    let bound = || server.command(&["HGET", "test:v1:m", &member]);
    assert!(matches!(bound(), Value::BulkString(written) if written.starts_with(b"2000 ")));
    let Value::Int(left) = server.command(&["TTL", "test:v1:m"]) else { panic!("a number") };
    assert!((86_000..=86_400).contains(&left), "{left}");
    let first = sidecar.session();
    // A Redis that is full takes it all the same.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    server.command(&["DEL", "test:v1:m"]);
    eventually("it is renewed", async || bound() != Value::Nil).await;
    assert_eq!(sidecar.session(), first);
    // At once where all is gone, and with it those who are waited for.
    server.command(&["FLUSHALL"]);
    eventually("it is renewed", async || bound() != Value::Nil).await;
    assert_eq!(sidecar.session(), first);
}

/// The name of an announcement of this kind, mode and wait.
fn announcement(letters: &str, what: u128) -> String {
    format!("test:v1:p:{{{what:032x}}}:{letters}:00000000000000ff")
}

/// What was heard, in words.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Listener {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Heard for Listener {
    fn changed(&self, hash: u128) {
        self.note(format!("changed {hash:032x}"));
    }

    fn announced(&self, announcement: Announcement) {
        self.note(format!("announced {announcement}"));
    }

    fn emptied(&self) {
        self.note("emptied".to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_heard_of_and_obeyed() {
    let server = RedisServer::start();
    let listener = Arc::new(Listener::default());
    let others: Vec<Arc<dyn Heard>> = vec![Arc::clone(&listener) as _];
    let sidecar = Sidecar::start(&server.url(), TIERS, Clock::System, others).await;
    eventually("changes are heard of", async || sidecar.session().is_some()).await;
    assert_eq!(listener.heard(), ["emptied"], "at the beginning of the session");
    let (one, other) = (resource("/one"), resource("/other"));
    let keep = async || {
        sidecar.keep(&one, "one").await;
        sidecar.keep(&other, "other").await;
        assert_eq!(sidecar.holds(), 2);
        listener.0.lock().unwrap().clear();
    };
    let hears = async |wanted: &str| {
        eventually("it is heard of", async || listener.heard().iter().any(|heard| heard == wanted)).await;
    };

    keep().await;
    let name = announcement("uhw", one.wide_hash());
    server.command(&["SET", &name, "", "PX", "60000"]);
    let announced = Announcement {
        what: one.wide_hash(),
        kind: Kind::Resource,
        mode: Mode::Hard,
        wait: true,
        epoch: Epoch::from_number(255).unwrap(),
    };
    hears(&format!("announced {announced}")).await;
    assert_eq!(sidecar.holds(), 1);
    assert_eq!(sidecar.finds(&other).await, ("other".to_owned(), true));

    keep().await;
    // When it expires Redis tells of it once more: what has come since then stays.
    let told = sidecar.fleet().tracking().pushes().announcements;
    server.command(&["PEXPIRE", &name, "1"]);
    eventually("it expires", async || sidecar.fleet().tracking().pushes().announcements > told).await;
    assert_eq!(sidecar.finds(&one).await, ("one".to_owned(), true));
    assert_eq!(listener.heard(), Vec::<String>::new());

    keep().await;
    server.command(&["SET", &announcement("tsn", 7), "", "PX", "60000"]);
    hears(&format!("announced {{{:032x}}}:tsn:00000000000000ff", 7)).await;
    assert_eq!(sidecar.holds(), 2, "what carries a tag is judged when it is looked at");

    // Leases, records, members: nobody's memory depends on them.
    keep().await;
    server.command(&["SET", "test:v1:t:{7}", "", "PX", "60000"]);
    server.command(&["DEL", &server.keys().remove(0)]);
    eventually("that is", async || listener.heard().len() == 1).await;
    assert!(listener.heard()[0].starts_with("changed "));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_held_where_memory_is_off() {
    let server = RedisServer::start();
    let sidecar =
        Sidecar::at(&server.url(), sidecache::store::tiers::TierSettings { memory: 0, ..TIERS }).await;
    let key = resource("/one");
    sidecar.commit(&key, "one").await.unwrap();
    for _ in 0..3 {
        assert_eq!(sidecar.finds(&key).await, ("one".to_owned(), false));
    }
    assert_eq!(sidecar.holds(), 0);
    tokio::time::timeout(Duration::from_secs(20), sidecar.0.remove(&[key])).await.unwrap().unwrap();
}
