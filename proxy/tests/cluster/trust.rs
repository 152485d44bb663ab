//! Memory before a cluster: each node is believed for itself.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use redis::Value;
use sidecache::{
    address::{RedisAccess, RedisLogin, RedisNode, RedisPlace},
    clock::Clock,
    key::{KeyPolicy, ResourceKey},
    store::{
        Lookup, Purge, Selector, Store, Wait,
        redis::{BOUND, Health, RedisStore, Session, Settings},
        tiers::{Fleet, Sharing, Tiers},
    },
    stored::Stored,
    tags::Tag,
};

use crate::place_of;
use crate::support::{
    cluster::Cluster,
    entries::{KEEP, TIERS, commit, entry, resource},
    redis::{RedisServer, eventually},
    relay::{Class, Flow, Relay, Target, Way, Which},
};

/// A sidecar's stores, on the cluster that this node belongs to.
async fn sidecar(node: &RedisServer) -> Tiers {
    sidecar_as(RedisLogin::default(), node).await
}

/// The same for this user.
async fn sidecar_as(login: RedisLogin, node: &RedisServer) -> Tiers {
    let nodes = vec![RedisNode { host: "127.0.0.1".to_owned(), port: node.port() }];
    let place = RedisPlace::Cluster { nodes };
    let access = RedisAccess { place, login, database: None, tls: None };
    let settings = Settings::of(&access, "test").unwrap().with_budget(Duration::from_secs(5));
    let store = RedisStore::start(settings, Clock::System);
    eventually("all are connected", async || store.health() == Health::Up && store.takes_writes()).await;
    let tiers = Tiers::Redis(Box::new(Fleet::start(store, TIERS, Vec::new())));
    eventually("all tell what changes", async || fleet(&tiers).tracking().session().is_some()).await;
    tiers
}

fn fleet(tiers: &Tiers) -> &Fleet {
    let Tiers::Redis(fleet) = tiers else { panic!("it is on Redis") };
    fleet
}

fn session(tiers: &Tiers, key: &ResourceKey) -> Option<Session> {
    fleet(tiers).tracking().session_of(key)
}

/// A resource of each master.
fn resources(cluster: &Cluster) -> [ResourceKey; 3] {
    [0, 1, 2].map(|place| {
        let keys = (0..).map(|n| resource(&format!("/{n}")));
        let is_on = |key: &ResourceKey| cluster.place(&format!("{{{:032x}}}", key.wide_hash())) == place;
        keys.into_iter().find(is_on).unwrap()
    })
}

/// What a request finds, and whether memory had it.
async fn finds(tiers: &Tiers, key: &ResourceKey) -> (String, bool) {
    let before = fleet(tiers).stats().hits;
    let selector = Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() };
    let found = match tiers.lookup(key, &selector).await.unwrap() {
        Lookup::Found(stored) => String::from_utf8(stored.body.to_vec()).unwrap(),
        _ => String::new(),
    };
    (found, fleet(tiers).stats().hits > before)
}

/// The place of a master that has nothing that all depend on.
fn plain(cluster: &Cluster) -> usize {
    let special = [cluster.place("test:v1:m"), place_of(cluster, Tag::everything().bits())];
    (0..3).find(|place| !special.contains(place)).unwrap()
}

/// Stores it, and waits until memory has it.
async fn keep(tiers: &Tiers, key: &ResourceKey, body: &str) {
    keep_entry(tiers, key, entry(key, &HeaderMap::new(), &[], body), body).await;
}

async fn keep_entry(tiers: &Tiers, key: &ResourceKey, entry: Arc<Stored>, body: &str) {
    commit(tiers, key, entry, KEEP).await.unwrap();
    eventually("memory has it", async || finds(tiers, key).await == (body.to_owned(), true)).await;
}

/// From now on the others send whoever asks for a master through this relay.
async fn hide(cluster: &Cluster, place: usize) -> Relay {
    let master = &cluster.masters[place];
    let relay = Relay::to(Target::Unix(master.socket())).await;
    let (port, bus) = (relay.address().port().to_string(), cluster.bus(place));
    master.command(&["CONFIG", "SET", "cluster-announce-bus-port", &bus]);
    master.command(&["CONFIG", "SET", "cluster-announce-port", &port]);
    eventually("all know", async || {
        let knows =
            |server: &RedisServer| format!("{:?}", server.command(&["CLUSTER", "SLOTS"])).contains(&port);
        cluster.masters.iter().all(knows)
    })
    .await;
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_does_not_tell_is_not_believed_and_the_others_are() {
    let cluster = Cluster::start().await;
    let (home, lost) = (cluster.place("test:v1:m"), plain(&cluster));
    let relay = hide(&cluster, lost).await;
    let (reader, writer) = (sidecar(&cluster.masters[home]).await, sidecar(&cluster.masters[home]).await);
    let keys = resources(&cluster);
    for key in &keys {
        keep(&reader, key, "one").await;
    }
    let before = keys.each_ref().map(|key| session(&reader, key));
    assert!(before[0] != before[1] && before[1] != before[2], "{before:?}");

    // The tracking connections to one are silent.
    relay.set(Which::Each(Class::Tracking), Way::Answers, Flow::Lost);
    let begun = std::time::Instant::now();
    eventually("it is not believed any more", async || session(&reader, &keys[lost]).is_none()).await;
    assert!(begun.elapsed() < 2 * BOUND, "{:?}", begun.elapsed());
    relay.refuse(Which::Each(Class::Tracking));
    for (place, key) in keys.iter().enumerate() {
        assert_eq!(finds(&reader, key).await, ("one".to_owned(), place != lost), "{place}");
    }
    // What nobody tells of is not served; what the others tell of is heard.
    for key in &keys {
        commit(&writer, key, entry(key, &HeaderMap::new(), &[], "two"), KEEP).await.unwrap();
    }
    assert_eq!(finds(&reader, &keys[lost]).await, ("two".to_owned(), false));
    for key in &keys {
        eventually("it is heard of", async || finds(&reader, key).await.0 == "two").await;
    }
    // Nor is it waited for longer than it believes: it does not, so a purge of that is over in time.
    let purge = Purge { resources: vec![keys[lost].clone()], ..Purge::default() };
    writer.purge(&purge, Wait::ForFleet, std::time::SystemTime::now()).await.unwrap();
    assert_eq!(finds(&reader, &keys[lost]).await, (String::new(), false));

    relay.heal();
    eventually("it tells again", async || session(&reader, &keys[lost]).is_some()).await;
    for (place, key) in keys.iter().enumerate() {
        assert_eq!(session(&reader, key) == before[place], place != lost, "{place}");
    }
    keep(&reader, &keys[lost], "three").await;
}

/// What a tag's purge makes obsolete is told by the master that has the tag.
#[tokio::test(flavor = "multi_thread")]
async fn what_carries_a_tag_of_a_master_that_does_not_tell_is_not_believed() {
    let cluster = Cluster::start().await;
    let (home, lost) = (cluster.place("test:v1:m"), plain(&cluster));
    let relay = hide(&cluster, lost).await;
    let (reader, writer) = (sidecar(&cluster.masters[home]).await, sidecar(&cluster.masters[home]).await);
    let key = &resources(&cluster)[home];
    let tag =
        (0_u32..).map(|n| Tag::named(&n.to_be_bytes())).find(|tag| place_of(&cluster, tag.bits()) == lost);
    let tags = vec![tag.unwrap()];
    let mut one = Arc::into_inner(entry(key, &HeaderMap::new(), &[], "one")).unwrap();
    one.epoch = fleet(&reader).redis().purges().epoch();
    one.tags = tags.clone().into();
    keep_entry(&reader, key, Arc::new(one), "one").await;
    assert!(reader.may_share_of(&tags, Sharing::Told));

    relay.set(Which::Each(Class::Tracking), Way::Answers, Flow::Lost);
    let purge = Purge { tags: tags.clone(), ..Purge::default() };
    writer.purge(&purge, Wait::ForFleet, std::time::SystemTime::now()).await.unwrap();
    assert!(!reader.may_share_of(&tags, Sharing::Told), "what is being fetched may be of before it");
    assert_eq!(finds(&reader, key).await, (String::new(), false));
    assert!(session(&reader, key).is_some(), "what that one tells is heard");
    // Nor once it tells again.
    relay.heal();
    eventually("it tells again", async || fleet(&reader).tracking().session().is_some()).await;
    assert_eq!(finds(&reader, key).await, (String::new(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flush_of_one_master_removes_goes_and_the_rest_stays() {
    let cluster = Cluster::start().await;
    let sidecar = sidecar(&cluster.masters[0]).await;
    let keys = resources(&cluster);
    for key in &keys {
        keep(&sidecar, key, "one").await;
    }
    let before = keys.each_ref().map(|key| session(&sidecar, key));
    let held = || fleet(&sidecar).memory().entries;
    assert_eq!(held(), 3);
    let flushed = plain(&cluster);
    cluster.masters[flushed].command(&["FLUSHALL"]);
    eventually("it is heard of", async || held() == 2).await;
    assert_eq!(finds(&sidecar, &keys[flushed]).await, (String::new(), false));
    assert_eq!(keys.each_ref().map(|key| session(&sidecar, key)), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_is_let_go_of_and_found_where_it_is() {
    let cluster = Cluster::start().await;
    let sidecar = sidecar(&cluster.masters[0]).await;
    let keys = resources(&cluster);
    for key in &keys {
        keep(&sidecar, key, "one").await;
    }
    let before = keys.each_ref().map(|key| session(&sidecar, key));
    let slot = cluster.slot(&format!("{{{:032x}}}", keys[0].wide_hash()));
    cluster.move_slot(slot, 0, 1);
    assert_eq!(cluster.masters[0].resources().len(), 0);
    // At once, though the table is not known yet.
    assert_eq!(finds(&sidecar, &keys[0]).await.0, "one");
    eventually("the new owner is believed for it", async || session(&sidecar, &keys[0]) == before[1]).await;
    eventually("memory has it", async || finds(&sidecar, &keys[0]).await == ("one".to_owned(), true)).await;
    // It is heard of there.
    let name = cluster.masters[1].resources().into_iter().find(|name| cluster.slot(name) == slot);
    assert_eq!(cluster.masters[1].command(&["DEL", &name.unwrap()]), Value::Int(1));
    eventually("it is heard of", async || finds(&sidecar, &keys[0]).await.0.is_empty()).await;
    assert_eq!(session(&sidecar, &keys[2]), before[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_that_is_documented_is_enough_in_a_cluster() {
    let cluster = Cluster::start().await;
    let mut create = "ACL SETUSER app on >pw ~test:* +hello +time +hmget +get +pttl".to_owned();
    create.push_str(" +eval +evalsha +script|load +type +hkeys +hlen +hget +hset +hdel +pexpire +unlink");
    create.push_str(" +set +hgetall +client|tracking +cluster|slots");
    for master in &cluster.masters {
        master.command(&create.split(' ').collect::<Vec<_>>());
    }
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "pw").unwrap();
    let login = RedisLogin { user: Some("app".to_owned()), password_file: Some(password) };
    let sidecar = sidecar_as(login, &cluster.masters[0]).await;
    for key in &resources(&cluster) {
        keep(&sidecar, key, "one").await;
    }
    let purge = Purge { resources: resources(&cluster).to_vec(), ..Purge::default() };
    sidecar.purge(&purge, Wait::ForFleet, std::time::SystemTime::now()).await.unwrap();
    for key in &resources(&cluster) {
        assert_eq!(finds(&sidecar, key).await, (String::new(), false));
    }
}
