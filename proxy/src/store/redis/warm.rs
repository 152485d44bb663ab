//! Records that are in use are kept warm.
//!
//! A record is read once for a session, and what carries its tag again and again: by the measure of a Redis that
//! evicts what was not used for the longest time, it is what can be spared most. Without it nothing is valid that
//! carries the tag; without that of purges of everything, nothing is. So each that was used is read now and then,
//! and made anew where it is gone. As long as there are few, the others are read too: what memory serves is not
//! looked up, and still there when memory is emptied. Those of the rules' tags and of everything count as used from
//! the first moment on: one that only the first write makes may have told of any purge up to that, and so refuses
//! what was being fetched.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use redis::{Value, cmd};
use tokio::time::sleep;

use super::{
    Inner,
    cluster::{Pulse, Spot},
    layout,
    link::{Beats, jittered},
    records::Use,
};
use crate::store::StoreError;

/// Between two rounds, at most.
const EACH: Duration = Duration::from_secs(10);
/// For the answers to a batch, which no request waits for.
const LIMIT: Duration = Duration::from_secs(1);
/// Records that are read at once.
const BATCH: usize = 256;

/// Does so for as long as the store lives.
pub(super) async fn keep(store: Weak<Inner>) {
    let watched = |store: Arc<Inner>| (store.nodes.pulse().clone(), store.records.expected());
    let Some((pulse, mut expected)) = store.upgrade().map(watched) else { return };
    let (mut warm, mut beats) = (None, Beats::of(&pulse.beats));
    loop {
        tokio::select! {
            () = sleep(jittered(EACH)) => {}
            () = renewed(&pulse, &mut beats, warm) => {}
            Ok(()) = expected.changed() => {}
        }
        let Some(store) = store.upgrade() else { return };
        let connections = pulse.connections.load(Ordering::SeqCst);
        warm = store.warm().await.then_some(connections);
    }
}

/// Waits for an answer on a connection that there was not yet when it was warm: what it leads to may be another Redis,
/// and empty.
async fn renewed(pulse: &Pulse, beats: &mut Beats, warm: Option<u64>) {
    loop {
        beats.next().await;
        if warm != Some(pulse.connections.load(Ordering::SeqCst)) {
            return;
        }
    }
}

impl Inner {
    /// One round; whether nothing is missing now.
    async fn warm(&self) -> bool {
        let mut warm = true;
        for records in self.records.to_touch().chunks(BATCH) {
            if let Err(error) = self.touch(records).await {
                tracing::debug!(%error, "records were not kept warm");
                warm = false;
            }
        }
        warm
    }

    async fn touch(&self, records: &[Use]) -> Result<(), StoreError> {
        let read = |record: &Use| {
            let name = layout::record(&self.settings.prefix, record.tag);
            (Spot::Of(record.tag.bits()), cmd("GET").arg(name).to_owned())
        };
        let commands: Vec<_> = records.iter().map(read).collect();
        let (mut gone, mut outcome) = (Vec::new(), Ok(()));
        let answers = self.journal.links().run_each::<Value>(&commands, LIMIT).await;
        for (record, answer) in records.iter().zip(answers) {
            match answer {
                // One of another type is none.
                Ok(Value::Nil) | Err(StoreError::Refused(_)) if record.lately => {
                    gone.push((record.tag, self.session(record.tag.bits())));
                }
                Ok(Value::Nil) => self.records.forget(record.tag),
                Ok(_) => {}
                // It does not hold up the rest.
                Err(error) => outcome = Err(error),
            }
        }
        if !gone.is_empty() {
            self.make_anew(&gone, Duration::ZERO, LIMIT).await?;
        }
        outcome
    }
}
