//! One rule: what it matches, and which rules keep others from ever matching.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;

use super::Pattern;
use crate::{admit::Target, policy::rule::CacheRule, tags::Tag};

/// One entry of `routes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique in its file; what purges, logs and metrics call it.
    pub name: Arc<str>,
    /// The path.
    pub pattern: Pattern,
    /// The methods it is for; absent: all. `GET` implies `HEAD`.
    pub methods: Option<Vec<Method>>,
    /// The host it is for, as [`host_matches`] has it; absent: all.
    pub host: Option<String>,
    /// Fields the request must have: with this value in one of its lines, or (`None`) at all.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// What to do with responses; absent: nothing is cached (`cache: off`).
    pub cache: Option<Arc<CacheRule>>,
    /// [`CacheRule::fingerprint`], computed once; 0 where nothing is cached.
    pub fingerprint: u64,
}

/// What keeps a request from falling under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'r> {
    /// Its path is another.
    Path,
    /// Its method is none of the rule's.
    Method,
    /// Its host is another.
    Host,
    /// It lacks this field, or has another value there.
    Header(&'r HeaderName),
    /// Its target is ambiguous, and the rule caches.
    Ambiguous,
}

/// A rule that can never match, because an earlier one matches whatever it would.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the rule `{later}` can never match: the rule `{earlier}` comes first and takes all its requests")]
pub struct Shadowed {
    /// The rule that comes first.
    pub earlier: Arc<str>,
    /// Its place in the list, from 0.
    pub earlier_index: usize,
    /// The rule that never matches.
    pub later: Arc<str>,
    /// Its place in the list, from 0.
    pub later_index: usize,
}

impl Rule {
    /// What a purge of it names.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::rule(&self.name)
    }

    /// The tags of whatever is stored under it.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        let named = self.cache.iter().flat_map(|rule| rule.named_tags());
        named.chain(self.cache.is_some().then(|| self.tag()))
    }

    /// Why a request does not fall under it, by the first thing that keeps it out.
    #[inline]
    pub(super) fn mismatch(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
    ) -> Option<Mismatch<'_>> {
        if !self.pattern.matches(target.path().as_bytes()) {
            return Some(Mismatch::Path);
        }
        if !self.method_matches(method) {
            return Some(Mismatch::Method);
        }
        if !self.host_matches(target) {
            return Some(Mismatch::Host);
        }
        if let Some(name) = self.unmet_header(headers) {
            return Some(Mismatch::Header(name));
        }
        (self.cache.is_some() && target.is_ambiguous()).then_some(Mismatch::Ambiguous)
    }

    pub(super) fn host_matches(&self, target: &Target) -> bool {
        self.host.as_deref().is_none_or(|host| host_matches(host, target.authority()))
    }

    fn method_matches(&self, method: &Method) -> bool {
        self.methods.as_deref().is_none_or(|methods| {
            methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
        })
    }

    fn unmet_header(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        let unmet = self.headers.iter().find(|(name, wanted)| match wanted {
            None => !headers.contains_key(name),
            Some(value) => !headers.get_all(name).iter().any(|line| line == value),
        });
        unmet.map(|(name, _)| name)
    }

    /// Whether every request that `other` matches, this matches too.
    fn includes(&self, other: &Self) -> bool {
        self.pattern.includes(&other.pattern)
            && self.includes_methods(other)
            && self.includes_hosts(other)
            && self.headers.iter().all(|wanted| other.implies_header(wanted))
    }

    fn includes_methods(&self, other: &Self) -> bool {
        match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(theirs)) => theirs.iter().all(|method| self.method_matches(method)),
        }
    }

    fn includes_hosts(&self, other: &Self) -> bool {
        match (&self.host, &other.host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => host_matches(ours, theirs),
        }
    }

    fn implies_header(&self, (name, wanted): &(HeaderName, Option<HeaderValue>)) -> bool {
        let mut same_name = self.headers.iter().filter(|(ours, _)| ours == name);
        same_name.any(|(_, value)| wanted.is_none() || value == wanted)
    }
}

/// Whether an authority falls under `host` of the file, both normalised: an entry without a port
/// is for every port, one with a port for that port only.
#[must_use]
pub fn host_matches(host: &str, authority: &str) -> bool {
    host == authority || authority.strip_prefix(host).is_some_and(|rest| rest.starts_with(':'))
}

/// Whether one of these hosts is asked, where only so many are answered.
#[must_use]
pub fn serves(hosts: Option<&[String]>, target: &Target) -> bool {
    hosts.is_none_or(|hosts| hosts.iter().any(|host| host_matches(host, target.authority())))
}

/// Every rule that can never match, with the first earlier one that takes all its requests.
///
/// Several earlier rules that do so only together are not seen.
pub fn shadowed(rules: &[Rule]) -> impl Iterator<Item = Shadowed> {
    rules.iter().enumerate().filter_map(|(later_index, later)| {
        let earlier = rules.iter().take(later_index).enumerate();
        let (earlier_index, earlier) = earlier.into_iter().find(|(_, earlier)| earlier.includes(later))?;
        Some(Shadowed {
            earlier: Arc::clone(&earlier.name),
            earlier_index,
            later: Arc::clone(&later.name),
            later_index,
        })
    })
}
