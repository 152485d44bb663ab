//! What the log is told of tracking.

use super::{Condition, State};

impl State {
    /// The log is told when tracking is denied, and when that is over.
    pub(super) fn is_now(&self, condition: Condition) {
        let mut known = self.lock();
        if known.0 == condition {
            return;
        }
        let was_denied = matches!(known.0, Condition::Untracked { .. });
        match &condition {
            Condition::Untracked { reason } if known.1.allows() => {
                let max_age = self.max_age;
                tracing::warn!(
                    reason,
                    ?max_age,
                    "Redis does not tell what changes: memory serves only what is that young"
                );
            }
            Condition::Tracked if was_denied && known.1.allows() => {
                tracing::info!("Redis tells what changes");
            }
            _ => {}
        }
        known.0 = condition;
    }
}
