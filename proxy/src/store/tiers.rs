//! Which store answers: memory alone, or the Redis that all sidecars share.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{Lookup, Selector, Store, StoreError, memory::MemoryStore, redis::RedisStore};
use crate::{key::ResourceKey, stored::Stored};

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

    /// Until when a request that comes now may wait for a shared store, all its look-ups together.
    /// Memory is not waited for.
    #[must_use]
    pub fn patience(&self) -> Option<Instant> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(Instant::now() + store.budget()),
        }
    }

    /// A second look-up of one request, in what is left of its patience.
    ///
    /// # Errors
    /// As the first one.
    pub async fn look_again(
        &self,
        patience: Option<Instant>,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        match patience {
            None => self.lookup(key, selector).await,
            Some(end) => timeout_at(end, self.lookup(key, selector)).await.unwrap_or(Err(StoreError::Budget)),
        }
    }
}

impl Store for Tiers {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.lookup_now(key, selector)),
            // Its state is large, and every request would carry it along for the memory tier's sake.
            Self::Redis(store) => Box::pin(store.lookup(key, selector)).await,
        }
    }

    async fn commit(&self, key: &ResourceKey, entry: Arc<Stored>, keep: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(key, entry, keep).await,
            Self::Redis(store) => store.commit(key, entry, keep).await,
        }
    }

    async fn remove(&self, keys: &[ResourceKey]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remove(keys).await,
            Self::Redis(store) => store.remove(keys).await,
        }
    }
}
