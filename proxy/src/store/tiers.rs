//! Which store answers: memory alone, or the Redis that all sidecars share.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

pub use super::redis::Waiting;
use super::{
    Claim, Claimant, Lookup, Marker, Purge, Purged, Selector, Store, StoreError, Wait,
    memory::MemoryStore,
    redis::{self, RedisStore},
};
use crate::{
    key::{ResourceKey, VariantKey},
    purges::Purges,
    stored::Stored,
};

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

    /// Begins to wait until somebody else has filled what a claim has found [`Claim::Held`]. Nothing,
    /// where nobody else can.
    #[must_use]
    pub fn wait(&self, key: &ResourceKey) -> Option<Waiting> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(store.wait(key)),
        }
    }

    /// What the holder of a lease has not seen yet is looked for: in the store that all share, within
    /// this time.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub async fn lookup_shared(
        &self,
        key: &ResourceKey,
        selector: &Selector<'_>,
        within: Duration,
    ) -> Result<Lookup, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.lookup_now(key, selector)),
            Self::Redis(store) => store.lookup_within(within, key, selector).await,
        }
    }

    /// Removes all variants of a resource for which a lease is held, and gives that back.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub async fn forget(&self, key: &ResourceKey, lease: Lease) -> Result<(), StoreError> {
        match (self, lease) {
            (Self::Redis(store), Lease::Shared(lease)) => store.forget(lease).await,
            _ => self.remove(std::slice::from_ref(key)).await,
        }
    }

    /// How long a shared store may be asked for.
    #[must_use]
    pub fn budget(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::MAX,
            Self::Redis(store) => store.budget(),
        }
    }

    /// The look-ups of one request.
    #[must_use]
    pub fn visit(&self) -> Visit<'_> {
        Visit { tiers: self, waited: Duration::ZERO }
    }
}

/// The right to store a variant of a resource. Dropped, it is given back.
#[derive(Debug)]
pub enum Lease {
    /// Of this process's own memory: nobody else writes there.
    Own,
    /// Of a store that others share.
    Shared(redis::Lease),
}

impl Lease {
    /// Why nobody else waits for this one, if there is a reason.
    #[must_use]
    pub fn met(&self) -> Option<Marker> {
        match self {
            Self::Own => None,
            Self::Shared(lease) => lease.met(),
        }
    }

    /// What others are told when it ends, if anything.
    pub fn ends_with(&mut self, marker: Option<Marker>) {
        if let Self::Shared(lease) = self {
            lease.ends_with(marker);
        }
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

    type Lease = Lease;

    async fn claim(
        &self,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> Result<Claim<Lease>, StoreError> {
        match self {
            Self::Memory(_) => Ok(Claim::Granted(Lease::Own)),
            Self::Redis(store) => Ok(match store.claim(key, variant, claimant, within).await? {
                Claim::Granted(lease) => Claim::Granted(Lease::Shared(lease)),
                Claim::Held => Claim::Held,
                Claim::Unshared(marker) => Claim::Unshared(marker),
            }),
        }
    }

    async fn commit(
        &self,
        key: &ResourceKey,
        entry: Arc<Stored>,
        keep: Duration,
        lease: Lease,
    ) -> Result<(), StoreError> {
        match (self, lease) {
            (Self::Memory(store), _) => store.commit(key, entry, keep, ()).await,
            (Self::Redis(store), Lease::Shared(lease)) => store.commit(key, entry, keep, lease).await,
            (Self::Redis(_), Lease::Own) => Err(StoreError::LeaseLost),
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
