//! Counts of what happens to resources, for whoever must know that it has happened meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::key::ResourceKey;

/// How often something has happened to each resource.
///
/// Resources share counters: that one has moved on may be another one's doing, so it may only ever
/// cost work that could have been spared.
pub struct Tally(Box<[AtomicU64]>);

const COUNTERS: usize = 16 * 1024;

impl Default for Tally {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Tally {
    /// The count for a resource.
    #[must_use]
    pub fn of(&self, key: &ResourceKey) -> u64 {
        self.counter(key).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// It has happened once more.
    pub fn advance(&self, key: &ResourceKey) {
        if let Some(counter) = self.counter(key) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter(&self, key: &ResourceKey) -> Option<&AtomicU64> {
        let index = usize::try_from(xxh3_64(key.as_bytes()) % COUNTERS as u64).ok()?;
        self.0.get(index)
    }
}
