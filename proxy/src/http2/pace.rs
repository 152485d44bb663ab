//! How slow a client may be: it has to move something while it is waited for.

use std::time::Duration;

use tokio::time::{Instant, error::Elapsed, timeout};

/// Bytes that a client must move in each limit, unless it comes to its end before.
pub(super) const LEAST: usize = 4 * 1024;

/// The time that a client has left. Only what it is waited for counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    limit: Duration,
    least: usize,
    left: Duration,
    moved: usize,
}

impl Pace {
    /// Some kilobytes in each `limit`.
    pub(super) fn steady(limit: Duration) -> Self {
        Self { limit, least: LEAST, left: limit, moved: 0 }
    }

    /// Anything at all in each `limit`.
    pub(super) fn leisurely(limit: Duration) -> Self {
        Self { limit, least: 1, left: limit, moved: 0 }
    }

    /// Waits for a step of the client's.
    pub(super) async fn wait<F: Future>(&mut self, step: F) -> Result<F::Output, Elapsed> {
        let begun = Instant::now();
        let done = timeout(self.left, step).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        done
    }

    /// The client has moved so much.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= self.least {
            (self.left, self.moved) = (self.limit, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many pieces of a size come, one in each ten seconds, before the client is given up.
    async fn pieces(mut pace: Pace, size: usize) -> usize {
        for count in 0..100 {
            if pace.wait(sleep(SECOND * 10)).await.is_err() {
                return count;
            }
            sleep(SECOND * 100).await; // Nobody waits for the client meanwhile.
            pace.moved(size);
        }
        100
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_too_little_is_given_up() {
        assert_eq!(pieces(Pace::steady(SECOND * 35), 1).await, 3);
        assert_eq!(pieces(Pace::steady(SECOND * 35), LEAST / 3 + 1).await, 100);
        assert_eq!(pieces(Pace::leisurely(SECOND * 35), 1).await, 100);
        assert_eq!(pieces(Pace::leisurely(SECOND * 9), 1).await, 0);
    }
}
