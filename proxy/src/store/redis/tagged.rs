//! The variants of a resource, and those that have an entity tag: two round trips, one where there are none, and another
//! for bodies that are apart.

use std::{sync::Arc, time::Duration};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::{
    Inner,
    cluster::Spot,
    layout::{self, INDEX, Place},
    lookup::values,
};
use crate::{
    key::ResourceKey,
    purges::Standing,
    store::{StoreError, within_reach},
    stored::{Entry, LONGEST_ENTRY, Stored},
};

/// A field, and what it holds.
type Field = (String, Vec<u8>);

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
        let begun = Instant::now();
        let ask = |connection| read(connection, &place.name);
        let (fields, node) = self.reads.run_at(Spot::Of(place.hash), within, ask).await?;
        let sound: Vec<_> = fields.into_iter().filter_map(|field| self.sound(key, field)).collect();
        let stored = self.whole(&place, sound, within.saturating_sub(begun.elapsed())).await;
        let mut valid = Vec::new();
        for stored in stored {
            let standing = self.standing(&stored, within.saturating_sub(begun.elapsed())).await?;
            if standing.and(self.undone(&node, place.hash, stored.epoch)) != Standing::Purged {
                valid.push(Arc::new(stored));
            }
        }
        Ok(valid)
    }

    /// How many variants there are, whether they have a tag or not.
    pub(super) async fn variants(&self, within: Duration, key: &ResourceKey) -> Result<usize, StoreError> {
        let place = Place::of(&self.settings.prefix, key);
        let ask = async |mut connection| index(&mut connection, &place.name).await;
        let (index, _) = self.reads.run_at(Spot::Of(place.hash), within, ask).await?;
        Ok(layout::variants(&index))
    }

    /// Trusts nothing that was read. What is damaged is left to the look-up that finds it.
    fn sound(&self, key: &ResourceKey, (field, bytes): Field) -> Option<Entry> {
        let offset = self.offset(key.wide_hash());
        let entry = (bytes.len() <= LONGEST_ENTRY)
            .then(|| Stored::decode(&bytes.into(), offset, &self.settings.seal).ok())??;
        let stored = entry.stored();
        let ours = stored.key == key.as_bytes() && layout::field(&stored.variant) == field;
        let purged = self.purges.judge(&stored.tags, stored.epoch) == Standing::Purged;
        (ours && !purged).then_some(entry)
    }

    /// These with their bodies. Those whose bodies do not come in time are missing: they spare the origin work,
    /// and nobody is owed them.
    async fn whole(&self, place: &Place, entries: Vec<Entry>, within: Duration) -> Vec<Stored> {
        let (mut all, mut apart) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Whole(stored) => all.push(Some(stored)),
                Entry::Apart(one) => {
                    all.push(None);
                    apart.push(one);
                }
            }
        }
        let joined = self.bodies.join(place, apart, within).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the bodies of stored variants did not come");
            Vec::new()
        });
        let mut joined = joined.into_iter();
        all.into_iter().filter_map(|stored| stored.or_else(|| joined.next().flatten())).collect()
    }
}

/// The list of a resource's variants.
async fn index(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<Vec<u8>> {
    let index = values(connection, name, &[INDEX]).await?;
    Ok(index.and_then(|values| values.into_iter().next()).flatten().unwrap_or_default())
}

/// A variant that goes between the two answers is missing from the second.
async fn read(mut connection: MultiplexedConnection, name: &str) -> RedisResult<Vec<Field>> {
    let index = index(&mut connection, name).await?;
    let fields: Vec<_> = within_reach(layout::tagged(&index)).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let entries = values(&mut connection, name, &fields).await?.unwrap_or_default();
    let all = fields.into_iter().map(str::to_owned).zip(entries);
    Ok(all.filter_map(|(field, bytes)| Some((field, bytes?))).collect())
}
