//! One look-up: one round trip as a rule, two when other fields are nominated than we knew of, and another for
//! a body that is apart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::time::Instant;

use super::{
    Inner,
    cluster::{Node, Spot},
    layout::{self, MARKED, NOMINATED, Nominated, Place},
};
use crate::{
    epoch::Epoch,
    key::{ResourceKey, VariantKey},
    purges::{Mark, Standing},
    store::{Lookup, Selector, StoreError},
    stored::{Apart, Corrupt, Entry, LONGEST_ENTRY, Stored},
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

/// What is asked.
struct Question<'q> {
    key: &'q ResourceKey,
    place: Place,
    selector: &'q Selector<'q>,
    /// Since when, and for how long.
    begun: Instant,
    budget: Duration,
}

impl Question<'_> {
    fn left(&self) -> Duration {
        self.budget.saturating_sub(self.begun.elapsed())
    }
}

/// What an answer is worth.
enum Judged {
    Settled(Lookup),
    /// Without the body, and as it was read.
    Apart(Box<Apart>, Bytes),
}

/// What there is.
enum Found {
    /// With the epoch of the last soft purge, if it is a response, and whose answer it is.
    Settled(Lookup, Mark, Option<Arc<Node>>),
    /// An entry, the field that holds it, and something else in place of its body.
    Torn(String, Bytes),
}

impl Inner {
    pub(super) async fn look_up(
        self: &Arc<Self>,
        budget: Duration,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        let place = Place::of(&self.settings.prefix, key);
        let hash = place.hash;
        let question = Question { key, place, selector, begun: Instant::now(), budget };
        let found = match self.find(&question).await? {
            // A commit came between the entry and its body, or the body is damaged.
            Found::Torn(..) if question.left().is_zero() => return Err(StoreError::Budget),
            Found::Torn(..) => self.find(&question).await?,
            found => found,
        };
        match found {
            Found::Torn(field, entry) => {
                self.discard(question.place, field, entry);
                Ok(Lookup::Nothing)
            }
            Found::Settled(Lookup::Found(stored), marked, Some(node)) => {
                let standing = self.standing(&stored, question.left()).await?;
                let undone = self.undone(&node, hash, stored.epoch);
                Ok(match standing.and(marked.leaves(stored.epoch)).and(undone) {
                    Standing::Valid => Lookup::Found(stored),
                    Standing::Stale(epoch) => Lookup::Marked(stored, node.reads.offset().here(epoch.time())),
                    Standing::Purged => Lookup::Nothing,
                })
            }
            Found::Settled(lookup, ..) => Ok(lookup),
        }
    }

    async fn find(self: &Arc<Self>, question: &Question<'_>) -> Result<Found, StoreError> {
        let Question { key, place, selector, .. } = question;
        // Before Redis is asked: if it is removed while we wait, we may have read it before that.
        if self.journal.awaits(place.hash) {
            return Ok(Found::Settled(Lookup::Nothing, Mark::default(), None));
        }
        let known = self.nominations.get(place.hash);
        let ask = |connection| read(connection, &place.name, selector, Arc::clone(&known));
        let (read, node) =
            self.reads.run_at(Spot::Of(place.hash), question.left(), ask).await.map_err(refused)?;
        let marked = match read {
            Read::Entry { marked, .. } => Mark { hard: Epoch::FIRST, soft: marked },
            _ => Mark::default(),
        };
        let (apart, entry) = match self.judge(key, place, read) {
            Judged::Settled(lookup) => return Ok(Found::Settled(lookup, marked, Some(node))),
            Judged::Apart(apart, entry) => (apart, entry),
        };
        let field = layout::field(&apart.stored().variant);
        let joined = self.bodies.join(place, vec![*apart], question.left()).await.map_err(refused)?;
        Ok(match joined.into_iter().next().flatten() {
            Some(stored) => Found::Settled(Lookup::Found(Arc::new(stored)), marked, Some(node)),
            None => Found::Torn(field, entry),
        })
    }

    /// Trusts nothing that was read.
    fn judge(self: &Arc<Self>, key: &ResourceKey, place: &Place, read: Read) -> Judged {
        Judged::Settled(match read {
            Read::Nothing => Lookup::Nothing,
            Read::OtherVariants(nominated) => {
                let names = nominated.names.clone();
                self.nominations.remember(place.hash, nominated);
                Lookup::OtherVariants(names)
            }
            Read::Entry { nominated, variant, bytes, .. } => {
                self.nominations.remember(place.hash, nominated);
                return self.admit(key, place, &variant, bytes.into());
            }
            Read::Unfit(field, bytes) => {
                self.discard(place.clone(), field, bytes.into());
                Lookup::Nothing
            }
        })
    }

    fn admit(
        self: &Arc<Self>,
        key: &ResourceKey,
        place: &Place,
        variant: &VariantKey,
        bytes: Bytes,
    ) -> Judged {
        let offset = self.offset(place.hash);
        let decoded = match bytes.len() {
            0..=LONGEST_ENTRY => Stored::decode(&bytes, offset, &self.settings.seal),
            _ => Err(Corrupt::Length),
        };
        let is_it = |stored: &Stored| stored.key == key.as_bytes() && stored.variant == *variant;
        match decoded {
            Ok(Entry::Whole(stored)) if is_it(&stored) => {
                return Judged::Settled(Lookup::Found(Arc::new(stored)));
            }
            Ok(Entry::Apart(apart)) if is_it(apart.stored()) => return Judged::Apart(Box::new(apart), bytes),
            // Of another request: two with one hash, or somebody renamed a key; or for others to read.
            // The next commit takes its place.
            Ok(_) | Err(Corrupt::Foreign) => self.counters.found_corrupt(),
            Err(_) => self.discard(place.clone(), layout::field(variant), bytes),
        }
        Judged::Settled(Lookup::Nothing)
    }
}

/// One more than may be on their way is as none.
fn refused(error: StoreError) -> StoreError {
    match error {
        StoreError::Overload => StoreError::Unavailable,
        other => other,
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
