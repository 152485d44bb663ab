//! What the resources seen lately nominate, so that a look-up can ask for the right variant at once.
//! A guess: what Redis says decides.

use std::{fmt, sync::Arc};

use foldhash::quality::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::layout::Nominated;

/// Bytes that may be remembered.
const BUDGET: u64 = 4 * 1024 * 1024;
/// Resources that are expected to nominate anything.
const EXPECTED: usize = 16 * 1024;
/// What a remembered resource takes beside its names.
const SLOT: usize = 128;

pub(super) struct Nominations {
    /// What is not here nominates nothing, like most.
    known: Cache<u128, Arc<Nominated>, Weights, RandomState>,
    none: Arc<Nominated>,
}

#[derive(Clone)]
struct Weights;

impl Weighter<u128, Arc<Nominated>> for Weights {
    fn weight(&self, _: &u128, nominated: &Arc<Nominated>) -> u64 {
        (SLOT + nominated.footprint()) as u64
    }
}

impl Nominations {
    pub(super) fn new() -> Self {
        let known =
            Cache::with(EXPECTED, BUDGET, Weights, RandomState::default(), DefaultLifecycle::default());
        Self { known, none: Arc::default() }
    }

    /// What the resource of this hash nominated last.
    pub(super) fn get(&self, resource: u128) -> Arc<Nominated> {
        self.known.get(&resource).unwrap_or_else(|| Arc::clone(&self.none))
    }

    pub(super) fn remember(&self, resource: u128, nominated: Arc<Nominated>) {
        let known = self.get(resource);
        if known == nominated {
            return;
        }
        if nominated.names.is_empty() {
            self.known.remove(&resource);
        } else {
            self.known.insert(resource, nominated);
        }
    }
}

impl fmt::Debug for Nominations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nominations").field("resources", &self.known.len()).finish_non_exhaustive()
    }
}
