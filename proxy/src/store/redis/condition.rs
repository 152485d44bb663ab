//! Whether Redis is there, for health and log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use redis::RedisError;

/// Lines of one kind that may come at once, and how long until there may be one more.
const BURST: u32 = 4;
const REFILL: Duration = Duration::from_secs(15);
/// Characters of what Redis said.
const MAX_REASON: usize = 200;

/// Whether Redis can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// It does not: every look-up is a miss, and nothing is stored.
    Down {
        /// Since when.
        since: SystemTime,
        /// What it last said, or how it failed. Never holds a password.
        reason: String,
    },
}

/// The present health, and what the log has been told of it.
#[derive(Debug)]
pub(super) struct Condition {
    address: String,
    state: Mutex<(Health, Throttle)>,
}

impl Condition {
    pub(super) fn new(address: String, now: SystemTime) -> Self {
        let start = Health::Down { since: now, reason: "not connected yet".to_owned() };
        Self { address, state: Mutex::new((start, Throttle::new())) }
    }

    pub(super) fn health(&self) -> Health {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// It failed. The log is told when that is news, if it is to be `told` at all.
    pub(super) fn down(&self, why: &str, now: SystemTime, told: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (health, throttle) = &mut *state;
        let since = match health {
            Health::Down { reason, .. } if reason == why => return,
            Health::Down { since, .. } => *since,
            Health::Up => now,
        };
        *health = Health::Down { since, reason: why.to_owned() };
        if told && throttle.allows() {
            tracing::warn!(redis = %self.address, reason = why, "Redis does not serve us: every look-up is a miss");
        }
    }

    /// It answered.
    pub(super) fn up(&self, told: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (health, throttle) = &mut *state;
        if *health == Health::Up {
            return;
        }
        *health = Health::Up;
        if told && throttle.allows() {
            tracing::info!(redis = %self.address, "Redis serves us");
        }
    }
}

/// Lets a few lines through, then one now and then.
#[derive(Debug)]
pub(super) struct Throttle {
    left: u32,
    refilled: Instant,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { left: BURST, refilled: Instant::now() }
    }

    pub(super) fn allows(&mut self) -> bool {
        let quiet = self.refilled.elapsed();
        if quiet >= REFILL {
            let more = u32::try_from(quiet.as_secs() / REFILL.as_secs()).unwrap_or(BURST);
            self.left = self.left.saturating_add(more).min(BURST);
            self.refilled = Instant::now();
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// What went wrong, for people: in one line, and not a long one.
pub(super) fn reason(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_changes_writes_a_few_lines() {
        let mut throttle = Throttle::new();
        assert_eq!((0..100).filter(|_| throttle.allows()).count(), 4);
    }

    #[test]
    fn down_counts_from_the_first_failure() {
        let (start, later) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + REFILL);
        let condition = Condition::new("h:1".to_owned(), start);
        condition.up(false);
        condition.down("refused", later, false);
        condition.down("LOADING", later + REFILL, false);
        assert_eq!(condition.health(), Health::Down { since: later, reason: "LOADING".to_owned() });
    }
}
