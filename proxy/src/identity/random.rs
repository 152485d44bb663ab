//! Numbers that come once and that nobody foresees, without asking the system for each.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The system's randomness, asked for once: keys of a hash whose values nobody foresees who does not know them.
static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A number that was not there before, in this process or another.
pub(super) fn number() -> u128 {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|key| key.hash_one(count));
    u128::from(high) << 64 | u128::from(low)
}

#[test]
fn numbers_come_once_and_differ_in_every_part() {
    let numbers: std::collections::HashSet<_> = (0..10_000).map(|_| number()).collect();
    assert_eq!(numbers.len(), 10_000);
    let halves: std::collections::HashSet<_> =
        numbers.iter().flat_map(|n| [n >> 64, n & u128::from(u64::MAX)]).collect();
    assert_eq!(halves.len(), 20_000);
}
