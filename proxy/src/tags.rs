//! What a purge can name. Pure.

use serde::{Deserialize, Serialize};

/// A 128-bit name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag(u128);

impl Tag {
    /// All that is stored.
    #[must_use]
    pub fn everything() -> Self {
        Self::of(b'*', &[])
    }

    /// What a rule stored.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self::of(b'r', &[name.as_bytes()])
    }

    /// What carries a tag of the fleet.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        Self::of(b't', &[name])
    }

    /// What is in a cache group of an origin (RFC 9875 §2).
    #[must_use]
    pub fn group(origin: &[u8], name: &[u8]) -> Self {
        Self::of(b'g', &[origin, name])
    }

    /// From its bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    fn of(kind: u8, parts: &[&[u8]]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&[kind]);
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().as_bytes().first_chunk().map_or(0, |half| u128::from_be_bytes(*half)))
    }
}
