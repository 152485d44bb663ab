//! A master that dies: sentinels name another one, and the sidecars follow. Real processes: a master, its
//! replica, three sentinels and three sidecars.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{
    fs,
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use redis::Value;
use sidecache::{
    address::{RedisAccess, RedisLogin, RedisNode, RedisPlace},
    clock::Clock,
    store::redis::{Health, RedisStore, Settings},
};
use support::{
    browser::{Answer, Browser},
    entries::{KEEP, TIERS, body, commit, entry, fleet, resource},
    load::Load,
    origin::{Origin, ok},
    redis::{PATIENCE, RedisServer, eventually},
    sentinel::Sentinel,
    spawned::Spawned,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// From the promotion on, until all is as it was.
const SOON: Duration = Duration::from_secs(5);
const TARGETS: &[&str] = &["/a", "/b", "/c", "/d"];

/// A master and its replica, and who watches them. All end with this value.
struct Troupe {
    master: RedisServer,
    replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

fn port(server: &RedisServer) -> u16 {
    server.url().rsplit(':').next().unwrap().parse().unwrap()
}

impl Troupe {
    async fn start() -> Self {
        let (master, replica) = (RedisServer::start_on_tcp(), RedisServer::start_on_tcp());
        master.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        replica.command(&["REPLICAOF", "127.0.0.1", &port(&master).to_string()]);
        eventually("the replica follows", async || {
            let role = format!("{:?}", replica.command(&["ROLE"]));
            role.contains("connected")
        })
        .await;
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(port(&master))).collect();
        eventually("the sentinels know of all", async || {
            sentinels.iter().all(|sentinel| {
                let says = |field, value| sentinel.says(field).as_deref() == Some(value);
                says("num-slaves", "1") && says("num-other-sentinels", "2") && says("flags", "master")
            })
        })
        .await;
        Self { master, replica, sentinels }
    }

    fn yaml(&self, origin: &Origin) -> String {
        let nodes: Vec<_> = self.sentinels.iter().map(|s| format!("'127.0.0.1:{}'", s.port)).collect();
        format!(
            "upstream: http://{}\nstore:\n  prefix: story\n  redis: {{ mode: sentinel, nodes: [{}], \
             sentinel: {{ master: shop }} }}\nroutes: [{{ match: /**, cache: 300s }}]\n",
            origin.address,
            nodes.join(", ")
        )
    }

    /// Three sidecars that have all targets in memory.
    async fn sidecars(&self, origin: &Origin) -> Vec<Spawned> {
        let mut sidecars = Vec::new();
        for _ in 0..3 {
            sidecars.push(Spawned::start(&self.yaml(origin)).await);
        }
        for sidecar in &sidecars {
            eventually("it is tracked", async || is_tracked(sidecar)).await;
            let remembered = format!("sidecache_store_memory_resources {}", TARGETS.len());
            eventually("all is in memory", async || {
                for target in TARGETS {
                    ask(sidecar, target).await;
                }
                sidecar.admin_text("/metrics").contains(&remembered)
            })
            .await;
        }
        sidecars
    }

    /// Waits until the replica is the master. It may take some elections.
    async fn promoted(&self) -> Instant {
        let master = Value::BulkString(b"master".to_vec());
        // The sentinels close its connections.
        let is_master = async || match self.replica.try_command(&["ROLE"]) {
            Ok(Value::Array(said)) => said[0] == master,
            _ => false,
        };
        eventually("the replica is promoted", is_master).await;
        Instant::now()
    }
}

fn is_tracked(sidecar: &Spawned) -> bool {
    sidecar.admin_text("/metrics").contains("sidecache_store_tracked 1")
}

/// Whether it has begun anew with another master.
fn is_back(sidecar: &Spawned) -> bool {
    let metrics = sidecar.admin_text("/metrics");
    let anew = !metrics.contains("sidecache_store_tracking_sessions_total 1\n");
    anew && is_tracked(sidecar) && sidecar.admin("/readyz")["status"] == "ready"
}

async fn ask(sidecar: &Spawned, target: &str) -> Answer {
    Browser::connect(sidecar.address).await.ask(&format!("GET {target}"), &[]).await
}

/// `sidecache purge` with these arguments.
fn purge(sidecar: &Spawned, arguments: &[&str]) {
    let admin = format!("unix:{}", sidecar.file().with_file_name("admin.sock").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    let output = command.args(["purge", "--admin", &admin]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// An origin whose answers name its present version, and carry a tag below `/t`.
async fn versioned() -> (Origin, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let fields = if asked.target == "/d" { "Cache-Tag: d\r\n" } else { "" };
        ok(fields, &now.load(Ordering::SeqCst).to_string())
    });
    (origin.await, version)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_takes_over_under_load() {
    let (mut troupe, (origin, _)) = (Troupe::start().await, versioned().await);
    let sidecars = troupe.sidecars(&origin).await;
    let loads: Vec<_> = sidecars.iter().map(|sidecar| Load::start(sidecar.address, 1, TARGETS)).collect();
    let hits = || loads.iter().map(|load| load.said("hit")).collect::<Vec<_>>();
    eventually("there is load", async || hits().iter().all(|hits| *hits > 10)).await;
    let asked = origin.count();

    troupe.master.kill();
    let promoted = troupe.promoted().await;
    eventually("all are on it", async || sidecars.iter().all(is_back)).await;
    let before = hits();
    eventually("all hit", async || hits().iter().zip(&before).all(|(now, before)| now > before)).await;
    let took = promoted.elapsed();
    assert!(took < SOON, "{took:?}");
    for sidecar in &sidecars {
        let metrics = sidecar.admin_text("/metrics");
        let from_redis =
            metrics.lines().find(|line| line.starts_with("sidecache_store_hits_total{tier=\"redis\"}"));
        let from_redis: usize = from_redis.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(
            from_redis >= 2 * TARGETS.len(),
            "memory was emptied, and filled again from Redis: {from_redis}"
        );
        assert!(sidecar.messages().iter().any(|said| said == "the sentinels name another master"));
    }
    let mut answers = 0;
    for load in loads {
        let tally = load.stop().await;
        assert_eq!(tally.failures, Vec::<String>::new());
        answers += tally.times.values().map(Vec::len).sum::<usize>();
    }
    // The other one has it all; on a busy machine a look-up may take too long.
    let fetched = origin.count() - asked;
    assert!(100 * fetched < answers, "{fetched} of {answers} were fetched");
}

/// What was purged on a master that died before it passed that on, is not served: not even if the
/// sidecar that purged it is gone too.
async fn lost_purge(purger_dies: bool) {
    let (mut troupe, (origin, version)) = (Troupe::start().await, versioned().await);
    let mut sidecars = troupe.sidecars(&origin).await;
    troupe.replica.freeze();
    troupe.master.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    version.store(2, Ordering::SeqCst);
    purge(&sidecars[0], &["--url", "http://shop/a", "--tag", "d"]);
    troupe.master.kill();
    if purger_dies {
        drop(sidecars.remove(0));
    }
    troupe.replica.thaw();
    assert_eq!(troupe.replica.resources().len(), TARGETS.len(), "it knows of no purge");

    // Until all have been on the other one for a while.
    let (begun, mut since) = (Instant::now(), None);
    while since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(2)) {
        assert!(begun.elapsed() < PATIENCE);
        for sidecar in &sidecars {
            for target in ["/a", "/d"] {
                let answer = ask(sidecar, target).await;
                assert_eq!((answer.status, &*answer.body), (200, "2"), "{target}: {}", answer.fine());
            }
        }
        if since.is_none() && sidecars.iter().all(is_back) {
            since = Some(Instant::now());
        }
    }
    for sidecar in &sidecars {
        eventually("it is stored anew", async || ask(sidecar, "/a").await.is_hit()).await;
        assert_eq!(ask(sidecar, "/b").await.body, "1", "what was not purged is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_a_failover_lost_is_obeyed() {
    lost_purge(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_when_who_purged_is_gone() {
    lost_purge(true).await;
}

/// A store on the master of this name, as these sentinels have it.
fn store(ports: &[u16], master: &str) -> RedisStore {
    store_as(RedisLogin::default(), ports, master)
}

/// The same for this user of the master.
fn store_as(user: RedisLogin, ports: &[u16], master: &str) -> RedisStore {
    let nodes = ports.iter().map(|&port| RedisNode { host: "127.0.0.1".to_owned(), port }).collect();
    let place = RedisPlace::Sentinels { nodes, master: master.to_owned(), login: RedisLogin::default() };
    let access = RedisAccess { place, login: user, database: None, tls: None };
    RedisStore::start(Settings::of(&access, "test").unwrap(), Clock::System)
}

fn why_down(store: &RedisStore) -> String {
    match store.health() {
        Health::Up => String::new(),
        Health::Down { reason, .. } => reason,
    }
}

/// Who says of each master that it is there, whatever has become of it.
async fn stale_sentinel(master: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (own, digits) = (listener.local_addr().unwrap().port(), master.to_string());
    let named = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{digits}\r\n", digits.len());
    tokio::spawn(async move {
        while let Ok((peer, _)) = listener.accept().await {
            let named = named.clone();
            tokio::spawn(async move {
                let (asks, mut answers) = peer.into_split();
                let mut lines = BufReader::new(asks).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = match line.as_str() {
                        "CLIENT" => "+OK\r\n",
                        "SENTINEL" => &named,
                        _ => continue,
                    };
                    answers.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sentinels_say_is_checked() {
    let (master, replica) = (RedisServer::start_on_tcp(), RedisServer::start_on_tcp());
    replica.command(&["REPLICAOF", "127.0.0.1", &port(&master).to_string()]);
    let sentinel = Sentinel::start(port(&master));
    eventually("the sentinel is there", async || sentinel.says("flags").as_deref() == Some("master")).await;
    let unknown = store(&[sentinel.port], "other");
    eventually("nobody knows it", async || {
        why_down(&unknown).ends_with("no sentinel knows a master of the name other")
    })
    .await;

    let stale = stale_sentinel(port(&replica)).await;
    let misled = store(&[stale], "shop");
    eventually("a replica is none", async || why_down(&misled).ends_with("not a master")).await;
    // One is stale, one is not, and one is not there: the two that are named are tried.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let found = store(&[stale, gone, sentinel.port], "shop");
    eventually("the master is found", async || found.health() == Health::Up && found.takes_writes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_that_is_documented_is_enough_with_sentinels() {
    let master = RedisServer::start_on_tcp();
    let sentinel = Sentinel::start(port(&master));
    eventually("the sentinel is there", async || sentinel.says("flags").as_deref() == Some("master")).await;
    let mut create = "ACL SETUSER app on >pw ~test:* +hello +time +hmget +get +pttl".to_owned();
    create.push_str(" +eval +evalsha +script|load +type +hkeys +hlen +hget +hset +hdel +pexpire +unlink");
    create.push_str(" +set +hgetall +client|tracking");
    master.command(&create.split(' ').collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "pw").unwrap();
    let user = RedisLogin { user: Some("app".to_owned()), password_file: Some(password) };
    let store = store_as(user, &[sentinel.port], "shop");
    eventually("what it lacks is said", async || why_down(&store).contains("'role'")).await;
    master.command(&["ACL", "SETUSER", "app", "+role"]);
    eventually("it is let in", async || store.health() == Health::Up && store.takes_writes()).await;
    let tiers = fleet(store, TIERS);
    eventually("it tells what changes", async || tiers.tracking().session().is_some()).await;
    let key = resource("/least");
    let fresh = entry(&key, &HeaderMap::new(), &[], "one");
    commit(tiers.redis(), &key, fresh, KEEP).await.unwrap();
    assert_eq!(body(tiers.redis(), &key, &HeaderMap::new()).await, "one");
}
