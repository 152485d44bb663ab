//! Purges that mean it: Redis has them, and everybody who shares it has applied them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use redis::{aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, sleep};

use super::{
    Inner, RedisStore,
    announcement::{Announcement, Kind},
    cluster::{Slots, Spot},
    epochs::Epochs,
    heard::Heard,
    journal::{Act, eval},
    layout::{self, Place},
    membership::Renewal,
    roll::Roll,
    trust::BOUND,
};
use crate::{
    epoch::{Epoch, Mode},
    sabotage::Omission,
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
/// Rolls that are waited for until one of them is old enough: each next one is there because the last was lost.
const ROLLS: usize = 4;
/// Milliseconds to keep acknowledgements.
const ACKNOWLEDGED: u64 = 70_000;

/// The members, as a purge goes by them.
struct Rolls {
    /// As they were read first, and when.
    first: Roll,
    read: Instant,
    /// Once nobody else trusts its memory.
    whole: Roll,
}

impl Inner {
    pub(super) async fn purge(&self, purge: &Purge, wait: Wait) -> Result<Purged, StoreError> {
        let acts = self.acts(purge);
        let count = acts.len();
        let limit = match wait {
            Wait::Briefly => self.settings.budget,
            Wait::ForStore | Wait::ForFleet => LIMIT,
        };
        let connections = self.journal.connections();
        let Epochs { taken: epoch, before } = self.journal.enter(acts, wait, limit).await?;
        let applied = match wait {
            Wait::Briefly | Wait::ForStore => 1,
            Wait::ForFleet if Omission::Acknowledgement.is_made() => 1,
            Wait::ForFleet => self.applied_by_all(epoch, count).await?,
        };
        // Another one that has taken its place answers as well.
        if wait == Wait::ForFleet && self.journal.connections() != connections {
            return Err(lost("it was connected to anew"));
        }
        Ok(Purged { epoch, before, applied })
    }

    /// What is named twice is one act: all acknowledge it once.
    fn acts(&self, purge: &Purge) -> Vec<Act> {
        let (mode, mut named) = (purge.mode, HashSet::new());
        let resources = purge.resources.iter().map(|key| {
            let Place { hash, name } = Place::of(&self.settings.prefix, key);
            Act::Purge { hash, name: name.into(), mode }
        });
        let tags = purge.tags.iter().map(|tag| Act::PurgeTag { tag: *tag, mode });
        let stale = purge.stale.iter().map(|tag| Act::PurgeTag { tag: *tag, mode: Mode::Soft });
        resources.chain(tags).chain(stale).filter(|act| named.insert(act.what())).collect()
    }

    /// Waits until every member has applied so many purges of an epoch, or trusts its memory no more: it
    /// hears of a purge before of any later answer to what lets it trust it. How many have applied them.
    /// Who has written nothing since it began is struck off; who has may trust its memory again, and stays.
    async fn applied_by_all(&self, epoch: Epoch, count: usize) -> Result<usize, StoreError> {
        let since = Instant::now();
        let Rolls { first, read, whole } = self.whole_roll().await?;
        let mut missing = self.seen.complete(whole);
        missing.remove(&self.member.to_string());
        // Who has left says so.
        missing.retain(|_, written| !trust(written).is_zero());
        let (mut applied, mut pause) = (1, PAUSES.0);
        loop {
            let acknowledged = self.acknowledged(epoch).await;
            let failed = acknowledged.as_ref().err().map(ToString::to_string);
            match acknowledged {
                Ok(counts) => missing.retain(|member, _| {
                    let done = counts.get(member).is_some_and(|done| *done >= count);
                    applied += usize::from(done);
                    !done
                }),
                // They lapse all the same.
                Err(error) => tracing::debug!(%error, "cannot see who has applied a purge"),
            }
            if missing.values().all(|written| since.elapsed() > trust(written).saturating_add(MARGIN)) {
                // A Redis that is gone by now may have taken the purge with it.
                if let Some(error) = failed {
                    return Err(lost(&error));
                }
                // Those who have gone without a word are not waited for again.
                missing.retain(|_, written| read.elapsed() > trust(written));
                self.dismiss_silent(&first, &missing).await;
                return Ok(applied);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The members, once nobody who is not among them trusts its memory any more. They may have been lost since they
    /// renewed; who has not done so again by the time that a roll is as old as trust lasts has lapsed.
    async fn whole_roll(&self) -> Result<Rolls, StoreError> {
        let mut page = self.roll().await?;
        let (first, read) = (page.members.clone(), Instant::now());
        for _ in 0..ROLLS {
            let (left, made) = ((BOUND + MARGIN).saturating_sub(page.age()), page.made);
            if left.is_zero() {
                return Ok(Rolls { first, read, whole: page.members });
            }
            sleep(left).await;
            page = self.roll().await?;
            // The same one after so long a wait is old enough, whatever Redis' clock shows.
            if page.made == made {
                return Ok(Rolls { first, read, whole: page.members });
            }
        }
        Err(StoreError::Refused("the members of the fleet are lost again and again".to_owned()))
    }

    async fn acknowledged(&self, epoch: Epoch) -> Result<HashMap<String, usize>, StoreError> {
        let name = layout::acknowledgements(&self.settings.prefix, epoch);
        let read = async |mut connection: MultiplexedConnection| {
            cmd("HGETALL").arg(&name).query_async::<HashMap<String, usize>>(&mut connection).await
        };
        self.journal.links().run(Spot::Named(&name), LIMIT, read).await
    }

    /// Tells the one who waits for it how much of a purge is applied here.
    async fn acknowledge(&self, epoch: Epoch) {
        let name = layout::acknowledgements(&self.settings.prefix, epoch);
        let member = self.member.to_string();
        while let Some(count) = self.applied.take(epoch) {
            let mut script = eval(include_str!("acknowledge.lua"), &[&name]);
            script.arg(&member).arg(count).arg(ACKNOWLEDGED);
            let tell =
                async |mut connection: MultiplexedConnection| script.query_async::<()>(&mut connection).await;
            if let Err(error) = self.journal.links().run(Spot::Named(&name), LIMIT, tell).await {
                tracing::debug!(%error, "a purge was not acknowledged");
            }
        }
    }
}

/// What Redis had of a purge, it may not have any more.
fn lost(how: &str) -> StoreError {
    StoreError::Refused(format!("Redis was lost while others were waited for: {how}"))
}

/// For how long a member trusts its memory without a word from Redis.
fn trust(written: &str) -> Duration {
    Renewal::read(written).map_or(LONGEST_TRUST, |renewal| renewal.bound.min(LONGEST_TRUST))
}

/// What is heard of the fleet acts here once memory has obeyed it, and is acknowledged then.
impl Heard for RedisStore {
    fn changed(&self, hash: u128) {
        self.0.leases.wakes().wake(hash);
    }

    fn announced(&self, told: Announcement) {
        let inner = &self.0;
        inner.purges.note_told(told.epoch);
        match told.kind {
            Kind::Resource => inner.purges.purge_resource(told.what, told.mode, told.epoch),
            Kind::Tag => inner.purges.purge_tag(Tag::from_bits(told.what), told.mode, told.epoch),
        }
        inner.leases.wakes().wake(told.what);
        if told.wait && inner.applied.add(told.epoch) {
            let store = Arc::clone(inner);
            tokio::spawn(async move { store.acknowledge(told.epoch).await });
        }
    }

    fn emptied(&self) {
        self.0.purges.miss();
        self.0.leases.wakes().wake_all();
    }

    fn moved(&self, slots: &Slots) {
        self.0.records.moved(slots);
    }

    fn renewed(&self, epoch: Option<Epoch>) {
        epoch.into_iter().for_each(|epoch| self.0.purges.catch_up(epoch));
    }
}
