//! The seam to time: everything that decides is given `now`, and only this seam reads it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};

/// Where `now` comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

impl Clock {
    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Time that nobody sets: since some moment in the past, a suspension of the machine included. What
    /// must be over after a while is measured by it.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match self {
            Self::System => since_boot(),
            Self::Manual(clock) => clock.shown().elapsed,
        }
    }
}

/// By the clock that runs on while the machine sleeps; elsewhere than on Linux, by the one there is.
fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
}

/// A clock moved by hand; clones share it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Shown>>);

#[derive(Clone, Copy, Debug)]
struct Shown {
    wall: SystemTime,
    elapsed: Duration,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        let elapsed = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Mutex::new(Shown { wall: start, elapsed })))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.shown().wall
    }

    fn shown(&self) -> Shown {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.wall += by;
        shown.elapsed += by;
    }

    /// Sets the time of day, forward or back, while no time passes.
    pub fn set(&self, wall: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
    }
}

/// How far the clock of a shared store is ahead of ours, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// Theirs shows a later time.
    Ahead(Duration),
    /// Theirs shows an earlier time.
    Behind(Duration),
}

impl Offset {
    /// Both show the same.
    pub const NONE: Self = Self::Ahead(Duration::ZERO);

    /// From two readings of one moment.
    #[must_use]
    pub fn between(ours: SystemTime, theirs: SystemTime) -> Self {
        match theirs.duration_since(ours) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        }
    }

    /// A moment of ours, by their clock.
    #[must_use]
    pub fn there(self, ours: SystemTime) -> SystemTime {
        match self {
            Self::Ahead(by) => later(ours, by),
            Self::Behind(by) => earlier(ours, by),
        }
    }

    /// A moment of theirs, by our clock.
    #[must_use]
    pub fn here(self, theirs: SystemTime) -> SystemTime {
        match self {
            Self::Ahead(by) => earlier(theirs, by),
            Self::Behind(by) => later(theirs, by),
        }
    }
}

fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

fn earlier(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH)
}
