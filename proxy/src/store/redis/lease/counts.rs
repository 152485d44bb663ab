//! What has become of leases since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of leases since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseStats {
    /// Granted.
    pub granted: u64,
    /// Not to be had: Redis did not say in time, or refused.
    pub failed: u64,
    /// Fetches of others that were waited for.
    pub waited: u64,
    /// Those that took too long.
    pub waited_out: u64,
    /// Markers met, which say that there is no use in waiting.
    pub unshared: u64,
    /// Lost before the commit, which was refused.
    pub lost: u64,
    /// Held now, or being given back.
    pub held: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) granted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) waited_out: AtomicU64,
    pub(super) unshared: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) held: AtomicU64,
}

pub(super) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts since the start.
    pub(super) fn read(&self) -> LeaseStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { granted, failed, waited, waited_out, unshared, lost, held } = self;
        LeaseStats {
            granted: read(granted),
            failed: read(failed),
            waited: read(waited),
            waited_out: read(waited_out),
            unshared: read(unshared),
            lost: read(lost),
            held: read(held),
        }
    }
}
