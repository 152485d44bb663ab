//! Purges, and those that Redis may not have: look-ups find nothing there until it has.
//!
//! A purge is noted before it is sent, and struck out when it is acknowledged. What is left is sent
//! again after each good beat. What was acknowledged is remembered, with its epoch: a Redis that we come
//! back to may have lost it. It is sent again as of that epoch, so that it makes obsolete what it did then, and
//! nothing that has come since. Only so many are noted: with one more everything is purged instead. Of
//! what is remembered too the oldest give way to that.

mod act;
mod chain;
mod noted;
mod recent;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

pub(super) use self::act::{Act, UNUSED_RECORD, eval};
use self::{
    act::Sending,
    chain::Chain,
    noted::{Entry, Noted},
    recent::Taken,
};
use super::{
    cluster::{Links, Nodes, Spot},
    epochs::{Epochs, Which, epochs},
    link::{Beats, Role},
};
use crate::{
    epoch::Epoch,
    purges::{Mark, Purges},
    store::{StoreError, Wait},
};

/// Purges that are sent again at once, and how long an answer may take, which no request waits for.
const BATCH: (usize, Duration) = (256, Duration::from_secs(1));

/// The way of purges to Redis. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    retries: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    links: Links,
    prefix: String,
    noted: Noted,
    chain: Chain,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.retries.abort();
    }
}

impl Journal {
    /// Starts to send what is to be sent again, on the current runtime.
    pub(super) fn start(nodes: &Arc<Nodes>, purges: Arc<Purges>) -> Self {
        let links = Links::new(nodes, Role::Purges);
        let prefix = nodes.settings().prefix.clone();
        let shared = Arc::new(Shared { links, prefix, noted: Noted::new(purges), chain: Chain::default() });
        let retries = tokio::spawn(Arc::clone(&shared).retry()).abort_handle();
        Self { shared, retries }
    }

    /// Has Redis do this, within `limit`, and gives the epoch that it took. However it ends, look-ups find no more
    /// what was there before.
    pub(super) async fn enter(
        &self,
        acts: Vec<Act>,
        wait: Wait,
        limit: Duration,
    ) -> Result<Epochs, StoreError> {
        let entries = self.shared.noted.note(acts);
        let _under_way = self.shared.noted.under_way(&entries);
        self.shared.send(&entries, wait, limit).await
    }

    /// Whether something of the resource of that hash is noted and not acknowledged.
    pub(super) fn awaits(&self, hash: u128) -> bool {
        self.shared.noted.holds(hash)
    }

    /// What of the acknowledged purges of that resource Redis may have lost, and has not got again.
    pub(super) fn lost(&self, hash: u128) -> Mark {
        self.shared.noted.lost(hash)
    }

    /// The latest purge of the fleet that may concern the resource of that hash, beside this one of ours.
    pub(super) async fn latest_beside(
        &self,
        own: Epochs,
        hash: u128,
        within: Duration,
    ) -> Result<Epoch, StoreError> {
        let last = self.shared.learn_epoch(within).await?;
        Ok(self.shared.chain.latest_beside(own, hash, last))
    }

    /// The last epoch of the fleet: purges up to it that were not heard of are missed.
    pub(super) async fn learn_epoch(&self, within: Duration) -> Result<Epoch, StoreError> {
        self.shared.learn_epoch(within).await
    }

    /// Returns when all purges of this process that have asked for an epoch until now know which.
    pub(super) async fn settled(&self) {
        self.shared.chain.settled().await;
    }

    /// How often anybody was connected. As long as that is the same, what was acknowledged is where it was.
    pub(super) fn connections(&self) -> u64 {
        self.shared.connections()
    }

    /// The connections: what follows a purge uses them too.
    pub(super) fn links(&self) -> &Links {
        &self.shared.links
    }
}

impl Shared {
    /// Sends what is to be sent again after each good beat, for ever.
    async fn retry(self: Arc<Self>) {
        let pulse = self.links.nodes().pulse();
        let (mut connections, mut beats) = (0, Beats::of(&pulse.beats));
        loop {
            beats.next().await;
            let now = self.connections();
            if now != connections && self.learn_epoch(BATCH.1).await.is_ok() {
                connections = now;
                self.noted.doubt();
            }
            if let Err(error) = self.make_up().await {
                tracing::debug!(%error, "purges were not made up for");
            }
        }
    }

    /// Sends it. What is not taken does not hold up the rest.
    async fn make_up(&self) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for entries in self.noted.all().chunks(BATCH.0) {
            outcome = outcome.and(self.send(entries, Wait::ForStore, BATCH.1).await.map(drop));
        }
        for taken in self.noted.due().chunks(BATCH.0) {
            outcome = outcome.and(self.send_again(taken).await);
        }
        outcome
    }

    /// How often somebody was connected.
    fn connections(&self) -> u64 {
        self.links.nodes().pulse().connections.load(Ordering::SeqCst)
    }

    /// What is fetched from now on is later than all purges that Redis knows of.
    async fn learn_epoch(&self, within: Duration) -> Result<Epoch, StoreError> {
        let learn = async {
            let last =
                epochs(&self.links, &self.prefix, &self.noted.purges, Which::Last, within).await?.taken;
            // It may be that of a purge of ours, which has yet to see that.
            self.chain.settled().await;
            self.noted.purges.catch_up(last);
            Ok(last)
        };
        timeout(within, learn).await.unwrap_or(Err(StoreError::Budget))
    }

    /// What one node has is not held up by another one that has not.
    async fn send(&self, entries: &[Entry], wait: Wait, limit: Duration) -> Result<Epochs, StoreError> {
        let (begun, connections, asking) = (Instant::now(), self.connections(), self.chain.ask());
        let epochs = epochs(&self.links, &self.prefix, &self.noted.purges, Which::Next, limit).await?;
        let taken = epochs.taken;
        self.noted.purges.take(taken);
        asking.got(entries, epochs);
        let sending = Sending::First(wait);
        let command =
            |entry: &Entry| (Spot::Of(entry.act.what()), entry.act.command(&self.prefix, taken, sending));
        let commands: Vec<_> = entries.iter().map(command).collect();
        let answers = self.links.run_each::<()>(&commands, limit.saturating_sub(begun.elapsed())).await;
        let done = entries.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.noted.acknowledged(done.map(|(entry, _)| entry), taken, connections != self.connections());
        answers.into_iter().collect::<Result<(), _>>().map(|()| epochs)
    }

    /// The same for what Redis had acknowledged.
    async fn send_again(&self, all: &[Taken]) -> Result<(), StoreError> {
        let command = |Taken { act, epoch, .. }: &Taken| {
            (Spot::Of(act.what()), act.command(&self.prefix, *epoch, Sending::Again))
        };
        let commands: Vec<_> = all.iter().map(command).collect();
        let answers = self.links.run_each::<()>(&commands, BATCH.1).await;
        let done = all.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.noted.confirm(done.map(|(taken, _)| taken));
        answers.into_iter().collect()
    }
}
