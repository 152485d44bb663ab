//! What the log is told of tracking.

use std::{cmp::Reverse, sync::PoisonError};

use super::{Condition, State, keeper::Keeper};

impl State {
    /// The log is told when tracking is denied, and when that is over.
    pub(super) fn is_now(&self, keeper: &Keeper, condition: Condition) {
        let before = keeper.note(condition.clone());
        if before == condition {
            return;
        }
        let (was_denied, redis) = (matches!(before, Condition::Untracked { .. }), &keeper.node.dialer);
        let allows = || self.lines.lock().unwrap_or_else(PoisonError::into_inner).allows();
        match condition {
            Condition::Untracked { reason } if allows() => {
                let max_age = self.max_age;
                tracing::warn!(
                    %redis,
                    reason,
                    ?max_age,
                    "Redis does not tell what changes: memory serves only what is that young"
                );
            }
            Condition::Tracked if was_denied && allows() => {
                tracing::info!(%redis, "Redis tells what changes");
            }
            _ => {}
        }
    }

    /// The worst of them.
    pub(super) fn condition(&self) -> Condition {
        let rank = |condition: &Condition| match condition {
            Condition::Tracked => 0,
            Condition::Untracked { .. } => 1,
            Condition::Down { .. } => 2,
        };
        let conditions = self.keepers().iter().map(|keeper| keeper.condition()).collect::<Vec<_>>();
        let worst = conditions.into_iter().min_by_key(|condition| Reverse(rank(condition)));
        worst.unwrap_or_else(|| Condition::Down { reason: "not connected yet".to_owned() })
    }
}
