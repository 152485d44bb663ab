//! Which store answers: memory alone, or the Redis that all sidecars share.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Lookup, Purge, Purged, Selector, Store, StoreError, Wait, memory::MemoryStore, redis::RedisStore,
};
use crate::{key::ResourceKey, purges::Purges, stored::Stored};

/// The stores of this process.
///
/// With Redis there is no memory tier in front of it yet: a tier that another sidecar's change does
/// not reach would serve what is obsolete.
pub enum Tiers {
    /// Without Redis.
    Memory(MemoryStore),
    /// With it.
    Redis(RedisStore),
}

impl Tiers {
    /// Whether a commit would be tried now.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(store) => store.takes_writes(),
        }
    }

    /// What they know of purges.
    #[must_use]
    pub fn purges(&self) -> &Arc<Purges> {
        match self {
            Self::Memory(store) => store.purges(),
            Self::Redis(store) => store.purges(),
        }
    }

    /// The look-ups of one request.
    #[must_use]
    pub fn visit(&self) -> Visit<'_> {
        Visit { tiers: self, waited: Duration::ZERO }
    }
}

/// One request at the stores. Memory is not waited for; a shared store has one budget for all that
/// a request asks of it.
pub struct Visit<'t> {
    tiers: &'t Tiers,
    waited: Duration,
}

impl Visit<'_> {
    /// What is stored, from what is left of the budget.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub async fn lookup(&mut self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        match self.tiers {
            Tiers::Memory(store) => Ok(store.lookup_now(key, selector)),
            Tiers::Redis(store) => {
                let (begun, left) = (Instant::now(), self.left());
                if left.is_zero() {
                    return Err(StoreError::Budget);
                }
                // Its state is large, and every request would carry it along for the memory tier's sake.
                let outcome = Box::pin(store.lookup_within(left, key, selector)).await;
                self.waited += begun.elapsed();
                outcome
            }
        }
    }

    /// What is left of the budget.
    #[must_use]
    pub fn left(&self) -> Duration {
        match self.tiers {
            Tiers::Memory(_) => Duration::MAX,
            Tiers::Redis(store) => store.budget().saturating_sub(self.waited),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Tiers::Redis(store) = self.tiers {
            store.waited_for(self.waited);
        }
    }
}

impl Store for Tiers {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.lookup_now(key, selector)),
            Self::Redis(store) => store.lookup(key, selector).await,
        }
    }

    async fn commit(&self, key: &ResourceKey, entry: Arc<Stored>, keep: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(key, entry, keep).await,
            Self::Redis(store) => store.commit(key, entry, keep).await,
        }
    }

    async fn tagged(&self, key: &ResourceKey, within: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self {
            Self::Memory(store) => store.tagged(key, within).await,
            Self::Redis(store) => store.tagged(key, within).await,
        }
    }

    async fn purge(&self, purge: &Purge, wait: Wait, now: SystemTime) -> Result<Purged, StoreError> {
        match self {
            Self::Memory(store) => store.purge(purge, wait, now).await,
            Self::Redis(store) => store.purge(purge, wait, now).await,
        }
    }

    async fn remove(&self, keys: &[ResourceKey]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remove(keys).await,
            Self::Redis(store) => store.remove(keys).await,
        }
    }
}
