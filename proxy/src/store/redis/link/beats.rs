//! A link as those see it who only follow it.

use tokio::sync::watch;

/// The answered beats of a link, for one who follows them: nobody takes them from another.
pub(in crate::store::redis) struct Beats(watch::Receiver<()>);

impl Beats {
    /// Those from now on, and one that may have been already.
    pub(in crate::store::redis) fn of(beats: &watch::Sender<()>) -> Self {
        let mut beats = beats.subscribe();
        beats.mark_changed();
        Self(beats)
    }

    /// Waits for one that was not told of yet. Never, once the link is gone.
    pub(in crate::store::redis) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
