//! One timer for all the waits of a connection, or of a stream, and how slow a client may be.
//!
//! A timer that is armed and disarmed for each wait costs more than the rest of a hit's timing
//! together. This one is made when first needed and left running: a wait that is over before its first
//! suspension never touches it, and one that goes off too early is set anew.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that a client must move of a body in each limit of time for which it is waited for.
pub(crate) const LEAST: usize = 4 * 1024;

#[derive(Default)]
pub(crate) struct Watchdog(Option<Pin<Box<Sleep>>>);

/// A wait that took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a wait took longer than its limit")]
pub(crate) struct Elapsed;

/// What a client must move, and in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    limit: Duration,
    least: usize,
}

impl Pace {
    /// Some kilobytes in each `limit`.
    pub(crate) fn steady(limit: Duration) -> Self {
        Self { limit, least: LEAST }
    }

    /// Anything at all in each `limit`.
    pub(crate) fn leisurely(limit: Duration) -> Self {
        Self { limit, least: 1 }
    }
}

impl Watchdog {
    /// Waits for `future`, but no longer than `limit` from its first suspension.
    pub(crate) async fn limit<F: Future>(
        &mut self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut deadline = None;
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
                self.poll_expired(deadline, cx).map(|()| Err(Elapsed))
            }
        })
        .await
    }

    /// Waits for `future`, but no longer than to `deadline`.
    pub(crate) async fn until<F: Future>(
        &mut self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_expired(deadline, cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// For one body, which the client moves at this pace.
    pub(crate) fn patience(&mut self, pace: Pace) -> Patience<'_> {
        Patience { watchdog: self, pace, waited: Duration::ZERO, moved: 0 }
    }

    fn poll_expired(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// How long a client may be waited for while one body moves.
///
/// A limit of each wait alone would let a client hold a connection for ever with a byte now and then. So
/// waits add up, until enough has moved. Time in which nobody waits for the client, but for the origin,
/// does not count; and a wait that is over at once does not look at the clock.
pub(crate) struct Patience<'w> {
    watchdog: &'w mut Watchdog,
    pace: Pace,
    /// Since the last time that enough had moved.
    waited: Duration,
    /// Bytes since then.
    moved: usize,
}

impl Patience<'_> {
    /// Waits for `future`, but no longer than is left.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut since = None;
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                self.waited += since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                Poll::Ready(Ok(output))
            }
            Poll::Pending => {
                let since = *since.get_or_insert_with(Instant::now);
                let deadline = since + self.pace.limit.saturating_sub(self.waited);
                self.watchdog.poll_expired(deadline, cx).map(|()| Err(Elapsed))
            }
        })
        .await
    }

    /// The client has taken or sent so many bytes of the body.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= self.pace.least {
            (self.waited, self.moved) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How often so many bytes may take so long to move, 1,000 times at most.
    async fn turns(pace: Pace, bytes: usize, each: Duration) -> usize {
        let mut dog = Watchdog::default();
        let mut patience = dog.patience(pace);
        for turn in 0..1000 {
            if patience.wait(sleep(each)).await.is_err() {
                return turn;
            }
            patience.moved(bytes);
        }
        1000
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_one_body_add_up_until_enough_has_moved() {
        let steady = Pace::steady(30 * SECOND);
        assert_eq!(turns(steady, 1, SECOND).await, 30);
        assert_eq!(turns(steady, LEAST / 30, SECOND).await, 30);
        assert_eq!(turns(steady, LEAST / 29 + 1, SECOND).await, 1000);
        assert_eq!(turns(steady, LEAST, 29 * SECOND).await, 1000);
        assert_eq!(turns(steady, 1 << 30, 31 * SECOND).await, 0);
        assert_eq!(turns(steady, usize::MAX, SECOND).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn at_leisure_anything_is_enough() {
        let leisurely = Pace::leisurely(30 * SECOND);
        assert_eq!(turns(leisurely, 1, 29 * SECOND).await, 1000);
        assert_eq!(turns(leisurely, 0, 29 * SECOND).await, 1);
        assert_eq!(turns(leisurely, 1, 31 * SECOND).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_waits_count() {
        let mut dog = Watchdog::default();
        let mut patience = dog.patience(Pace::steady(SECOND));
        for _ in 0..100 {
            assert_eq!(patience.wait(async { 7 }).await, Ok(7));
            patience.moved(1);
            sleep(SECOND).await;
        }
        let begun = Instant::now();
        assert_eq!(patience.wait(pending::<()>()).await, Err(Elapsed));
        assert!(begun.elapsed() >= SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_limit_whatever_the_last_one_was() {
        let mut dog = Watchdog::default();
        let start = Instant::now();
        for seconds in [75, 10, 30, 1] {
            let before = Instant::now();
            let limit = Duration::from_secs(seconds);
            assert_eq!(dog.limit(limit, pending::<()>()).await, Err(Elapsed));
            let took = before.elapsed();
            assert!(took >= limit && took < limit + Duration::from_millis(5), "{seconds}: {took:?}");
        }
        assert_eq!(dog.limit(Duration::from_secs(1), async { 7 }).await, Ok(7));
        assert_eq!(dog.until(start, pending::<()>()).await, Err(Elapsed));
    }
}
