//! The Redis tier: stored responses shared by the fleet.
//!
//! Redis is a guest that may be slow, full, gone or lying. It gets its budget of each request and no
//! more; whatever goes wrong is a miss, a counter, and now and then a line in the log. What is read
//! is checked before it is believed.
//!
//! | file | what lives there |
//! |---|---|
//! | `settings` | which Redis |
//! | `dialer`, `sentinels`, `credentials` | where it is now, and what lets us in |
//! | `cluster` | which nodes share the keys: one, or those of a cluster |
//! | `layout` | names of keys and fields |
//! | `link` | a supervised connection; `probe`, `breaker` and `condition` are its parts |
//! | `lookup`, `nominations`, `bodies`, `tagged` | reading |
//! | `write`, `commit.lua`, `discard.lua` | writing |
//! | `journal`, `epochs`, `purging`, `applied`, `announcement` | purging, and what is not served until Redis has done so |
//! | `doubt` | what of that Redis may have lost |
//! | `unheard` | purges that nobody tells of |
//! | `records`, `warm` | what has been purged by tag |
//! | `lease`, `claim.lua`, `renew.lua`, `release.lua` | who may write |
//! | `wakes` | who waits for a change |
//! | `manners` | how much of a Redis that is shared we take |
//! | `counters` | what came of it |
//! | `tracking`, `pushes`, `heard` | hearing of what changes; `trust` is for how long that may be believed |
//! | `membership`, `roll`, `seen`, `announcement` | what the fleet tells itself |
//!
//! The least that a Redis user must be allowed, for a prefix `app`: `~app:* +hello +time +hmget +get +pttl`
//! to read, `+eval +evalsha +script|load +type +hkeys +hlen +hget +hset +hdel +pexpire +unlink +set +hgetall`
//! to write, and `+client|tracking` to hear of changes. One who may only read serves hits.
//!
//! With sentinels it needs `+role` too, in a cluster `+cluster|slots`.

mod announcement;
mod applied;
mod bodies;
mod breaker;
mod cluster;
mod condition;
mod counters;
mod credentials;
mod dialer;
mod doubt;
mod echoes;
mod epochs;
mod heard;
mod journal;
mod layout;
mod lease;
mod link;
mod lookup;
mod manners;
mod membership;
mod nominations;
mod probe;
mod purging;
mod pushes;
mod records;
mod roll;
mod seen;
mod sentinels;
mod settings;
mod tagged;
mod tracking;
mod trust;
mod unheard;
mod wakes;
mod warm;
mod write;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use redis::Script;
use tokio::sync::Semaphore;

pub use self::write::LARGEST_BODY;
pub use self::{
    announcement::{Announcement, Kind},
    cluster::Slots,
    condition::Health,
    counters::{BreakerState, Stats, Waits},
    credentials::FileError,
    heard::Heard,
    lease::{Lease, LeaseStats, Waiting},
    manners::Room,
    membership::Member,
    pushes::Pushes,
    settings::{Settings, SettingsError, install_crypto_provider},
    tracking::{Condition as TrackingCondition, Silence, Tracking},
    trust::{BOUND, Session},
};
use self::{
    applied::Applied,
    bodies::Bodies,
    cluster::{Links, Node, Nodes, Spot},
    condition::Throttle,
    counters::Counters,
    epochs::Epochs,
    journal::Journal,
    lease::Leases,
    link::{Link, Role},
    nominations::Nominations,
    records::Records,
    seen::Seen,
    unheard::Asked,
};
use super::{Claim, Claimant, Lookup, Purge, Purged, Selector, Store, StoreError, Wait};
use crate::{
    clock::{Clock, Offset},
    epoch::Epoch,
    key::{ResourceKey, VariantKey},
    purges::{Purges, Standing},
    stored::Stored,
    tags::Tag,
};

/// A store in Redis. Clones share it; with the last of them its connections go.
#[derive(Clone, Debug)]
pub struct RedisStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    nodes: Arc<Nodes>,
    reads: Links,
    bodies: Bodies,
    writes: Links,
    journal: Journal,
    records: Records,
    /// What the other members call this one.
    member: Member,
    /// Who was on the roll lately.
    seen: Seen,
    /// What is to be acknowledged.
    applied: Applied,
    /// Where nobody tells what is purged.
    asked: Asked,
    leases: Arc<Leases>,
    nominations: Nominations,
    purges: Arc<Purges>,
    counters: Counters,
    commit_script: Script,
    discard_script: Script,
    /// Of what is being written, in KiB.
    room: Semaphore,
    write_lines: Mutex<Throttle>,
}

impl Inner {
    /// What is left of a resource that was just read, if the node it was read from has lost what another
    /// had acknowledged. The journal makes up for that, but not at once, and for its own purges alone.
    fn undone(&self, node: &Node, hash: u128, epoch: Epoch) -> Standing {
        let undone = self.purges.judge_undone(hash, epoch, node.in_doubt(self.purges.epoch()));
        undone.and(self.journal.lost(hash).leaves(epoch))
    }

    /// The session in which every purge is heard of: of the resource of that hash, or of the tag of these bits.
    fn session(&self, of: u128) -> Option<Session> {
        self.nodes.view().session(|| Spot::Of(of))
    }

    /// How far the clock is from ours by which a resource is stored.
    fn offset(&self, hash: u128) -> Offset {
        self.nodes.view().owner(|| Spot::Of(hash)).map_or(Offset::NONE, |node| node.reads.offset())
    }
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
        let purges = Arc::<Purges>::default();
        let nodes = Nodes::start(&settings, clock);
        let inner = Arc::new(Inner {
            journal: Journal::start(&nodes, Arc::clone(&purges)),
            reads: Links::new(&nodes, Role::Reads),
            bodies: Bodies::new(&nodes),
            writes: Links::new(&nodes, Role::Writes),
            records: Records::new(),
            member: Member::new(),
            seen: Seen::default(),
            applied: Applied::default(),
            asked: Asked::default(),
            leases: Leases::new(&nodes),
            nodes,
            settings,
            nominations: Nominations::new(),
            purges,
            counters: Counters::default(),
            commit_script: Script::new(include_str!("commit.lua")),
            discard_script: Script::new(include_str!("discard.lua")),
            room: Semaphore::new(write::ROOM),
            write_lines: Mutex::new(Throttle::new()),
        });
        tokio::spawn(manners::watch(Arc::downgrade(&inner)));
        tokio::spawn(warm::keep(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Whether all look-ups are served. That writes are refused does not show here, but in the log and
    /// in [`Stats::dropped_writes`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.nodes.health()
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = |link: fn(&Node) -> &Link| match self.0.nodes.any_held_back(link) {
            true => BreakerState::Open,
            false => BreakerState::Closed,
        };
        self.0.counters.stats(state(|node| &node.reads), state(|node| &node.writes), self.0.leases.stats())
    }

    /// What Redis says it holds, of all who share it; nothing while it says nothing, or where this user may not ask
    /// (`INFO`, `DBSIZE`).
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        Room::of(self.0.nodes.view_full().nodes())
    }

    /// What this process knows of purges.
    #[must_use]
    pub fn purges(&self) -> &Arc<Purges> {
        &self.0.purges
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

    /// The latest purge of the fleet that may concern a resource, beside one of this process.
    ///
    /// # Errors
    /// [`StoreError`], after `within` at the latest.
    pub async fn latest_purge_beside(
        &self,
        own: Purged,
        key: &ResourceKey,
        within: Duration,
    ) -> Result<Epoch, StoreError> {
        let own = Epochs { taken: own.epoch, before: own.before };
        self.0.journal.latest_beside(own, key.wide_hash(), within).await
    }

    /// How many variants of a resource are stored.
    ///
    /// # Errors
    /// [`StoreError`], after the budget of a request at the latest.
    pub async fn variants(&self, key: &ResourceKey) -> Result<usize, StoreError> {
        self.0.variants(self.budget(), key).await
    }

    /// What is stored from now on will carry these tags, whatever else: what tells of their purges is there before.
    pub fn expect(&self, tags: impl Iterator<Item = Tag>) {
        self.0.records.expect(tags);
    }

    /// Counts what one request has waited for Redis in all.
    pub fn waited_for(&self, time: Duration) {
        self.0.counters.waited(time);
    }

    /// Begins to wait until somebody else has filled what a claim has found [`Claim::Held`].
    #[must_use]
    pub fn wait(&self, key: &ResourceKey) -> Waiting {
        self.0.leases.wait(key)
    }

    /// Removes all variants of the resource for which `lease` is held, and gives it back. Nothing is
    /// removed by who holds it no longer.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub async fn forget(&self, lease: Lease) -> Result<(), StoreError> {
        let outcome = lease.forget().await;
        self.0.tell(&outcome);
        outcome
    }

    /// Whether a look-up of a resource would be tried now.
    #[must_use]
    pub fn takes_reads_of(&self, key: &ResourceKey) -> bool {
        let view = self.0.nodes.view();
        view.owner(|| Spot::Of(key.wide_hash())).is_some_and(|node| node.reads.is_ready())
    }

    /// Whether a claim, a commit and a purge of a resource would be tried now.
    #[must_use]
    pub fn takes_writes_of(&self, key: &ResourceKey) -> bool {
        let view = self.0.nodes.view();
        view.owner(|| Spot::Of(key.wide_hash())).is_some_and(|node| node.takes_writes())
    }

    /// Whether look-ups of all resources would be tried now.
    #[must_use]
    pub fn takes_reads(&self) -> bool {
        self.0.nodes.all(|node| node.reads.is_ready())
    }

    /// Whether look-ups of all would be tried now whose bodies are apart.
    #[must_use]
    pub fn takes_bodies(&self) -> bool {
        self.0.nodes.all(|node| node.bodies.is_ready())
    }

    /// A response was not written, as no lease was to be had for it from Redis.
    pub fn not_written(&self) {
        self.0.counters.dropped();
    }

    /// Why Redis takes no claims, commits or purges, in its words, if that is what it last said to one.
    #[must_use]
    pub fn no_writes(&self) -> Option<Arc<String>> {
        self.0.nodes.view().nodes().iter().find_map(|node| node.no_writes())
    }

    /// Whether claims, commits and purges of all resources would be tried now.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.0.nodes.all(Node::takes_writes)
    }
}

impl Store for RedisStore {
    async fn lookup(&self, key: &ResourceKey, selector: &Selector<'_>) -> Result<Lookup, StoreError> {
        self.lookup_within(self.budget(), key, selector).await
    }

    type Lease = Lease;

    async fn claim(
        &self,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> Result<Claim<Lease>, StoreError> {
        let outcome = self.0.leases.claim(key, variant, claimant, within).await;
        // That it took longer than a request waits is no news.
        if matches!(outcome, Err(StoreError::Refused(_))) {
            self.0.tell(&outcome);
        }
        outcome
    }

    /// Takes up to a second when Redis is slow: to be spawned, not awaited, by whoever serves.
    async fn commit(
        &self,
        _: &ResourceKey,
        entry: Arc<Stored>,
        keep: Duration,
        lease: Lease,
    ) -> Result<(), StoreError> {
        let outcome = self.0.commit(&entry, keep, lease).await;
        self.0.counters.committed(&outcome);
        self.0.tell(&outcome);
        outcome
    }

    async fn tagged(&self, key: &ResourceKey, within: Duration) -> Result<Vec<Arc<Stored>>, StoreError> {
        self.0.tagged(within, key).await
    }

    /// Whatever comes of it, look-ups of this store find no more what was there before.
    async fn purge(&self, purge: &Purge, wait: Wait, _: SystemTime) -> Result<Purged, StoreError> {
        let outcome = self.0.purge(purge, wait).await;
        self.0.tell(&outcome);
        outcome
    }
}
