//! Finds the few rules that may match a path, in the order of the file, without allocating.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Rule, pattern::split_segment};

/// Places in the list of rules, ascending.
type Places = Vec<usize>;
/// The keys come from the file, so nobody can choose them to collide.
type Map = HashMap<Box<[u8]>, Places, BuildHasherDefault<PathHasher>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Patterns that match one path, by that path.
    exact: Map,
    /// Patterns with a wildcard, by their first segment.
    by_first_segment: Map,
    /// Patterns whose first segment is a wildcard.
    anywhere: Places,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            let pattern = &rule.pattern;
            if pattern.is_exact() {
                index.exact.entry(pattern.as_str().as_bytes().into()).or_default().push(place);
            } else if let Some(first) = pattern.first_literal() {
                index.by_first_segment.entry(first.into()).or_default().push(place);
            } else {
                index.anywhere.push(place);
            }
        }
        index
    }

    /// The rules that may match `path`, ascending. What is left out cannot match it.
    pub(super) fn candidates(&self, path: &[u8]) -> Candidates<'_> {
        let first = split_segment(path.strip_prefix(b"/").unwrap_or_default()).0;
        Candidates {
            exact: places(&self.exact, path),
            by_first_segment: places(&self.by_first_segment, first),
            anywhere: &self.anywhere,
        }
    }
}

fn places<'m>(map: &'m Map, key: &[u8]) -> &'m [usize] {
    if map.is_empty() { &[] } else { map.get(key).map_or(&[], Vec::as_slice) }
}

/// Merges three ascending lists.
pub(super) struct Candidates<'i> {
    exact: &'i [usize],
    by_first_segment: &'i [usize],
    anywhere: &'i [usize],
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let mut lists = [&mut self.exact, &mut self.by_first_segment, &mut self.anywhere];
        let next = lists.iter().filter_map(|list| list.first()).min().copied()?;
        for list in &mut lists {
            if let Some((_, rest)) = list.split_first().filter(|(first, _)| **first == next) {
                **list = rest;
            }
        }
        Some(next)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct PathHasher(u64);

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 = self.0.wrapping_add(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
