//! A line to Redis that is slow, or leads nowhere, or to another server than before.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    BUDGET, SLACK, TURN, Trial, assert_harmless, hits_return, is_missed,
    support::{
        browser::Browser,
        load::Load,
        origin::{Origin, ok},
        redis::{RedisServer, eventually},
        relay::{Flow, Relay, Seen, Target, Way, Which},
        spawned::Spawned,
        usage::descriptors,
    },
};

/// A connection that is dead must be known to be so by then.
const DETECTED: Duration = Duration::from_secs(10);
/// Connections that are being made at a moment: to each of Redis' there may be one more.
const ATTEMPTS: usize = 8;

/// Until a changed delay has its effect: the connections are looked after once a second.
const SETTLES: Duration = Duration::from_millis(1200);
/// How long each delay is borne.
const MEASURED: Duration = Duration::from_millis(600);

/// A trial whose line to Redis can be meddled with.
async fn on_a_line() -> (Trial, Relay) {
    let redis = RedisServer::start();
    let relay = Relay::to(Target::Unix(redis.socket())).await;
    let trial = Trial::start_at(redis, &relay.url()).await;
    (trial, relay)
}

/// No packet passes any more on the connections that there are, and nobody is told.
fn loses_all(relay: &Relay) {
    for connection in relay.connections() {
        for way in [Way::Asks, Way::Answers] {
            relay.set(Which::One(connection.number), way, Flow::Lost);
        }
    }
}

/// Under load, while no packet passes and no connection can be made.
async fn is_missed_without_a_leak(trial: &Trial, load: &Load) {
    is_missed(load).await;
    let settled = descriptors(trial.sidecar.pid()).unwrap();
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        let now = descriptors(trial.sidecar.pid()).unwrap();
        assert!(now <= settled + ATTEMPTS, "{now} descriptors, {settled} before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_partition_it_is_missed() {
    let (trial, relay) = on_a_line().await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    relay.swallow().await;
    loses_all(&relay);
    is_missed_without_a_leak(&trial, &load).await;
    relay.heal();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_partition_from_the_start_too() {
    let redis = RedisServer::start();
    let relay = Relay::to(Target::Unix(redis.socket())).await;
    relay.swallow().await;
    let trial = Trial::start_at(redis, &relay.url()).await;
    let load = trial.load();
    is_missed_without_a_leak(&trial, &load).await;
    relay.heal();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

/// As when the master has been switched behind a name or an address: the server before is a replica, and still there.
/// Look-ups write nothing, so they would never be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_leads_to_another_master_is_left_for_good() {
    let (before, after) = (RedisServer::start(), RedisServer::start());
    let relay = Relay::to(Target::Unix(before.socket())).await;
    let versions = AtomicUsize::new(0);
    let origin = Origin::start(move |_| ok("", &versions.fetch_add(1, Ordering::SeqCst).to_string())).await;
    let yaml = |redis: &str| {
        format!(
            "upstream: http://{}\nstore: {{ prefix: story, redis: '{redis}' }}\nroutes: [{{ match: /**, cache: 1h }}]\n",
            origin.address
        )
    };
    let sidecar = Spawned::start(&yaml(&relay.url())).await;
    let mut browser = Browser::connect(sidecar.address).await;
    eventually("it is stored", async || browser.ask("GET /1", &[]).await.is_hit()).await;
    let old = browser.ask("GET /1", &[]).await.body;

    relay.lead(Target::Unix(after.socket()));
    before.command(&["REPLICAOF", "127.0.0.1", "1"]);
    eventually("it is stored anew", async || {
        browser.ask("GET /1", &[]).await;
        after.resources().len() == 1
    })
    .await;
    eventually("it is a hit", async || browser.ask("GET /1", &[]).await.is_hit()).await;
    assert_ne!(browser.ask("GET /1", &[]).await.body, old);

    // What another one purges there is gone here.
    let other = Spawned::start(&yaml(&after.url())).await;
    let both = async || after.members("story").len() == 2;
    eventually("both are on the roll", both).await;
    let new = browser.ask("GET /1", &[]).await.body;
    let said = other.admin_post("/purge", r#"{"all": true}"#);
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_ne!(browser.ask("GET /1", &[]).await.body, new);
}

/// As when a gateway between has forgotten them: those that there are lead nowhere, new ones do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_dead_are_noticed_under_load() {
    let (trial, relay) = on_a_line().await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    loses_all(&relay);
    let begun = Instant::now();
    hits_return(&trial, &load).await;
    println!("hits again {:?} after the connections had died", begun.elapsed());
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_dead_are_noticed_while_nobody_asks() {
    let (trial, relay) = on_a_line().await;
    let mut browser = Browser::connect(trial.sidecar.address).await;
    eventually("it is stored", async || browser.ask("GET /1", &[]).await.is_hit()).await;
    let before = relay.connections();
    loses_all(&relay);
    let begun = Instant::now();
    let is_new = |connection: &Seen| before.iter().all(|known| known.number < connection.number);
    let new = || relay.connections().iter().filter(|connection| is_new(connection)).count();
    eventually("others take their place", async || new() >= before.len()).await;
    let detected = begun.elapsed();
    println!("dead connections were replaced after {detected:?}");
    assert!(detected < DETECTED, "{detected:?}");
    let load = trial.load();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

/// What so much delay does to requests: half of them and 99 of 100 within, and the share of hits.
async fn under(trial: &Trial, what: &str) -> f64 {
    sleep(SETTLES).await;
    let load = trial.load();
    sleep(MEASURED).await;
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    let (half, nearly_all, all) = (tally.within(50), tally.within(99), tally.within(100));
    let says = tally.says();
    let share = says.get("hit").copied().unwrap_or_default() as f64 / says.values().sum::<usize>() as f64;
    println!("{what:<12} p50 {half:>12?} p99 {nearly_all:>12?} {:>6.1} % hits", 100.0 * share);
    let most = BUDGET + TURN + trial.lag.most();
    assert!(tally.within(90) < most, "{what}: nine of ten within {:?}, not {most:?}", tally.within(90));
    assert!(all < BUDGET + SLACK, "{what}: the slowest took {all:?}");
    share
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_delay_costs_is_bounded() {
    let (trial, relay) = on_a_line().await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
    for delay in [0, 5, 10, 20, 40, 60, 200].map(Duration::from_millis) {
        relay.set(Which::All, Way::Answers, Flow::Delayed(delay));
        let hits = under(&trial, &format!("{delay:?}")).await;
        // A machine that is late by itself uses the budget up.
        let is_bearable = delay + trial.lag.most() < BUDGET / 2;
        assert!(!is_bearable || hits > 0.9, "{hits} with a delay of {delay:?}");
    }
    for most in [40, 100].map(Duration::from_millis) {
        relay.set(Which::All, Way::Answers, Flow::Jittered(most));
        under(&trial, &format!("0 to {most:?}")).await;
    }
    relay.heal();
    let load = trial.load();
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}
