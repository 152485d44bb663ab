//! The soak: three sidecars in processes of their own and one Redis, under a steady load of pages that
//! are asked for once and pages that are asked for again and again, while the same faults come in each
//! round. No client may see an error, nothing may be left behind in Redis, and neither descriptors nor
//! memory may grow.
//!
//! | file | what lives there |
//! |---|---|
//! | [`pages`] | what is asked for, and the app that has it |
//! | [`sidecars`] | the fleet; one member of it is replaced in each round |
//! | [`load`] | the clients, who hold back nothing and forgive nothing; and an operator who purges |
//! | [`faults`] | one round of them |
//! | [`series`] | what the processes take, from moment to moment, and whether that grows |
//! | [`keys`] | what is in Redis |
//!
//! `make test` runs a short form, in which little can grow; `make soak` runs for twenty minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "what was measured is worth a look")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod keys;
mod load;
mod pages;
#[path = "../fleet/random.rs"]
mod random;
mod series;
mod sidecars;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::block_in_place,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    faults::Pace,
    keys::{Keys, Kind, SWEPT},
    load::{Load, Tally},
    pages::App,
    random::Random,
    series::{Plan, REDIS, Series, What},
    sidecars::{FILLED, SIDECARS, Sidecars},
    support::{redis::RedisServer, scale::Scale},
};

/// The process behind this number is replaced in each round; the others stay from first to last.
const REPLACED: usize = 2;
/// No request may take longer: another sidecar's fetch is waited for so long, and then there is the
/// scheduler of a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(7);
/// A sidecar that is told to end does so within a second of its clients' last requests.
const ENDING: Duration = Duration::from_secs(5);
/// By how much a process may grow in a minute, in bytes.
const GROWTH: f64 = (1 << 20) as f64;
/// How many descriptors it may gain in a minute.
const LEAK: f64 = 1.0;
/// What no sidecar needs, be it for clients, the app, Redis, the files it watches or the runtime.
const DESCRIPTORS: f64 = 150.0;
/// How much more one that is replaced may take than those that stay, at most: they meet the same load.
const YOUNG: f64 = 1.25;

/// How large a run is.
struct Size {
    /// Until memory must be full, before the first round: what takes its room then is no growth. Nothing: it
    /// need not be.
    warm_up: Option<Duration>,
    rounds: u32,
    round: Duration,
    pace: Pace,
    /// Requests a second.
    rate: u32,
    /// URLs that have to be asked for once.
    distinct: usize,
    /// Between two looks at what the processes take.
    look: Duration,
}

const SHORT: Size = Size {
    warm_up: None,
    rounds: 3,
    round: Duration::from_secs(8),
    pace: Pace { killed: Duration::from_millis(300), frozen: Duration::from_millis(600) },
    rate: 150,
    distinct: 1_500,
    look: Duration::from_millis(250),
};

/// Twice the ten minutes that growth is looked for in. What an allocator holds for what came and went wanders by
/// some MiB within minutes: over five of them, that is a slope in itself.
const FULL: Size = Size {
    warm_up: Some(Duration::from_secs(120)),
    rounds: 20,
    round: Duration::from_secs(60),
    pace: Pace { killed: Duration::from_secs(2), frozen: Duration::from_secs(3) },
    rate: 700,
    distinct: 200_000,
    look: Duration::from_secs(1),
};

/// What a run has brought to light.
struct Findings {
    tally: Tally,
    series: Vec<Series>,
    /// URLs that were asked for once.
    distinct: usize,
    /// What should not be in Redis.
    litter: Vec<String>,
    /// How long each sidecar that was replaced took to end.
    endings: Vec<Duration>,
}

async fn run(size: &Size, seed: u64) -> Findings {
    let app = App::open().await;
    let redis = Arc::new(Mutex::new(block_in_place(RedisServer::start)));
    let url = redis.lock().await.url();
    let mut sidecars = Sidecars::start(&url, app.address).await;
    let load = Load::start(&sidecars.all(), size.rate, Random::new(seed));
    if let Some(limit) = size.warm_up {
        warm_up(&sidecars, limit).await;
    }
    let (begins, mut litter, mut endings) = (Instant::now(), Vec::new(), Vec::new());
    let plan = Plan { begins, round: size.round, rounds: size.rounds, pause: size.look };
    let watch = tokio::spawn(series::watch(sidecars.all(), Arc::clone(&redis), plan));
    for round in 0..size.rounds {
        let begins = begins + round * size.round;
        endings.push(faults::round(&mut sidecars, &redis, begins, size.round, size.pace).await);
        // A moment before the next one.
        sleep_until(begins + size.round - size.look).await;
        let keys = look(&redis).await;
        println!(
            "round {round}: {} asked, {} failed; {keys}; in memory {:?} bytes",
            load.asked(),
            load.failed(),
            sidecars.remembered()
        );
        litter.extend(keys.litter.into_iter().map(|key| format!("in round {round}: {key}")));
    }
    let (series, distinct) = (watch.await.unwrap(), load.distinct());
    let tally = load.stop().await;
    litter.extend(left_over(&redis).await);
    println!("the app was asked {} times", app.asked());
    Findings { tally, series, distinct, litter, endings }
}

/// Waits until the memory of all is full.
async fn warm_up(sidecars: &Sidecars, limit: Duration) {
    let begun = Instant::now();
    while sidecars.remembered().iter().any(|bytes| *bytes < FILLED) {
        assert!(begun.elapsed() < limit, "memory is not filled: {:?} bytes", sidecars.remembered());
        sleep(Duration::from_millis(250)).await;
    }
    println!("memory was full after {:?}", begun.elapsed());
}

async fn look(redis: &Mutex<RedisServer>) -> Keys {
    let redis = redis.lock().await;
    block_in_place(|| Keys::of(&redis))
}

/// What is still there when all that passes should be gone, now that nobody asks for anything. A short run
/// waits for leases alone; of all else it is known that it does not stay longer than it may.
async fn left_over(redis: &Mutex<RedisServer>) -> Vec<String> {
    let waited_for = Scale::asked_for().pick(&[Kind::Leases][..], &Kind::PASSING);
    let longest = waited_for.iter().map(|kind| kind.goes_after()).max().unwrap();
    let deadline = Instant::now() + longest + SWEPT;
    let is_left = |keys: &Keys| waited_for.iter().any(|kind| keys.count(*kind) > 0);
    let mut keys = look(redis).await;
    while is_left(&keys) && Instant::now() < deadline {
        sleep(Duration::from_millis(250)).await;
        keys = look(redis).await;
    }
    println!("afterwards: {keys}");
    let mut left = keys.litter.clone();
    if is_left(&keys) {
        left.push(format!("after {longest:?} there are still {keys}"));
    }
    if keys.members != SIDECARS {
        left.push(format!("{} members of {SIDECARS}", keys.members));
    }
    left
}

/// Whatever should not be so.
fn shortcomings(findings: &Findings, size: &Size) -> Vec<String> {
    let Findings { tally, series, distinct, litter, endings } = findings;
    let mut all: Vec<_> = litter.iter().take(20).cloned().collect();
    let mut check = |is_so: bool, or_else: String| all.extend((!is_so).then_some(or_else));
    let failures: Vec<_> = tally.failures.iter().take(10).collect();
    check(failures.is_empty(), format!("{} failures, such as {failures:#?}", tally.failures.len()));
    check(*distinct >= size.distinct, format!("only {distinct} URLs of {} were asked for", size.distinct));
    check(
        tally.said("hit") > 0 && tally.said("detail=store-down") > 0,
        "hits, or faults, are missing".into(),
    );
    let slowest = tally.within(1000);
    check(slowest < LONGEST_WAIT, format!("a request took {slowest:?}"));
    check(endings.iter().all(|ending| *ending < ENDING), format!("a sidecar took {endings:?} to end"));
    let (done, not_done) = (tally.purges("200"), tally.purges("503"));
    check(done > 2 * not_done, format!("{done} purges were done, {not_done} were not"));
    all.extend(series.iter().filter_map(|series| growth(series, findings, size)));
    all
}

/// What is wrong with a series, if anything is.
fn growth(series: &Series, findings: &Findings, size: &Size) -> Option<String> {
    let replaced = sidecars::name(REPLACED);
    let stays = |other: &&Series| other.what == series.what && other.of != replaced && other.of != REDIS;
    let largest = findings.series.iter().filter(stays).map(Series::most).fold(0.0, f64::max);
    let most = match series.what {
        _ if series.of == REDIS => f64::INFINITY,
        What::Descriptors => DESCRIPTORS,
        What::Resident | What::Allocated | What::Used => YOUNG * largest,
    };
    // One that is replaced begins anew each time, and in a short run all do.
    let begins_anew = series.of == replaced || Scale::asked_for() == Scale::Short;
    let is_level = begins_anew || series.what == What::Resident;
    let in_a_minute = series.slope() * Duration::from_secs(60).div_duration_f64(size.round);
    let limit = if series.what == What::Descriptors { LEAK } else { GROWTH };
    (series.most() > most || !is_level && in_a_minute > limit).then(|| format!("it grows: {series}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_grows_or_stays() {
    let size = Scale::asked_for().pick(SHORT, FULL);
    let seed = Random::seed();
    println!("SIDECACHE_SEED={seed}, {} rounds of {:?}", size.rounds, size.round);
    let findings = run(&size, seed).await;
    println!(
        "{}, {} URLs once, the replaced ended in {:?}",
        findings.tally, findings.distinct, findings.endings
    );
    println!("means of the rounds, in MiB or descriptors, and the slope of the last half:");
    findings.series.iter().for_each(|series| println!("{series}"));
    let shortcomings = shortcomings(&findings, &size);
    assert!(shortcomings.is_empty(), "{shortcomings:#?}");
}
