//! Purges that mean it: Redis has them, and everybody who shares it has applied them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, sleep};

use super::{
    Inner, RedisStore,
    announcement::{Announcement, Kind},
    heard::Heard,
    journal::{Act, eval},
    layout::{self, Place},
};
use crate::{
    epoch::Epoch,
    store::{Purge, Purged, StoreError, Wait},
    tags::Tag,
};

/// For an answer of Redis that an operator waits for.
const LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at who has applied a purge: the first pause, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));
/// How much longer than it trusts its memory a member is waited for.
const MARGIN: Duration = Duration::from_millis(100);
/// The longest that a member is believed to trust its memory.
const LONGEST_TRUST: Duration = Duration::from_secs(60);
/// Milliseconds to keep acknowledgements.
const ACKNOWLEDGED: u64 = 70_000;
/// Members that are read.
const MEMBERS: usize = 10_000;

/// A process that shares this Redis, and for how long it trusts its memory without a word from Redis.
type Members = HashMap<String, Duration>;

impl Inner {
    pub(super) async fn purge(&self, purge: &Purge, wait: Wait) -> Result<Purged, StoreError> {
        let acts = self.acts(purge);
        let count = acts.len();
        let limit = match wait {
            Wait::ForStore => self.settings.budget,
            Wait::ForFleet => LIMIT,
        };
        let epoch = self.journal.enter(acts, wait, limit).await?;
        let applied = match wait {
            Wait::ForStore => 1,
            Wait::ForFleet => self.applied_by_all(epoch, count).await?,
        };
        Ok(Purged { epoch, applied })
    }

    fn acts(&self, purge: &Purge) -> Vec<Act> {
        let mode = purge.mode;
        let resources = purge.resources.iter().map(|key| {
            let Place { hash, name } = Place::of(&self.settings.prefix, key);
            Act::Purge { hash, name: name.into(), mode }
        });
        let tags = purge.tags.iter().map(|tag| Act::PurgeTag { tag: *tag, mode });
        resources.chain(tags).collect()
    }

    /// Waits until every member has applied so many purges of an epoch, or trusts its memory no more: it
    /// hears of a purge before of any later answer to what lets it trust it. How many have applied them.
    async fn applied_by_all(&self, epoch: Epoch, count: usize) -> Result<usize, StoreError> {
        let since = Instant::now();
        let mut missing = self.members().await?;
        missing.remove(&self.member.to_string());
        let (mut applied, mut pause) = (1, PAUSES.0);
        loop {
            match self.acknowledged(epoch).await {
                Ok(counts) => missing.retain(|member, _| {
                    let done = counts.get(member).is_some_and(|done| *done >= count);
                    applied += usize::from(done);
                    !done
                }),
                // They lapse all the same.
                Err(error) => tracing::debug!(%error, "cannot see who has applied a purge"),
            }
            let lapsed = |trust: &Duration| since.elapsed() > trust.saturating_add(MARGIN);
            if missing.values().all(lapsed) {
                self.forget(missing).await;
                return Ok(applied);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn members(&self) -> Result<Members, StoreError> {
        let name = layout::members(&self.settings.prefix);
        let read = async |mut connection: MultiplexedConnection| {
            cmd("HGETALL").arg(&name).query_async::<Vec<(String, u64)>>(&mut connection).await
        };
        let members = self.journal.link().run(LIMIT, read).await?;
        let bound = |millis| Duration::from_millis(millis).min(LONGEST_TRUST);
        Ok(members.into_iter().take(MEMBERS).map(|(member, millis)| (member, bound(millis))).collect())
    }

    async fn acknowledged(&self, epoch: Epoch) -> Result<HashMap<String, usize>, StoreError> {
        let name = layout::acknowledgements(&self.settings.prefix, epoch);
        let read = async |mut connection: MultiplexedConnection| {
            cmd("HGETALL").arg(&name).query_async::<HashMap<String, usize>>(&mut connection).await
        };
        self.journal.link().run(LIMIT, read).await
    }

    /// Those who have gone without a word are not waited for again. One that comes back says so.
    async fn forget(&self, lapsed: Members) {
        if lapsed.is_empty() {
            return;
        }
        let members: Vec<_> = lapsed.into_keys().collect();
        tracing::info!(members = %members.join(" "), "did not acknowledge a purge: gone, or cut off from Redis");
        let name = layout::members(&self.settings.prefix);
        let forget = async |mut connection: MultiplexedConnection| {
            cmd("HDEL").arg(&name).arg(&members).query_async::<()>(&mut connection).await
        };
        if let Err(error) = self.journal.link().run(LIMIT, forget).await {
            tracing::debug!(%error, "members that have gone were not forgotten");
        }
    }

    /// Tells the one who waits for it that a purge is applied here.
    pub(super) async fn acknowledge(&self, epoch: Epoch) {
        let name = layout::acknowledgements(&self.settings.prefix, epoch);
        let tell = async |mut connection: MultiplexedConnection| {
            let mut script = eval(include_str!("acknowledge.lua"), &[&name]);
            script.arg(self.member.to_string()).arg(ACKNOWLEDGED).query_async::<()>(&mut connection).await
        };
        if let Err(error) = self.journal.link().run(LIMIT, tell).await {
            tracing::debug!(%error, "a purge was not acknowledged");
        }
    }
}

/// What is heard of the fleet acts here once memory has obeyed it, and is acknowledged then.
impl Heard for RedisStore {
    fn changed(&self, hash: u128) {
        self.0.leases.wakes().wake(hash);
    }

    fn announced(&self, told: Announcement) {
        let inner = &self.0;
        if !inner.echoes.is_new(told) {
            return;
        }
        match told.kind {
            Kind::Resource => inner.purges.purge_resource(told.what, told.mode, told.epoch),
            Kind::Tag => inner.purges.purge_tag(Tag::from_bits(told.what), told.mode, told.epoch),
        }
        inner.leases.wakes().wake(told.what);
        if told.wait {
            let store = Arc::clone(inner);
            tokio::spawn(async move { store.acknowledge(told.epoch).await });
        }
    }

    fn emptied(&self) {
        self.0.leases.wakes().wake_all();
    }

    fn renewed(&self, epoch: Option<Epoch>) {
        epoch.into_iter().for_each(|epoch| self.0.purges.catch_up(epoch));
    }
}
