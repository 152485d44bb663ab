//! What has come of look-ups and writes since the start.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::lease::LeaseStats;
use crate::store::{Lookup, StoreError};

/// Whether commands are let through to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They are held back after failures, until a probe is answered.
    Open,
}

/// Requests by what they waited for Redis in all their look-ups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waits {
    /// Requests that waited up to each of [`Waits::UP_TO`], and longer than all of them.
    pub requests: [u64; Waits::UP_TO.len() + 1],
    /// The sum of their waits.
    pub sum: Duration,
}

impl Waits {
    /// Upper ends, in microseconds. The usual budget is among them: what lies beyond has waited for
    /// a turn on a core.
    pub const UP_TO: [u64; 10] =
        [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 1_000_000];
}

/// Counts since the start, of the store as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Look-ups that found the response.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Look-ups not answered within the budget.
    pub timeouts: u64,
    /// Look-ups answered with an error.
    pub errors: u64,
    /// Look-ups not made: no connection, held back, or too many on their way.
    pub refused: u64,
    /// Things found that were damaged, of a wrong type, or of another resource.
    pub corrupt: u64,
    /// Responses written.
    pub writes: u64,
    /// Responses not written, for whatever reason.
    pub dropped_writes: u64,
    /// What requests waited.
    pub waits: Waits,
    /// Whether look-ups are let through.
    pub read_breaker: BreakerState,
    /// Whether writes are let through.
    pub write_breaker: BreakerState,
    /// What became of leases.
    pub leases: LeaseStats,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    timeouts: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    corrupt: AtomicU64,
    writes: AtomicU64,
    dropped_writes: AtomicU64,
    waits: [AtomicU64; Waits::UP_TO.len() + 1],
    /// Microseconds.
    waited: AtomicU64,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn looked_up(&self, outcome: &Result<Lookup, StoreError>) {
        one(match outcome {
            Ok(Lookup::Found(_) | Lookup::Marked(..)) => &self.hits,
            Ok(Lookup::Nothing | Lookup::OtherVariants(_)) => &self.misses,
            Err(StoreError::Budget) => &self.timeouts,
            Err(StoreError::Unavailable | StoreError::Overload) => &self.refused,
            Err(StoreError::Refused(_) | StoreError::TooLarge | StoreError::LeaseLost) => &self.errors,
        });
    }

    pub(super) fn committed(&self, outcome: &Result<(), StoreError>) {
        one(if outcome.is_ok() { &self.writes } else { &self.dropped_writes });
    }

    pub(super) fn dropped(&self) {
        one(&self.dropped_writes);
    }

    pub(super) fn found_corrupt(&self) {
        one(&self.corrupt);
    }

    pub(super) fn waited(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = Waits::UP_TO.partition_point(|&most| most < micros);
        self.waits.get(place).into_iter().for_each(one);
        self.waited.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn stats(
        &self,
        read_breaker: BreakerState,
        write_breaker: BreakerState,
        leases: LeaseStats,
    ) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            timeouts: read(&self.timeouts),
            errors: read(&self.errors),
            refused: read(&self.refused),
            corrupt: read(&self.corrupt),
            writes: read(&self.writes),
            dropped_writes: read(&self.dropped_writes),
            waits: Waits {
                requests: self.waits.each_ref().map(read),
                sum: Duration::from_micros(read(&self.waited)),
            },
            read_breaker,
            write_breaker,
            leases,
        }
    }
}
