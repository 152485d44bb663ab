//! The variants of a resource that have an entity tag: two round trips, one where there are none.

use std::{sync::Arc, time::Duration};

use redis::{RedisResult, aio::MultiplexedConnection};

use super::{
    Inner,
    layout::{self, INDEX, Place},
    lookup::values,
    write::MAX_ENTRY,
};
use crate::{
    key::ResourceKey,
    purges::Standing,
    store::{StoreError, within_reach},
    stored::Stored,
};

/// A field, and what it holds.
type Entry = (String, Vec<u8>);

impl Inner {
    pub(super) async fn tagged(
        &self,
        within: Duration,
        key: &ResourceKey,
    ) -> Result<Vec<Arc<Stored>>, StoreError> {
        if within.is_zero() {
            return Err(StoreError::Budget);
        }
        let place = Place::of(&self.settings.prefix, key);
        // Before Redis is asked, as a look-up does.
        if self.journal.awaits(place.hash) {
            return Ok(Vec::new());
        }
        let entries = self.reads.run(within, |connection| read(connection, &place.name)).await?;
        let undone = |stored: &Stored| self.undone(place.hash, stored.epoch) == Standing::Purged;
        let sound = entries.into_iter().filter_map(|entry| self.sound(key, entry));
        Ok(sound.filter(|stored| !undone(stored)).map(Arc::new).collect())
    }

    /// Trusts nothing that was read. What is damaged is left to the look-up that finds it.
    fn sound(&self, key: &ResourceKey, (field, bytes): Entry) -> Option<Stored> {
        let offset = self.reads.offset();
        let stored = (bytes.len() <= MAX_ENTRY).then(|| Stored::decode(&bytes.into(), offset).ok())??;
        let ours = stored.key == key.as_bytes() && layout::field(&stored.variant) == field;
        let purged = self.purges.judge(&stored.tags, stored.epoch) == Standing::Purged;
        (ours && !purged).then_some(stored)
    }
}

/// A variant that goes between the two answers is missing from the second.
async fn read(mut connection: MultiplexedConnection, name: &str) -> RedisResult<Vec<Entry>> {
    let index = values(&mut connection, name, &[INDEX]).await?;
    let index = index.and_then(|values| values.into_iter().next()).flatten().unwrap_or_default();
    let fields: Vec<_> = within_reach(layout::tagged(&index)).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let entries = values(&mut connection, name, &fields).await?.unwrap_or_default();
    let all = fields.into_iter().map(str::to_owned).zip(entries);
    Ok(all.filter_map(|(field, bytes)| Some((field, bytes?))).collect())
}
