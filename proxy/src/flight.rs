//! Station 9, collapse: one request asks the origin, the others wait for its answer.
//!
//! A flight is one fetch. Its leader starts it; whoever comes while it lasts follows. A follower
//! gets only what may be shared and what its own request selects; otherwise it goes alone, at once,
//! beside the others. Nobody waits longer than a limit, and nobody depends on the leader's client:
//! the fetch belongs to the proxy, and is given up only when nobody waits for it any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::sync::watch;

use crate::{
    headers::Lines,
    key::{ResourceKey, VariantKey},
    lately::Lately,
    policy::{facts::ResponseFacts, freshness::ExchangeTimes, range::ContentRange},
    purges::{Known, Purges},
    spool::Spool,
    status::Detail,
    tags::Tag,
    tally::Tally,
    upstream::FetchError,
};

/// What is being fetched and may be waited for.
pub struct Flights {
    open: Mutex<HashMap<FlightKey, Arc<Flight>>>,
    landings: Tally,
    unshared: Lately,
    failures: Lately,
    waits: Lately,
    purges: Arc<Purges>,
}

/// How long it is remembered that an answer was for one request only: most likely the next one is so
/// too, and nobody needs to wait for it.
const UNSHARED_FOR: Duration = Duration::from_secs(10);
/// How long after another sidecar's fetch was waited for in vain nobody waits for it again.
const IMPATIENT_FOR: Duration = Duration::from_secs(10);
/// How long after a failure a refresh is not tried again.
const REST: Duration = Duration::from_secs(1);

/// Requests with the same one may share an answer, as far as is known before it comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FlightKey {
    resource: Box<[u8]>,
    variant: u128,
    /// Of the rule: what one rule may share, another may not.
    fingerprint: u64,
}

/// One fetch.
pub struct Flight {
    phase: watch::Sender<Phase>,
    key: Option<FlightKey>,
    /// What was known of purges when it was opened, or before what it may bring was found.
    known: Known,
}

/// How far a fetch is.
#[derive(Clone)]
pub enum Phase {
    /// No answer yet.
    Waiting,
    /// An answer that may be shared is coming.
    Shared(Arc<Shared>),
    /// Another sidecar has stored what is wanted: all who wait look again.
    Elsewhere,
    /// The answer is for the leader only.
    Alone(Detail),
    /// There is none.
    Failed(Arc<FetchError>),
    /// The fetch ended without a word: a defect of ours, which must not hold anybody up.
    Lost,
}

/// An answer that may be shared: what of it is known before its body.
pub struct Shared {
    /// Its fields, those of a stored response.
    pub lines: Lines,
    /// Fields for caches like this one alone.
    pub hidden: Lines,
    /// Fields for the leader alone.
    pub withheld: Lines,
    /// The status of the origin's answer, where that is not this one's: a 304 that renewed it, or a 206
    /// that completed it.
    pub renewed_by: Option<StatusCode>,
    /// Why it is not being stored.
    pub unstored: Option<Detail>,
    /// What the policy needs of them.
    pub facts: ResponseFacts,
    /// When it was asked for and came.
    pub exchange: ExchangeTimes,
    /// Which fields its `Vary` nominates.
    pub nominated: Box<[http::HeaderName]>,
    /// What the leader's request selected by them.
    pub variant: VariantKey,
    /// By what tags purges may cover it.
    pub tags: Box<[Tag]>,
    /// Which part of the whole it is, for the one who asked for that.
    pub part: Option<ContentRange>,
    /// Its body.
    pub body: Arc<Spool>,
}

/// One who waits for a flight.
pub struct Ticket(watch::Receiver<Phase>);

/// The part a request has in a flight.
pub enum Role {
    /// It starts the fetch.
    Leader(Arc<Flight>, Ticket),
    /// It waits for it.
    Follower(Ticket),
    /// Neither: since it looked, a flight has landed, and the answer may be stored by now.
    Late,
}

impl Flights {
    /// None yet. Nobody joins a flight that began before a purge which may concern it.
    #[must_use]
    pub fn new(purges: Arc<Purges>) -> Self {
        Self {
            open: Mutex::default(),
            landings: Tally::default(),
            unshared: Lately::default(),
            failures: Lately::default(),
            waits: Lately::default(),
            purges,
        }
    }

    /// How many flights for this resource have ended with a stored response; to be read before the
    /// look-up.
    #[must_use]
    pub fn landings(&self, resource: &ResourceKey) -> u64 {
        self.landings.of(resource)
    }

    /// Whether there have been more of them than were `seen`.
    #[must_use]
    pub fn has_landed(&self, resource: &ResourceKey, seen: Option<u64>) -> bool {
        seen.is_some_and(|seen| seen != self.landings(resource))
    }

    /// Joins the flight for this resource and variant under a rule's fingerprint, or opens one,
    /// unless there have been more landings than were `seen`. What is asked about may have been found when that much was
    /// `known` of purges, and turn out to hold still: nobody shares it who knows of a later one that may concern it.
    pub fn join(
        &self,
        resource: &ResourceKey,
        variant: &VariantKey,
        fingerprint: u64,
        seen: Option<u64>,
        known: Option<Known>,
    ) -> Role {
        let key = FlightKey { resource: resource.as_bytes().into(), fingerprint, variant: variant.id() };
        let (hash, known) = (resource.wide_hash(), known.unwrap_or_else(|| self.purges.known()));
        let mut flights = self.lock();
        // What nobody has told of may concern those too who looked before it was known.
        let is_fit = |flight: &Flight| {
            !self.purges.missed(flight.known)
                && (flight.known.covers(known) || !self.purges.concern(hash, flight.known))
        };
        if let Some(flight) = flights.get(&key).filter(|flight| is_fit(flight)) {
            return Role::Follower(Ticket(flight.phase.subscribe()));
        }
        if self.has_landed(resource, seen) {
            return Role::Late;
        }
        let phase = watch::Sender::new(Phase::Waiting);
        let flight = Arc::new(Flight { phase, key: Some(key.clone()), known });
        flights.insert(key, Arc::clone(&flight));
        let ticket = Ticket(flight.phase.subscribe());
        Role::Leader(flight, ticket)
    }

    /// Whether an answer for this resource under this rule was lately for one request only.
    #[must_use]
    pub fn lately_unshared(&self, resource: &ResourceKey, fingerprint: u64) -> bool {
        self.unshared.since(resource, fingerprint).is_some_and(|since| since < UNSHARED_FOR)
    }

    /// Remembers whether an answer could be shared.
    pub fn note(&self, resource: &ResourceKey, fingerprint: u64, shared: bool) {
        self.unshared.note(resource, fingerprint, !shared);
    }

    /// Whether another sidecar's fetch of this resource was lately waited for in vain.
    #[must_use]
    pub fn lately_waited(&self, resource: &ResourceKey, fingerprint: u64) -> bool {
        self.waits.since(resource, fingerprint).is_some_and(|since| since < IMPATIENT_FOR)
    }

    /// Remembers whether it was.
    pub fn note_wait(&self, resource: &ResourceKey, fingerprint: u64, in_vain: bool) {
        self.waits.note(resource, fingerprint, in_vain);
    }

    /// Whether the origin failed when it was last asked for this resource, and that is no longer ago than
    /// the `longest` that a request to one that hangs takes to fail again.
    #[must_use]
    pub fn is_failing(&self, resource: &ResourceKey, fingerprint: u64, longest: Duration) -> bool {
        let lately = longest.saturating_add(REST);
        self.failures.since(resource, fingerprint).is_some_and(|since| since <= lately)
    }

    /// Whether it failed so lately that it is left in peace.
    #[must_use]
    pub fn rests(&self, resource: &ResourceKey, fingerprint: u64) -> bool {
        self.failures.since(resource, fingerprint).is_some_and(|since| since < REST)
    }

    /// Remembers whether the origin failed.
    pub fn note_failure(&self, resource: &ResourceKey, fingerprint: u64, failed: bool) {
        self.failures.note(resource, fingerprint, failed);
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.lock().len()
    }

    /// How many requests wait for the flights under way, their leaders included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().values().map(|flight| flight.phase.receiver_count()).sum()
    }

    /// Takes no more followers on a flight whose answer has been stored.
    pub fn land(&self, flight: &Arc<Flight>, resource: &ResourceKey) {
        // In this order: who finds the flight gone finds that it has landed.
        self.landings.advance(resource);
        self.close(flight);
    }

    /// Takes no more followers on a flight.
    pub fn close(&self, flight: &Arc<Flight>) {
        self.close_if(flight, |_| true);
    }

    /// Returns when nobody waits for a flight any more, and nobody can begin to.
    pub async fn unwanted(&self, flight: &Arc<Flight>) {
        loop {
            flight.phase.closed().await;
            // Somebody may have come between the last one's leaving and now.
            if self.close_if(flight, |flight| flight.phase.receiver_count() == 0) {
                return;
            }
        }
    }

    /// Closes a flight if that holds while nobody can join. Whether it is closed now.
    fn close_if(&self, flight: &Arc<Flight>, holds: impl Fn(&Flight) -> bool) -> bool {
        let mut flights = self.lock();
        if !holds(flight) {
            return false;
        }
        if let Some(key) = &flight.key {
            // Another flight may have the key by now.
            if flights.get(key).is_some_and(|other| Arc::ptr_eq(other, flight)) {
                flights.remove(key);
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// A flight that nobody can join.
    #[must_use]
    pub fn alone() -> (Arc<Self>, Ticket) {
        let phase = watch::Sender::new(Phase::Waiting);
        let flight = Arc::new(Self { phase, key: None, known: Known::default() });
        let ticket = Ticket(flight.phase.subscribe());
        (flight, ticket)
    }

    /// Whether others may wait for it.
    #[must_use]
    pub fn can_be_joined(&self) -> bool {
        self.key.is_some()
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Tells all who wait.
    pub fn tell(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Tells all who still wait that nothing will come.
    pub fn abandon(&self) {
        self.phase.send_if_modified(|phase| {
            let lost = matches!(phase, Phase::Waiting);
            if lost {
                *phase = Phase::Lost;
            }
            lost
        });
    }
}

impl Ticket {
    /// Waits until more is known than [`Phase::Waiting`].
    pub async fn landed(&mut self) -> Phase {
        match self.0.wait_for(|phase| !matches!(phase, Phase::Waiting)).await {
            Ok(phase) => phase.clone(),
            Err(_) => Phase::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{epoch::Mode, tags::Tag};

    fn lead(flights: &Flights, path: &'static str) -> (Arc<Flight>, Ticket) {
        match flights.join(&ResourceKey::of_path(path), &VariantKey::only(), 0, None, None) {
            Role::Leader(flight, ticket) => (flight, ticket),
            Role::Follower(_) | Role::Late => panic!("does not lead on {path}"),
        }
    }

    fn follows(flights: &Flights, path: &'static str) -> bool {
        matches!(
            flights.join(&ResourceKey::of_path(path), &VariantKey::only(), 0, None, None),
            Role::Follower(_)
        )
    }

    #[tokio::test]
    async fn the_first_leads_and_the_others_follow_until_it_closes() {
        let flights = Flights::new(Arc::default());
        let (flight, mut ticket) = lead(&flights, "/a");
        let _other = lead(&flights, "/b");
        assert!(follows(&flights, "/a"));
        flight.tell(Phase::Alone(Detail::NoStore));
        assert!(matches!(ticket.landed().await, Phase::Alone(Detail::NoStore)));
        flights.close(&flight);
        let (second, _ticket) = lead(&flights, "/a");
        flights.close(&flight); // No longer its flight.
        assert!(follows(&flights, "/a"));
        drop(second);
    }

    #[test]
    fn nobody_joins_what_began_before_a_purge() {
        let purges = Arc::new(Purges::default());
        let flights = Flights::new(Arc::clone(&purges));
        let now = SystemTime::UNIX_EPOCH;
        let _obsolete = (lead(&flights, "/a"), lead(&flights, "/b"));
        purges.purge_resource(ResourceKey::of_path("/a").wide_hash(), Mode::Hard, purges.next(now));
        assert!(follows(&flights, "/b"));
        let _newer = lead(&flights, "/a");
        assert!(follows(&flights, "/a"));
        purges.purge_tag(Tag::named(b"t"), Mode::Soft, purges.next(now));
        let _newest = (lead(&flights, "/a"), lead(&flights, "/b"));
    }

    #[test]
    fn what_was_found_before_a_purge_is_for_those_who_had_looked_by_then() {
        let purges = Arc::new(Purges::default());
        let flights = Flights::new(Arc::clone(&purges));
        let before = purges.known();
        purges.purge_resource(
            ResourceKey::of_path("/a").wide_hash(),
            Mode::Hard,
            purges.next(SystemTime::UNIX_EPOCH),
        );
        let join = |known| flights.join(&ResourceKey::of_path("/a"), &VariantKey::only(), 0, None, known);
        let first = join(Some(before));
        assert!(matches!(first, Role::Leader(..)));
        assert!(matches!(join(Some(before)), Role::Follower(_)));
        let second = join(Some(purges.known()));
        assert!(matches!(second, Role::Leader(..)));
        for known in [Some(before), Some(purges.known()), None] {
            assert!(matches!(join(known), Role::Follower(_)));
        }
    }

    #[test]
    fn nobody_joins_what_began_before_a_time_in_which_purges_were_not_heard_of() {
        let purges = Arc::new(Purges::default());
        let flights = Flights::new(Arc::clone(&purges));
        let before = purges.known();
        let join = |known| flights.join(&ResourceKey::of_path("/a"), &VariantKey::only(), 0, None, known);
        let _deaf = join(None);
        assert!(matches!(join(Some(before)), Role::Follower(_)));
        purges.miss();
        assert!(matches!(join(Some(before)), Role::Leader(..)));
        assert!(matches!(join(None), Role::Leader(..)));
        assert!(matches!(join(Some(before)), Role::Follower(_)));
    }

    #[test]
    fn who_looked_before_a_landing_looks_again() {
        let flights = Flights::new(Arc::default());
        let seen = flights.landings(&ResourceKey::of_path("/a"));
        let (flight, _ticket) = lead(&flights, "/a");
        flights.land(&flight, &ResourceKey::of_path("/a"));
        let join = |seen| flights.join(&ResourceKey::of_path("/a"), &VariantKey::only(), 0, Some(seen), None);
        assert!(matches!(join(seen), Role::Late));
        assert!(matches!(join(flights.landings(&ResourceKey::of_path("/a"))), Role::Leader(..)));
    }

    #[test]
    fn rules_that_store_otherwise_do_not_share_a_flight() {
        let flights = Flights::new(Arc::default());
        let _one = lead(&flights, "/a");
        let other = flights.join(&ResourceKey::of_path("/a"), &VariantKey::only(), 1, None, None);
        assert!(matches!(other, Role::Leader(..)));
    }

    #[tokio::test]
    async fn a_flight_is_unwanted_only_when_the_last_one_has_gone() {
        let flights = Flights::new(Arc::default());
        let (flight, leader) = lead(&flights, "/a");
        let Role::Follower(follower) =
            flights.join(&ResourceKey::of_path("/a"), &VariantKey::only(), 0, None, None)
        else {
            panic!()
        };
        drop(leader);
        let mut unwanted = std::pin::pin!(flights.unwanted(&flight));
        assert!(futures_poll(unwanted.as_mut()).await.is_none());
        drop(follower);
        unwanted.await;
        assert!(!follows(&flights, "/a"));
    }

    /// What a future gives when it is polled once.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
