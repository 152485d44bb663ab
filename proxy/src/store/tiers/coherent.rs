//! The memory tier over Redis: holds only what Redis has committed, and lets go of it when Redis tells
//! that it has changed.
//!
//! What a look-up reads in Redis may change while the answer is on its way. So before the question is
//! sent, a [`Mark`] is taken; if anything has been heard of the resource since, what was read is not
//! inserted. That is decided when the insertion has its turn: a change that is heard later finds what
//! was inserted and removes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    epoch::Epoch,
    key::ResourceKey,
    purges::Purges,
    sabotage::Omission,
    store::{
        memory::MemoryStore,
        redis::{Announcement, Heard, Kind, Slots},
    },
    stored::Stored,
    tags::Tag,
};

/// Resources share counters: that one has changed may cost another one its insertion.
const COUNTERS: usize = 16 * 1024;

/// The memory tier, and what was heard of it.
pub(super) struct Coherent {
    pub(super) memory: MemoryStore,
    changes: Box<[AtomicU64]>,
    /// How often all of it was let go of.
    sweeps: AtomicU64,
    /// Told after the memory tier has obeyed.
    others: Vec<Arc<dyn Heard>>,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Look-ups that memory answered.
    pub(super) hits: AtomicU64,
    inserted: AtomicU64,
    refused: AtomicU64,
    removed: AtomicU64,
}

/// What had been heard of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    changes: u64,
    sweeps: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierStats {
    /// Look-ups that the memory tier answered.
    pub hits: u64,
    /// Responses that were taken into it.
    pub inserted: u64,
    /// Those that were not, because something was heard of them while they were read.
    pub refused: u64,
    /// Resources that were removed because they had changed.
    pub removed: u64,
}

impl Coherent {
    pub(super) fn new(budget: u64, purges: Arc<Purges>, others: Vec<Arc<dyn Heard>>) -> Self {
        Self {
            memory: MemoryStore::new(budget, purges),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            sweeps: AtomicU64::new(0),
            others,
            counters: Counters::default(),
        }
    }

    /// What has been heard of a resource until now.
    pub(super) fn mark(&self, key: &ResourceKey) -> Mark {
        let changes = self.counter(key.wide_hash()).map_or(0, |counter| counter.load(Ordering::SeqCst));
        Mark { changes, sweeps: self.sweeps.load(Ordering::SeqCst) }
    }

    /// Takes in what was read or fetched since the mark, at the time `since`: unless something was heard
    /// of it, or it `may` not for other reasons. What is too large stays outside.
    pub(super) fn insert(
        &self,
        key: &ResourceKey,
        mark: Mark,
        stored: Arc<Stored>,
        since: Duration,
        may: impl FnOnce() -> bool,
    ) -> bool {
        let unguarded = Omission::InsertionGuard.is_made();
        let unchanged = || unguarded || self.mark(key) == mark && may();
        let outcome = self.memory.insert(key, stored, since, unchanged);
        match outcome {
            Ok(true) => self.counters.inserted.fetch_add(1, Ordering::Relaxed),
            Ok(false) => self.counters.refused.fetch_add(1, Ordering::Relaxed),
            Err(_) => 0,
        };
        matches!(outcome, Ok(true))
    }

    /// The resource is not what it was.
    pub(super) fn let_go(&self, hash: u128) {
        // Before it is removed, so that nothing that was read until now can be inserted after it.
        if let Some(counter) = self.counter(hash) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        if self.memory.remove_hash(hash) {
            self.counters.removed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Of what is in these slots, and of what carries a tag whose purges are told of there: all does that of everything.
    fn sweep(&self, slots: &Slots) {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        match slots.have(Tag::everything().bits()) {
            true => self.memory.empty(),
            false => self.memory.remove_where(|hash| slots.have(hash)),
        }
    }

    pub(super) fn stats(&self) -> TierStats {
        let Counters { hits, inserted, refused, removed } = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TierStats {
            hits: read(hits),
            inserted: read(inserted),
            refused: read(refused),
            removed: read(removed),
        }
    }

    fn counter(&self, hash: u128) -> Option<&AtomicU64> {
        self.changes.get(usize::try_from(hash % COUNTERS as u128).ok()?)
    }
}

impl Heard for Coherent {
    fn changed(&self, hash: u128) {
        self.let_go(hash);
        self.others.changed(hash);
    }

    /// A resource goes, purged softly too: Redis still has it, and knows what it is worth by then. What
    /// carries a tag is judged when it is looked at.
    fn announced(&self, announcement: Announcement) {
        if announcement.kind == Kind::Resource {
            self.let_go(announcement.what);
        }
        self.others.announced(announcement);
    }

    fn emptied(&self) {
        self.emptied_of(&Slots::default());
    }

    fn emptied_of(&self, slots: &Slots) {
        self.sweep(slots);
        self.others.emptied_of(slots);
    }

    fn moved(&self, slots: &Slots) {
        self.sweep(slots);
        self.others.moved(slots);
    }

    fn renewed(&self, epoch: Option<Epoch>) {
        self.others.renewed(epoch);
    }
}
