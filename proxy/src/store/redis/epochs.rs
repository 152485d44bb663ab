//! The last epoch of the fleet, which Redis keeps.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value, aio::MultiplexedConnection, cmd, from_redis_value};

use super::{
    cluster::{Links, Spot},
    journal::eval,
    layout,
};
use crate::{epoch::Epoch, purges::Purges, store::StoreError};

/// For how long it is kept, in milliseconds: a year.
const KEPT: u64 = 365 * 24 * 60 * 60 * 1000;

/// A purge's place among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epochs {
    /// The one that it took.
    pub(super) taken: Epoch,
    /// The one before; where nobody knows any more, one that nobody took, or itself.
    pub(super) before: Epoch,
}

/// Which one is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The last one that was taken.
    Last,
    /// A new one.
    Next,
}

/// Asks for an epoch. It is not before those that have been: Redis may have lost them, and its clock may be behind that
/// of the server before it. A new one is not before those either that are only on their way to Redis; they are no
/// reason to take a new one where the last one is asked for.
pub(super) fn question(prefix: &str, purges: &Purges, which: Which) -> Cmd {
    let mut script = eval(include_str!("epoch.lua"), &[&layout::epoch(prefix)]);
    script.arg(purges.told().number());
    match which {
        Which::Last => script.arg("last"),
        Which::Next => script.arg(purges.epoch().number()),
    };
    script.arg(KEPT);
    script
}

/// What is answered to that.
pub(super) fn read(answer: Value, purges: &Purges) -> RedisResult<Epochs> {
    let (taken, before) = from_redis_value(answer)?;
    // What cannot be believed is not, and purges nothing beyond what it should.
    let epoch = |number| Epoch::from_number(number).unwrap_or_else(|| purges.epoch());
    let epochs = Epochs { taken: epoch(taken), before: epoch(before) };
    purges.note_told(epochs.taken);
    Ok(epochs)
}

/// The last epoch as it is kept, which any user may read. Nothing, where it was lost, or something else is in its place.
pub(super) async fn last(links: &Links, prefix: &str, limit: Duration) -> Result<Option<Epoch>, StoreError> {
    let name = &layout::epoch(prefix);
    let ask = |mut connection: MultiplexedConnection| async move {
        // What is no string at all, or no number, says as little as nothing, and is no fault of the connection.
        match cmd("GET").arg(name).query_async::<Value>(&mut connection).await {
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            answer => answer.map(|value| from_redis_value::<u64>(value).ok()),
        }
    };
    let number = links.run(Spot::Named(name), limit, ask).await?;
    Ok(number.and_then(Epoch::from_number))
}

/// The last epoch, or a new one.
pub(super) async fn epochs(
    links: &Links,
    prefix: &str,
    purges: &Purges,
    which: Which,
    limit: Duration,
) -> Result<Epochs, StoreError> {
    let (name, question, told) = (layout::epoch(prefix), question(prefix, purges, which), purges.told());
    let ask = async |mut connection: MultiplexedConnection| {
        read(question.query_async::<Value>(&mut connection).await?, purges)
    };
    let Epochs { taken, before } = links.run(Spot::Named(&name), limit, ask).await?;
    // A Redis that tells of less than has been told has lost the last one.
    Ok(Epochs { taken, before: if before < told { taken } else { before } })
}
