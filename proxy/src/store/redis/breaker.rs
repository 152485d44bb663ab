//! Keeps requests from a Redis that fails them: after a few failures in a row nothing is asked of it
//! any more, until a probe, which no request waits for, is answered.

use std::sync::atomic::{AtomicU32, Ordering};

/// Failures in a row that open it.
pub(super) const FAILURES: u32 = 3;

/// Closed while commands are let through. Opened by failures, closed by a probe.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
}

impl Breaker {
    /// Whether commands are held back.
    pub(super) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES
    }

    /// A command was answered. Does not close it: an answer may have been long on its way.
    pub(super) fn succeeded(&self) {
        // Nothing is written where nothing changes: hits share this line of memory.
        if self.failures.load(Ordering::Relaxed) != 0 {
            let _ = self.failures.try_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                (failures < FAILURES).then_some(0)
            });
        }
    }

    /// A command failed or was not answered in time. Says whether this one opened it.
    pub(super) fn failed(&self) -> bool {
        let before = self.failures.try_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
            (failures < FAILURES).then_some(failures + 1)
        });
        before == Ok(FAILURES - 1)
    }

    /// A probe was answered. While closed, failures still count in a row: a probe is not a command.
    pub(super) fn close(&self) {
        let _ = self
            .failures
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |failures| (failures >= FAILURES).then_some(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_only_a_probe_closes_it() {
        let breaker = Breaker::default();
        assert!(!breaker.failed() && !breaker.failed());
        breaker.close();
        assert!(breaker.failed(), "a probe in between is no command answered");
        breaker.close();
        assert!(!breaker.failed() && !breaker.failed());
        breaker.succeeded();
        assert!(!breaker.failed() && !breaker.failed() && !breaker.is_open());
        assert!(breaker.failed() && breaker.is_open());
        assert!(!breaker.failed(), "it is open already");
        breaker.succeeded();
        assert!(breaker.is_open(), "a late answer does not close it");
        breaker.close();
        assert!(!breaker.is_open() && !breaker.failed());
    }
}
