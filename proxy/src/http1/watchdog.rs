//! One timer for all the waits of a connection.
//!
//! A timer that is armed and disarmed for each wait costs more than the rest of a hit's timing
//! together. This one is left running: a wait that is over before its first suspension never
//! touches it, and one that goes off too early is set anew.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// What a client must move of a body in each limit of time for which it is waited for.
const LEAST: usize = 4 * 1024;

pub(super) struct Watchdog(Pin<Box<Sleep>>);

/// A wait that took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elapsed;

impl Watchdog {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits for `future`, but no longer than `limit` from its first suspension.
    pub(super) async fn limit<F: Future>(
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
    pub(super) async fn until<F: Future>(
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

    /// For one body, of which the client moves 4 KiB in each `limit` of waiting for it.
    pub(super) fn patience(&mut self, limit: Duration) -> Patience<'_> {
        Patience { watchdog: self, limit, waited: Duration::ZERO, moved: 0 }
    }

    fn poll_expired(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = &mut self.0;
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
pub(super) struct Patience<'w> {
    watchdog: &'w mut Watchdog,
    limit: Duration,
    /// Since the last time that enough had moved.
    waited: Duration,
    /// Bytes since then.
    moved: usize,
}

impl Patience<'_> {
    /// Waits for `future`, but no longer than is left.
    pub(super) async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut since = None;
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                self.waited += since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                Poll::Ready(Ok(output))
            }
            Poll::Pending => {
                let since = *since.get_or_insert_with(Instant::now);
                let deadline = since + self.limit.saturating_sub(self.waited);
                self.watchdog.poll_expired(deadline, cx).map(|()| Err(Elapsed))
            }
        })
        .await
    }

    /// The client has taken or sent so many bytes of the body.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= LEAST {
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
    async fn turns(bytes: usize, each: Duration) -> usize {
        let mut dog = Watchdog::new();
        let mut patience = dog.patience(30 * SECOND);
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
        assert_eq!(turns(1, SECOND).await, 30);
        assert_eq!(turns(LEAST / 30, SECOND).await, 30);
        assert_eq!(turns(LEAST / 29 + 1, SECOND).await, 1000);
        assert_eq!(turns(LEAST, 29 * SECOND).await, 1000);
        assert_eq!(turns(1 << 30, 31 * SECOND).await, 0);
        assert_eq!(turns(usize::MAX, SECOND).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn only_waits_count() {
        let mut dog = Watchdog::new();
        let mut patience = dog.patience(SECOND);
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
        let mut dog = Watchdog::new();
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
