//! Refreshes, which no client sees: which are worth it before they must be, and what has become of them.

use std::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use xxhash_rust::xxh3::Xxh3;

use crate::{flight::Phase, key::ResourceKey, lately::Lately, stored::Stored};

/// How long after one that was started ahead no other is for the same response, whatever came of it.
const REST: Duration = Duration::from_secs(1);

/// Counts since the start, and the demand for what will soon be stale.
#[derive(Default)]
pub struct Refreshes {
    asked: Lately,
    started: Lately,
    stored: AtomicU64,
    not_stored: AtomicU64,
    failed: AtomicU64,
}

impl Refreshes {
    /// Whether a response whose time is nearly over is worth a refresh: it is asked for, and has been before
    /// in that time, as far as is remembered. What is asked for once more and never again is not.
    pub fn are_wanted(&self, resource: &ResourceKey, stored: &Stored) -> bool {
        let response = identity(stored);
        let asked_before = self.asked.since(resource, response).is_some();
        let started = self.started.since(resource, response).is_some_and(|since| since < REST);
        if !asked_before {
            self.asked.note(resource, response, true);
        } else if !started {
            self.started.note(resource, response, true);
        }
        asked_before && !started
    }

    /// Counts one that is over, unless it was another sidecar's.
    pub fn count(&self, phase: &Phase) {
        let counter = match phase {
            Phase::Shared(_) => &self.stored,
            Phase::Alone(_) => &self.not_stored,
            Phase::Elsewhere => return,
            Phase::Failed(_) | Phase::Waiting | Phase::Lost => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// By what became of them.
    #[must_use]
    pub fn by_result(&self) -> [(&'static str, u64); 3] {
        [("stored", &self.stored), ("not-stored", &self.not_stored), ("failed", &self.failed)]
            .map(|(result, counter)| (result, counter.load(Ordering::Relaxed)))
    }
}

/// Tells the responses of a resource from each other, by what each look at the store finds the same. Two of
/// them in 65536 it does not tell: then the second need be asked for but once.
fn identity(stored: &Stored) -> u64 {
    let mut hash = Xxh3::new();
    hash.write_u128(stored.variant.id());
    hash.write_u64(stored.epoch.number());
    stored.lot.hash(&mut hash);
    hash.finish()
}
