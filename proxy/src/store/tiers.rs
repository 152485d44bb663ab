//! Which store answers: memory alone, or the Redis that all sidecars share, with memory in front.

mod coherent;
mod fleet;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

pub use self::{
    coherent::TierStats,
    fleet::{Fleet, Leave, OnOutage, Sharing, TierSettings},
};
pub use super::redis::Waiting;
use super::{
    Claim, Claimant, Lookup, Marker, Purge, Purged, Selector, Store, StoreError, Wait, memory::MemoryStore,
    redis,
};
use crate::{
    epoch::Epoch,
    key::{ResourceKey, VariantKey},
    purges::Purges,
    stored::Stored,
    tags::Tag,
};

/// The stores of this process.
pub enum Tiers {
    /// Without Redis.
    Memory(MemoryStore),
    /// With it.
    Redis(Box<Fleet>),
}

/// Where a stored response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In this process.
    Memory,
    /// In Redis, and from now on perhaps in memory too.
    Redis,
}

impl Tiers {
    /// How many variants of a resource are stored; nothing where Redis does not say.
    pub async fn variants(&self, key: &ResourceKey) -> Option<usize> {
        match self {
            Self::Memory(store) => Some(store.variants(key)),
            Self::Redis(fleet) => fleet.redis().variants(key).await.ok(),
        }
    }

    /// Whether a commit would be tried now.
    #[must_use]
    pub fn takes_writes(&self, key: &ResourceKey) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(fleet) => fleet.takes_writes(key),
        }
    }

    /// Whether a store that others share cannot be reached for a resource.
    #[must_use]
    pub fn is_cut_off(&self, key: &ResourceKey) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(fleet) => fleet.is_cut_off(key),
        }
    }

    /// A store that others share does not have what was found of a resource: nor is that found in memory any more.
    pub fn let_go(&self, key: &ResourceKey) {
        if let Self::Redis(fleet) = self {
            fleet.let_go(key);
        }
    }

    /// A response could have been stored, but Redis granted no lease.
    pub fn not_written(&self) {
        if let Self::Redis(fleet) = self {
            fleet.redis().not_written();
        }
    }

    /// What is stored from now on will carry these tags, whatever else.
    pub fn expect(&self, tags: impl Iterator<Item = Tag>) {
        if let Self::Redis(fleet) = self {
            fleet.redis().expect(tags);
        }
    }

    /// This process ends: others need not wait for it.
    pub async fn depart(&self) {
        if let Self::Redis(fleet) = self {
            fleet.depart().await;
        }
    }

    /// Whether one more fetch for a miss may begin. Only an outage of Redis that is to be shed refuses it.
    #[must_use]
    pub fn leave_to_fetch(&self, key: &ResourceKey) -> Leave {
        match self {
            Self::Memory(_) => Leave::Granted(None),
            Self::Redis(fleet) => fleet.leave(key),
        }
    }

    /// What they know of purges.
    #[must_use]
    pub fn purges(&self) -> &Arc<Purges> {
        match self {
            Self::Memory(store) => store.purges(),
            Self::Redis(fleet) => fleet.redis().purges(),
        }
    }

    /// The latest purge that may concern a resource, beside one that this process has made of it, and those that are
    /// known here to be later. A store that others share is asked for no longer than `within`.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub async fn latest_purge_beside(
        &self,
        own: Purged,
        key: &ResourceKey,
        within: Duration,
    ) -> Result<Epoch, StoreError> {
        match self {
            Self::Memory(_) => Ok(own.before),
            Self::Redis(fleet) => fleet.redis().latest_purge_beside(own, key, within).await,
        }
    }

    /// Begins to wait until somebody else has filled what a claim has found [`Claim::Held`]. Nothing,
    /// where nobody else can.
    #[must_use]
    pub fn wait(&self, key: &ResourceKey) -> Option<Waiting> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(fleet) => Some(fleet.redis().wait(key)),
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
            Self::Redis(fleet) => fleet.ask(within, key, selector).await,
        }
    }

    /// Removes all variants of a resource for which a lease is held, and gives that back.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub async fn forget(&self, key: &ResourceKey, lease: Lease) -> Result<(), StoreError> {
        match (self, lease) {
            (Self::Redis(fleet), Lease::Shared(lease)) => fleet.redis().forget(lease).await,
            // Redis is told when it can be.
            (Self::Redis(_), Lease::Own) => self.remove(std::slice::from_ref(key)).await,
            (Self::Memory(store), _) => {
                store.remove_now(key);
                Ok(())
            }
        }
    }

    /// How long a shared store may be asked for.
    #[must_use]
    pub fn budget(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::MAX,
            Self::Redis(fleet) => fleet.redis().budget(),
        }
    }

    /// The look-ups of one request.
    #[must_use]
    pub fn visit(&self) -> Visit<'_> {
        Visit { tiers: self, waited: None, alone: false }
    }

    /// Whether requests may have what others have fetched that carries these tags, where they `may` have it in itself:
    /// in a cluster others tell when they are purged.
    #[must_use]
    pub fn may_share_of(&self, tags: &[Tag], may: Sharing) -> bool {
        match self {
            Self::Redis(fleet) if may != Sharing::Asked => fleet.may_share_of(tags),
            Self::Memory(_) | Self::Redis(_) => true,
        }
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

    /// Something has come of the fetch.
    pub fn goes_on(&self) {
        if let Self::Shared(lease) = self {
            lease.goes_on();
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
    /// Nothing, as long as the shared store was not asked.
    waited: Option<Duration>,
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
        match self.ask(fleet, key, selector).await {
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

    /// Where the last look-up found what it did.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self.tiers {
            Tiers::Redis(_) if self.waited.is_some() && !self.alone => Tier::Redis,
            Tiers::Memory(_) | Tiers::Redis(_) => Tier::Memory,
        }
    }

    /// Whether what was found is what memory goes on with while Redis is out of reach.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether the request may have what another one fetches, from what is left of the budget.
    pub async fn sharing(&mut self, key: &ResourceKey) -> Sharing {
        let Tiers::Redis(fleet) = self.tiers else { return Sharing::Told };
        let (begun, left) = (Instant::now(), self.left());
        let sharing = fleet.sharing(key, left).await;
        self.waited = self.waited.map(|waited| waited + begun.elapsed());
        sharing
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
            Self::Redis(fleet) => fleet.claim(key, variant, claimant, within).await,
        }
    }

    async fn commit(
        &self,
        key: &ResourceKey,
        entry: Arc<Stored>,
        keep: Duration,
        lease: Lease,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(key, entry, keep, ()).await,
            Self::Redis(fleet) => fleet.commit(key, entry, keep, lease).await,
        }
    }

    async fn tagged(&self, key: &ResourceKey, within: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self {
            Self::Memory(store) => store.tagged(key, within).await,
            Self::Redis(fleet) => fleet.tagged(key, within).await,
        }
    }

    async fn purge(&self, purge: &Purge, wait: Wait, now: SystemTime) -> Result<Purged, StoreError> {
        match self {
            Self::Memory(store) => store.purge(purge, wait, now).await,
            Self::Redis(fleet) => fleet.purge(purge, wait, now).await,
        }
    }
}
