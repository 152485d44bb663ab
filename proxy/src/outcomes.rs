//! What became of the last request for each resource that was no hit: why it is not cached is often
//! known only once the app has answered, and asked about later. And with which hosts clients ask, since whoever
//! asks or purges later may not know that.

use std::{
    hash::{Hash, Hasher},
    iter,
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderValue, Method, StatusCode};
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::{
    admit::{Head, Target},
    key::{QueryPolicy, ResourceKey},
    purge::AskedAs,
    routes::{Rule, Rules},
    status::Outcome,
};

/// Resources that are remembered at most, each method for itself.
const REMEMBERED: usize = 4096;

/// Paths of which the hosts are remembered at most.
const PATHS: usize = 4096;

/// Hosts of one path, the last ones.
const HOSTS: usize = 3;

/// Bytes of a host that is remembered: names of the DNS are seldom longer.
const HOST_BYTES: usize = 128;

/// The last outcome of each resource and method, as far as a bounded memory holds it.
///
/// They are known by a hash, since keys have no small bound. Two that share one are told of each other's
/// outcome, and nothing worse.
pub struct Outcomes {
    last: Cache<(u128, u64), Told>,
    hosts: Cache<u128, Arc<[AskedAs]>>,
}

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
        Self { last: Cache::new(REMEMBERED), hosts: Cache::new(PATHS) }
    }
}

impl Outcomes {
    /// There is a request's answer; under which of these rules, it says itself. Not for a hit: what
    /// is stored tells why it is one.
    pub fn note(&self, rules: &Rules, head: &Head, told: Told) {
        let rule = rules.find(&head.method, &head.target, &head.headers);
        self.last.insert(place(&resource(rule, head), &head.method), told);
        if matches!(told.outcome, Outcome::Forward(_)) {
            self.note_host(&head.target);
        }
    }

    fn note_host(&self, target: &Target) {
        let path = by_path(target);
        let known = self.hosts.get(&path).unwrap_or_default();
        let (host, forwarded) = (target.authority(), &target.forwarded().host);
        let length = host.len().max(forwarded.as_ref().map_or(0, HeaderValue::len));
        if host.is_empty() || length > HOST_BYTES || known.first().is_some_and(|last| last.is_of(target)) {
            return;
        }
        let asked = AskedAs::of(target);
        let others = known.iter().filter(|known| **known != asked).cloned();
        self.hosts.insert(path, iter::once(asked.clone()).chain(others).take(HOSTS).collect());
    }

    /// With which hosts this path was asked for otherwise and not answered by a hit, the last one first. If it was
    /// asked for with those of the target too, only with which a trusted proxy did for the same host.
    #[must_use]
    pub fn elsewhere(&self, target: &Target) -> Vec<AskedAs> {
        let (asked, own) = (self.hosts.get(&by_path(target)).unwrap_or_default(), AskedAs::of(target));
        let is_known = asked.contains(&own);
        let others = asked.iter().filter(|other| **other != own);
        others.filter(|other| !is_known || other.is_forwarded_for(&own.host)).cloned().collect()
    }

    /// What the rules of before an edit had it told says little of those of now.
    pub fn forget(&self) {
        self.last.clear();
    }

    /// What the last one for this resource was told, by this method.
    #[must_use]
    pub fn last(&self, resource: &ResourceKey, method: &Method) -> Option<Told> {
        self.last.get(&place(resource, method))
    }
}

/// The resource of a request under this rule, whether that caches or not.
#[must_use]
pub fn resource(rule: Option<&Rule>, head: &Head) -> ResourceKey {
    let cache = rule.and_then(|rule| rule.cache.as_ref());
    ResourceKey::new(&head.target, cache.map_or(&QueryPolicy::All, |cache| &cache.key.query))
}

fn by_path(target: &Target) -> u128 {
    xxh3_128(target.path().as_bytes())
}

fn place(resource: &ResourceKey, method: &Method) -> (u128, u64) {
    let mut hash = Xxh3::new();
    method.hash(&mut hash);
    (xxh3_128(resource.as_bytes()), hash.finish())
}
