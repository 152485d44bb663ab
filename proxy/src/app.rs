//! What a request finds: the state that lives as long as the process, and the part of it that an
//! edit of the file swaps at once.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU64},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::{Semaphore, watch};

use crate::{
    admit::Target,
    arrivals::Arrivals,
    clock::Clock,
    flight::Flights,
    invalidations::Invalidations,
    key::ResourceKey,
    limits::{Limits, Timeouts},
    outcomes::Outcomes,
    purges::{Begun, Purges},
    refreshes::Refreshes,
    routes::{PurgeOn, Rules},
    store::tiers::Tiers,
    upstream::Upstream,
};

/// How many writes may go on without their clients.
const WRITES_ALONE: usize = 64;

/// What lives as long as the process.
pub struct App {
    live: ArcSwap<Live>,
    /// Where stored responses are.
    pub store: Tiers,
    /// What is being fetched.
    pub flights: Flights,
    /// What has come and is being stored.
    pub arrivals: Arrivals,
    /// What has been purged. A fill notes the latest purge when it starts and stores nothing that a
    /// later one covers: what it fetched may be older than the change.
    pub purges: Arc<Purges>,
    /// What has become of refreshes.
    pub refreshes: Refreshes,
    /// What was made obsolete by way of this process.
    pub invalidations: Invalidations,
    /// Writes that are under way, their clients there or not: each holds a receiver until what it changed is obsolete.
    pub writes: watch::Sender<()>,
    /// The right of a write to go on without its client: each has a connection to the app.
    pub writes_alone: Semaphore,
    /// What became of the last request for a resource.
    pub outcomes: Outcomes,
    /// How many responses were stored that let one origin read them, and others see the same.
    pub cors_unkeyed: AtomicU64,
    /// What time it is.
    pub clock: Clock,
    /// Rules that were in force before an edit, the latest last: what they stored is still there.
    earlier: RwLock<VecDeque<Rules>>,
}

/// So many edits are remembered.
const EDITS: usize = 16;

/// What the file says, as far as it can change while the proxy runs.
pub struct Live {
    /// `routes:`
    pub rules: Rules,
    /// `purge_on:`
    pub purge_on: Vec<PurgeOn>,
    /// `upstream:`
    pub upstream: Arc<Upstream>,
    /// `hosts:`, normalised.
    pub hosts: Option<Vec<String>>,
    /// `trusted_proxies:`
    pub trusted_proxies: Vec<IpNet>,
    /// `limits:`
    pub limits: Limits,
    /// `timeouts:`
    pub timeouts: Timeouts,
    /// `traceparent: create`
    pub begins_traces: bool,
    /// The name of this very process in `Via`: two sidecars in a row are no loop.
    pub pseudonym: Arc<str>,
}

impl App {
    /// The state at the start.
    #[must_use]
    pub fn new(live: Live, store: Tiers, clock: Clock) -> Self {
        store.expect(live.rules.tags());
        Self {
            live: ArcSwap::from_pointee(live),
            flights: Flights::new(Arc::clone(store.purges())),
            purges: Arc::clone(store.purges()),
            store,
            arrivals: Arrivals::default(),
            refreshes: Refreshes::default(),
            invalidations: Invalidations::default(),
            writes: watch::Sender::default(),
            writes_alone: Semaphore::new(WRITES_ALONE),
            outcomes: Outcomes::default(),
            cors_unkeyed: AtomicU64::default(),
            clock,
            earlier: RwLock::default(),
        }
    }

    /// A fetch begins.
    #[must_use]
    pub fn begin(&self) -> Begun {
        self.purges.begin(self.clock.now())
    }

    /// What the file says now. A request keeps the one with which it began.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts an edited file in force, at once and as a whole.
    pub fn swap(&self, live: Live) {
        self.store.expect(live.rules.tags());
        // Under one lock with what a purge reads: it finds the rules of before here or there.
        let mut earlier = self.earlier.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.live.swap(Arc::new(live));
        // What was said of a request under them may have been the reason for the edit.
        self.outcomes.forget();
        earlier.push_back(before.rules.clone());
        if earlier.len() > EDITS {
            earlier.pop_front();
        }
    }

    /// Every key under which a rule may have stored something for `target`: one of now, or of before an edit.
    #[must_use]
    pub fn resource_keys(&self, target: &Target) -> Vec<ResourceKey> {
        let earlier = self.earlier.read().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.load();
        let rules = earlier.iter().chain([&live.rules]).flat_map(|rules| rules.covering(target));
        let mut keys: Vec<ResourceKey> = Vec::new();
        for key in rules.filter_map(|rule| Some(ResourceKey::new(target, &rule.cache.as_ref()?.key.query))) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}
