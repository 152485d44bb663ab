//! Purges that nobody tells of, where Redis can still be asked: while it takes no writes, where its user may only
//! read, or when it has just come back.
//!
//! Who has asked which purge was the last knows whether one came since a fetch began, and so whether its answer may be
//! shared. What began when there was another connection may not: with that, Redis may have lost purges.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Inner, RedisStore, epochs};
use crate::{epoch::Epoch, store::StoreError};

/// How often there had been a connection for look-ups when this was last asked, and the purge that was the last then.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Option<(u64, Epoch)>>);

impl RedisStore {
    /// Learns of purges where nobody tells of them. Then fetches are known to be obsolete that began before one.
    ///
    /// # Errors
    /// [`StoreError`], after `within` at the latest; also where Redis may have lost a purge, where it tells of them (who
    /// is told would take for known what has not been heard yet), and in a cluster, where others may.
    pub async fn ask_for_purges(&self, within: Duration) -> Result<(), StoreError> {
        let Inner { nodes, purges, asked, reads, settings, .. } = &*self.0;
        let view = nodes.view();
        let [node] = view.nodes() else { return Err(StoreError::Unavailable) };
        let connections = || node.reads.sessions();
        let (now, told) = (connections(), purges.told());
        let last = epochs::last(reads, &settings.prefix, within).await?;
        match last.filter(|last| *last >= told) {
            Some(last) if connections() == now && node.trust.session().is_none() => {
                // What this process knows by itself tells nothing of others: a purge of its own may be later than one
                // that it has not heard of.
                let mut before = asked.0.lock().unwrap_or_else(PoisonError::into_inner);
                if *before != Some((now, last)) {
                    purges.miss();
                    *before = Some((now, last));
                }
                purges.catch_up(last);
                Ok(())
            }
            _ => Err(StoreError::Unavailable),
        }
    }
}
