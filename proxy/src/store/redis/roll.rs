//! The roll of the fleet's members, and those who have fallen silent.
//!
//! A member that is frozen still has its tracking connection, on which Redis piles up what it would
//! tell: without a limit, for a client of that kind has none. So whoever has not renewed its membership
//! for a while is struck off, and its connection closed. Should it come back, it connects anew.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::time::sleep;

use super::{
    Inner,
    cluster::{Node, Spot},
    journal::eval,
    layout,
    link::jittered,
    membership::{Client, GAP, MADE, Renewal},
};
use crate::store::StoreError;

/// For each question.
const LIMIT: Duration = Duration::from_secs(1);
/// Between two looks: each member looks twice in twice this time, at least.
const LOOK: Duration = Duration::from_secs(10);
/// Members that are read.
const MOST: usize = 10_000;

/// The members, by what each wrote last.
pub(super) type Roll = HashMap<String, String>;

/// The roll, as it was read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) members: Roll,
    /// When the roll was made, by Redis' clock. Nothing, where nobody has said so.
    pub(super) made: Option<Duration>,
    /// When somebody wrote there last.
    last: Duration,
    /// When it was read, by the same clock, or a little before.
    read: Duration,
}

impl Page {
    /// Of all its fields.
    fn new(mut members: Roll, read: Duration) -> Self {
        let (made, last) = members.remove(MADE).and_then(|written| read_made(&written)).unzip();
        Self { members, made, last: last.unwrap_or_default(), read }
    }

    /// How old it is, as far as the clock can be believed.
    pub(super) fn age(&self) -> Duration {
        let goes_on =
            self.last <= self.read.saturating_add(GAP) && self.read <= self.last.saturating_add(GAP);
        let made = self.made.filter(|_| goes_on);
        made.map_or(Duration::ZERO, |made| self.read.saturating_sub(made))
    }
}

/// When the roll was made, and when somebody wrote there last.
fn read_made(written: &str) -> Option<(Duration, Duration)> {
    let (made, last) = written.split_once(' ')?;
    Some((Duration::from_millis(made.parse().ok()?), Duration::from_millis(last.parse().ok()?)))
}

/// Looks now and then who has fallen silent, for as long as the store lives.
pub(super) async fn watch(store: Weak<Inner>) {
    let mut before = Roll::new();
    loop {
        sleep(jittered(LOOK)).await;
        let Some(store) = store.upgrade() else { return };
        match store.roll().await {
            Ok(Page { members, .. }) => {
                store.dismiss_silent(&before, &members).await;
                before = members;
            }
            Err(error) => tracing::debug!(%error, "the members could not be read"),
        }
    }
}

/// What a member calls its tracking connection.
pub(super) fn connection_name(member: &str) -> String {
    format!("sidecache-{member}")
}

/// Closes a member's connection: that of its name, since a Redis that has begun anew counts anew.
async fn close(mut connection: MultiplexedConnection, member: &str, client: u64) -> RedisResult<()> {
    let mut list = cmd("CLIENT");
    list.arg("LIST").arg("ID").arg(client);
    let line: String = list.query_async(&mut connection).await?;
    let name = format!("name={}", connection_name(member));
    if line.split_ascii_whitespace().any(|word| word == name) {
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(client).query_async::<u64>(&mut connection).await?;
    }
    Ok(())
}

/// Closes it on this node.
async fn shut(node: &Node, member: &str, client: &Client) {
    let close = async |connection| Ok(close(connection, member, client.number).await);
    match node.purges.run(LIMIT, close).await {
        Ok(Ok(())) => {}
        // Not all users may.
        Ok(Err(error)) => tracing::debug!(%error, "the connection of a silent member was not closed"),
        Err(error) => tracing::debug!(?error, "the connection of a silent member was not closed"),
    }
}

impl Inner {
    /// All members.
    pub(super) async fn roll(&self) -> Result<Page, StoreError> {
        let name = layout::members(&self.settings.prefix);
        let read = async |mut connection: MultiplexedConnection| {
            // In this order, so that it is not taken to be older than it is.
            let read = cmd("TIME").query_async::<(u64, u64)>(&mut connection).await?;
            let mut all = cmd("HGETALL");
            Ok((read, all.arg(&name).query_async::<Vec<(String, String)>>(&mut connection).await?))
        };
        let (read, all) = self.journal.links().run(Spot::Named(&name), LIMIT, read).await?;
        let read = Duration::from_secs(read.0).saturating_add(Duration::from_micros(read.1));
        Ok(Page::new(all.into_iter().take(MOST).collect(), read))
    }

    /// Strikes off those who have not renewed since, and closes their connections.
    pub(super) async fn dismiss_silent(&self, before: &Roll, now: &Roll) {
        for (member, written) in now {
            if before.get(member) == Some(written)
                && *member != self.member.to_string()
                && let Err(error) = self.dismiss(member, written).await
            {
                tracing::debug!(%error, "a silent member was not dismissed");
            }
        }
    }

    /// Strikes a member off, if that is still what it wrote last, and closes its connection.
    pub(super) async fn dismiss(&self, member: &str, written: &str) -> Result<(), StoreError> {
        let name = layout::members(&self.settings.prefix);
        let strike = async |mut connection: MultiplexedConnection| {
            let mut script = eval(include_str!("dismiss.lua"), &[&name]);
            let farewell = Renewal::farewell().to_string();
            script.arg(member).arg(written).arg(farewell).query_async::<u64>(&mut connection).await
        };
        if self.journal.links().run(Spot::Named(&name), LIMIT, strike).await? == 0 {
            return Ok(());
        }
        let Some(renewal) = Renewal::read(written).filter(|renewal| !renewal.bound.is_zero()) else {
            return Ok(());
        };
        tracing::info!(member, "a sidecar has left the fleet without a word, or is cut off from Redis");
        let view = self.nodes.view_full();
        let closing = renewal.clients.iter().filter_map(|client| {
            let node = view.nodes().iter().find(|node| node.name.id == client.node)?;
            Some(shut(node, member, client))
        });
        join_all(closing).await;
        Ok(())
    }

    /// This member leaves, and trusts nothing any more: nobody waits for it. It says so, since others would
    /// take one that is missing for one that was lost from the roll.
    pub(super) async fn leave(self: &Arc<Self>) -> Result<(), StoreError> {
        let name = layout::members(&self.settings.prefix);
        let farewell = self.member.renewal(&self.settings.prefix, &Renewal::farewell());
        let leave = async |mut connection: MultiplexedConnection| {
            farewell.query_async::<Value>(&mut connection).await.map(drop)
        };
        self.journal.links().run(Spot::Named(&name), self.settings.budget, leave).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fields: &[(&str, &str)]) -> Page {
        let fields = fields.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned()));
        Page::new(fields.collect(), Duration::from_secs(100))
    }

    #[test]
    fn what_says_when_the_roll_was_made_is_no_member() {
        let member = ("a", "2000 1 -");
        assert_eq!(page(&[member, (MADE, "98000 99500")]).members, page(&[member]).members);
        for last in ["99000", "100000", "100001"] {
            assert_eq!(page(&[member, (MADE, &format!("98000 {last}"))]).age(), Duration::from_secs(2));
        }
        // Nobody has said so, or by a clock that was ahead; or it is of some time ago.
        for young in ["x", "98000", "98000 ", "101000 100000", "98000 98999", "98000 101001"] {
            assert_eq!(page(&[(MADE, young)]).age(), Duration::ZERO, "{young:?}");
        }
        assert_eq!(page(&[member]).age(), Duration::ZERO);
    }
}
