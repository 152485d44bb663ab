//! By what a purge names stored responses: a tag that they carry, the rule under which they were
//! stored, a group of their origin, one resource, or all of them. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a purge can name, in 128 bits.
///
/// They are the first ones of BLAKE3 over what kind it is and its parts, each with its length before
/// it: two that differ in meaning have different bytes there, so nobody finds two with the same tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "[u8; 16]", into = "[u8; 16]")]
pub struct Tag(u128);

/// What a [`Tag`] is of. The numbers are in every store: they never change.
#[derive(Clone, Copy)]
enum Kind {
    Everything = 0,
    Rule = 1,
    Named = 2,
    Group = 3,
}

impl Tag {
    /// All that is stored.
    #[must_use]
    pub fn everything() -> Self {
        Self::of(Kind::Everything, &[])
    }

    /// What was stored under the rule of this name.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self::of(Kind::Rule, &[name.as_bytes()])
    }

    /// What carries a tag of this name, whether the response or its rule says so. Case counts.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        Self::of(Kind::Named, &[name])
    }

    /// What is in a cache group of this origin (RFC 9875 §2.1): groups of the same name on two origins
    /// have nothing in common. `origin` is of [`crate::key::origin`].
    #[must_use]
    pub fn group(origin: &[u8], name: &[u8]) -> Self {
        Self::of(Kind::Group, &[origin, name])
    }

    /// One that was written as [`Tag::bits`].
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// All that there is of it.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }

    fn of(kind: Kind, parts: &[&[u8]]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&[kind as u8]);
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut first = [0; 16];
        hash.finalize_xof().fill(&mut first);
        first.into()
    }
}

impl From<[u8; 16]> for Tag {
    fn from(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl From<Tag> for [u8; 16] {
    fn from(tag: Tag) -> Self {
        tag.0.to_be_bytes()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:032x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_in_meaning_differs() {
        let all = [
            Tag::everything(),
            Tag::rule(""),
            Tag::rule("a"),
            Tag::named(b""),
            Tag::named(b"a"),
            Tag::named(b"A"),
            Tag::named(b"a\0"),
            Tag::group(b"", b"a"),
            Tag::group(b"a", b""),
            Tag::group(b"a", b"b"),
            Tag::group(b"ab", b""),
            Tag::named(&[0; 16]),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn what_is_in_a_store_is_found_by_later_releases() {
        assert_eq!(format!("{:?}", Tag::everything()), "Tag(2d3adedff11b61f14c886e35afa03673)");
        assert_eq!(format!("{:?}", Tag::named(b"products")), "Tag(c8c56f42b64fab7f43472072f828e809)");
    }

    proptest! {
        #[test]
        fn sixteen_bytes_and_back(bits in any::<u128>()) {
            let tag = Tag::from_bits(bits);
            prop_assert_eq!(tag.bits(), bits);
            let bytes = postcard::to_allocvec(&tag).unwrap();
            prop_assert_eq!(bytes.len(), 16);
            prop_assert_eq!(postcard::from_bytes::<Tag>(&bytes).unwrap(), tag);
        }

        #[test]
        fn where_one_part_ends_and_the_next_begins_counts(
            text in prop::collection::vec(any::<u8>(), 1..40),
            first in any::<prop::sample::Index>(),
            second in any::<prop::sample::Index>(),
        ) {
            let group = |at: usize| Tag::group(&text[..at], &text[at..]);
            let (first, second) = (first.index(text.len()), second.index(text.len()));
            prop_assert_eq!(group(first) == group(second), first == second);
        }
    }
}
