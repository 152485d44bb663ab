//! One look-up: one round trip as a rule, two when other fields are nominated than we knew of.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::time::Instant;

use super::{
    Inner,
    layout::{self, MARKED, NOMINATED, Nominated, Place},
    write::MAX_ENTRY,
};
use crate::{
    epoch::Epoch,
    key::{ResourceKey, VariantKey},
    purges::{Mark, Standing},
    store::{Lookup, Selector, StoreError},
    stored::{Corrupt, Stored},
};

/// What Redis had to say.
enum Read {
    Nothing,
    /// Not the one that is asked for.
    OtherVariants(Arc<Nominated>),
    Entry {
        nominated: Arc<Nominated>,
        variant: VariantKey,
        /// The epoch of the last soft purge.
        marked: Epoch,
        bytes: Vec<u8>,
    },
    /// Not ours, or damaged: the field, and what it held.
    Unfit(String, Vec<u8>),
}

/// What one command brought.
enum Fields {
    OfHash { names: Option<Vec<u8>>, marked: Option<Vec<u8>>, entry: Option<Vec<u8>> },
    OtherType,
}

impl Inner {
    pub(super) async fn look_up(
        self: &Arc<Self>,
        budget: Duration,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        let place = Place::of(&self.settings.prefix, key);
        // Before Redis is asked: if it is removed while we wait, we may have read it before that.
        if self.journal.awaits(place.hash) {
            return Ok(Lookup::Nothing);
        }
        let (hash, known) = (place.hash, self.nominations.get(place.hash));
        let (begun, session) = (Instant::now(), self.session());
        let read = self
            .reads
            .run(budget, |connection| read(connection, &place.name, selector, known))
            .await
            .map_err(|error| match error {
                StoreError::Overload => StoreError::Unavailable,
                other => other,
            })?;
        let marked = match read {
            Read::Entry { marked, .. } => Mark { hard: Epoch::FIRST, soft: marked },
            _ => Mark::default(),
        };
        match self.judge(key, place, read) {
            Lookup::Found(stored) => {
                let left = budget.saturating_sub(begun.elapsed());
                let standing = self.standing(&stored, session, left).await?;
                let undone = self.undone(hash, stored.epoch);
                Ok(match standing.and(marked.leaves(stored.epoch)).and(undone) {
                    Standing::Valid => Lookup::Found(stored),
                    Standing::Stale(epoch) => Lookup::Marked(stored, self.reads.offset().here(epoch.time())),
                    Standing::Purged => Lookup::Nothing,
                })
            }
            other => Ok(other),
        }
    }

    /// Trusts nothing that was read.
    fn judge(self: &Arc<Self>, key: &ResourceKey, place: Place, read: Read) -> Lookup {
        match read {
            Read::Nothing => Lookup::Nothing,
            Read::OtherVariants(nominated) => {
                let names = nominated.names.clone();
                self.nominations.remember(place.hash, nominated);
                Lookup::OtherVariants(names)
            }
            Read::Entry { nominated, variant, bytes, .. } => {
                self.nominations.remember(place.hash, nominated);
                self.admit(key, place, &variant, bytes.into())
            }
            Read::Unfit(field, bytes) => {
                self.discard(place, field, bytes.into());
                Lookup::Nothing
            }
        }
    }

    fn admit(
        self: &Arc<Self>,
        key: &ResourceKey,
        place: Place,
        variant: &VariantKey,
        bytes: Bytes,
    ) -> Lookup {
        let offset = self.reads.offset();
        let decoded = match bytes.len() {
            0..=MAX_ENTRY => Stored::decode(&bytes, offset),
            _ => Err(Corrupt::Length),
        };
        match decoded {
            Ok(stored) if stored.key == key.as_bytes() && stored.variant == *variant => {
                Lookup::Found(Arc::new(stored))
            }
            // Of another request: two with one hash, or somebody renamed a key. The next commit
            // takes its place.
            Ok(_) => {
                self.counters.found_corrupt();
                Lookup::Nothing
            }
            Err(_) => {
                self.discard(place, layout::field(variant), bytes);
                Lookup::Nothing
            }
        }
    }
}

async fn read(
    mut connection: MultiplexedConnection,
    name: &str,
    selector: &Selector<'_>,
    known: Arc<Nominated>,
) -> RedisResult<Read> {
    let mut nominated = known;
    for _ in 0..2 {
        let variant = selector.variant(&nominated.names);
        let field = layout::field(&variant);
        let Fields::OfHash { names, marked, entry } = fields(&mut connection, name, &field).await? else {
            return Ok(Read::Unfit(NOMINATED.to_owned(), Vec::new()));
        };
        let Some(names) = names else { return Ok(Read::Nothing) };
        if *names == *nominated.bytes {
            return Ok(match entry {
                Some(bytes) => {
                    let marked = marked.and_then(|digits| layout::epoch_of(&digits)).unwrap_or_default();
                    Read::Entry { nominated, variant, marked, bytes }
                }
                None => Read::OtherVariants(nominated),
            });
        }
        match Nominated::parse(&names) {
            Some(now) => nominated = Arc::new(now),
            None => return Ok(Read::Unfit(NOMINATED.to_owned(), names)),
        }
    }
    // They changed once more while we asked.
    Ok(Read::OtherVariants(nominated))
}

async fn fields(connection: &mut MultiplexedConnection, name: &str, field: &str) -> RedisResult<Fields> {
    let Some(values) = values(connection, name, &[NOMINATED, MARKED, field]).await? else {
        return Ok(Fields::OtherType);
    };
    let mut values = values.into_iter();
    let mut next = || values.next().flatten();
    Ok(Fields::OfHash { names: next(), marked: next(), entry: next() })
}

/// What these fields of a hash hold; nothing for what is no hash.
pub(super) async fn values(
    connection: &mut MultiplexedConnection,
    name: &str,
    fields: &[&str],
) -> RedisResult<Option<Vec<Option<Vec<u8>>>>> {
    match cmd("HMGET").arg(name).arg(fields).query_async::<Value>(connection).await {
        Ok(Value::Array(values)) => {
            let bytes = values.into_iter().map(|value| match value {
                Value::BulkString(bytes) => Some(bytes),
                _ => None,
            });
            Ok(Some(bytes.collect()))
        }
        Ok(_) => Ok(None),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        Err(error) => Err(error),
    }
}
