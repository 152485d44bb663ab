//! What the processes take, from moment to moment, and whether that grows.
//!
//! Each round does and undoes the same, so what counts is the mean of a round: a line by least squares
//! through the means of the last half of all rounds.

use std::{fmt, sync::Arc, time::Duration};

use rustix::process::Pid;
use tokio::{
    sync::Mutex,
    task::block_in_place,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    sidecars::{Whereabouts, name},
    support::{
        redis::RedisServer,
        usage::{descriptors, memory},
    },
};

/// The server, among the names of series.
pub(crate) const REDIS: &str = "redis";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Resident memory of a process, in bytes.
    Resident,
    /// What of that it has allocated. The rest are pages of its program, which the system lets go and takes in again.
    Allocated,
    /// What Redis says that it uses, in bytes.
    Used,
    Descriptors,
}

/// One figure of one process, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) of: String,
    pub(crate) what: What,
    rounds: Vec<Vec<f64>>,
}

impl Series {
    fn new(of: &str, what: What) -> Self {
        Self { of: of.to_owned(), what, rounds: Vec::new() }
    }

    fn add(&mut self, round: usize, value: Option<f64>) {
        self.rounds.resize_with(self.rounds.len().max(round + 1), Vec::new);
        self.rounds[round].extend(value);
    }

    /// The mean of each round in which it was measured.
    fn means(&self) -> Vec<(f64, f64)> {
        let measured = self.rounds.iter().enumerate().filter(|(_, values)| !values.is_empty());
        measured.map(|(at, values)| (at as f64, values.iter().sum::<f64>() / values.len() as f64)).collect()
    }

    /// By how much it grows in a round, in the last half of them.
    pub(crate) fn slope(&self) -> f64 {
        let means = self.means();
        least_squares(&means[means.len() / 2..])
    }

    /// The most that it ever was.
    pub(crate) fn most(&self) -> f64 {
        self.rounds.iter().flatten().copied().fold(0.0, f64::max)
    }
}

/// The slope of the line that is nearest to these points.
fn least_squares(points: &[(f64, f64)]) -> f64 {
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>();
    sum(&|point| (point.0 - x) * (point.1 - y)) / sum(&|point| (point.0 - x).powi(2))
}

/// A series to a line: the means of all rounds, the slope, the most.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.what {
            What::Resident | What::Allocated | What::Used => f64::from(1 << 20),
            What::Descriptors => 1.0,
        };
        write!(f, "{:<12}{:<12}", self.of, format!("{:?}", self.what))?;
        for (_, mean) in self.means() {
            write!(f, "{:>8.1}", mean / unit)?;
        }
        write!(f, " | {:+.3} a round, {:.1} at most", self.slope() / unit, self.most() / unit)
    }
}

/// When to look, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) begins: Instant,
    pub(crate) round: Duration,
    pub(crate) rounds: u32,
    /// Between two looks.
    pub(crate) pause: Duration,
}

/// Looks on until all rounds are over. A Redis that a fault holds is not asked meanwhile.
pub(crate) async fn watch(
    sidecars: Vec<Whereabouts>,
    redis: Arc<Mutex<RedisServer>>,
    plan: Plan,
) -> Vec<Series> {
    let (mut ticks, mut all) = (interval_at(plan.begins, plan.pause), Vec::new());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let passed = ticks.tick().await - plan.begins;
        let round = usize::try_from(passed.as_nanos() / plan.round.as_nanos()).unwrap();
        if round >= plan.rounds as usize {
            return all;
        }
        let mut note = |of: &str, what, value| note(&mut all, of, what, round, value);
        for (number, sidecar) in sidecars.iter().enumerate() {
            let pid = sidecar.borrow().as_ref().map(|place| place.pid);
            process(&name(number), pid, &mut note);
        }
        let Ok(redis) = redis.try_lock() else { continue };
        process(REDIS, Some(redis.pid()), &mut note);
        note(REDIS, What::Used, Some(block_in_place(|| used(&redis))));
    }
}

fn note(all: &mut Vec<Series>, of: &str, what: What, round: usize, value: Option<f64>) {
    let known = all.iter().position(|series| series.of == of && series.what == what);
    let at = known.unwrap_or_else(|| {
        all.push(Series::new(of, what));
        all.len() - 1
    });
    all[at].add(round, value);
}

fn process(of: &str, pid: Option<Pid>, note: &mut impl FnMut(&str, What, Option<f64>)) {
    let mut bytes =
        |what, name| note(of, what, pid.and_then(|pid| memory(pid, name)).map(|bytes| bytes as f64));
    bytes(What::Resident, "VmRSS:");
    bytes(What::Allocated, "RssAnon:");
    note(of, What::Descriptors, pid.and_then(descriptors).map(|count| count as f64));
}

fn used(redis: &RedisServer) -> f64 {
    let info: String = redis::from_redis_value(redis.command(&["INFO", "memory"])).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    used.parse().unwrap()
}

#[test]
fn growth_is_found_and_what_comes_and_goes_is_none() {
    let series = |value: fn(usize) -> f64| {
        let mut series = Series::new("it", What::Descriptors);
        (0..600).for_each(|second| series.add(second / 60, Some(value(second))));
        series
    };
    let close = |slope: f64, expected: f64| assert!((slope - expected).abs() < 1e-9, "{slope}");
    close(series(|second| (second % 60) as f64 * 100.0).slope(), 0.0);
    close(series(|second| (second / 60) as f64 * 3.0).slope(), 3.0);
    close(series(|second| second as f64).slope(), 60.0);
    // It warms up.
    close(series(|second| second.min(240) as f64).slope(), 0.0);
    assert!((series(|second| second as f64).most() - 599.0).abs() < 1e-9);
}
