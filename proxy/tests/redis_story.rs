//! The binary, without memory in front, on a Redis that is killed, frozen, emptied and lied to, under load: it costs misses,
//! and nothing else.
//!
//! - [`refusals`]: a Redis that answers, and refuses: all, or what writes.
//! - [`line`]: a line to it that is slow, or leads nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "what was measured is worth a look")]

mod support;

#[path = "redis_story/line.rs"]
mod line;
#[path = "redis_story/refusals.rs"]
mod refusals;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use support::{
    load::Load,
    origin::Origin,
    redis::{RedisServer, eventually},
    spawned::Spawned,
};
use tokio::task::{JoinHandle, block_in_place};

const CONNECTIONS: usize = 16;
const TARGETS: &[&str] = &["/1", "/2", "/3", "/4", "/5", "/6", "/7"];
/// What a request may wait for Redis in all.
const BUDGET: Duration = Duration::from_millis(50);
/// What it may wait for its turn on a core beside that, on a machine that is not overloaded.
const TURN: Duration = Duration::from_millis(50);
/// A build without optimisation, its clients and its origin share two cores with other tests: a
/// request that is ready may wait that long for its turn.
const SLACK: Duration = Duration::from_millis(900);
/// From Redis' return to the next hit: an attempt to connect comes each second, and the link must
/// prove itself before it is trusted.
const RECOVERY: Duration = Duration::from_secs(5);
/// So many hits are a run.
const RUN: usize = 200;

struct Trial {
    redis: RedisServer,
    origin: Origin,
    sidecar: Spawned,
    lag: Lag,
}

impl Trial {
    async fn start(redis: RedisServer) -> Self {
        let url = redis.url();
        Self::start_at(redis, &url).await
    }

    /// One that finds Redis there.
    async fn start_at(redis: RedisServer, url: &str) -> Self {
        let origin = Origin::saying("").await;
        let yaml = format!(
            "upstream: http://{}\nstore: {{ memory: off, redis: \"{}\", prefix: trial }}\nroutes:\n  - match: /**\n    cache: 300s\n",
            origin.address, url
        );
        let sidecar = Spawned::start(&yaml).await;
        Self { redis, origin, sidecar, lag: Lag::start() }
    }

    fn load(&self) -> Load {
        Load::start(self.sidecar.address, CONNECTIONS, TARGETS)
    }

    /// Waits until this is why Redis is of no use.
    async fn is_down_for(&self, why: &str) {
        let says_so = async || block_in_place(|| self.sidecar.admin_text("/readyz")).contains(why);
        eventually(why, says_so).await;
    }
}

/// Waits until a run of requests hardly needs the origin any more, and asserts that this comes in time. On a busy machine
/// Redis misses its budget now and then.
async fn hits_return(trial: &Trial, load: &Load) {
    let begun = Instant::now();
    loop {
        let (asked, hits) = (trial.origin.count(), load.said("hit"));
        let have_returned = || load.said("hit") > hits + RUN;
        eventually("there are answers", async || have_returned() || trial.origin.count() > asked + RUN / 20)
            .await;
        if have_returned() {
            return;
        }
        assert!(begun.elapsed() < RECOVERY, "{:?}", begun.elapsed());
    }
}

/// How often Redis was missed.
fn missed(load: &Load) -> usize {
    load.detailed("store-down")
}

/// Waits until Redis is missed, and for a while more.
async fn is_missed(load: &Load) {
    let before = missed(load);
    eventually("the store is down", async || missed(load) > before + 100).await;
    // Long enough for the breaker to open and to try again.
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

/// No client has seen an error, and none has waited.
async fn assert_harmless(trial: &Trial, load: Load) {
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert_waited_no_longer(BUDGET + TURN.max(trial.lag.most()), &trial.sidecar.admin_text("/metrics"));
    let (most, slowest, lag) = (tally.within(90), tally.within(100), trial.lag.most());
    assert!(most < BUDGET + TURN + lag, "nine of ten within {most:?} of {:?}, {lag:?}", tally.says());
    assert!(slowest < BUDGET + SLACK + lag, "the slowest took {slowest:?} of {:?}, {lag:?}", tally.says());
}

/// By the sidecar's own measure: what each request spent on Redis, all its look-ups together.
fn assert_waited_no_longer(most: Duration, metrics: &str) {
    let family = metrics.lines().filter_map(|line| line.strip_prefix("sidecache_store_redis_wait_seconds_"));
    let mut buckets = family.filter_map(|line| line.strip_prefix("bucket{le=\"")?.split_once("\"} ")).map(
        |(end, count)| (end.replace("+Inf", "inf").parse::<f64>().unwrap(), count.parse::<u64>().unwrap()),
    );
    let (_, within) = buckets.find(|(end, _)| *end >= most.as_secs_f64()).unwrap();
    let all = buckets.next_back().map_or(within, |(_, all)| all);
    assert!(all > 100, "{metrics}");
    assert_eq!(within, all, "some waited longer than {most:?}: {metrics}");
}

/// How late a timer rings on this machine at worst: what the scheduler adds to any wait.
struct Lag(Arc<AtomicU64>, JoinHandle<()>);

impl Lag {
    fn start() -> Self {
        let most: Arc<AtomicU64> = Arc::default();
        let noted = Arc::clone(&most);
        let ticks = async move {
            loop {
                let due = Instant::now() + Duration::from_millis(10);
                tokio::time::sleep_until(due.into()).await;
                let late = u64::try_from(due.elapsed().as_micros()).unwrap();
                noted.fetch_max(late, Ordering::Relaxed);
            }
        };
        Self(most, tokio::spawn(ticks))
    }

    fn most(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.1.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_empty() {
    let mut trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    trial.redis.kill();
    is_missed(&load).await;
    trial.redis.restart_empty();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    let trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    trial.redis.freeze();
    is_missed(&load).await;
    trial.redis.thaw();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_under_load_each_is_fetched_once() {
    let trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    for _ in 0..5 {
        let (asked, alone) = (trial.origin.count(), missed(&load));
        trial.redis.command(&["FLUSHALL"]);
        let all = async || trial.origin.count() >= asked + TARGETS.len();
        eventually("all is fetched anew", all).await;
        hits_return(&trial, &load).await;
        // Who found Redis busy fetches for itself.
        let fetched = trial.origin.count() - asked;
        let is_told = async || fetched <= TARGETS.len() + missed(&load) - alone;
        eventually("each fetch beside the first says that Redis was busy", is_told).await;
    }
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_at_the_start() {
    let mut trial = Trial::start(RedisServer::absent()).await;
    let load = trial.load();
    is_missed(&load).await;
    trial.redis.restart_empty();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
    assert!(trial.redis.resources().len() == TARGETS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lied_to() {
    let trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    let all = async || trial.redis.resources().len() == TARGETS.len();
    eventually("all is stored", all).await;
    let lies: [&[&str]; 5] = [
        &["SET", "KEY", "a text"],
        &["RPUSH", "KEY", "a", "list"],
        &["HSET", "KEY", "m", "no, names"],
        &["HSET", "KEY", "m", "", "v00000000000000000000000000000000", "no entry"],
        &["HSET", "KEY", "other", "field"],
    ];
    for lie in lies {
        let asked = trial.origin.count();
        for key in trial.redis.keys() {
            let words: Vec<_> = lie.iter().map(|word| if *word == "KEY" { &key } else { *word }).collect();
            // Somebody else's script, so that no commit comes between.
            trial.redis.command(&["UNLINK", &key]);
            let _ = trial.redis.try_command(&words);
        }
        hits_return(&trial, &load).await;
        let asked_for =
            |target: &str| trial.origin.asked()[asked..].iter().any(|asked| asked.target == target);
        eventually("all is fetched anew", async || TARGETS.iter().all(|target| asked_for(target))).await;
        hits_return(&trial, &load).await;
    }
    let (asked, alone) = (trial.origin.count(), missed(&load));
    assert_harmless(&trial, load).await;
    assert!(asked < 100 + alone, "{asked} fetches, {alone} without Redis");
}
