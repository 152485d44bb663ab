//! The order of purges, and of the fetches between them. Pure.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A moment in the order of purges, one for the fleet.
///
/// Each purge takes one later than all before it. A fetch notes the latest one that it knows of when it
/// begins; what it brings is obsolete for each purge that covers it and is later than that. The number
/// is microseconds since 1970 by Redis' clock where that has moved on, else a little more than the last, so
/// that a Redis that has lost the last one does not begin anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

impl Epoch {
    /// Before all purges.
    pub const FIRST: Self = Self(0);
    /// The latest that is believed: of the year 2255. A script counts in floating-point numbers, which
    /// are exact up to here.
    const LAST: u64 = (1 << 53) - 1;

    /// From its number; one that no clock shows is not believed.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// When that was, if the clock had moved on.
    #[must_use]
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(self.0)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The one that a purge takes `now`, by the clock that all share, where this is the last one.
    #[must_use]
    pub fn next(self, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = u64::try_from(since.as_micros()).unwrap_or(Self::LAST);
        Self(micros.max(self.0.saturating_add(1)).min(Self::LAST))
    }
}

/// What a purge does to what it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is gone.
    #[default]
    Hard,
    /// It is stale: it may be renewed by a validation, and serve as a stale response may.
    Soft,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_later_than_the_last_whatever_the_clock_shows() {
        let at = |micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let first = Epoch::FIRST.next(at(1_000));
        assert_eq!(first.number(), 1_000);
        assert_eq!(first.next(at(5_000)).number(), 5_000);
        for stopped in [at(1_000), at(3), SystemTime::UNIX_EPOCH - Duration::from_secs(1)] {
            assert_eq!(first.next(stopped).number(), 1_001);
        }
        assert_eq!(Epoch::from_number(1 << 53), None);
    }
}
