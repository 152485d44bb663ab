//! Choices that can be made again: a small generator with a seed (SplitMix64).

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of `SIDECACHE_SEED`, or any.
    pub(crate) fn seed() -> u64 {
        match std::env::var("SIDECACHE_SEED") {
            Ok(seed) => seed.parse().expect("SIDECACHE_SEED is a number"),
            Err(_) => RandomState::new().hash_one("seed"),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Another one, which goes its own way.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_micros() as usize + 1;
        least + Duration::from_micros(self.below(range) as u64)
    }
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = |seed| {
        let mut random = Random::new(seed);
        (0..20).map(|_| random.below(100)).collect::<Vec<_>>()
    };
    assert_eq!(choices(7), choices(7));
    assert_ne!(choices(7), choices(8));
    assert!(choices(7).iter().all(|choice| *choice < 100));
}
