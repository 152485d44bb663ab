//! One round of faults, each at its time: by how much of the round has passed.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    task::block_in_place,
    time::{Instant, sleep, sleep_until},
};

use crate::{REPLACED, sidecars::Sidecars, support::redis::RedisServer};

/// How long a fault lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Until a Redis that was killed is started again.
    pub(crate) killed: Duration,
    /// Until one that was stopped goes on.
    pub(crate) frozen: Duration,
}

/// Makes the faults of the round that begins then. First those after which Redis has nothing: what the
/// others leave behind is still there at the end.
pub(crate) async fn round(
    sidecars: &mut Sidecars,
    redis: &Mutex<RedisServer>,
    begins: Instant,
    length: Duration,
    pace: Pace,
) -> Duration {
    let at = |share: f64| sleep_until(begins + length.mul_f64(share));
    at(0.05).await;
    {
        let mut redis = redis.lock().await;
        block_in_place(|| redis.kill());
        sleep(pace.killed).await;
        block_in_place(|| redis.restart_empty());
    }
    at(0.25).await;
    {
        let redis = redis.lock().await;
        block_in_place(|| redis.command(&["FLUSHALL"]));
    }
    at(0.4).await;
    {
        let redis = redis.lock().await;
        redis.freeze();
        sleep(pace.frozen).await;
        redis.thaw();
    }
    at(0.6).await;
    let ended = sidecars.replace(REPLACED).await;
    at(0.85).await;
    sidecars.edit().await;
    ended
}
