//! What has lately happened to resources, as far as a bounded memory holds it.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::key::ResourceKey;

/// When something last happened to a resource under a rule (by its fingerprint). A resource that has
/// been forgotten for want of room only costs what its memory would have spared.
pub struct Lately(Cache<(Box<[u8]>, u64), Instant>);

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
        self.0.get(&(resource.as_bytes().into(), fingerprint)).map(|at| at.elapsed())
    }

    /// It happens now, or has to be forgotten.
    pub fn note(&self, resource: &ResourceKey, fingerprint: u64, happens: bool) {
        let key = (resource.as_bytes().into(), fingerprint);
        if happens {
            self.0.insert(key, Instant::now());
        } else {
            self.0.remove(&key);
        }
    }
}
