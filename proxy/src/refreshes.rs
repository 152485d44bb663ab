//! What has become of refreshes, which no client sees.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::flight::Phase;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Refreshes {
    stored: AtomicU64,
    not_stored: AtomicU64,
    failed: AtomicU64,
}

impl Refreshes {
    /// Counts one that is over, unless it was another sidecar's.
    pub fn count(&self, phase: &Phase) {
        let counter = match phase {
            Phase::Shared(_) => &self.stored,
            Phase::Alone(_) => &self.not_stored,
            Phase::Elsewhere => return,
            Phase::Failed(_) | Phase::Waiting | Phase::Lost => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// By what became of them.
    #[must_use]
    pub fn by_result(&self) -> [(&'static str, u64); 3] {
        [("stored", &self.stored), ("not-stored", &self.not_stored), ("failed", &self.failed)]
            .map(|(result, counter)| (result, counter.load(Ordering::Relaxed)))
    }
}
