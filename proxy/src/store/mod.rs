//! Station 5: where stored responses are. The stores know bytes and keys; whether what they hold
//! may be served is the policy's business alone.

pub mod memory;
pub mod redis;
pub mod tiers;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName};
use thiserror::Error;

use crate::{
    epoch::{Epoch, Mode},
    key::{KeyPolicy, ResourceKey, VariantKey},
    stored::Stored,
    tags::Tag,
};

/// One store: what is true of each tier (`tests/store_contract.rs` holds them to it).
pub trait Store: Send + Sync {
    /// What is stored for this request. A store that cannot be asked in time is an error, which
    /// the caller counts as a miss; nothing stored is not.
    fn lookup(
        &self,
        key: &ResourceKey,
        selector: &Selector<'_>,
    ) -> impl Future<Output = Result<Lookup, StoreError>> + Send;

    /// The right to store a variant of a resource. Dropped, it is given back.
    type Lease: Send;

    /// Asks for the lease of a variant, before what is to be stored is fetched; a shared store for no
    /// longer than `within`.
    fn claim(
        &self,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> impl Future<Output = Result<Claim<Self::Lease>, StoreError>> + Send;

    /// Stores `entry` as a variant of its resource, in place of the one with the same variant key.
    /// Variants that the entry's `Vary` can no longer select go. After `keep` the bytes may be
    /// collected; it has no say in freshness. Where `lease` is no longer held, or a purge since covers
    /// the entry, nothing is stored.
    fn commit(
        &self,
        key: &ResourceKey,
        entry: Arc<Stored>,
        keep: Duration,
        lease: Self::Lease,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest variants of a resource that have an entity tag, whatever selects them: the newest
    /// first, at most [`MAX_TAGGED`] with [`MAX_TAGGED_BYTES`] of bodies. A shared store is asked for
    /// no longer than `within`.
    fn tagged(
        &self,
        key: &ResourceKey,
        within: Duration,
    ) -> impl Future<Output = Result<Vec<Arc<Stored>>, StoreError>> + Send;

    /// Makes obsolete what a purge covers, whatever has been fetched of it until `now` included. In
    /// this process it is, at once, even where the shared store cannot be told.
    fn purge(
        &self,
        purge: &Purge,
        wait: Wait,
        now: SystemTime,
    ) -> impl Future<Output = Result<Purged, StoreError>> + Send;

    /// Removes all variants of these resources: a hard purge, for which the clock need not have moved on.
    fn remove(&self, keys: &[ResourceKey]) -> impl Future<Output = Result<(), StoreError>> + Send {
        let purge = Purge { resources: keys.to_vec(), ..Purge::default() };
        async move { self.purge(&purge, Wait::Briefly, SystemTime::UNIX_EPOCH).await.map(|_| ()) }
    }
}

/// What is purged, and how.
#[derive(Clone, Debug, Default)]
pub struct Purge {
    /// All variants of these.
    pub resources: Vec<ResourceKey>,
    /// Whatever carries one of these.
    pub tags: Vec<Tag>,
    /// What becomes of it.
    pub mode: Mode,
    /// Whatever carries one of these becomes stale, if it does not go.
    pub stale: Vec<Tag>,
}

impl Purge {
    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.tags.is_empty() && self.stale.is_empty()
    }
}

/// Whom a purge waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The shared store, as long as a request may.
    Briefly,
    /// The shared store, as long as an operator may.
    ForStore,
    /// Every other process that shares it, too.
    ForFleet,
}

/// What became of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Its place among the purges of the fleet.
    pub epoch: Epoch,
    /// The latest one before it that may have concerned the same; where others share the store, the one before it.
    pub before: Epoch,
    /// Processes that have applied it, this one included; those that were not waited for are not
    /// counted.
    pub applied: usize,
}

/// Who asks for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// One for whom others wait, here and elsewhere.
    Flight,
    /// One alone, whom nobody waits for, and who gives way to a flight.
    Alone,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Claim<L> {
    /// It is granted.
    Granted(L),
    /// Somebody else has it.
    Held,
    /// Somebody else has it, and there is no use in waiting.
    Unshared(Marker),
}

impl<L> Claim<L> {
    /// The same, with another name for the lease.
    pub fn map<M>(self, name: impl FnOnce(L) -> M) -> Claim<M> {
        match self {
            Self::Granted(lease) => Claim::Granted(name(lease)),
            Self::Held => Claim::Held,
            Self::Unshared(marker) => Claim::Unshared(marker),
        }
    }
}

/// Why nobody need wait for somebody's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// What came of the last one is not for others, or only for a moment.
    Unshared,
    /// Nothing came of the last one.
    Failed,
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Nothing for this resource.
    Nothing,
    /// Variants, but none that this request selects; they are selected by these fields.
    OtherVariants(Box<[HeaderName]>),
    /// The response that this request selects.
    Found(Arc<Stored>),
    /// The same, but a soft purge has made it stale since then, by our clock.
    Marked(Arc<Stored>, SystemTime),
}

/// Most stored responses of one resource; a further one takes the place of the oldest.
pub const MAX_VARIANTS: usize = 64;

/// Most that [`Store::tagged`] brings.
pub const MAX_TAGGED: usize = 8;
/// Most bytes of all their bodies. They are read before anybody knows whether one is needed, over the
/// connection on which everybody's look-ups wait their turn, with little time for each.
pub const MAX_TAGGED_BYTES: usize = 256 * 1024;

/// What [`Store::tagged`] brings of these, each with the length of its body, the newest first. One
/// that is too large is passed over.
fn within_reach<T>(newest: impl Iterator<Item = (usize, T)>) -> impl Iterator<Item = T> {
    let mut left = MAX_TAGGED_BYTES;
    let fitting = newest.filter_map(move |(length, one)| {
        left = left.checked_sub(length)?;
        Some(one)
    });
    fitting.take(MAX_TAGGED)
}

/// The selecting fields of one request, for a store to apply to what a resource nominates.
#[derive(Clone, Copy, Debug)]
pub struct Selector<'r> {
    /// The request's fields.
    pub headers: &'r HeaderMap,
    /// What the rule keys.
    pub keyed: &'r KeyPolicy,
}

impl Selector<'_> {
    /// The variant that this request selects where these fields are nominated.
    #[must_use]
    pub fn variant(&self, nominated: &[HeaderName]) -> VariantKey {
        VariantKey::new(self.headers, self.keyed, nominated)
    }
}

/// Why a store could not be asked or told. Each costs a miss and a counter, never a status code.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// It took longer than its share of a request.
    #[error("no answer within the budget")]
    Budget,
    /// There is no connection, or it is held back after failures.
    #[error("not connected")]
    Unavailable,
    /// More is being written than may wait.
    #[error("too many writes are under way")]
    Overload,
    /// The lease is no longer held: what was fetched may be obsolete.
    #[error("the lease was lost")]
    LeaseLost,
    /// Larger than a store takes.
    #[error("the entry is larger than the store takes")]
    TooLarge,
    /// What it answered.
    #[error("{0}")]
    Refused(String),
}
