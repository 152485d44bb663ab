//! Who was on the roll a moment ago.
//!
//! The roll is one key, which may be lost: emptied, evicted, deleted, or as it was some time ago. Each member is back
//! on it with its next renewal, but until then it trusts its memory. So whoever waits for the members waits for those
//! too whom it has lately seen there. Who has left, or was struck off, is noted as such on the roll for a while.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Value, from_redis_value_ref};
use tokio::time::Instant;

use super::{membership::MADE, roll::Roll};

/// A member that was last seen longer ago has lapsed, unless it trusts its memory for longer than most.
const LATELY: Duration = Duration::from_secs(3);

/// What each member said, and when it was last seen on the roll.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, (String, Instant)>>);

impl Seen {
    /// What Redis has told of the roll; what cannot be read tells of nobody.
    pub(super) fn note(&self, roll: &Value) {
        let Ok(mut roll) = from_redis_value_ref::<Roll>(roll) else { return };
        roll.remove(MADE);
        let (now, mut seen) = (Instant::now(), self.lock());
        seen.extend(roll.into_iter().map(|(member, written)| (member, (written, now))));
        seen.retain(|_, (_, at)| now.duration_since(*at) < LATELY);
    }

    /// The roll with those who are missing from it.
    pub(super) fn complete(&self, mut roll: Roll) -> Roll {
        let (now, seen) = (Instant::now(), self.lock());
        for (member, (written, at)) in &*seen {
            if now.duration_since(*at) < LATELY {
                roll.entry(member.clone()).or_insert_with(|| written.clone());
            }
        }
        roll
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(members: &[&str]) -> Roll {
        members.iter().map(|member| ((*member).to_owned(), "2000 1 -".to_owned())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_were_there_a_moment_ago_count() {
        let (seen, words) = (Seen::default(), ["a", "2000 1 -", MADE, "1700000000000", "b", "2000 1 -"]);
        let told = words.map(|word| Value::BulkString(word.into()));
        seen.note(&Value::Array(told.to_vec()));
        assert_eq!(seen.complete(Roll::new()), roll(&["a", "b"]));
        assert_eq!(seen.complete(roll(&["c"])), roll(&["a", "b", "c"]));
        tokio::time::advance(LATELY).await;
        assert_eq!(seen.complete(roll(&["c"])), roll(&["c"]));
        seen.note(&Value::Int(1));
        assert_eq!(seen.complete(Roll::new()), Roll::new());
    }
}
