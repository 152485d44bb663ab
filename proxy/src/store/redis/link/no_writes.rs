//! What Redis said when it last took no write.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

/// For how long that is told. A Redis that still takes none says so again to the next write; one that takes them
/// by now has nobody who would notice, until there is one.
const TOLD: Duration = Duration::from_secs(30);

/// Why there are none, if it has said so of late and has done nothing since.
#[derive(Debug, Default)]
pub(super) struct NoWrites(ArcSwapOption<Said>);

#[derive(Debug)]
struct Said {
    why: Arc<String>,
    /// By [`crate::clock::Clock::elapsed`].
    at: Duration,
}

impl NoWrites {
    /// It takes none.
    pub(super) fn say(&self, why: &str, at: Duration) {
        self.0.store(Some(Arc::new(Said { why: Arc::new(why.to_owned()), at })));
    }

    /// It has done what it was asked.
    pub(super) fn unsay(&self) {
        // Nothing is written where nothing changes: all writers share this line of memory.
        if self.0.load().is_some() {
            self.0.store(None);
        }
    }

    /// Why it takes none.
    pub(super) fn why(&self, now: Duration) -> Option<Arc<String>> {
        let said = self.0.load();
        said.as_ref().filter(|said| now.saturating_sub(said.at) < TOLD).map(|said| Arc::clone(&said.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_until_it_does_something_or_nobody_has_asked_for_long() {
        let (no_writes, start) = (NoWrites::default(), Duration::from_secs(7));
        let why = |after| no_writes.why(start + after).map(|why| (*why).clone());
        assert_eq!(why(Duration::ZERO), None);
        no_writes.say("OOM", start);
        assert_eq!(why(TOLD.mul_f64(0.99)), Some("OOM".to_owned()));
        assert_eq!(why(TOLD), None);
        no_writes.say("READONLY", start + TOLD);
        assert_eq!(why(TOLD), Some("READONLY".to_owned()));
        no_writes.unsay();
        assert_eq!(why(TOLD), None);
    }
}
