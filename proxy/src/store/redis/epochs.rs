//! The last epoch of the fleet, which Redis keeps.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value, aio::MultiplexedConnection, from_redis_value};

use super::{
    cluster::{Links, Spot},
    journal::eval,
    layout,
};
use crate::{epoch::Epoch, store::StoreError};

/// For how long it is kept, in milliseconds: a year.
const KEPT: u64 = 365 * 24 * 60 * 60 * 1000;

/// A purge's place among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epochs {
    /// The one that it took.
    pub(super) taken: Epoch,
    /// The one before; where nobody knows any more, one that nobody took.
    pub(super) before: Epoch,
}

/// Asks for the last epoch, or (`"next"`) for a new one. The last one is not before `seen`, which has been: Redis may
/// have lost it, and its clock may be behind that of the server before it.
pub(super) fn question(prefix: &str, seen: Epoch, which: &str) -> Cmd {
    let mut script = eval(include_str!("epoch.lua"), &[&layout::epoch(prefix)]);
    script.arg(seen.number()).arg(which).arg(KEPT);
    script
}

/// What is answered to that.
pub(super) fn read(answer: Value, seen: Epoch) -> RedisResult<Epochs> {
    let (taken, before) = from_redis_value(answer)?;
    // What cannot be believed is not, and purges nothing beyond what it should.
    let epoch = |number| Epoch::from_number(number).unwrap_or(seen);
    Ok(Epochs { taken: epoch(taken), before: epoch(before) })
}

/// The last epoch, or a new one.
pub(super) async fn epochs(
    links: &Links,
    prefix: &str,
    seen: Epoch,
    which: &str,
    limit: Duration,
) -> Result<Epochs, StoreError> {
    let (name, question) = (layout::epoch(prefix), question(prefix, seen, which));
    let ask = async |mut connection: MultiplexedConnection| {
        read(question.query_async::<Value>(&mut connection).await?, seen)
    };
    links.run(Spot::Named(&name), limit, ask).await
}
