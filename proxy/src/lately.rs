//! What has lately happened to resources, as far as a bounded memory holds it.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use crate::key::ResourceKey;

/// When something last happened to a resource under a rule (by its fingerprint). A resource that has
/// been forgotten for want of room only costs what its memory would have spared.
///
/// Resources are known by a hash, since their keys have no small bound. Two that share one are taken for
/// each other. That costs work, or a stale answer where one is allowed: none is ever picked by it.
pub struct Lately(Cache<(u128, u64), Instant>);

/// Resources that are remembered at most.
const REMEMBERED: usize = 8 * 1024;

impl Default for Lately {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Lately {
    /// How long ago it was.
    #[must_use]
    pub fn since(&self, resource: &ResourceKey, fingerprint: u64) -> Option<Duration> {
        self.0.get(&(xxh3_128(resource.as_bytes()), fingerprint)).map(|at| at.elapsed())
    }

    /// It happens now, or has to be forgotten.
    pub fn note(&self, resource: &ResourceKey, fingerprint: u64, happens: bool) {
        let key = (xxh3_128(resource.as_bytes()), fingerprint);
        if happens {
            self.0.insert(key, Instant::now());
        } else {
            self.0.remove(&key);
        }
    }
}
