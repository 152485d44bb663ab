//! Readers on three sidecars, a writer that purges, and faults: the history of it must keep the
//! promise that a purge makes with its 200.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Scale,
    catalogue::Catalogue,
    faults::{Pace, Saboteur},
    history::{History, Watch},
    purger::Purger,
    random::Random,
    reader::{Progress, Reader},
    sidecars::{BYPASS, Fleet, SERVE, SIDECARS},
    verdict::{Demands, Promise, Verdict},
    writer::Writer,
};

/// For each sidecar.
const READERS: usize = 4;
/// Some purges wait for a member that does not answer; others go on meanwhile.
const PURGERS: usize = 3;
/// Longer than a run: only purges make anything obsolete. Stale pages are never served, so soft
/// purges promise what hard ones do.
const ROUTES: &str = "routes: [{ match: /page/*, cache: { ttl: 1h, stale_while_revalidate: 0s } }]\n";

/// How large a run is.
struct Size {
    demands: Demands,
    pace: Pace,
    /// Before the first fault.
    calm: Duration,
    /// It ends by then, with or without what is demanded.
    limit: Duration,
}

const SHORT: Size = Size {
    demands: Demands { reads: 2_000, purges: 30, hits: 0.3, promised: 0.5, overlaps: 1, posts: 1, waits: 0 },
    pace: Pace {
        fault: (Duration::from_millis(300), Duration::from_millis(900)),
        pause: (Duration::from_millis(300), Duration::from_millis(600)),
    },
    calm: Duration::from_secs(1),
    limit: Duration::from_secs(60),
};

/// As the promise is stated.
const FULL: Size = Size {
    demands: Demands {
        reads: 100_000,
        purges: 1_000,
        hits: 0.8,
        promised: 0.9,
        overlaps: 20,
        posts: 100,
        waits: 20,
    },
    pace: Pace {
        fault: (Duration::from_millis(200), Duration::from_millis(3000)),
        pause: (Duration::from_millis(1500), Duration::from_millis(3500)),
    },
    calm: Duration::from_secs(5),
    limit: Duration::from_secs(900),
};

async fn run(
    size: &Size,
    environment: Vec<(&'static str, &'static str)>,
    on_outage: &str,
    seed: u64,
) -> History {
    let mut random = Random::new(seed);
    let catalogue = Catalogue::new();
    let origin = catalogue.open(seed).await;
    let upstream = format!("upstream: http://{}\n{ROUTES}", origin.address);
    let fleet = Fleet::start_in(environment, on_outage, |_| upstream.clone()).await;
    let (watch, progress) = (Watch::start(), Arc::<Progress>::default());

    let mut readers = JoinSet::new();
    for sidecar in (0..SIDECARS).cycle().take(SIDECARS * READERS) {
        let reader = Reader { sidecar, watch, random: random.fork(), progress: Arc::clone(&progress) };
        readers.spawn(reader.run(fleet.whereabouts(sidecar)));
    }
    let mut writers = JoinSet::new();
    for sidecar in 0..SIDECARS {
        let writer = Writer { sidecar, watch, random: random.fork(), progress: Arc::clone(&progress) };
        writers.spawn(writer.run(fleet.whereabouts(sidecar)));
    }
    let mut purgers = JoinSet::new();
    for _ in 0..PURGERS {
        let (catalogue, random, progress) = (catalogue.clone(), random.fork(), Arc::clone(&progress));
        purgers.spawn(Purger { catalogue, watch, random, progress }.run(fleet.all()));
    }

    let deadline = Instant::now() + size.limit;
    sleep(size.calm).await;
    let mut saboteur =
        Saboteur { fleet: &fleet, watch, random, progress: Arc::clone(&progress), pace: size.pace };
    let faults = saboteur.run(size.demands.overlaps, size.limit).await;
    let is_enough = || {
        progress.reads.load(Ordering::Relaxed) >= size.demands.reads
            && progress.purges.load(Ordering::Relaxed) >= size.demands.purges
    };
    while !is_enough() && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    progress.over.store(true, Ordering::Relaxed);
    let reads = readers.join_all().await.into_iter().flatten().collect();
    let posts = writers.join_all().await.into_iter().flatten().collect();
    let purges = purgers.join_all().await.into_iter().flatten().collect();
    History { reads, posts, purges, faults }
}

async fn holds(on_outage: &str, promise: Promise) {
    let size = Scale::asked_for().pick(SHORT, FULL);
    let seed = Random::seed();
    println!("on_outage: {on_outage}, SIDECACHE_SEED={seed}");
    let history = run(&size, Vec::new(), on_outage, seed).await;
    let verdict = Verdict::of(&history, promise);
    println!("{verdict}");
    let shortcomings = verdict.shortcomings(&size.demands);
    assert!(shortcomings.is_empty(), "{shortcomings:#?}");
}

/// Whoever serves on while cut off from Redis promises nothing for that time: a second run in full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promised_purge_is_obeyed_whatever_happens() {
    holds(BYPASS, Promise::Always).await;
    if Scale::asked_for() == Scale::Full {
        holds(SERVE, Promise::UnlessCutOff).await;
    }
}

/// Each of the guards is needed: without it, this check fails.
#[cfg(feature = "sabotage")]
mod without_a_guard {
    use sidecache::sabotage::{Omission, VARIABLE};

    use super::*;

    /// Rounds in which what is left out has to show.
    const ROUNDS: usize = 30;

    /// With faults that last longer than a sidecar trusts its memory. Where all hear of a purge, they know that it makes
    /// obsolete what they fetch; the lease has to be broken of one that does not.
    const DEAF: Size = Size {
        pace: Pace {
            fault: (Duration::from_millis(2500), Duration::from_millis(3500)),
            pause: (Duration::from_millis(300), Duration::from_millis(600)),
        },
        ..SHORT
    };

    async fn is_broken(omission: Omission, size: &Size) {
        for round in 1..=ROUNDS {
            let history = run(size, vec![(VARIABLE, omission.name())], BYPASS, Random::seed()).await;
            let broken = Verdict::of(&history, Promise::Always).violations.len();
            println!("without the {}: {broken} violations in round {round}", omission.name());
            if broken > 0 {
                return;
            }
        }
        panic!("nothing shows that the {} is needed", omission.name());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn insertion() {
        is_broken(Omission::InsertionGuard, &SHORT).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn acknowledgement() {
        is_broken(Omission::Acknowledgement, &SHORT).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lease_break() {
        is_broken(Omission::LeaseBreak, &DEAF).await;
    }
}
