//! The Redis tier: stored responses shared by the fleet.
//!
//! Redis is a guest that may be slow, full, gone or lying. It gets its budget of each request and no
//! more; whatever goes wrong is a miss, a counter, and now and then a line in the log. What is read
//! is checked before it is believed.
//!
//! | file | what lives there |
//! |---|---|
//! | `settings` | which Redis |
//! | `layout` | names of keys and fields |
//! | `link` | a supervised connection; `probe`, `breaker` and `condition` are its parts |
//! | `lookup`, `nominations`, `tagged` | reading |
//! | `write`, `commit.lua`, `discard.lua` | writing |
//! | `removals` | removing, and what is not served until Redis has done so |
//! | `counters` | what came of it |
//! | `tracking`, `pushes`, `heard` | hearing of what changes; `trust` is for how long that may be believed |
//! | `membership`, `announcement` | what the fleet tells itself |
//!
//! The least that a Redis user must be allowed, for a prefix `app`: `~app:* +hello +time +hmget` to read,
//! `+eval +evalsha +script|load +type +hkeys +hget +hset +hdel +pexpire +unlink` to write, and
//! `+client|tracking +get` to hear of changes. One who may only read serves hits.

mod announcement;
mod breaker;
mod condition;
mod counters;
mod heard;
mod layout;
mod link;
mod lookup;
mod membership;
mod nominations;
mod probe;
mod pushes;
mod removals;
mod settings;
mod tagged;
mod tracking;
mod trust;
mod write;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::Script;
use tokio::sync::Semaphore;

pub use self::write::LARGEST_BODY;
pub use self::{
    announcement::{Announcement, Kind, Mode},
    condition::Health,
    counters::{BreakerState, Stats, Waits},
    heard::Heard,
    membership::Member,
    pushes::Pushes,
    settings::{Settings, SettingsError, install_crypto_provider},
    tracking::{Condition as TrackingCondition, Tracking},
    trust::{BOUND, Session},
};
use self::{
    condition::Throttle,
    counters::Counters,
    layout::Place,
    link::{Link, Role},
    nominations::Nominations,
    removals::Removals,
};
use super::{Lookup, Selector, Store, StoreError};
use crate::{clock::Clock, key::ResourceKey, stored::Stored};

/// A store in Redis. Clones share it; with the last of them its connections go.
#[derive(Clone, Debug)]
pub struct RedisStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    reads: Link,
    writes: Link,
    removals: Removals,
    nominations: Nominations,
    counters: Counters,
    commit_script: Script,
    discard_script: Script,
    /// Of what is being written, in KiB.
    room: Semaphore,
    write_lines: Mutex<Throttle>,
}

impl RedisStore {
    /// Starts to connect, on the current tokio runtime, and goes on trying for as long as the store
    /// lives: Redis need not be there yet. `clock` is ours; entries carry Redis' own time.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings, clock: Clock) -> Self {
        install_crypto_provider();
        Self(Arc::new(Inner {
            reads: Link::start(Role::Reads, settings.clone(), clock.clone()),
            writes: Link::start(Role::Writes, settings.clone(), clock.clone()),
            removals: Removals::start(&settings, clock),
            settings,
            nominations: Nominations::new(),
            counters: Counters::default(),
            commit_script: Script::new(include_str!("commit.lua")),
            discard_script: Script::new(include_str!("discard.lua")),
            room: Semaphore::new(write::ROOM),
            write_lines: Mutex::new(Throttle::new()),
        }))
    }

    /// Whether look-ups are served. That writes are refused does not show here, but in the log and
    /// in [`Stats::dropped_writes`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.reads.condition().health()
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = |link: &Link| match link.is_held_back() {
            true => BreakerState::Open,
            false => BreakerState::Closed,
        };
        self.0.counters.stats(state(&self.0.reads), state(&self.0.writes))
    }

    /// What a request waits for Redis in all.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.0.settings.budget
    }

    /// [`Store::lookup`], in what is left of a request's budget.
    ///
    /// # Errors
    /// [`StoreError`], after `budget` at the latest.
    pub async fn lookup_within(
        &self,
        budget: Duration,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> Result<Lookup, StoreError> {
        let outcome = self.0.look_up(budget, key, selector).await;
        self.0.counters.looked_up(&outcome);
        outcome
    }

    /// Counts what one request has waited for Redis in all.
    pub fn waited_for(&self, time: Duration) {
        self.0.counters.waited(time);
    }

    /// Whether a look-up would be tried now.
    #[must_use]
    pub fn takes_reads(&self) -> bool {
        self.0.reads.is_ready()
    }

    /// Whether a commit and a removal would be tried now.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.0.writes.is_ready() && self.0.removals.is_ready()
    }
}

impl Store for RedisStore {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        self.lookup_within(self.budget(), key, selector).await
    }

    /// Takes up to a second when Redis is slow: to be spawned, not awaited, by whoever serves.
    async fn commit(&self, key: &ResourceKey, entry: Arc<Stored>, keep: Duration) -> Result<(), StoreError> {
        let outcome = self.0.commit(key, &entry, keep).await;
        self.0.counters.committed(&outcome);
        self.0.tell(&outcome);
        outcome
    }

    async fn tagged(&self, key: &ResourceKey, within: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        self.0.tagged(within, key).await
    }

    /// Whatever comes of it, look-ups of this store find no more what was there before.
    async fn remove(&self, keys: &[ResourceKey]) -> Result<(), StoreError> {
        let places = keys.iter().map(|key| Place::of(&self.0.settings.prefix, key)).collect();
        let outcome = self.0.removals.remove(places, self.0.reads.now()).await;
        self.0.tell(&outcome);
        outcome
    }
}
