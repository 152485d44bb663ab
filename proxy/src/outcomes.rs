//! What became of the last request for each resource that was no hit: why it is not cached is often
//! known only once the app has answered, and asked about later.

use std::{
    hash::{Hash, Hasher},
    time::SystemTime,
};

use http::{Method, StatusCode};
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::{
    admit::Head,
    key::{QueryPolicy, ResourceKey},
    routes::{Rule, Rules},
    status::Outcome,
};

/// Resources that are remembered at most, each method for itself.
const REMEMBERED: usize = 4096;

/// The last outcome of each resource and method, as far as a bounded memory holds it.
///
/// They are known by a hash, since keys have no small bound. Two that share one are told of each other's
/// outcome, and nothing worse.
pub struct Outcomes(Cache<(u128, u64), Told>);

/// What one request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What became of it.
    pub outcome: Outcome,
    /// The status of its answer.
    pub status: StatusCode,
    /// When there was an answer, or its client had left without one.
    pub at: SystemTime,
}

impl Default for Outcomes {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Outcomes {
    /// There is a request's answer; under which of these rules, it says itself. Not for a hit: what
    /// is stored tells why it is one.
    pub fn note(&self, rules: &Rules, head: &Head, told: Told) {
        let rule = rules.find(&head.method, &head.target, &head.headers);
        self.0.insert(place(&resource(rule, head), &head.method), told);
    }

    /// What the rules of before an edit had it told says little of those of now.
    pub fn forget(&self) {
        self.0.clear();
    }

    /// What the last one for this resource was told, by this method.
    #[must_use]
    pub fn last(&self, resource: &ResourceKey, method: &Method) -> Option<Told> {
        self.0.get(&place(resource, method))
    }
}

/// The resource of a request under this rule, whether that caches or not.
#[must_use]
pub fn resource(rule: Option<&Rule>, head: &Head) -> ResourceKey {
    let cache = rule.and_then(|rule| rule.cache.as_ref());
    ResourceKey::new(&head.target, cache.map_or(&QueryPolicy::All, |cache| &cache.key.query))
}

fn place(resource: &ResourceKey, method: &Method) -> (u128, u64) {
    let mut hash = Xxh3::new();
    method.hash(&mut hash);
    (xxh3_128(resource.as_bytes()), hash.finish())
}
