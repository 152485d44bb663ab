//! For how long the memory tier may be believed: while there is a session on the tracking connection
//! whose last renewal is young enough. Asked on each use, so it is two atomics and a clock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::cluster::one_more;
use crate::clock::Clock;

/// For how long after its sending a renewal holds. So long a purger waits for a sidecar that does not
/// acknowledge: by then it has stopped to believe its memory tier.
pub const BOUND: Duration = Duration::from_secs(2);

/// A time without gaps, during which every change was heard of. Each has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session(u64);

/// Whether there is one.
#[derive(Debug)]
pub(super) struct Trust {
    clock: Clock,
    /// Zero: none.
    session: AtomicU64,
    /// Nanoseconds of the clock until which it holds.
    until: AtomicU64,
    /// Locked by whoever changes anything of these.
    changes: Mutex<Changes>,
    /// How many sessions there have been, those of others included.
    begun: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Changes {
    /// One is about to begin.
    opening: bool,
}

impl Trust {
    /// Its sessions are numbered with those of all that share the count.
    pub(super) fn new(clock: Clock, begun: Arc<AtomicU64>) -> Self {
        Self { clock, session: AtomicU64::new(0), until: AtomicU64::new(0), changes: Mutex::default(), begun }
    }

    /// The session, while it holds.
    pub(super) fn session(&self) -> Option<Session> {
        let session = self.session.load(Ordering::SeqCst);
        (session != 0 && self.holds()).then_some(Session(session))
    }

    /// A session is about to begin: what the one before has left is being removed.
    pub(super) fn open(&self) {
        let mut changes = self.lock();
        changes.opening = true;
        self.session.store(0, Ordering::SeqCst);
    }

    /// It begins, by a renewal that was sent then.
    pub(super) fn begin(&self, sent: Duration) -> Session {
        let mut changes = self.lock();
        changes.opening = false;
        let begun = one_more(&self.begun);
        self.until.store(nanos(sent.saturating_add(BOUND)), Ordering::SeqCst);
        self.session.store(begun, Ordering::SeqCst);
        Session(begun)
    }

    /// It goes on, by a renewal that was sent then: unless it is over by now. A gap, however short, may
    /// have been seen.
    pub(super) fn renew(&self, Session(session): Session, sent: Duration) -> bool {
        let _changes = self.lock();
        let goes_on = self.session.load(Ordering::SeqCst) == session && self.holds();
        if goes_on {
            self.until.fetch_max(nanos(sent.saturating_add(BOUND)), Ordering::SeqCst);
        }
        goes_on
    }

    /// There is no session any more.
    pub(super) fn end(&self) {
        let mut changes = self.lock();
        changes.opening = false;
        self.session.store(0, Ordering::SeqCst);
    }

    /// Whether there is none, nor one about to begin. One that does not hold at this moment will not hold
    /// again.
    pub(super) fn is_over(&self) -> bool {
        let changes = self.lock();
        let over = self.session.load(Ordering::SeqCst) == 0 || !self.holds();
        if over {
            self.session.store(0, Ordering::SeqCst);
        }
        over && !changes.opening
    }

    fn holds(&self) -> bool {
        nanos(self.clock.elapsed()) < self.until.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::ManualClock;

    fn trust() -> (Trust, ManualClock) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        (Trust::new(Clock::Manual(clock.clone()), Arc::default()), clock)
    }

    #[test]
    fn a_renewal_counts_from_its_sending() {
        let (trust, clock) = trust();
        assert_eq!(trust.session(), None);
        let sent = trust.clock.elapsed();
        clock.advance(BOUND / 2);
        let session = trust.begin(sent);
        assert_eq!(trust.session(), Some(session));
        clock.advance(BOUND / 4);
        assert!(trust.renew(session, trust.clock.elapsed()));
        // One that was sent earlier takes nothing away.
        assert!(trust.renew(session, sent));
        clock.advance(BOUND - Duration::from_nanos(1));
        assert_eq!(trust.session(), Some(session));
        clock.advance(Duration::from_nanos(1));
        assert_eq!(trust.session(), None);
    }

    #[test]
    fn a_gap_ends_it_for_good() {
        let (trust, clock) = trust();
        let session = trust.begin(trust.clock.elapsed());
        clock.advance(BOUND);
        assert!(!trust.renew(session, trust.clock.elapsed()));
        assert_eq!(trust.session(), None);
        let next = trust.begin(trust.clock.elapsed());
        assert_ne!(next, session);
        assert!(!trust.renew(session, trust.clock.elapsed()) && trust.renew(next, trust.clock.elapsed()));
        assert!(!trust.is_over());
        trust.end();
        assert!(trust.is_over() && trust.session().is_none());
        trust.open();
        assert!(!trust.is_over() && trust.session().is_none(), "the next one is about to begin");
        trust.begin(trust.clock.elapsed());
        assert!(trust.session().is_some());
    }

    #[test]
    fn what_was_seen_to_be_over_is_over() {
        let (trust, clock) = trust();
        let session = trust.begin(trust.clock.elapsed());
        let late = trust.clock.elapsed();
        clock.advance(BOUND);
        assert!(trust.is_over());
        assert!(!trust.renew(session, late + BOUND) && trust.session().is_none());
    }
}
