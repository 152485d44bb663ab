//! Who belongs to the fleet, for those who wait until all have heard of a purge.
//!
//! `prefix:v1:m` is a hash: a field for each sidecar, which it writes with each renewal. See [`Renewal`].

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use redis::{ErrorKind, Pipeline, RedisResult, Value, from_redis_value};

use super::layout;
use crate::epoch::Epoch;

/// For how long the members are kept when none renews: a day.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Writes a member. It is a script so that the key is never without a TTL; and it deletes first, so that
/// a Redis whose memory is full takes it: it refuses only the first write of a script.
const WRITE: &str = "redis.call('HDEL', KEYS[1], ARGV[1]) redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) \
                     return redis.call('PEXPIRE', KEYS[1], ARGV[3])";

/// A sidecar's own number, drawn when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(u128);

impl Member {
    /// One that no other sidecar has.
    pub(super) fn new() -> Self {
        let half = || u128::from(RandomState::new().build_hasher().finish());
        Self(half() << 64 | half())
    }

    /// Renews the membership, and asks for the last epoch; see [`read`].
    pub(super) fn renewal(self, prefix: &str, renewal: Renewal) -> Pipeline {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(WRITE).arg(1).arg(layout::members(prefix)).arg(self.to_string());
        commands.arg(renewal.to_string());
        commands.arg(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX));
        commands.cmd("GET").arg(layout::epoch(prefix));
        commands.ignore_errors();
        commands
    }
}

/// What a member says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    /// For how long after it the member may serve what it has not heard to be obsolete.
    pub(super) bound: Duration,
    /// Which renewal it is: one that stays the same is a member that has fallen silent.
    pub(super) count: u64,
    /// What Redis calls the connection on which it is told of changes, if it may know that.
    pub(super) client: Option<u64>,
}

impl Renewal {
    /// Reads what is written so; nothing for anything else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let bound = Duration::from_millis(words.next()?.parse().ok()?);
        let (count, client) = (words.next()?.parse().ok()?, words.next()?);
        let client = (client != "-").then(|| client.parse()).transpose().ok()?;
        words.next().is_none().then_some(Self { bound, count, client })
    }
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.bound.as_millis(), self.count)?;
        match self.client {
            Some(client) => write!(f, "{client}"),
            None => f.write_str("-"),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What Redis says to a renewal: to each of its commands.
pub(super) type Answer = Vec<RedisResult<Value>>;

/// The last epoch; `None` where no purge has been given one, or where it cannot be read, which does not
/// make the membership void.
///
/// # Errors
/// Why the membership was not renewed.
pub(super) fn read(answer: Answer) -> RedisResult<Option<Epoch>> {
    let mut answers = answer.into_iter();
    let renewed = answers.next().unwrap_or_else(|| Err((ErrorKind::Parse, "no answer to a renewal").into()));
    renewed.map(|_| Epoch::from_number(from_redis_value(answers.next()?.ok()?).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_member_writes_is_read(millis: u64, count: u64, client: Option<u64>) {
            let renewal = Renewal { bound: Duration::from_millis(millis), count, client };
            prop_assert_eq!(Renewal::read(&renewal.to_string()), Some(renewal));
        }

        #[test]
        fn reading_never_fails_hard(text in "[0-9 -]{0,20}|.{0,20}") {
            let _ = Renewal::read(&text);
        }
    }
}
