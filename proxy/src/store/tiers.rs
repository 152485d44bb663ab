//! Which store answers: memory alone, or the Redis that all sidecars share, with memory in front.

mod coherent;
mod fleet;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::{
    coherent::TierStats,
    fleet::{Fleet, Leave, OnOutage, TierSettings},
};
use super::{Lookup, Selector, Store, StoreError, memory::MemoryStore};
use crate::{key::ResourceKey, stored::Stored};

/// The stores of this process.
pub enum Tiers {
    /// Without Redis.
    Memory(MemoryStore),
    /// With it.
    Redis(Box<Fleet>),
}

impl Tiers {
    /// Whether a commit would be tried now.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(fleet) => fleet.takes_writes(),
        }
    }

    /// Whether one more fetch for a miss may begin. Only an outage of Redis that is to be shed refuses it.
    #[must_use]
    pub fn leave_to_fetch(&self) -> Leave {
        match self {
            Self::Memory(_) => Leave::Granted(None),
            Self::Redis(fleet) => fleet.leave(),
        }
    }

    /// The look-ups of one request.
    #[must_use]
    pub fn visit(&self) -> Visit<'_> {
        Visit { tiers: self, waited: None, failed: false, alone: false }
    }
}

/// One request at the stores. Memory is not waited for; a shared store has one budget for all that
/// a request asks of it.
pub struct Visit<'t> {
    tiers: &'t Tiers,
    /// Nothing, as long as the shared store was not asked.
    waited: Option<Duration>,
    failed: bool,
    alone: bool,
}

impl Visit<'_> {
    /// What is stored, from what is left of the budget.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub async fn lookup(&mut self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        let fleet = match self.tiers {
            Tiers::Memory(store) => return Ok(store.lookup_now(key, selector)),
            Tiers::Redis(fleet) => fleet,
        };
        if let Some(stored) = fleet.remembered(key, selector) {
            return Ok(Lookup::Found(stored));
        }
        let outcome = self.ask(fleet, key, selector).await;
        self.failed = outcome.is_err();
        match outcome {
            Err(error) => {
                let stored = fleet.remembered_alone(key, selector).ok_or(error)?;
                self.alone = true;
                Ok(Lookup::Found(stored))
            }
            found => found,
        }
    }

    async fn ask(
        &mut self,
        fleet: &Fleet,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        let (begun, left) = (Instant::now(), self.left());
        let waited = self.waited.get_or_insert_default();
        if left.is_zero() {
            return Err(StoreError::Budget);
        }
        // Its state is large, and every request would carry it along for the memory tier's sake.
        let outcome = Box::pin(fleet.ask(left, key, selector)).await;
        *waited += begun.elapsed();
        outcome
    }

    /// What is left of the budget.
    #[must_use]
    pub fn left(&self) -> Duration {
        match self.tiers {
            Tiers::Memory(_) => Duration::MAX,
            Tiers::Redis(fleet) => fleet.redis().budget().saturating_sub(self.waited.unwrap_or_default()),
        }
    }

    /// Whether what was found is what memory goes on with while Redis is out of reach.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether the request may share the fetch of another one.
    #[must_use]
    pub fn may_join(&self) -> bool {
        match self.tiers {
            Tiers::Memory(_) => true,
            Tiers::Redis(fleet) => !self.failed || fleet.may_join(),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let (Tiers::Redis(fleet), Some(waited)) = (self.tiers, self.waited) {
            fleet.redis().waited_for(waited);
        }
    }
}

impl Store for Tiers {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        self.visit().lookup(key, selector).await
    }

    async fn commit(&self, key: &ResourceKey, entry: Arc<Stored>, keep: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(key, entry, keep).await,
            Self::Redis(fleet) => fleet.commit(key, entry, keep).await,
        }
    }

    async fn tagged(&self, key: &ResourceKey, within: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self {
            Self::Memory(store) => store.tagged(key, within).await,
            Self::Redis(fleet) => fleet.tagged(key, within).await,
        }
    }

    async fn remove(&self, keys: &[ResourceKey]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remove(keys).await,
            Self::Redis(fleet) => fleet.remove(keys).await,
        }
    }
}
