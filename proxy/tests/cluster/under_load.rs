//! What changes in a cluster under load: nobody sees an error, and all is soon as it was.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    ROLL, ask, count, is_tracked, plain,
    support::{cluster::Cluster, load::Load, origin::Origin, redis::eventually, spawned::Spawned},
    versioned, yaml,
};

/// Until all is as it was, from the promotion of a replica or the end of a move on.
const SOON: Duration = Duration::from_secs(5);

/// Between two looks at what is hit.
const QUARTER: Duration = Duration::from_millis(250);

/// The share of hits that is as good as all.
const NEARLY_ALL: f64 = 0.99;

/// Whether sidecars have memory in front.
#[derive(Clone, Copy, PartialEq)]
enum Memory {
    On,
    Off,
}

/// Sidecars under load, and what comes of it.
struct Crowd {
    sidecars: Vec<Spawned>,
    loads: Vec<Load>,
    begun: Instant,
    last: (usize, usize),
    /// The share of hits in each quarter of a second, and when that ended.
    shares: Vec<(Duration, f64)>,
}

impl Crowd {
    /// Three sidecars for which everything is stored, in memory too where there is any.
    async fn start(cluster: &Cluster, origin: &Origin, memory: Memory) -> Self {
        let targets: Vec<&'static str> = (0..60).map(|n| &*format!("/{n}").leak()).collect();
        let targets: &'static [&'static str] = targets.leak();
        let mut sidecars = Vec::new();
        for _ in 0..3 {
            let off = if memory == Memory::Off { "store:\n  memory: off" } else { "store:" };
            sidecars.push(Spawned::start(&yaml(cluster, origin).replace("store:", off)).await);
        }
        for sidecar in &sidecars {
            eventually("it is tracked", async || is_tracked(sidecar)).await;
            eventually("all is stored", async || {
                let mut hits = 0;
                for target in targets {
                    hits += usize::from(ask(sidecar, target).await.is_hit());
                }
                let held = count(sidecar, "sidecache_store_memory_resources");
                hits == targets.len() && (memory == Memory::Off || held == targets.len())
            })
            .await;
        }
        let loads: Vec<_> = sidecars.iter().map(|sidecar| Load::start(sidecar.address, 1, targets)).collect();
        Self { sidecars, loads, begun: Instant::now(), last: (0, 0), shares: Vec::new() }
    }

    /// Goes on for a while.
    async fn goes_on(&mut self, length: Duration) {
        let until = Instant::now() + length;
        while Instant::now() < until {
            tokio::time::sleep(QUARTER).await;
            let now = self.loads.iter().map(Load::hits).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            let (hits, all) = (now.0 - self.last.0, now.1 - self.last.1);
            self.shares.push((self.begun.elapsed(), hits as f64 / all.max(1) as f64));
            self.last = now;
        }
    }

    /// Goes on until that has happened, and then for as long as all may take to be as it was.
    async fn goes_on_through<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        let outcome = loop {
            tokio::select! {
                outcome = &mut what => break outcome,
                () = self.goes_on(QUARTER) => {}
            }
        };
        self.goes_on(SOON + 4 * QUARTER).await;
        outcome
    }

    /// From when on all is as it was, for a whole second: on a busy machine a look-up may take too long at any time.
    fn normal_from(&self, happened: Duration, over: Duration) -> Duration {
        let before = self.shares.partition_point(|(at, _)| *at <= happened);
        let normal = mean(&self.shares[..before]).min(NEARLY_ALL);
        let seconds = self.shares.windows(4).filter(|second| second[3].0 > over);
        let mut again = seconds.filter(|second| mean(second) >= normal);
        again.next().expect("it is as it was")[0].0
    }

    fn print(&self, what: &str, happened: Duration, over: Duration) {
        let shares: Vec<_> = self
            .shares
            .iter()
            .map(|(at, share)| format!("{:.2}s {:.1}%", at.as_secs_f64(), 100.0 * share))
            .collect();
        println!("{what} at {happened:.2?}, over at {over:.2?}; hits: {}", shares.join(", "));
        println!("normal from {:.2?} on", self.normal_from(happened, over));
    }

    /// Nobody has seen an error.
    async fn ends(self) {
        for load in self.loads {
            let tally = load.stop().await;
            assert_eq!(tally.failures, Vec::<String>::new());
            println!(
                "{:?}, 99 % within {:?}, all within {:?}",
                tally.says(),
                tally.within(99),
                tally.within(100)
            );
        }
    }
}

/// Of shares of the same length.
fn mean(shares: &[(Duration, f64)]) -> f64 {
    shares.iter().map(|(_, share)| share).sum::<f64>() / shares.len() as f64
}

/// The master of this place dies under load.
async fn lost_master(what: &str, memory: Memory, place: impl Fn(&Cluster) -> usize) {
    let (mut cluster, (origin, _)) = (Cluster::with_replicas().await, versioned().await);
    let place = place(&cluster);
    let mut crowd = Crowd::start(&cluster, &origin, memory).await;
    crowd.goes_on(Duration::from_secs(2)).await;
    let killed = crowd.begun.elapsed();
    cluster.masters[place].kill();
    let promoted = async {
        cluster.promoted(place).await;
        Instant::now()
    };
    let promoted = crowd.goes_on_through(promoted).await - crowd.begun;
    crowd.print(what, killed, promoted);
    let least = crowd.shares.iter().map(|(_, share)| *share).fold(1.0, f64::min);
    assert!(least > 0.5, "it costs its own slots alone: {least}");
    for sidecar in &crowd.sidecars {
        assert!(is_tracked(sidecar));
        assert_eq!(sidecar.admin("/readyz")["status"], "ready");
    }
    assert!(crowd.normal_from(killed, promoted) < promoted + SOON);
    crowd.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_under_load() {
    lost_master("a master died", Memory::On, plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_the_master_with_the_roll_takes_over_under_load() {
    lost_master("the master with the roll died", Memory::On, |cluster| cluster.place(ROLL)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_a_replica_takes_over_under_load() {
    lost_master("without memory a master died", Memory::Off, plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_slots_that_move_another_node_takes_over_under_load() {
    moved_slots(Memory::On).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_of_slots_that_move_another_node_takes_over_under_load() {
    moved_slots(Memory::Off).await;
}

/// Slots move with all that is in them, under load.
async fn moved_slots(memory: Memory) {
    let (cluster, (origin, _)) = (Arc::new(Cluster::start().await), versioned().await);
    let mut crowd = Crowd::start(&cluster, &origin, memory).await;
    crowd.goes_on(Duration::from_secs(2)).await;
    let (begun, resources) = (crowd.begun, cluster.masters[1].resources().len());
    let tool = Arc::clone(&cluster);
    let moving = tokio::task::spawn_blocking(move || {
        let started = begun.elapsed();
        (0..1200).for_each(|slot| tool.move_slot(slot, 0, 1));
        (started, begun.elapsed())
    });
    let (started, ended) = crowd.goes_on_through(moving).await.unwrap();
    crowd.print("1200 slots began to move", started, ended);
    let moved = cluster.masters[1].resources().len() - resources;
    println!("{moved} resources have moved");
    assert!(moved > 0);
    assert!(crowd.normal_from(started, ended) < ended + SOON);
    crowd.ends().await;
}
