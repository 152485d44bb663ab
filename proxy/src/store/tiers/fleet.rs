//! Redis, which the fleet shares, and memory in front of it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Lease,
    coherent::{Coherent, TierStats},
};
use crate::{
    key::{ResourceKey, VariantKey},
    store::{
        Claim, Claimant, Lookup, Purge, Purged, Selector, Store, StoreError, Wait,
        memory::MemoryStats,
        redis::{Heard, RedisStore, Silence, Tracking},
    },
    stored::Stored,
    tags::Tag,
};

/// What the memory tier may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierSettings {
    /// Bytes that it may take; zero: there is none.
    pub memory: u64,
    /// For how long it serves an entry where Redis does not tell what changes; zero: not at all.
    pub untracked_max_age: Duration,
    /// What is done while Redis cannot be reached.
    pub on_outage: OnOutage,
    /// Fetches at once beyond which an outage sheds requests.
    pub shed_above: usize,
}

/// What is done while Redis cannot be reached, and so nobody tells what changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// Memory goes on, and takes what is fetched. It is emptied when Redis is back.
    #[default]
    Serve,
    /// Nothing is served from memory and nothing stored, and each request has a fetch of its own.
    Bypass,
    /// As [`OnOutage::Serve`]; but only so many fetches go on at once, and requests that would need
    /// one more are refused.
    Shed,
}

/// As the file has it.
impl fmt::Display for OnOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Bypass => "bypass",
            Self::Shed => "shed",
        })
    }
}

/// Whether requests may have what others have fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They may, as far as those tell what is purged who know of its tags.
    Told,
    /// Nobody tells, and Redis is out of reach: [`OnOutage`] has them share.
    Alone,
    /// Nobody tells, and Redis has said of what has begun that there has been no purge since.
    Asked,
    /// Not: that may have begun before a purge.
    Nothing,
}

/// Whether a fetch may begin.
#[derive(Debug)]
pub enum Leave {
    /// It may, for as long as this is held.
    Granted(Option<OwnedSemaphorePermit>),
    /// It may not: enough go on already.
    Refused,
}

/// The two tiers.
pub struct Fleet {
    redis: RedisStore,
    tier: Arc<Coherent>,
    tracking: Tracking,
    settings: TierSettings,
    fetches: Arc<Semaphore>,
}

impl Fleet {
    /// Starts to connect, on the current tokio runtime. `others` hear what the tiers hear, after they have
    /// obeyed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(redis: RedisStore, settings: TierSettings, mut others: Vec<Arc<dyn Heard>>) -> Self {
        others.insert(0, Arc::new(redis.clone()));
        let tier = Arc::new(Coherent::new(settings.memory, Arc::clone(redis.purges()), others));
        let heard: Arc<dyn Heard> = Arc::clone(&tier) as _;
        let tracking = Tracking::start(&redis, settings.untracked_max_age, heard);
        let fetches = Arc::new(Semaphore::new(settings.shed_above.min(Semaphore::MAX_PERMITS)));
        Self { redis, tier, tracking, settings, fetches }
    }

    /// Leaves the fleet, at the end of this process.
    pub async fn depart(&self) {
        self.tracking.leave().await;
    }

    /// The Redis tier.
    #[must_use]
    pub fn redis(&self) -> &RedisStore {
        &self.redis
    }

    /// How the fleet is heard of.
    #[must_use]
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// What it may do.
    #[must_use]
    pub fn settings(&self) -> TierSettings {
        self.settings
    }

    /// What the memory tier holds.
    #[must_use]
    pub fn memory(&self) -> MemoryStats {
        self.tier.memory.stats()
    }

    /// What has come of it.
    #[must_use]
    pub fn stats(&self) -> TierStats {
        self.tier.stats()
    }

    /// What memory has for this request, as far as it may be believed now. Neither waits nor allocates.
    pub(super) fn remembered(&self, key: &ResourceKey, selector: &Selector<'_>) -> Option<Arc<Stored>> {
        let (since, untracked) = if self.tracking.session_of(key).is_some() {
            (Duration::ZERO, false)
        } else if self.is_untracked(key) {
            (self.tracking.now().saturating_sub(self.settings.untracked_max_age), true)
        } else {
            return None;
        };
        let excused = |silence| untracked && silence == Silence::Untracked;
        self.in_memory(since, key, selector, |stored| self.tracking.hears_of(&stored.tags, excused))
    }

    /// Whether memory is believed for as long as an entry may be served of which no changes are told.
    fn is_untracked(&self, key: &ResourceKey) -> bool {
        !self.settings.untracked_max_age.is_zero() && self.tracking.is_untracked_of(key)
    }

    /// What it has while Redis cannot be reached; in a cluster, one of those who tell of it.
    pub(super) fn remembered_alone(&self, key: &ResourceKey, selector: &Selector<'_>) -> Option<Arc<Stored>> {
        let tracking = &self.tracking;
        let alone = self.serves_alone() && (tracking.is_over_of(key) || tracking.session_of(key).is_some());
        let excused = |silence| matches!(silence, Silence::Over | Silence::CutOff);
        let is_believed = |stored: &Stored| tracking.hears_of(&stored.tags, excused);
        alone.then(|| self.in_memory(Duration::ZERO, key, selector, is_believed)).flatten()
    }

    fn in_memory(
        &self,
        since: Duration,
        key: &ResourceKey,
        selector: &Selector<'_>,
        is_believed: impl FnOnce(&Stored) -> bool,
    ) -> Option<Arc<Stored>> {
        match self.tier.memory.lookup_since(since, key, selector) {
            Lookup::Found(stored) if is_believed(&stored) => {
                self.tier.counters.hits.fetch_add(1, Ordering::Relaxed);
                Some(stored)
            }
            // What a purge has marked is looked for in Redis, where it may have been renewed.
            Lookup::Found(_) | Lookup::Nothing | Lookup::OtherVariants(_) | Lookup::Marked(..) => None,
        }
    }

    /// What Redis has, which memory then has too.
    pub(super) async fn ask(
        &self,
        budget: Duration,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        // All of it before the question is sent.
        let (session, mark, asked) =
            (self.tracking.session_of(key), self.tier.mark(key), self.tracking.now());
        let lookup = self.redis.lookup_within(budget, key, selector).await?;
        if matches!(lookup, Lookup::Nothing) && self.is_cut_off(key) {
            // It was not asked: a removal that it has yet to hear of answers for it.
            return Err(StoreError::Unavailable);
        }
        if let Lookup::Found(stored) = &lookup
            && self.settings.memory > 0
            && (session.is_some() || self.is_untracked(key))
        {
            let goes_on = || self.tracking.session_of(key) == session;
            self.tier.insert(key, mark, Arc::clone(stored), asked, goes_on);
        }
        Ok(lookup)
    }

    /// Whether an answer could be stored now.
    pub(super) fn takes_writes(&self, key: &ResourceKey) -> bool {
        match self.is_cut_off(key) {
            true => self.serves_alone(),
            false => self.redis.takes_writes_of(key),
        }
    }

    /// Whether requests may have what others have fetched. Where nobody tells what is purged, Redis is asked; where
    /// it is out of reach altogether, [`OnOutage`] decides.
    pub(super) async fn sharing(&self, key: &ResourceKey, within: Duration) -> Sharing {
        if self.hears(key) {
            return Sharing::Told;
        }
        if self.is_cut_off(key) {
            let goes_on = self.settings.on_outage != OnOutage::Bypass;
            return if goes_on { Sharing::Alone } else { Sharing::Nothing };
        }
        if within.is_zero() {
            return Sharing::Nothing;
        }
        // Its state is large, and every request would carry it along for this one case.
        match Box::pin(self.redis.ask_for_purges(within)).await {
            Ok(()) => Sharing::Asked,
            Err(_) => Sharing::Nothing,
        }
    }

    /// The same of what carries these tags, once they are known.
    pub(super) fn may_share_of(&self, tags: &[Tag]) -> bool {
        let alone = self.settings.on_outage != OnOutage::Bypass;
        self.tracking.hears_of(tags, |silence| match silence {
            Silence::Untracked => true,
            Silence::CutOff => alone,
            Silence::Over | Silence::Opening => false,
        })
    }

    /// Whether somebody tells what is purged, or memory is believed only for so long.
    pub(super) fn hears(&self, key: &ResourceKey) -> bool {
        self.tracking.session_of(key).is_some() || self.tracking.is_untracked_of(key)
    }

    /// Whether one more fetch may begin.
    pub(super) fn leave(&self, key: &ResourceKey) -> Leave {
        if self.settings.on_outage != OnOutage::Shed || !self.is_cut_off(key) {
            return Leave::Granted(None);
        }
        match Arc::clone(&self.fetches).try_acquire_owned() {
            Ok(permit) => Leave::Granted(Some(permit)),
            Err(_) => Leave::Refused,
        }
    }

    /// Whether Redis cannot be reached for a resource, neither to ask nor to hear what changes.
    #[must_use]
    pub fn is_cut_off(&self, key: &ResourceKey) -> bool {
        !self.redis.takes_reads_of(key) && self.tracking.is_over_of(key)
    }

    fn serves_alone(&self) -> bool {
        self.settings.memory > 0 && self.settings.on_outage != OnOutage::Bypass
    }

    /// The right to store in Redis; without it, in this process alone.
    pub(super) async fn claim(
        &self,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> Result<Claim<Lease>, StoreError> {
        let claimed = match self.is_cut_off(key) {
            true => Err(StoreError::Unavailable),
            false => self.redis.claim(key, variant, claimant, within).await,
        };
        match claimed {
            Ok(claim) => Ok(claim.map(Lease::Shared)),
            Err(_) if self.serves_alone() && self.is_cut_off(key) => Ok(Claim::Granted(Lease::Own)),
            Err(error) => Err(error),
        }
    }

    /// Makes obsolete what a purge covers: here before Redis is told, so that nobody finds it meanwhile;
    /// and after it, because what was read before it obeyed may have come since.
    pub(super) async fn purge(
        &self,
        purge: &Purge,
        wait: Wait,
        now: SystemTime,
    ) -> Result<Purged, StoreError> {
        let let_go = || purge.resources.iter().for_each(|key| self.let_go(key));
        let_go();
        let outcome = self.redis.purge(purge, wait, now).await;
        let_go();
        outcome
    }

    /// Removes a resource from memory.
    pub(super) fn let_go(&self, key: &ResourceKey) {
        self.tier.let_go(key.wide_hash());
    }

    /// Stores in Redis; without it, for this process alone. Does not insert into memory otherwise: Redis
    /// will tell that the resource has changed, and that would undo it.
    pub(super) async fn commit(
        &self,
        key: &ResourceKey,
        entry: Arc<Stored>,
        keep: Duration,
        lease: Lease,
    ) -> Result<(), StoreError> {
        let Lease::Shared(lease) = lease else { return self.commit_alone(key, entry) };
        let outcome = self.redis.commit(key, Arc::clone(&entry), keep, lease).await;
        if outcome.is_ok() || matches!(outcome, Err(StoreError::Budget)) {
            // What this process has written it must not overlook, though Redis may be slow to tell.
            self.let_go(key);
        }
        match outcome {
            Err(StoreError::Unavailable | StoreError::Budget) if self.is_cut_off(key) => {
                self.commit_alone(key, entry)
            }
            outcome => outcome,
        }
    }

    /// Stores for this process alone, for as long as Redis is out of reach.
    fn commit_alone(&self, key: &ResourceKey, entry: Arc<Stored>) -> Result<(), StoreError> {
        let (mark, now) = (self.tier.mark(key), self.tracking.now());
        let (epoch, tags) = (entry.epoch, entry.tags.clone());
        let may = || self.is_cut_off(key) && !self.redis.purges().cover(key.wide_hash(), epoch, &tags);
        let inserted = self.serves_alone() && self.tier.insert(key, mark, entry, now, may);
        inserted.then_some(()).ok_or(StoreError::Unavailable)
    }

    /// The variants with an entity tag.
    pub(super) async fn tagged(
        &self,
        key: &ResourceKey,
        within: Duration,
    ) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self.serves_alone() && self.is_cut_off(key) {
            true => Ok(self.tier.memory.tagged_now(key)),
            false => self.redis.tagged(key, within).await,
        }
    }
}
