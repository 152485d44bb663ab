//! What memory keeps: what is asked for again and again, through a flood of what is asked for once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "its figures are for people")]

mod support;

#[path = "fleet/random.rs"]
#[allow(dead_code, reason = "this test uses its part of it")]
mod random;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use random::Random;
use sidecache::{
    key::{KeyPolicy, ResourceKey},
    store::{Lookup, Selector, memory::MemoryStore},
    stored::Stored,
};
use support::{
    entries::{entry, request, resource},
    scale::Scale,
};

/// Of the budget, what is asked for again and again takes so many percent.
const HOT: u64 = 70;
/// Of the requests, so many percent are for something else.
const OTHERS: usize = 30;

/// The default, which the largest bodies below fit too.
const BUDGET: u64 = 64 << 20;

/// How large the bodies are: each size is as likely as the other.
const SIZES: [(&str, &[usize]); 3] = [
    ("4 KiB", &[4096]),
    ("0.5 to 64 KiB", &[512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]),
    ("1 KiB to 1 MiB", &[1024, 4096, 16_384, 65_536, 262_144, 1_048_576]),
];

/// A store, and what is asked of it.
struct Shop {
    store: MemoryStore,
    sizes: &'static [usize],
    random: Random,
    hot: Vec<(ResourceKey, Arc<Stored>)>,
    /// How likely each of them is, added up: the second half as likely as the first, and so on (Zipf).
    odds: Vec<f64>,
}

impl Shop {
    /// One that has what is hot.
    fn new(sizes: &'static [usize]) -> Self {
        let store = MemoryStore::new(BUDGET, Arc::default());
        let mut shop = Self { store, sizes, random: Random::new(1), hot: Vec::new(), odds: Vec::new() };
        while shop.store.stats().bytes < BUDGET * HOT / 100 {
            let key = resource(&format!("/hot/{}", shop.hot.len()));
            let stored = shop.page(&key);
            shop.store.commit_now(&key, Arc::clone(&stored)).unwrap();
            shop.hot.push((key, stored));
            let sum = shop.odds.last().copied().unwrap_or_default();
            shop.odds.push(sum + 1.0 / shop.hot.len() as f64);
        }
        shop
    }

    fn page(&mut self, key: &ResourceKey) -> Arc<Stored> {
        let size = self.sizes[self.random.below(self.sizes.len())];
        entry(key, &HeaderMap::new(), &[], &"x".repeat(size))
    }

    fn finds(&self, key: &ResourceKey) -> bool {
        let selector = Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() };
        matches!(self.store.lookup_now(key, &selector), Lookup::Found(_))
    }

    /// Asks for something hot, and stores it if it is missed. Whether it was a hit.
    fn asks_for_hot(&mut self) -> bool {
        const STEPS: usize = 1 << 40;
        let share = self.random.below(STEPS) as f64 / STEPS as f64;
        let at = share * self.odds[self.odds.len() - 1];
        let rank = self.odds.partition_point(|sum| *sum <= at).min(self.hot.len() - 1);
        let (key, stored) = &self.hot[rank];
        let hit = self.finds(key);
        if !hit {
            self.store.commit_now(key, Arc::clone(stored)).unwrap();
        }
        hit
    }

    /// Asks once for what nobody asks for again.
    fn asks_for_a_wonder(&mut self, number: usize) {
        let key = resource(&format!("/once?n={number}"));
        assert!(!self.finds(&key));
        let stored = self.page(&key);
        self.store.commit_now(&key, stored).unwrap();
    }

    /// Asks for one URL in another way than ever before.
    fn asks_for_a_variant(&mut self, number: usize) {
        let (key, vary) = (resource("/many"), HeaderName::from_static("x"));
        let headers = request(&[(vary.clone(), &number.to_string())]);
        self.store.commit_now(&key, entry(&key, &headers, &[vary], &"x".repeat(65_536))).unwrap();
    }

    /// The share of hits among the requests for what is hot, in the second half of them; so many percent of
    /// all requests are others.
    fn hits(&mut self, requests: usize, others: usize, other: fn(&mut Self, usize)) -> f64 {
        let (mut hits, mut asked) = (0_u32, 0_u32);
        for turn in 0..requests {
            if self.random.below(100) < others {
                other(self, turn);
                continue;
            }
            let hit = self.asks_for_hot();
            if turn >= requests / 2 {
                asked += 1;
                hits += u32::from(hit);
            }
        }
        f64::from(hits) / f64::from(asked)
    }
}

#[test]
fn what_is_hot_stays_through_a_flood_of_what_is_asked_for_once() {
    // In full it is a flood of 200,000 keys, and nothing is stored before: what is hot must get in through it.
    let (requests, stored_before) = Scale::asked_for().pick((100_000, true), (667_000, false));
    let begin = |sizes| {
        let shop = Shop::new(sizes);
        if !stored_before {
            shop.store.empty();
        }
        shop
    };
    for (name, sizes) in SIZES {
        let quiet = begin(sizes).hits(requests, 0, Shop::asks_for_a_wonder);
        let mut shop = begin(sizes);
        let flooded = shop.hits(requests, OTHERS, Shop::asks_for_a_wonder);
        let (hot, stats) = (shop.hot.len(), shop.store.stats());
        println!("{name}, {hot} hot: {quiet:.4} hits, {flooded:.4} in the flood; {stats:?}");
        assert!(flooded >= 0.95 && flooded >= 0.98 * quiet, "{name}: {flooded} after {quiet}");
        assert!(stats.bytes <= BUDGET, "{stats:?}");
    }
}

#[test]
fn what_is_hot_stays_through_a_flood_of_variants() {
    let requests = Scale::asked_for().pick(20_000, 667_000);
    let mut shop = Shop::new(SIZES[0].1);
    let before = shop.store.stats().bytes;
    let flooded = shop.hits(requests, OTHERS, Shop::asks_for_a_variant);
    let stats = shop.store.stats();
    println!("{flooded:.4} hits in a flood of variants; {stats:?}, {before} bytes before");
    assert!(flooded >= 0.95, "{flooded}");
    assert!(stats.bytes <= before + BUDGET / 20, "one URL has more than its share: {before}, {stats:?}");
}
