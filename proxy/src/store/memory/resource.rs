//! What the memory tier holds of a resource, and what that weighs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderName;
use quick_cache::Weighter;

use super::largest;
use crate::{
    epoch::Epoch,
    key::ResourceKey,
    purges::{Mark, Purges, Standing},
    store::{MAX_VARIANTS, StoreError},
    stored::Stored,
};

/// What the cache's own tables take for a resource: its slot, its place in the index, and the
/// memory of those lately evicted.
pub(super) const SLOT: usize = 128;
/// What it takes in the index of hashes, half of which may be empty.
const INDEXED: usize = 2 * (size_of::<(u128, Arc<[u8]>)>() + 1);
/// What the allocator adds to a block of memory, reference counts included.
const BLOCK: usize = 32;

/// All variants of a resource, and what they are selected by.
#[derive(Clone)]
pub(super) struct Resource {
    pub(super) hash: u128,
    pub(super) nominated: Box<[HeaderName]>,
    /// The oldest first.
    pub(super) variants: Vec<Variant>,
    /// What was fetched before then is stale.
    pub(super) stale_before: Epoch,
    pub(super) weight: u64,
}

/// A stored response, and when it came here.
pub(super) struct Variant {
    pub(super) stored: Arc<Stored>,
    pub(super) since: Duration,
    /// As of which change of the purges it is known to be valid.
    judged: AtomicU64,
}

impl Variant {
    pub(super) fn new(stored: Arc<Stored>, since: Duration) -> Self {
        Self { stored, since, judged: AtomicU64::new(0) }
    }

    /// What purges leave of it. While there are none, that takes no look at any.
    pub(super) fn standing(&self, purges: &Purges, stale_before: Epoch) -> Standing {
        let marked = Mark { hard: Epoch::FIRST, soft: stale_before }.leaves(self.stored.epoch);
        let changes = purges.changes();
        if self.judged.load(Ordering::Relaxed) == changes {
            return marked;
        }
        let standing = purges.judge(&self.stored.tags, self.stored.epoch);
        if standing == Standing::Valid {
            self.judged.store(changes, Ordering::Relaxed);
        }
        standing.and(marked)
    }
}

impl Clone for Variant {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.stored), self.since)
    }
}

impl Resource {
    /// The resource once `entry` is in it. The oldest variants go, until it is small enough.
    pub(super) fn with(
        key: &ResourceKey,
        before: Option<&Self>,
        (hash, new): (u128, Variant),
        budget: u64,
    ) -> Result<Self, StoreError> {
        let selectable = before.filter(|before| before.nominated == new.stored.nominated);
        let others = selectable.map(|before| before.variants.as_slice()).unwrap_or_default();
        let mut variants: Vec<_> =
            others.iter().filter(|other| other.stored.variant != new.stored.variant).cloned().collect();
        let nominated = new.stored.nominated.clone();
        variants.push(new);

        let own = SLOT
            + INDEXED
            + 2 * BLOCK
            + size_of::<Self>()
            + key.as_bytes().len()
            + size_of_val(&*nominated)
            + variants.len() * size_of::<Variant>();
        let mut weight = (own + variants.iter().map(footprint).sum::<usize>()) as u64;
        let mut surplus = 0;
        for oldest in &variants {
            let count = variants.len() - surplus;
            if count <= MAX_VARIANTS && weight <= largest(budget, count) {
                break;
            }
            weight -= footprint(oldest) as u64;
            surplus += 1;
        }
        if surplus == variants.len() {
            return Err(StoreError::TooLarge);
        }
        variants.drain(..surplus);
        variants.shrink_to_fit();
        let stale_before = before.map(|before| before.stale_before).unwrap_or_default();
        Ok(Self { hash, nominated, variants, stale_before, weight })
    }
}

/// A stored response, and the blocks of memory that its parts are in.
fn footprint(variant: &Variant) -> usize {
    variant.stored.footprint() + 4 * BLOCK
}

#[derive(Clone)]
pub(super) struct Weights;

impl Weighter<Arc<[u8]>, Arc<Resource>> for Weights {
    fn weight(&self, _: &Arc<[u8]>, resource: &Arc<Resource>) -> u64 {
        resource.weight
    }
}
