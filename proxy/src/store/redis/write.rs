//! Commits, each under a lease, and the deletion of what was found damaged. Each is one command or script, so
//! that no reader sees half of it and no key is ever without a TTL.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::ScriptInvocation;
use tokio::sync::SemaphorePermit;

use super::{
    Inner,
    cluster::Spot,
    layout::{self, Nominated, Place},
    lease::Lease,
    settings::Settings,
};
use crate::{
    store::{MAX_VARIANTS, StoreError},
    stored::{Encoded, MAX_HEAD, Stored, TELLING},
};

/// For a write, which no request waits for.
const LIMIT: Duration = Duration::from_secs(1);
/// The largest body, in bytes. A larger one would take longer to read than a request waits.
pub const LARGEST_BODY: usize = 8 * 1024 * 1024;
/// The largest entry, with its body.
const MAX_ENTRY: usize = LARGEST_BODY + MAX_HEAD;
/// KiB that may be on their way to Redis at once.
pub(super) const ROOM: usize = 32 * 1024;
/// What a commit answers when the body that it does not bring is not there.
const BODY_NEEDED: i64 = -1;
/// The longest an entry is kept; what asks for more is not lost by it, only collected.
const MAX_KEEP: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Inner {
    pub(super) async fn commit(
        &self,
        entry: &Stored,
        keep: Duration,
        lease: Lease,
    ) -> Result<(), StoreError> {
        let nominated = Nominated::of(&entry.nominated);
        if entry.body.len() > LARGEST_BODY || entry.footprint() > MAX_ENTRY || !nominated.fits() {
            return Err(StoreError::TooLarge);
        }
        let terms = lease.terms();
        let spot = Spot::Of(terms.place().hash);
        let node = self.nodes.owner(spot).ok_or(StoreError::Unavailable)?;
        node.manners.let_in()?;
        if !node.writes.is_ready() {
            return Err(StoreError::Unavailable);
        }
        let _room = self.room(entry.footprint())?;
        if !self.keep_records(entry, keep, LIMIT).await? {
            return Err(StoreError::Refused("purges may have been lost since it was asked for".to_owned()));
        }
        let Settings { compression, seal, .. } = &self.settings;
        let Encoded { entry: bytes, body } =
            entry.encode(node.reads.offset(), *compression, seal).map_err(|_| StoreError::TooLarge)?;
        let mut script = self.commit_script.prepare_invoke();
        script.key(&terms.names()).arg(&*nominated.bytes).arg(layout::field(&entry.variant)).arg(bytes);
        let tagged = entry.facts.etag.as_ref().map(|_| entry.body.len().to_string());
        script.arg(milliseconds(keep)).arg(MAX_VARIANTS).arg(tagged.unwrap_or_default());
        script.arg(&terms.proof()).arg(lease.unshared());
        script.arg(layout::digits(entry.epoch)).arg(body.as_ref().map_or(0, |_| TELLING));
        let mut kept = self.write(spot, &script).await?;
        // It is not there already.
        if let (Some(body), BODY_NEEDED) = (body, kept) {
            kept = self.write(spot, script.arg(&*body)).await?;
        }
        if kept <= 0 {
            lease.is_lost();
            return Err(StoreError::LeaseLost);
        }
        self.nominations.remember(terms.place().hash, Arc::new(nominated));
        lease.is_over();
        Ok(())
    }

    async fn write(&self, spot: Spot<'_>, script: &ScriptInvocation<'_>) -> Result<i64, StoreError> {
        self.writes.run(spot, LIMIT, async |mut connection| script.invoke_async(&mut connection).await).await
    }

    /// Deletes what was read, if it is still what is there. Nobody waits for it; if it fails, the
    /// next look-up tries again.
    pub(super) fn discard(self: &Arc<Self>, place: Place, field: String, seen: Bytes) {
        self.counters.found_corrupt();
        let store = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_room) = store.room(seen.len()) else { return };
            let spot = Spot::Of(place.hash);
            let mut script = store.discard_script.key(&place.name);
            script.arg(field).arg(&*seen);
            let outcome = store
                .writes
                .run(spot, LIMIT, async |mut connection| script.invoke_async::<()>(&mut connection).await)
                .await;
            store.tell(&outcome);
        });
    }

    /// Room for a write of so many bytes, now or not at all.
    fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, StoreError> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).map_err(|_| StoreError::TooLarge)?;
        self.room.try_acquire_many(kibibytes.max(1)).map_err(|_| StoreError::Overload)
    }

    /// Tells the log, now and then, that Redis answers but takes nothing.
    pub(super) fn tell<T>(&self, outcome: &Result<T, StoreError>) {
        let why = match outcome {
            Err(error @ (StoreError::Budget | StoreError::Refused(_))) => error,
            Ok(_)
            | Err(
                StoreError::Unavailable | StoreError::Overload | StoreError::LeaseLost | StoreError::TooLarge,
            ) => return,
        };
        if self.write_lines.lock().unwrap_or_else(PoisonError::into_inner).allows() {
            tracing::warn!(redis = %self.settings.address(), reason = %why, "Redis did not take a write");
        }
    }
}

fn milliseconds(keep: Duration) -> u64 {
    u64::try_from(keep.min(MAX_KEEP).as_millis()).unwrap_or(u64::MAX).max(1)
}
