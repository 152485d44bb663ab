//! The question that shows whether Redis serves us, and what its clock says.

use std::time::{Duration, Instant, SystemTime};

use redis::{ErrorKind, RedisResult, ServerErrorKind, Value, aio::MultiplexedConnection, cmd};

use super::layout::NOMINATED;
use crate::clock::{Clock, Offset};

/// What one reading of Redis' clock says of its distance from ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    offset: Offset,
    /// By how much it may be wrong: half the round trip.
    error: Duration,
}

/// Reads as a look-up does, because a server that is loading, or that denies us our keys, still
/// tells the time. The sample is missing where the user may not ask for the time.
pub(super) async fn probe(
    connection: &MultiplexedConnection,
    key: &str,
    clock: &Clock,
) -> RedisResult<Option<Sample>> {
    let (mut first, mut second) = (connection.clone(), connection.clone());
    let (ask_time, mut ask_key) = (cmd("TIME"), cmd("HMGET"));
    ask_key.arg(key).arg(NOMINATED);
    let (wall, start) = (clock.now(), Instant::now());
    let time = async {
        let answer = ask_time.query_async::<(u64, u32)>(&mut first).await;
        (answer, start.elapsed())
    };
    let ((time, trip), read) = tokio::join!(time, ask_key.query_async::<Value>(&mut second));
    read?;
    match time {
        Ok((seconds, micros)) => Ok(Sample::new(wall, trip, seconds, micros)),
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Sample {
    /// Redis' time was read half a round trip after `wall`.
    fn new(wall: SystemTime, trip: Duration, seconds: u64, micros: u32) -> Option<Self> {
        let since = Duration::from_secs(seconds).checked_add(Duration::from_micros(micros.into()))?;
        let theirs = SystemTime::UNIX_EPOCH.checked_add(since)?;
        let error = trip / 2;
        Some(Self { offset: Offset::between(wall.checked_add(error)?, theirs), error })
    }

    /// A better offset than the known one. A sample that may be wrong by as much as it differs shows
    /// nothing, so that a slow answer does not spoil what a quick one has shown.
    pub(super) fn correct(self, known: Offset) -> Option<Offset> {
        let Distance(difference) = Distance::between(self.offset, known);
        (difference > self.error).then_some(self.offset)
    }
}

struct Distance(Duration);

impl Distance {
    fn between(one: Offset, other: Offset) -> Self {
        Self(match (one, other) {
            (Offset::Ahead(a), Offset::Ahead(b)) | (Offset::Behind(a), Offset::Behind(b)) => a.abs_diff(b),
            (Offset::Ahead(a), Offset::Behind(b)) | (Offset::Behind(a), Offset::Ahead(b)) => {
                a.saturating_add(b)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_round_trip_is_taken_off() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let sample = Sample::new(wall, Duration::from_secs(2), 106, 500_000).unwrap();
        assert_eq!(sample.correct(Offset::NONE), Some(Offset::Ahead(Duration::from_millis(5500))));
    }

    #[test]
    fn a_sample_within_its_own_error_changes_nothing() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let slow = Sample::new(wall, Duration::from_secs(1), 100, 400_000).unwrap();
        assert_eq!(slow.correct(Offset::Ahead(Duration::from_millis(200))), None);
        assert_eq!(slow.correct(Offset::Behind(Duration::from_millis(700))), Some(slow.offset));
    }

    #[test]
    fn no_time_of_redis_is_beyond_us() {
        for seconds in [0, u64::MAX / 2, u64::MAX] {
            let _ = Sample::new(SystemTime::now(), Duration::ZERO, seconds, u32::MAX);
        }
    }
}
