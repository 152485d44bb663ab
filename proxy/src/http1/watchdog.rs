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

pub(super) struct Watchdog(Pin<Box<Sleep>>);

/// A wait that took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elapsed;

impl Watchdog {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits for `future`, but no longer than `limit` from its first suspension.
    pub(super) async fn limit<F: Future>(&mut self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
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
    pub(super) async fn until<F: Future>(&mut self, deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_expired(deadline, cx).map(|()| Err(Elapsed)),
        })
        .await
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

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
