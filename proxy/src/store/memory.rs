//! The memory tier: stored responses in this process, within a budget of bytes.
//!
//! A resource is one immutable value: a commit builds the next one and swaps it in, so that a hit
//! takes a reference and nothing else. Commits of one resource take turns; hits never wait for them.
//!
//! Resources are also found by the hash of their key, which is all that Redis tells of one that has
//! changed. That index is in parts, one for each turn: who has the turn of a hash may change what the
//! index and the cache say of it, so the two keep in step. What the cache evicts it takes out by itself;
//! whoever caused that takes it out of the index afterwards, unless it is back by then.

mod resource;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;
use quick_cache::{Lifecycle, OptionsBuilder, sync::Cache};
use smallvec::SmallVec;

use self::resource::{Resource, Variant, Weights};
use super::{Claim, Claimant, Lookup, Purge, Purged, Selector, Store, StoreError, Wait, within_reach};
use crate::{
    epoch::{Epoch, Mode},
    key::{ResourceKey, VariantKey},
    purges::{Purges, Standing},
    stored::Stored,
};

/// A part of the cache refuses what is larger than what is hot may be. With four, a fifth of the budget
/// always fits.
const SHARDS: usize = 4;
/// How much of each part is for what was asked for again; the rest is for what is new, which must have
/// room to wait there for its second use. With less, large bodies would never see one.
const HOT: f64 = 0.9;
/// How many keys that gave way are remembered, as a share of those that are expected to be held: what comes
/// back while it is remembered is hot at once. It takes a sixtieth of the budget at most.
const REMEMBERED: f64 = 1.0;
/// The largest resource, as a share of the budget: of one variant, of a few, and of more than those. The
/// first cannot be larger for many to fit, and the last so that nobody drives out the others by asking
/// for one URL in ever new ways.
const LARGEST: u64 = 5;
const LARGEST_OF_FEW: u64 = 10;
const LARGEST_OF_MANY: u64 = 20;
const FEW: usize = 4;
/// The largest body, as a share of the budget: its fields find room beside it.
const LARGEST_BODY: u64 = 8;
/// By which the cache sizes its memory of what it evicted.
const TYPICAL_RESOURCE: u64 = 4 * 1024;
/// How many commits of different resources can go on at once.
const TURNS: usize = 64;
/// Places in a part of the index that are kept though it is empty.
const KEPT: usize = 64;

/// The in-process store.
pub struct MemoryStore {
    purges: Arc<Purges>,
    resources: Cache<Arc<[u8]>, Arc<Resource>, Weights, RandomState, Evictions>,
    turns: Box<[Mutex<Index>]>,
    evictions: Evictions,
    budget: u64,
}

/// The keys of resources, by their hashes.
type Index = HashMap<u128, Arc<[u8]>>;

/// Counts what gives way, and frees it only after the cache has let go of its lock.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Arc<[u8]>, Arc<Resource>> for Evictions {
    type RequestState = SmallVec<[(Arc<[u8]>, Arc<Resource>); 2]>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: Arc<[u8]>, resource: Arc<Resource>) {
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

/// The largest resource of so many variants, in bytes, that a budget of so many has room for.
const fn largest(budget: u64, variants: usize) -> u64 {
    let share = match variants {
        0..=1 => LARGEST,
        2..=FEW => LARGEST_OF_FEW,
        _ => LARGEST_OF_MANY,
    };
    budget / share
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
            .hot_allocation(HOT)
            .ghost_allocation(REMEMBERED)
            .weight_capacity(budget - budget % SHARDS as u64)
            .estimated_items_capacity(usize::try_from(expected).unwrap_or(usize::MAX));
        let (hasher, evictions) = (RandomState::default(), Evictions::default());
        let resources = match options.build() {
            Ok(options) => Cache::with_options(options, Weights, hasher, evictions.clone()),
            // Only for a capacity left unset.
            Err(_) => Cache::with(1024, budget, Weights, hasher, evictions.clone()),
        };
        Self { purges, resources, turns: (0..TURNS).map(|_| Mutex::default()).collect(), evictions, budget }
    }

    /// What it knows of purges.
    #[must_use]
    pub fn purges(&self) -> &Arc<Purges> {
        &self.purges
    }

    /// [`Store::lookup`], which never waits here. Without selecting fields it allocates nothing.
    #[must_use]
    pub fn lookup_now(&self, key: &ResourceKey, selector: &Selector<'_>) -> Lookup {
        self.lookup_since(Duration::ZERO, key, selector)
    }

    /// The same, of what has come here at this time or later, by the clock of [`MemoryStore::insert`].
    #[must_use]
    pub fn lookup_since(&self, since: Duration, key: &ResourceKey, selector: &Selector<'_>) -> Lookup {
        let Some(resource) = self.resources.get(key.as_bytes()) else { return Lookup::Nothing };
        let wanted = selector.variant(&resource.nominated);
        let mut variants = resource.variants.iter();
        let found = variants.find(|variant| variant.stored.variant == wanted && variant.since >= since);
        let Some(variant) = found else { return Lookup::OtherVariants(resource.nominated.clone()) };
        match variant.standing(&self.purges, resource.stale_before) {
            Standing::Valid => Lookup::Found(Arc::clone(&variant.stored)),
            Standing::Stale(since) => Lookup::Marked(Arc::clone(&variant.stored), since.time()),
            Standing::Purged => Lookup::Nothing,
        }
    }

    /// How many variants of a resource there are.
    #[must_use]
    pub fn variants(&self, key: &ResourceKey) -> usize {
        self.resources.peek(key.as_bytes()).map_or(0, |resource| resource.variants.len())
    }

    /// [`Store::tagged`], which never waits here.
    #[must_use]
    pub fn tagged_now(&self, key: &ResourceKey) -> Vec<Arc<Stored>> {
        let Some(resource) = self.resources.peek(key.as_bytes()) else { return Vec::new() };
        let remains =
            |variant: &&Variant| variant.standing(&self.purges, resource.stale_before) != Standing::Purged;
        let newest = resource.variants.iter().rev().filter(remains).map(|variant| &variant.stored);
        let tagged = newest.filter(|stored| stored.facts.etag.is_some());
        within_reach(tagged.map(|stored| (stored.body.len(), Arc::clone(stored)))).collect()
    }

    /// [`Store::commit`], which never waits for anything but another commit here.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for more than a fifth of the budget. [`StoreError::LeaseLost`] for what has been
    /// purged since it was asked for. What was stored stays.
    pub fn commit_now(&self, key: &ResourceKey, entry: Arc<Stored>) -> Result<(), StoreError> {
        let stored = Arc::clone(&entry);
        let may = move || !self.purges.cover(key.wide_hash(), stored.epoch, &stored.tags);
        match self.insert(key, entry, Duration::ZERO, may)? {
            true => Ok(()),
            false => Err(StoreError::LeaseLost),
        }
    }

    /// The same, of what comes here at the time `since`: unless, when it has its
    /// turn, it `may` no more. Whether it is stored.
    ///
    /// # Errors
    /// As [`MemoryStore::commit_now`].
    pub fn insert(
        &self,
        key: &ResourceKey,
        stored: Arc<Stored>,
        since: Duration,
        may: impl FnOnce() -> bool,
    ) -> Result<bool, StoreError> {
        let hash = key.wide_hash();
        let mut evicted = SmallVec::new();
        {
            let mut index = self.turn(hash);
            if !may() {
                return Ok(false);
            }
            let before = self.resources.peek(key.as_bytes());
            let new = (hash, Variant::new(stored, since));
            let resource = Resource::with(key, before.as_deref(), new, self.budget)?;
            let known =
                index.as_ref().and_then(|index| index.get(&hash)).filter(|known| ***known == *key.as_bytes());
            let name: Arc<[u8]> = known.map_or_else(|| key.as_bytes().into(), Arc::clone);
            self.resources.insert_with_lifecycle(Arc::clone(&name), Arc::new(resource), &mut evicted);
            index.as_mut().map(|index| index.insert(hash, name));
        }
        self.forget(&evicted);
        Ok(true)
    }

    /// Removes all variants of a resource.
    pub fn remove_now(&self, key: &ResourceKey) {
        self.remove_hash(key.wide_hash());
    }

    /// The same by the hash of its key. Whether anything was stored.
    pub fn remove_hash(&self, hash: u128) -> bool {
        let Some(mut index) = self.turn(hash) else { return false };
        index.remove(&hash).is_some_and(|name| self.resources.remove(&*name).is_some())
    }

    /// Removes all. What is inserted meanwhile stays only if it had its turn later.
    pub fn empty(&self) {
        for turn in &self.turns {
            let mut index = turn.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, name) in index.drain() {
                self.resources.remove(&*name);
            }
            index.shrink_to(KEPT);
        }
    }

    /// Removes all of such a hash, or with such a tag. What is inserted meanwhile stays only if it had its turn later.
    pub fn remove_where(&self, goes: impl Fn(u128) -> bool) {
        let carries = |name: &[u8]| {
            self.resources.peek(name).is_some_and(|resource| {
                let mut tags = resource.variants.iter().flat_map(|variant| &variant.stored.tags);
                tags.any(|tag| goes(tag.bits()))
            })
        };
        for turn in &self.turns {
            let mut index = turn.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, name) in index.extract_if(|hash, name| goes(*hash) || carries(name)) {
                self.resources.remove(&*name);
            }
        }
    }

    /// [`Store::purge`] for one resource.
    pub fn purge_now(&self, key: &ResourceKey, mode: Mode, epoch: Epoch) {
        if mode == Mode::Hard {
            return self.remove_now(key);
        }
        let Some(index) = self.turn(key.wide_hash()) else { return };
        let name = index.get(&key.wide_hash());
        if let (Some(name), Some(before)) = (name, self.resources.peek(key.as_bytes())) {
            let stale_before = before.stale_before.max(epoch);
            // Of the same weight, so that nothing has to give way for it.
            self.resources.insert(Arc::clone(name), Arc::new(Resource { stale_before, ..(*before).clone() }));
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

    /// The right to change what is stored under this hash, and where it is noted.
    fn turn(&self, hash: u128) -> Option<MutexGuard<'_, Index>> {
        let turn = self.turns.get(usize::try_from(hash % TURNS as u128).unwrap_or_default())?;
        Some(turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what was evicted out of the index.
    fn forget(&self, evicted: &[(Arc<[u8]>, Arc<Resource>)]) {
        for (name, resource) in evicted {
            let Some(mut index) = self.turn(resource.hash) else { continue };
            if !self.resources.contains_key(&**name) {
                index.remove(&resource.hash);
                if index.len() < index.capacity() / 4 {
                    let kept = (index.len() * 2).max(KEPT);
                    index.shrink_to(kept);
                }
            }
        }
    }
}

impl Store for MemoryStore {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        Ok(self.lookup_now(key, selector))
    }

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

    async fn purge(&self, purge: &Purge, _: Wait, now: SystemTime) -> Result<Purged, StoreError> {
        let (epoch, before) = self.purges.apply(purge, now, |epoch| {
            purge.resources.iter().for_each(|key| self.purge_now(key, purge.mode, epoch));
        });
        Ok(Purged { epoch, before, applied: 1 })
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
    use http::HeaderMap;

    use super::{resource::SLOT, *};
    use crate::key::KeyPolicy;

    fn entry(key: &ResourceKey, body: usize) -> Arc<Stored> {
        Arc::new(Stored {
            key: Bytes::copy_from_slice(key.as_bytes()),
            body: vec![b'x'; body].into(),
            ..Stored::of(&HeaderMap::new(), SystemTime::UNIX_EPOCH)
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
            let key = ResourceKey::of_path(&format!("/flood?n={n}"));
            store.commit_now(&key, entry(&key, 512)).unwrap();
        }
        let held: usize = store
            .resources
            .iter()
            .map(|(key, resource)| {
                key.len() + resource.variants.iter().map(|variant| variant.stored.footprint()).sum::<usize>()
            })
            .sum();
        let stats = store.stats();
        assert!(held as u64 <= stats.bytes && stats.bytes <= budget, "{held} {stats:?}");
        assert!(stats.bytes > budget / 2, "the budget is used: {stats:?}");
        assert_eq!(stats.entries as u64 + stats.evictions, 200_000);
        let tables = store.resources.memory_used().total();
        assert!(tables <= stats.entries * SLOT, "{tables} bytes of tables for {stats:?}");
        assert_eq!(indexed(&store), stats.entries, "what is evicted leaves the index");
        store.empty();
        assert_eq!((store.stats().entries, store.stats().bytes, indexed(&store)), (0, 0, 0));
    }

    fn indexed(store: &MemoryStore) -> usize {
        store.turns.iter().map(|turn| turn.lock().unwrap().len()).sum()
    }

    #[test]
    fn the_index_keeps_in_step_under_a_crowd() {
        let store = MemoryStore::new(1 << 20, Arc::default());
        let keys: Vec<_> = (0..64).map(|n| ResourceKey::of_path(&format!("/{n}"))).collect();
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (store, keys) = (&store, &keys);
                scope.spawn(move || {
                    for turn in 0..4000usize {
                        let key = &keys[(turn * (thread + 1)) % keys.len()];
                        match (turn + thread) % 7 {
                            0 => store.remove_now(key),
                            1 if turn % 500 == 1 => store.empty(),
                            _ => store.commit_now(key, entry(key, 20_000 + turn)).unwrap(),
                        }
                    }
                });
            }
        });
        let held: Vec<_> = store.resources.iter().map(|(name, _)| name).collect();
        assert!(store.stats().evictions > 0 && !held.is_empty());
        assert_eq!(indexed(&store), held.len());
        keys.iter().for_each(|key| store.remove_now(key));
        assert_eq!((store.stats().entries, indexed(&store)), (0, 0), "all of it is found by its hash");
    }

    #[test]
    fn what_came_too_early_or_may_no_more_is_not_there() {
        let store = MemoryStore::new(1 << 20, Arc::default());
        let (key, seconds) = (ResourceKey::of_path("/"), Duration::from_secs);
        let insert = |since, may: bool| store.insert(&key, entry(&key, 9), seconds(since), || may).unwrap();
        let found = |since| {
            let selector = Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() };
            matches!(store.lookup_since(seconds(since), &key, &selector), Lookup::Found(_))
        };
        assert!(!insert(5, false) && !found(0));
        assert!(insert(5, true) && found(5) && !found(6));
        assert!(insert(6, true) && found(6));
        assert!(store.remove_hash(key.wide_hash()) && !store.remove_hash(key.wide_hash()) && !found(0));
    }

    #[test]
    fn an_eighth_of_the_budget_fits_and_more_is_refused() {
        let budget = 1 << 20;
        let store = MemoryStore::new(budget, Arc::default());
        let key = ResourceKey::of_path("/large");
        let new = Variant::new(entry(&key, 0), Duration::ZERO);
        let fixed = Resource::with(&key, None, (0, new), budget).unwrap().weight;
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
                let key = ResourceKey::of_path(&format!("/grows/{n}"));
                store.commit_now(&key, entry(&key, size)).unwrap();
                assert!(store.stats().bytes <= budget, "{:?}", store.stats());
            }
        }
    }

    #[test]
    fn no_budget_stores_nothing() {
        let store = MemoryStore::new(0, Arc::default());
        let key = ResourceKey::of_path("/");
        assert!(matches!(store.commit_now(&key, entry(&key, 0)), Err(StoreError::TooLarge)));
        assert_eq!(store.stats(), MemoryStats { entries: 0, bytes: 0, evictions: 0 });
    }
}
