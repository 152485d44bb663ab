//! Places for connections: how many are held, and which of them is closed when another comes.
//!
//! A connection that waits for a request, be it the first, is idle, and may be asked to go. To say that it is
//! idle, and no longer, takes a few atomic operations on memory of its own and no lock, since it is said on
//! every hit.
//! So there is no list of them in order: whoever needs a place looks for those that began to wait first,
//! and remembers a few for those who come after.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::complaint::Complaint;

/// So many are remembered of one search.
const REMEMBERED: usize = 64;

/// The turn of a connection that is at work.
const BUSY: u64 = 0;
/// That of one that has been asked to go.
const ASKED: u64 = u64::MAX;

/// The places of a server.
pub struct Places {
    free: Arc<Semaphore>,
    /// By their numbers.
    seats: Mutex<BTreeMap<u64, Arc<Seat>>>,
    /// The last number given.
    numbers: AtomicU64,
    /// The last turn given: who has a lower one has waited longer.
    turns: AtomicU64,
    idle: AtomicUsize,
    /// Requests of HTTP/2 that are under way, and how many may be.
    requests: AtomicUsize,
    most_requests: AtomicUsize,
    /// Who waited longest when that was looked for; the longest last.
    longest: Mutex<Vec<(u64, Arc<Seat>)>>,
    closed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    handshakes: AtomicU64,
    headers: AtomicU64,
    abuses: AtomicU64,
    abuse: Complaint,
    resets: Arc<AtomicU64>,
}

/// What has become of connections at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceStats {
    /// Places held now.
    pub held: usize,
    /// Idle connections that were closed for others.
    pub closed: u64,
    /// Connections that found all places taken by requests.
    pub refused: u64,
    /// Connections that the system did not hand out.
    pub failed: u64,
    /// TLS handshakes that came to nothing.
    pub handshakes: u64,
    /// Connections of trusted proxies that did not begin with a PROXY header.
    pub headers: u64,
    /// Connections of HTTP/2 that were closed for what came on them.
    pub abuses: u64,
    /// Streams of HTTP/2 that were reset for what came on them.
    pub resets: u64,
}

/// What others see of a connection.
struct Seat {
    turn: AtomicU64,
    waker: AtomicWaker,
}

/// One of the requests of HTTP/2 that may be under way; there is room for another when it is dropped.
pub struct UnderWay<'p>(&'p Places);

/// A connection's place; free again when dropped.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// None yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(0)),
            seats: Mutex::default(),
            numbers: AtomicU64::new(0),
            turns: AtomicU64::new(BUSY),
            idle: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            most_requests: AtomicUsize::new(usize::MAX),
            longest: Mutex::default(),
            closed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            handshakes: AtomicU64::new(0),
            headers: AtomicU64::new(0),
            abuses: AtomicU64::new(0),
            abuse: Complaint::default(),
            resets: Arc::default(),
        })
    }

    /// So many more.
    pub fn open(&self, places: usize) {
        self.free.add_permits(places.min(Semaphore::MAX_PERMITS - self.free.available_permits()));
    }

    /// So many requests of HTTP/2 at once, over all connections: one of HTTP/1 has a place of its own.
    pub fn bound_requests(&self, most: usize) {
        self.most_requests.store(most, Ordering::Relaxed);
    }

    /// A free one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|permit| self.seat(permit))
    }

    /// That of the connection which has been idle longest, once it is closed. Nothing if none is idle:
    /// then one is refused.
    pub async fn vacate(self: &Arc<Self>) -> Option<Place> {
        if !self.ask_one_to_go() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        // Who is asked goes at once, and the place is for those who wait, in their order.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.seat(permit))
    }

    /// The system has handed out no connection. That says nothing of whether somebody waits for one: without
    /// a descriptor it fails before it looks. So nobody has to go for it.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> PlaceStats {
        PlaceStats {
            held: lock(&self.seats).len(),
            closed: self.closed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            handshakes: self.handshakes.load(Ordering::Relaxed),
            headers: self.headers.load(Ordering::Relaxed),
            abuses: self.abuses.load(Ordering::Relaxed),
            resets: self.resets.load(Ordering::Relaxed),
        }
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat { turn: AtomicU64::new(self.turn()), waker: AtomicWaker::new() });
        lock(&self.seats).insert(number, Arc::clone(&seat));
        Place { places: Arc::clone(self), number, seat, _permit: permit }
    }

    /// Another one is idle, since this turn.
    fn turn(&self) -> u64 {
        self.idle.fetch_add(1, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether one was idle.
    fn ask_one_to_go(&self) -> bool {
        let mut longest = lock(&self.longest);
        // A search may find only such as are at work again by now: then once more.
        for search in [false, true, true] {
            if search && self.idle.load(Ordering::Relaxed) > 0 {
                *longest = self.longest_idle();
            }
            while let Some((turn, seat)) = longest.pop() {
                if seat.turns_from(turn, ASKED, self) {
                    seat.waker.wake();
                    self.closed.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
            }
        }
        false
    }

    fn longest_idle(&self) -> Vec<(u64, Arc<Seat>)> {
        let seats = lock(&self.seats);
        let turns = seats.values().map(|seat| (seat.turn.load(Ordering::Relaxed), seat));
        let mut idle: Vec<_> = turns.filter(|(turn, _)| !matches!(*turn, BUSY | ASKED)).collect();
        if idle.len() > REMEMBERED {
            idle.select_nth_unstable_by_key(REMEMBERED, |(turn, _)| *turn);
            idle.truncate(REMEMBERED);
        }
        idle.sort_unstable_by_key(|(turn, _)| std::cmp::Reverse(*turn));
        idle.into_iter().map(|(turn, seat)| (turn, Arc::clone(seat))).collect()
    }
}

impl Seat {
    /// Whether it was idle since that turn, and no longer is.
    fn turns_from(&self, turn: u64, to: u64, places: &Places) -> bool {
        let turned = self.turn.compare_exchange(turn, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if turned {
            places.idle.fetch_sub(1, Ordering::Relaxed);
        }
        turned
    }
}

impl Place {
    /// Waits until another connection needs this place. The connection counts as idle while this is polled,
    /// until it is dropped; and while it is new, until it begins.
    pub fn asked_for(&self) -> impl Future<Output = ()> {
        Idle { place: self, since: BUSY }
    }

    /// Another request of HTTP/2. Nothing, if there are as many as may be.
    #[must_use]
    pub fn request(&self) -> Option<UnderWay<'_>> {
        let under_way = UnderWay(&self.places);
        let others = self.places.requests.fetch_add(1, Ordering::Relaxed);
        (others < self.places.most_requests.load(Ordering::Relaxed)).then_some(under_way)
    }

    /// Its TLS handshake has come to nothing.
    pub fn lost_in_handshake(&self) {
        self.places.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection is at work from here on, unless its place is asked for: then what came is not to be
    /// answered.
    #[must_use]
    pub fn begin(&self) -> bool {
        match self.seat.turn.load(Ordering::Acquire) {
            BUSY => true,
            ASKED => false,
            new => self.seat.turns_from(new, BUSY, &self.places),
        }
    }

    /// It has not begun with the PROXY header that a trusted proxy has to send.
    pub fn lost_without_header(&self) {
        self.places.headers.fetch_add(1, Ordering::Relaxed);
    }

    /// It is closed for what came on it. How many have been since the log was last told of it, if it is to be
    /// told now.
    pub fn lost_to_abuse(&self) -> Option<u64> {
        self.places.abuses.fetch_add(1, Ordering::Relaxed);
        self.places.abuse.again()
    }

    /// Where streams are counted that are reset for what came on them.
    #[must_use]
    pub fn resets(&self) -> &Arc<AtomicU64> {
        &self.places.resets
    }

    /// Whether another connection waits for this place.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        self.seat.turn.load(Ordering::Relaxed) == ASKED
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.begin();
        lock(&self.places.seats).remove(&self.number);
    }
}

struct Idle<'p> {
    place: &'p Place,
    /// The turn that was taken.
    since: u64,
}

impl Future for Idle<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Place { places, seat, .. } = self.place;
        seat.waker.register(cx.waker());
        match seat.turn.load(Ordering::Acquire) {
            ASKED => return Poll::Ready(()),
            BUSY => {
                self.since = places.turn();
                // The waker is there: from here on it can be asked.
                seat.turn.store(self.since, Ordering::Release);
            }
            since => self.since = since,
        }
        Poll::Pending
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if self.since != BUSY {
            let Place { places, seat, .. } = self.place;
            // Where it has been asked meanwhile, that stays so.
            seat.turns_from(self.since, BUSY, places);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;

    fn places(count: usize) -> Arc<Places> {
        let places = Places::new();
        places.open(count);
        places
    }

    /// So many that are at work.
    fn at_work(places: &Arc<Places>, count: usize) -> Vec<Place> {
        let held: Vec<Place> = (0..count).map(|_| places.take().unwrap()).collect();
        assert!(held.iter().all(Place::begin));
        held
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_one_idle_longest_goes_first() {
        let places = places(3);
        let held = at_work(&places, 3);
        assert!(places.take().is_none());
        let [mut first, mut second, mut third] = [1, 2, 0].map(|at: usize| Box::pin(held[at].asked_for()));
        for idle in [&mut first, &mut second, &mut third] {
            assert!(poll(idle.as_mut()).is_pending());
        }
        // At work again, and idle anew: now the last.
        drop(first);
        let mut first = Box::pin(held[1].asked_for());
        assert!(poll(first.as_mut()).is_pending());
        for (at, place) in [2, 0, 1].into_iter().enumerate() {
            assert!(places.ask_one_to_go());
            let asked: Vec<usize> = (0..3).filter(|&place| held[place].is_asked_for()).collect();
            assert_eq!(asked.len(), at + 1);
            assert!(asked.contains(&place), "{asked:?}");
        }
        assert!(poll(second.as_mut()).is_ready() && poll(third.as_mut()).is_ready());
        assert!(!places.ask_one_to_go());
        assert_eq!(places.stats(), PlaceStats { held: 3, closed: 3, ..PlaceStats::default() });
    }

    #[test]
    fn who_is_at_work_is_never_asked() {
        let places = places(200);
        let held = at_work(&places, 200);
        let mut idle: Vec<_> = held.iter().map(|place| Box::pin(place.asked_for())).collect();
        assert!(idle.iter_mut().all(|idle| poll(idle.as_mut()).is_pending()));
        assert!(places.ask_one_to_go(), "and remembers those that come next");
        idle.drain(..150);
        let mut asked = 1;
        while places.ask_one_to_go() {
            asked += 1;
        }
        assert_eq!(asked, 51);
        assert!(held[1..150].iter().all(|place| !place.is_asked_for()));
    }

    #[test]
    fn who_is_new_is_idle_until_it_begins() {
        let places = places(3);
        let held: Vec<Place> = (0..3).map(|_| places.take().unwrap()).collect();
        assert!(held[0].begin());
        assert!(places.ask_one_to_go());
        assert!(!held[1].begin() && poll(pin!(held[1].asked_for())).is_ready());
        drop(held);
        assert!(!places.ask_one_to_go());
        assert_eq!(places.idle.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn requests_of_all_connections_are_bounded_together() {
        let places = places(2);
        places.bound_requests(2);
        let held = at_work(&places, 2);
        let (first, _second) = (held[0].request().unwrap(), held[1].request().unwrap());
        assert!(held.iter().all(|place| place.request().is_none()));
        drop(first);
        assert!(held[1].request().is_some());
    }

    #[test]
    fn a_place_that_was_asked_for_goes_to_who_asked() {
        let places = places(1);
        let held = at_work(&places, 1).pop().unwrap();
        let mut refused = pin!(places.vacate());
        assert!(matches!(poll(refused.as_mut()), Poll::Ready(None)), "nobody is idle");
        let mut idle = Box::pin(held.asked_for());
        assert!(poll(idle.as_mut()).is_pending());
        let mut next = pin!(places.vacate());
        assert!(poll(next.as_mut()).is_pending());
        // A request that came at the same time changes nothing.
        drop(idle);
        assert!(held.is_asked_for() && !held.begin());
        drop(held);
        assert!(places.take().is_none(), "it is for who asked");
        assert!(matches!(poll(next.as_mut()), Poll::Ready(Some(_))));
        assert_eq!(places.stats(), PlaceStats { closed: 1, refused: 1, ..PlaceStats::default() });
    }
}
