//! Station 3: which rule a request falls under. Pure.
//!
//! The first rule that matches wins; what matches none passes straight through. A rule that
//! caches never matches an ambiguous target ([`Target::is_ambiguous`]): the app may take it for
//! another resource than the rule's author did.

mod index;
mod pattern;
mod purge_on;
mod rule;

pub use self::{
    pattern::{Pattern, PatternError},
    purge_on::PurgeOn,
    rule::{Mismatch, Rule, Shadowed, host_matches, serves, shadowed},
};

use std::sync::Arc;

use http::{HeaderMap, Method};

use self::index::Index;
use crate::{admit::Target, tags::Tag};

/// The rules of a file, in its order, compiled for look-up.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Box<[Rule]>,
    index: Index,
}

impl Rules {
    /// The most rules one file may have.
    pub const MAX: usize = 1000;

    /// Compiles rules, the first of which wins.
    ///
    /// # Errors
    /// The first rule that an earlier one keeps from ever matching.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Shadowed> {
        if let Some(found) = shadowed(&rules).next() {
            return Err(found);
        }
        let index = Index::new(&rules);
        Ok(Self { rules: rules.into(), index })
    }

    /// The first rule that matches.
    #[must_use]
    pub fn find(&self, method: &Method, target: &Target, headers: &HeaderMap) -> Option<&Rule> {
        let candidates = self.index.candidates(target.path().as_bytes());
        candidates
            .filter_map(|at| self.rules.get(at))
            .find(|rule| rule.mismatch(method, target, headers).is_none())
    }

    /// The rules that come before the first that matches, or all of them, and why each does not.
    pub fn passed_over<'r>(
        &'r self,
        method: &'r Method,
        target: &'r Target,
        headers: &'r HeaderMap,
    ) -> impl Iterator<Item = (&'r Rule, Mismatch<'r>)> {
        let why = |rule: &'r Rule| rule.mismatch(method, target, headers);
        self.iter().map_while(move |rule| Some((rule, why(rule)?)))
    }

    /// The rules whose path and host match, whatever their methods and headers: those under whose
    /// query policies something may be stored for `target`.
    pub fn covering(&self, target: &Target) -> impl Iterator<Item = &Rule> {
        let path = target.path().as_bytes();
        let candidates = self.index.candidates(path).filter_map(|at| self.rules.get(at));
        candidates.filter(move |rule| rule.pattern.matches(path) && rule.host_matches(target))
    }

    /// All rules, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.rules.iter()
    }

    /// The tags that they give to what is stored, each as often as it is given.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.iter().flat_map(Rule::tags)
    }

    /// Their names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.iter().map(|rule| Arc::clone(&rule.name)).collect()
    }
}

impl<'r> IntoIterator for &'r Rules {
    type Item = &'r Rule;
    type IntoIter = std::slice::Iter<'r, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
