//! How long things take, counted by length: as many numbers as there are buckets, however much is counted. Pure.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper ends of the buckets but for the last, which has none, in microseconds: numbers, because each hit is compared
/// with some of them. A hit is over in a fraction of a millisecond, an app may take a minute.
const ENDS: [u64; 19] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = ENDS.len() + 1;

/// Counts durations. It takes two additions and five comparisons, no lock and no clock.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Nanoseconds; enough for five centuries.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn note(&self, took: Duration) {
        let nanos = nanoseconds(took);
        let micros = nanos.div_ceil(1_000);
        if let Some(counter) = self.buckets.get(ENDS.partition_point(|end| *end < micros)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Durations {
        let counts = self.buckets.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Durations { counts, sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)) }
    }
}

/// A duration as a counter has it; what is longer than five centuries counts as that.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// One reading of a [`Histogram`], or the difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets by their upper ends, in seconds, the last one infinite: how many are in each alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        let ends = ENDS.into_iter().map(seconds).chain([f64::INFINITY]);
        ends.zip(self.counts)
    }

    /// What has been counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (now, then) in counts.iter_mut().zip(earlier.counts) {
            *now = now.saturating_sub(then);
        }
        Self { counts, sum: self.sum.saturating_sub(earlier.sum) }
    }

    /// The duration that this share of them, from 0 to 1, does not exceed: between the ends of the bucket where it
    /// falls, as if what is there lay evenly. Beyond the last end, that end. Nothing, if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = share * self.count() as f64;
        let mut below = 0.0;
        let mut start = 0.0;
        for (end, count) in self.buckets() {
            let within = count as f64;
            if count > 0 && below + within >= rank {
                let end = if end.is_finite() { end } else { start };
                return Some(Duration::from_secs_f64(start + (end - start) * (rank - below) / within));
            }
            (below, start) = (below + within, end);
        }
        None
    }
}

impl AddAssign<&Self> for Durations {
    fn add_assign(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: impl IntoIterator<Item = Duration>) -> Durations {
        let histogram = Histogram::default();
        durations.into_iter().for_each(|duration| histogram.note(duration));
        histogram.read()
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_bucket_holds_what_is_no_longer_than_its_end() {
        let counted = of([Duration::ZERO, millis(1), Duration::from_nanos(1_000_001), millis(3_600_000)]);
        let full: Vec<_> = counted.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(full, [(50e-6, 1), (1e-3, 1), (2.5e-3, 1), (f64::INFINITY, 1)]);
        assert_eq!((counted.count(), counted.sum), (4, millis(3_600_002) + Duration::from_nanos(1)));
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let counted = of([millis(3); 90].into_iter().chain([millis(700); 10]));
        assert_eq!(counted.quantile(0.45), Some(Duration::from_micros(3_750)));
        let p99 = counted.quantile(0.99).unwrap();
        assert!(p99 > millis(500) && p99 <= millis(1_000), "{p99:?}");
        assert_eq!(of([millis(90_000)]).quantile(0.5), Some(millis(60_000)));
        assert_eq!(of([]).quantile(0.5), None);
    }

    #[test]
    fn a_difference_is_what_came_between() {
        let histogram = Histogram::default();
        histogram.note(millis(2));
        let before = histogram.read();
        histogram.note(millis(20));
        assert_eq!(histogram.read().since(&before), of([millis(20)]));
        let mut sum = before;
        sum += &of([millis(20)]);
        assert_eq!(sum, histogram.read());
    }

    proptest! {
        #[test]
        fn no_duration_is_lost(nanos in proptest::collection::vec(0..u64::from(u32::MAX) * 100, 1..50)) {
            let counted = of(nanos.iter().map(|nanos| Duration::from_nanos(*nanos)));
            prop_assert_eq!(counted.count(), nanos.len() as u64);
            let (low, high) = (counted.quantile(0.1).unwrap(), counted.quantile(0.9).unwrap());
            prop_assert!(low <= high);
        }
    }
}
