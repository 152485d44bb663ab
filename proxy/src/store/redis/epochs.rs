//! The last epoch of the fleet, which Redis keeps.

use std::time::Duration;

use redis::{RedisResult, aio::MultiplexedConnection};

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

/// The last epoch, or (`"next"`) a new one, where `seen` is one that has been.
pub(super) async fn epochs(
    links: &Links,
    prefix: &str,
    seen: Epoch,
    which: &str,
    limit: Duration,
) -> Result<Epochs, StoreError> {
    let name = layout::epoch(prefix);
    let mut script = eval(include_str!("epoch.lua"), &[&name]);
    script.arg(seen.number()).arg(which).arg(KEPT);
    let ask = async |mut connection: MultiplexedConnection| -> RedisResult<(u64, u64)> {
        script.query_async(&mut connection).await
    };
    let (taken, before) = links.run(Spot::Named(&name), limit, ask).await?;
    // What cannot be believed is not, and purges nothing beyond what it should.
    let epoch = |number| Epoch::from_number(number).unwrap_or(seen);
    Ok(Epochs { taken: epoch(taken), before: epoch(before) })
}
