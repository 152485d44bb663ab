//! What was known of purges at a moment, as those note it who look something up or fetch it.

use std::time::SystemTime;

use crate::epoch::Epoch;

/// What was known of purges at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The latest of them.
    pub(super) epoch: Epoch,
    pub(super) gaps: u64,
}

/// When a fetch began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// What was known then.
    pub known: Known,
    /// By our clock.
    pub at: SystemTime,
}

impl Known {
    /// The latest purge that was known.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }

    /// Whether all that the other one tells of was known.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.epoch.number() >= other.epoch.number() && self.gaps >= other.gaps
    }

    /// The same, and a purge that came right after it.
    #[must_use]
    pub const fn and(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }
}
