//! What a request finds: the state that lives as long as the process, and the part of it that an
//! edit of the file swaps at once.

use std::{
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    admit::Target,
    clock::Clock,
    flight::Flights,
    key::ResourceKey,
    limits::{Limits, Timeouts},
    routes::Rules,
    store::tiers::Tiers,
    upstream::Upstream,
};

/// What lives as long as the process.
pub struct App {
    live: ArcSwap<Live>,
    /// Where stored responses are.
    pub store: Tiers,
    /// What is being fetched.
    pub flights: Flights,
    /// What has been made obsolete.
    pub generations: Generations,
    /// What time it is.
    pub clock: Clock,
}

/// What the file says, as far as it can change while the proxy runs.
pub struct Live {
    /// `routes:`
    pub rules: Rules,
    /// `upstream:`
    pub upstream: Upstream,
    /// `hosts:`, normalised.
    pub hosts: Option<Vec<String>>,
    /// `trusted_proxies:`
    pub trusted_proxies: Vec<IpNet>,
    /// `limits:`
    pub limits: Limits,
    /// `timeouts:`
    pub timeouts: Timeouts,
}

impl App {
    /// The state at the start.
    #[must_use]
    pub fn new(live: Live, store: Tiers, clock: Clock) -> Self {
        Self {
            live: ArcSwap::from_pointee(live),
            store,
            flights: Flights::default(),
            generations: Generations::default(),
            clock,
        }
    }

    /// What the file says now. A request keeps the one with which it began.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts an edited file in force, at once and as a whole.
    pub fn swap(&self, live: Live) {
        self.live.store(Arc::new(live));
    }
}

impl Live {
    /// Whether this host is served here.
    #[must_use]
    pub fn serves(&self, target: &Target) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|host| host == target.authority()))
    }

    /// Every key under which a rule may have stored something for `target`.
    #[must_use]
    pub fn resource_keys(&self, target: &Target) -> Vec<ResourceKey> {
        let policies = self.rules.covering(target).filter_map(|rule| rule.cache.as_ref());
        let mut keys: Vec<ResourceKey> = Vec::new();
        for key in policies.map(|cache| ResourceKey::new(target, &cache.key.query)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// How often each resource has been made obsolete.
///
/// A fill notes the generation of its resource when it starts and stores nothing if that has moved
/// on: what it fetched may be older than the change. Resources share counters, which can only cost
/// a store that would have been allowed.
pub struct Generations(Box<[AtomicU64]>);

const COUNTERS: usize = 1024;

impl Default for Generations {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Generations {
    /// The generation of a resource.
    #[must_use]
    pub fn of(&self, key: &ResourceKey) -> u64 {
        self.counter(key).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// Makes obsolete what is being fetched for a resource.
    pub fn advance(&self, key: &ResourceKey) {
        if let Some(counter) = self.counter(key) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter(&self, key: &ResourceKey) -> Option<&AtomicU64> {
        let mut hash = Xxh3::new();
        hash.write(key.as_bytes());
        let index = usize::try_from(hash.finish() % COUNTERS as u64).ok()?;
        self.0.get(index)
    }
}
