//! The memory tier: stored responses in this process, within a budget of bytes.
//!
//! A resource is one immutable value: a commit builds the next one and swaps it in, so that a hit
//! takes a reference and nothing else. Commits of one resource take turns; hits never wait for them.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;
use http::HeaderName;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache};
use smallvec::SmallVec;

use super::{
    Claim, Claimant, Lookup, MAX_VARIANTS, Purge, Purged, Selector, Store, StoreError, Wait, within_reach,
};
use crate::{
    epoch::{Epoch, Mode},
    key::{ResourceKey, VariantKey},
    purges::{Purges, Standing},
    stored::Stored,
};

/// What the cache's own tables take for a resource: its slot, its place in the index, and the
/// memory of those lately evicted.
const SLOT: usize = 128;
/// What the allocator adds to a block of memory, reference counts included.
const BLOCK: usize = 32;
/// A part of the cache refuses what is larger than 0.97 of it. With four, a fifth of the budget
/// always fits.
const SHARDS: usize = 4;
/// The largest resource, as a share of the budget.
const LARGEST: u64 = 5;
/// The largest body, as a share of the budget: its fields find room beside it.
const LARGEST_BODY: u64 = 8;
/// By which the cache sizes its memory of what it evicted.
const TYPICAL_RESOURCE: u64 = 4 * 1024;
/// How many commits of different resources can go on at once.
const TURNS: usize = 64;

/// The in-process store.
pub struct MemoryStore {
    purges: Arc<Purges>,
    resources: Cache<Box<[u8]>, Arc<Resource>, Weights, RandomState, Evictions>,
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
    evictions: Evictions,
    budget: u64,
}

/// All variants of a resource, and what they are selected by.
struct Resource {
    nominated: Box<[HeaderName]>,
    /// The oldest first.
    variants: Vec<Held>,
    /// What was fetched before then is stale.
    stale_before: Epoch,
    weight: u64,
}

/// One stored response.
struct Held {
    stored: Arc<Stored>,
    /// As of which change of the purges it is known to be valid.
    judged: AtomicU64,
}

impl Held {
    fn new(stored: Arc<Stored>) -> Self {
        Self { stored, judged: AtomicU64::new(0) }
    }

    /// What purges leave of it. While there are none, that takes no look at any.
    fn standing(&self, purges: &Purges, stale_before: Epoch) -> Standing {
        if self.stored.epoch < stale_before {
            return Standing::Stale(stale_before);
        }
        let changes = purges.changes();
        if self.judged.load(Ordering::Relaxed) == changes {
            return Standing::Valid;
        }
        let standing = purges.judge(&self.stored.tags, self.stored.epoch);
        if standing == Standing::Valid {
            self.judged.store(changes, Ordering::Relaxed);
        }
        standing
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self { stored: Arc::clone(&self.stored), judged: AtomicU64::new(self.judged.load(Ordering::Relaxed)) }
    }
}

#[derive(Clone)]
struct Weights;

impl Weighter<Box<[u8]>, Arc<Resource>> for Weights {
    fn weight(&self, _: &Box<[u8]>, resource: &Arc<Resource>) -> u64 {
        resource.weight
    }
}

/// Counts what gives way, and frees it only after the cache has let go of its lock.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Box<[u8]>, Arc<Resource>> for Evictions {
    type RequestState = SmallVec<[(Box<[u8]>, Arc<Resource>); 2]>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Box<[u8]>, resource: Arc<Resource>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        evicted.push((key, resource));
    }
}

/// What the memory tier holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Resources, however many variants each has.
    pub entries: usize,
    /// Bytes, by the reckoning that is held to the budget.
    pub bytes: u64,
    /// Resources that gave way to others, since the start.
    pub evictions: u64,
}

/// The largest body, in bytes, that a budget of so many bytes has room for.
#[must_use]
pub const fn largest_body(budget: u64) -> u64 {
    budget / LARGEST_BODY
}

impl MemoryStore {
    /// A store that holds at most `budget` bytes, its own tables included, and serves nothing that
    /// `purges` cover.
    #[must_use]
    pub fn new(budget: u64, purges: Arc<Purges>) -> Self {
        let expected = (budget / TYPICAL_RESOURCE).clamp(1024, 1 << 20);
        let mut options = OptionsBuilder::new();
        options
            .shards(SHARDS)
            .weight_capacity(budget - budget % SHARDS as u64)
            .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX));
        let (hasher, evictions) = (RandomState::default(), Evictions::default());
        let resources = match options.build() {
            Ok(options) => Cache::with_options(options, Weights, hasher.clone(), evictions.clone()),
            // Only for a capacity left unset.
            Err(_) => Cache::with(1024, budget, Weights, hasher.clone(), evictions.clone()),
        };
        Self {
            purges,
            resources,
            turns: (0..TURNS).map(|_| Mutex::new(())).collect(),
            hasher,
            evictions,
            budget,
        }
    }

    /// What it knows of purges.
    #[must_use]
    pub fn purges(&self) -> &Arc<Purges> {
        &self.purges
    }

    /// [`Store::lookup`], which never waits here. Without selecting fields it allocates nothing.
    #[must_use]
    pub fn lookup_now(&self, key: &ResourceKey, selector: &Selector<'_>) -> Lookup {
        let Some(resource) = self.resources.get(key.as_bytes()) else { return Lookup::Nothing };
        let variant = selector.variant(&resource.nominated);
        let Some(held) = resource.variants.iter().find(|held| held.stored.variant == variant) else {
            return Lookup::OtherVariants(resource.nominated.clone());
        };
        match held.standing(&self.purges, resource.stale_before) {
            Standing::Valid => Lookup::Found(Arc::clone(&held.stored)),
            Standing::Stale(since) => Lookup::Marked(Arc::clone(&held.stored), since.time()),
            Standing::Purged => Lookup::Nothing,
        }
    }

    /// [`Store::tagged`], which never waits here.
    #[must_use]
    pub fn tagged_now(&self, key: &ResourceKey) -> Vec<Arc<Stored>> {
        let Some(resource) = self.resources.peek(key.as_bytes()) else { return Vec::new() };
        let standing = |held: &&Held| held.standing(&self.purges, resource.stale_before);
        let newest = resource.variants.iter().rev().filter(|held| held.stored.facts.etag.is_some());
        let left = newest.filter(|held| standing(held) != Standing::Purged).map(|held| &held.stored);
        within_reach(left.map(|stored| (stored.body.len(), Arc::clone(stored)))).collect()
    }

    /// [`Store::commit`], which never waits for anything but another commit here.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for more than a fifth of the budget. What was stored stays.
    pub fn commit_now(&self, key: &ResourceKey, entry: Arc<Stored>) -> Result<(), StoreError> {
        let _turn = self.turn(key);
        let before = self.resources.peek(key.as_bytes());
        let resource = Resource::with(key, before.as_deref(), entry, self.budget / LARGEST)?;
        self.resources.insert(key.as_bytes().into(), Arc::new(resource));
        Ok(())
    }

    /// [`Store::remove`] for one resource.
    pub fn remove_now(&self, key: &ResourceKey) {
        let _turn = self.turn(key);
        self.resources.remove(key.as_bytes());
    }

    /// [`Store::purge`] for one resource.
    pub fn purge_now(&self, key: &ResourceKey, mode: Mode, epoch: Epoch) {
        if mode == Mode::Hard {
            return self.remove_now(key);
        }
        let _turn = self.turn(key);
        if let Some(before) = self.resources.peek(key.as_bytes()) {
            self.resources.insert(key.as_bytes().into(), Arc::new(before.stale_before(epoch)));
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats {
            entries: self.resources.len(),
            bytes: self.resources.weight(),
            evictions: self.evictions.0.load(Ordering::Relaxed),
        }
    }

    /// The right to change this resource.
    fn turn(&self, key: &ResourceKey) -> Option<MutexGuard<'_, ()>> {
        let place = self.hasher.hash_one(key.as_bytes()) % TURNS as u64;
        let turn = self.turns.get(usize::try_from(place).unwrap_or_default())?;
        Some(turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Resource {
    /// The resource once `entry` is in it. The oldest variants go, until it is small enough.
    fn with(
        key: &ResourceKey,
        before: Option<&Self>,
        entry: Arc<Stored>,
        largest: u64,
    ) -> Result<Self, StoreError> {
        let selectable = before.filter(|before| before.nominated == entry.nominated);
        let others = selectable.map(|before| before.variants.as_slice()).unwrap_or_default();
        let mut variants: Vec<_> =
            others.iter().filter(|other| other.stored.variant != entry.variant).cloned().collect();
        let nominated = entry.nominated.clone();
        variants.push(Held::new(entry));

        let own = SLOT
            + 2 * BLOCK
            + size_of::<Self>()
            + key.as_bytes().len()
            + size_of_val(&*nominated)
            + variants.len() * size_of::<Held>();
        let mut weight = (own + variants.iter().map(|held| footprint(&held.stored)).sum::<usize>()) as u64;
        let mut surplus = 0;
        for oldest in &variants {
            if variants.len() - surplus <= MAX_VARIANTS && weight <= largest {
                break;
            }
            weight -= footprint(&oldest.stored) as u64;
            surplus += 1;
        }
        if surplus == variants.len() {
            return Err(StoreError::TooLarge);
        }
        variants.drain(..surplus);
        variants.shrink_to_fit();
        let stale_before = before.map(|before| before.stale_before).unwrap_or_default();
        Ok(Self { nominated, variants, stale_before, weight })
    }

    /// The resource once what was fetched before then is stale.
    fn stale_before(&self, epoch: Epoch) -> Self {
        Self {
            nominated: self.nominated.clone(),
            variants: self.variants.clone(),
            stale_before: self.stale_before.max(epoch),
            weight: self.weight,
        }
    }
}

/// A stored response, and the blocks of memory that its parts are in.
fn footprint(stored: &Stored) -> usize {
    stored.footprint() + 4 * BLOCK
}

impl Store for MemoryStore {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        Ok(self.lookup_now(key, selector))
    }

    /// Nobody else writes here.
    type Lease = ();

    async fn claim(
        &self,
        _: &ResourceKey,
        _: &VariantKey,
        _: Claimant,
        _: Duration,
    ) -> Result<Claim<()>, StoreError> {
        Ok(Claim::Granted(()))
    }

    async fn commit(
        &self,
        key: &ResourceKey,
        entry: Arc<Stored>,
        _: Duration,
        (): (),
    ) -> Result<(), StoreError> {
        self.commit_now(key, entry)
    }

    async fn tagged(&self, key: &ResourceKey, _: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        Ok(self.tagged_now(key))
    }

    async fn remove(&self, keys: &[ResourceKey]) -> Result<(), StoreError> {
        keys.iter().for_each(|key| self.remove_now(key));
        Ok(())
    }

    async fn purge(&self, purge: &Purge, _: Wait, now: SystemTime) -> Result<Purged, StoreError> {
        let epoch = self.purges.next(now);
        self.purges.apply(purge, epoch);
        purge.resources.iter().for_each(|key| self.purge_now(key, purge.mode, epoch));
        Ok(Purged { epoch, applied: 1 })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::{
        admit::{Scheme, Target},
        headers::Lines,
        key::{KeyPolicy, QueryPolicy, VariantKey},
        policy::facts::ResponseFacts,
    };

    fn key(path: &str) -> ResourceKey {
        let target =
            Target::parse(&Bytes::copy_from_slice(path.as_bytes()), &HeaderMap::new(), Scheme::Http, false)
                .unwrap();
        ResourceKey::new(&target, &QueryPolicy::All)
    }

    fn entry(key: &ResourceKey, body: usize) -> Arc<Stored> {
        let headers = HeaderMap::new();
        Arc::new(Stored {
            key: Bytes::copy_from_slice(key.as_bytes()),
            variant: VariantKey::only(),
            nominated: Box::default(),
            fingerprint: 0,
            request_time: SystemTime::UNIX_EPOCH,
            response_time: SystemTime::UNIX_EPOCH,
            epoch: Epoch::FIRST,
            tags: Box::default(),
            lines: Lines::from_map(&headers),
            hidden: Lines::default(),
            facts: ResponseFacts::of(StatusCode::OK, &headers),
            part: None,
            body: vec![b'x'; body].into(),
        })
    }

    fn finds(store: &MemoryStore, key: &ResourceKey) -> bool {
        let selector = Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() };
        matches!(store.lookup_now(key, &selector), Lookup::Found(_))
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_budget() {
        let budget = 8 << 20;
        let store = MemoryStore::new(budget, Arc::default());
        for n in 0..200_000 {
            let key = key(&format!("/flood?n={n}"));
            store.commit_now(&key, entry(&key, 512)).unwrap();
        }
        let held: usize = store
            .resources
            .iter()
            .map(|(key, resource)| {
                key.len() + resource.variants.iter().map(|held| held.stored.footprint()).sum::<usize>()
            })
            .sum();
        let stats = store.stats();
        assert!(held as u64 <= stats.bytes && stats.bytes <= budget, "{held} {stats:?}");
        assert!(stats.bytes > budget / 2, "the budget is used: {stats:?}");
        assert_eq!(stats.entries as u64 + stats.evictions, 200_000);
        let tables = store.resources.memory_used().total();
        assert!(tables <= stats.entries * SLOT, "{tables} bytes of tables for {stats:?}");
    }

    #[test]
    fn an_eighth_of_the_budget_fits_and_more_is_refused() {
        let budget = 1 << 20;
        let store = MemoryStore::new(budget, Arc::default());
        let key = key("/large");
        let fixed = Resource::with(&key, None, entry(&key, 0), budget).unwrap().weight;
        let room = usize::try_from(budget / LARGEST - fixed).unwrap();
        store.commit_now(&key, entry(&key, room)).unwrap();
        assert!(finds(&store, &key), "the cache took it");

        let refused = store.commit_now(&key, entry(&key, room + 1));
        assert!(matches!(refused, Err(StoreError::TooLarge)));
        assert!(finds(&store, &key), "what was stored stays");
        assert!(store.stats().bytes <= budget / LARGEST);
    }

    #[test]
    fn resources_that_grow_stay_within_the_budget() {
        let budget = 1 << 20;
        let store = MemoryStore::new(budget, Arc::default());
        for size in (0..100_000).step_by(1000) {
            for n in 0..32 {
                let key = key(&format!("/grows/{n}"));
                store.commit_now(&key, entry(&key, size)).unwrap();
                assert!(store.stats().bytes <= budget, "{:?}", store.stats());
            }
        }
    }

    #[test]
    fn no_budget_stores_nothing() {
        let store = MemoryStore::new(0, Arc::default());
        let key = key("/");
        assert!(matches!(store.commit_now(&key, entry(&key, 0)), Err(StoreError::TooLarge)));
        assert_eq!(store.stats(), MemoryStats { entries: 0, bytes: 0, evictions: 0 });
    }
}
