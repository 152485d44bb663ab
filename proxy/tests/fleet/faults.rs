//! Makes faults, one at a time: which, when and to whom is drawn from a seed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{
    history::{Fault, Kind, Sidecar, Span, Watch},
    random::Random,
    reader::Progress,
    sidecars::{Fleet, ROLL, SIDECARS},
    support::relay::{Class, Flow, Way, Which},
};

/// How long faults are, and the pauses between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) fault: (Duration, Duration),
    pub(crate) pause: (Duration, Duration),
}

/// Purges that a fault waits for, so that it meets some.
const MEETS: usize = 3;
/// It waits no longer than this.
const WAITS: Duration = Duration::from_secs(3);
/// Both below and above the time that a request gives to Redis.
const SLOW_DATA: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(90));
/// Both below and above the time for which a sidecar trusts its memory without a word from Redis.
const SLOW_TRACKING: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(2500));
/// Between two losses of what Redis has: both below and above the time in which members renew themselves.
const LOSSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(700));
const TRACKING: Which = Which::Each(Class::Tracking);
const DATA: Which = Which::Each(Class::Data);

pub(crate) struct Saboteur<'f> {
    pub(crate) fleet: &'f Fleet,
    pub(crate) watch: Watch,
    pub(crate) random: Random,
    pub(crate) progress: Arc<Progress>,
    pub(crate) pace: Pace,
}

impl Saboteur<'_> {
    /// Makes faults until each kind has met so many purges, or time is up.
    pub(crate) async fn run(&mut self, quota: usize, limit: Duration) -> Vec<Fault> {
        let deadline = Instant::now() + limit;
        let mut met = self.shuffled().map(|kind| (kind, 0));
        let mut faults = Vec::new();
        loop {
            // The kind that has met the fewest comes next.
            met.sort_by_key(|(_, purges)| *purges);
            let (kind, purges) = &mut met[0];
            if *purges >= quota || Instant::now() > deadline {
                return faults;
            }
            sleep(self.random.between(self.pace.pause.0, self.pace.pause.1)).await;
            let before = self.purges();
            faults.push(self.fault(*kind).await);
            *purges += self.purges() - before;
        }
    }

    fn purges(&self) -> usize {
        self.progress.purges.load(Ordering::Relaxed)
    }

    fn shuffled(&mut self) -> [Kind; Kind::ALL.len()] {
        let mut kinds = Kind::ALL;
        for at in (1..kinds.len()).rev() {
            kinds.swap(at, self.random.below(at + 1));
        }
        kinds
    }

    async fn fault(&mut self, kind: Kind) -> Fault {
        let sidecar = self.random.below(SIDECARS);
        let everybody = matches!(kind, Kind::RedisFrozen | Kind::RedisKilled | Kind::RedisFlushed);
        let (late, begun) = (self.lateness(kind), self.watch.now());
        if let Some(delay) = late {
            self.fleet.relay(sidecar).set(TRACKING, Way::Answers, Flow::Delayed(delay));
        }
        self.begin(kind, sidecar);
        self.last(kind).await;
        self.end(kind, sidecar).await;
        let span = Span { begun, ended: self.watch.now() };
        let late = late.map(|delay| (sidecar, delay));
        Fault { kind, sidecar: (!everybody).then_some(sidecar), late, span }
    }

    /// How late a sidecar hears what changes by such a fault, if it does.
    fn lateness(&mut self, kind: Kind) -> Option<Duration> {
        let is_late = match kind {
            Kind::TrackingDelayed => true,
            Kind::RedisFlushed | Kind::RollLost => self.random.one_in(2),
            _ => false,
        };
        is_late.then(|| self.random.between(SLOW_TRACKING.0, SLOW_TRACKING.1))
    }

    /// Lets it last, until it has met some purges.
    async fn last(&mut self, kind: Kind) {
        let (begun, before) = (Instant::now(), self.purges());
        let least = self.random.between(self.pace.fault.0, self.pace.fault.1);
        let is_over = |purges| match begun.elapsed() {
            lasted if lasted < least => false,
            lasted => purges >= before + MEETS || lasted > WAITS,
        };
        let mut next = begun;
        while !is_over(self.purges()) {
            if Instant::now() >= next {
                self.lose(kind);
                next += self.random.between(LOSSES.0, LOSSES.1);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has Redis lose what faults of this kind make it lose.
    fn lose(&self, kind: Kind) {
        let command: &[&str] = match kind {
            Kind::RedisFlushed => &["FLUSHALL"],
            Kind::RollLost => &["DEL", ROLL],
            _ => return,
        };
        block_in_place(|| self.fleet.redis().command(command));
    }

    fn begin(&mut self, kind: Kind, sidecar: Sidecar) {
        let relay = self.fleet.relay(sidecar);
        match kind {
            Kind::RedisFrozen => self.fleet.redis().freeze(),
            Kind::RedisKilled => block_in_place(|| self.fleet.redis().kill()),
            Kind::TrackingCut => relay.refuse(TRACKING),
            Kind::TrackingSilent => relay.set(TRACKING, Way::Answers, Flow::Lost),
            Kind::TrackingDelayed | Kind::RedisFlushed | Kind::RollLost => {}
            Kind::DataDelayed => {
                let way = if self.random.one_in(2) { Way::Asks } else { Way::Answers };
                let delay = self.random.between(SLOW_DATA.0, SLOW_DATA.1);
                relay.set(DATA, way, Flow::Delayed(delay));
            }
            Kind::SidecarKilled => self.fleet.kill_sidecar(sidecar),
            Kind::SidecarFrozen => self.fleet.signal_sidecar(sidecar, Signal::STOP),
        }
    }

    async fn end(&self, kind: Kind, sidecar: Sidecar) {
        match kind {
            Kind::RedisFrozen => self.fleet.redis().thaw(),
            Kind::RedisKilled => block_in_place(|| self.fleet.redis().restart_empty()),
            Kind::SidecarKilled => self.fleet.start_sidecar(sidecar).await,
            Kind::SidecarFrozen => self.fleet.signal_sidecar(sidecar, Signal::CONT),
            Kind::TrackingCut
            | Kind::TrackingSilent
            | Kind::TrackingDelayed
            | Kind::DataDelayed
            | Kind::RedisFlushed
            | Kind::RollLost => self.fleet.relay(sidecar).heal(),
        }
    }
}
