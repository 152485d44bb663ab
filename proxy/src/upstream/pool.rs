//! The connections to one origin: how many, who waits for one, and which of the idle may be used again.
//!
//! A [`Permit`] is the right to one open socket; the socket itself holds it. So the cap counts what is really
//! open: idle connections, running exchanges, tunnels, and connections being made.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{connection::Connection, error::FetchError, resolve::Resolver};

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Open sockets, idle ones included.
    pub(super) connections: usize,
    /// Requests that wait for one.
    pub(super) queue: usize,
    /// How long they wait.
    pub(super) patience: Duration,
    /// How old a connection may be when it is used again.
    pub(super) max_age: Duration,
    /// How long a connection may have been idle when it is used again.
    pub(super) max_idle: Duration,
}

/// What the pool did, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sockets open now: idle, busy, tunnels, and being connected.
    pub open: usize,
    /// Connections idle now.
    pub idle: usize,
    /// Requests waiting for a connection now.
    pub waiting: usize,
    /// Connections ever made.
    pub connects: u64,
    /// Requests ever sent on a connection that had served another before.
    pub reuses: u64,
}

/// What a request wants of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// An idle connection or the right to make one.
    Any,
    /// The right to make one: an idle connection has just proved to be dead.
    New,
}

/// What it gets.
pub(super) enum Grant {
    Reused(Connection),
    New(Permit),
}

/// The right to one open socket, returned when dropped.
pub(super) struct Permit(Arc<Pool>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The connections to one origin.
pub(super) struct Pool {
    bounds: Bounds,
    resolver: Option<Arc<Resolver>>,
    state: Mutex<State>,
    connects: AtomicU64,
    reuses: AtomicU64,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Oldest first; taken from the back, so that a quiet time lets the rest grow old and go.
    idle: VecDeque<Idle>,
    /// First come, first served.
    waiters: VecDeque<Waiter>,
    closed: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Waiter {
    want: Want,
    grant: oneshot::Sender<Grant>,
}

impl State {
    fn next_waiter(&mut self) -> Option<Waiter> {
        std::iter::from_fn(|| self.waiters.pop_front()).find(|waiter| !waiter.grant.is_closed())
    }
}

/// What [`Pool::try_acquire`] found. Connections that are no longer of use come with it, because they are
/// dropped only when the lock is free again: that may return their permits.
struct Found {
    grant: Result<Grant, oneshot::Receiver<Grant>>,
    _useless: Vec<Connection>,
}

impl Pool {
    /// An empty pool; with a `resolver`, connections to addresses it no longer lists are not used again.
    pub(super) fn new(bounds: Bounds, resolver: Option<Arc<Resolver>>) -> Arc<Self> {
        let (state, connects, reuses) = Default::default();
        Arc::new(Self { bounds, resolver, state, connects, reuses })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection, the most recently used first, or the right to make one; otherwise waits its turn.
    pub(super) async fn acquire(self: &Arc<Self>, want: Want) -> Result<Grant, FetchError> {
        let turn = match self.try_acquire(want)?.grant {
            Ok(grant) => return Ok(grant),
            Err(turn) => turn,
        };
        let granted = timeout(self.bounds.patience, turn).await;
        granted.ok().and_then(Result::ok).ok_or(FetchError::QueueTimeout(self.bounds.patience))
    }

    fn try_acquire(self: &Arc<Self>, want: Want) -> Result<Found, FetchError> {
        let mut useless = Vec::new();
        let mut state = self.state();
        if want == Want::Any {
            while let Some(idle) = state.idle.pop_back() {
                if self.is_usable(&idle) {
                    self.reuses.fetch_add(1, Relaxed);
                    return Ok(Found { grant: Ok(Grant::Reused(idle.connection)), _useless: useless });
                }
                useless.push(idle.connection);
            }
        }
        if state.open < self.bounds.connections {
            state.open += 1;
            return Ok(Found { grant: Ok(Grant::New(Permit(Arc::clone(self)))), _useless: useless });
        }
        useless.extend(state.idle.pop_front().map(|idle| idle.connection));
        // What has just been thrown away makes room in a moment, so this request is not one too many.
        let turn = self.enqueue(&mut state, want, !useless.is_empty())?;
        Ok(Found { grant: Err(turn), _useless: useless })
    }

    fn enqueue(
        &self,
        state: &mut State,
        want: Want,
        room_ahead: bool,
    ) -> Result<oneshot::Receiver<Grant>, FetchError> {
        if state.waiters.len() >= self.bounds.queue {
            state.waiters.retain(|waiter| !waiter.grant.is_closed());
        }
        // A second try follows a connection that just ended; refusing it would turn a retry into an error.
        let exempt = room_ahead || want == Want::New;
        if state.waiters.len() >= self.bounds.queue && !exempt {
            return Err(FetchError::QueueFull);
        }
        let (grant, turn) = oneshot::channel();
        state.waiters.push_back(Waiter { want, grant });
        Ok(turn)
    }

    /// Takes back a connection whose exchange is over: for the next in the queue, or to lie idle.
    pub(super) fn put(self: &Arc<Self>, connection: Connection) {
        let mut idle = Idle { connection, since: Instant::now() };
        while self.is_usable(&idle) {
            let mut state = self.state();
            if state.closed {
                break;
            }
            let Some(waiter) = state.next_waiter() else {
                // With this one they were more than the cap: some are closed and not swept out yet.
                let full = state.idle.len() >= self.bounds.connections;
                let oldest = full.then(|| state.idle.pop_front());
                state.idle.push_back(idle);
                drop(state);
                drop(oldest);
                return;
            };
            if waiter.want == Want::New {
                // Closing this connection makes the room it waits for.
                state.waiters.push_front(waiter);
                break;
            }
            drop(state);
            match waiter.grant.send(Grant::Reused(idle.connection)) {
                Err(Grant::Reused(connection)) => idle = Idle { connection, since: Instant::now() },
                Ok(()) => {
                    self.reuses.fetch_add(1, Relaxed);
                    return;
                }
                Err(Grant::New(_)) => return,
            }
        }
    }

    fn is_usable(&self, idle: &Idle) -> bool {
        let connection = &idle.connection;
        let max_idle =
            connection.kept_for().map_or(self.bounds.max_idle, |kept| kept.min(self.bounds.max_idle));
        connection.is_ready()
            && connection.born().elapsed() < self.bounds.max_age
            && (idle.since.elapsed() < max_idle)
            && self.is_listed(connection)
    }

    fn is_listed(&self, connection: &Connection) -> bool {
        match (&self.resolver, connection.peer()) {
            (Some(resolver), Some(peer)) => resolver.lists(peer),
            _ => true,
        }
    }

    /// A socket is closed: its permit goes to the next in the queue.
    fn release(self: &Arc<Self>) {
        let next = {
            let mut state = self.state();
            let next = state.next_waiter();
            if next.is_none() {
                state.open = state.open.saturating_sub(1);
            }
            next
        };
        if let Some(waiter) = next {
            // If it left meanwhile, the permit is dropped here and released in turn.
            drop(waiter.grant.send(Grant::New(Permit(Arc::clone(self)))));
        }
    }

    /// Counts a connection made.
    pub(super) fn connected(&self) {
        self.connects.fetch_add(1, Relaxed);
    }

    /// Closes the idle connections that may not be used again.
    pub(super) fn sweep(&self) {
        let useless: Vec<Idle> = {
            let mut state = self.state();
            let (usable, useless) = state.idle.drain(..).partition(|idle| self.is_usable(idle));
            state.idle = usable;
            Vec::from_iter::<VecDeque<Idle>>(useless)
        };
        drop(useless);
    }

    /// Closes the idle connections, and from now on every other one when its exchange is over.
    pub(super) fn close(&self) {
        let (idle, waiters) = {
            let mut state = self.state();
            state.closed = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiters))
        };
        drop((idle, waiters));
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            open: state.open,
            idle: state.idle.iter().filter(|idle| idle.connection.is_ready()).count(),
            waiting: state.waiters.iter().filter(|waiter| !waiter.grant.is_closed()).count(),
            connects: self.connects.load(Relaxed),
            reuses: self.reuses.load(Relaxed),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::task::yield_now;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(9);

    fn pool(connections: usize, queue: usize) -> Arc<Pool> {
        let (max_age, max_idle) = (Duration::MAX, Duration::MAX);
        Pool::new(Bounds { connections, queue, patience: PATIENCE, max_age, max_idle }, None)
    }

    /// A permit of a pool of its own.
    pub(in crate::upstream) fn permit() -> Permit {
        pool(1, 0).try_permit()
    }

    impl Pool {
        fn try_permit(self: &Arc<Self>) -> Permit {
            match self.try_acquire(Want::New).map(|found| found.grant) {
                Ok(Ok(Grant::New(permit))) => permit,
                _ => panic!("there is room"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_a_permit_or_in_time() {
        let pool = pool(1, 1);
        let held = pool.try_permit();
        let start = Instant::now();
        let waited = pool.acquire(Want::Any).await;
        assert!(matches!(waited, Err(FetchError::QueueTimeout(PATIENCE))));
        assert_eq!(start.elapsed(), PATIENCE);

        let (waited, ()) = tokio::join!(pool.acquire(Want::Any), async { drop(held) });
        assert!(matches!(waited, Ok(Grant::New(_))));
        assert_eq!(pool.stats().open, 1);
        drop(waited);
        assert_eq!(pool.stats(), Stats::default());
    }

    #[tokio::test]
    async fn permits_go_round_in_the_order_of_asking_past_those_who_left() {
        let pool = pool(1, 3);
        let held = pool.try_permit();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiters = Vec::new();
        for number in 0..3 {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            waiters.push(tokio::spawn(async move {
                let granted = pool.acquire(Want::Any).await;
                order.lock().unwrap().push(number);
                drop(granted);
            }));
            yield_now().await;
        }
        assert!(matches!(pool.acquire(Want::Any).await, Err(FetchError::QueueFull)));
        waiters.remove(1).abort();
        yield_now().await;
        assert_eq!(pool.stats().waiting, 2);
        drop(held);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 2]);
        assert_eq!(pool.stats().open, 0);
    }

    #[tokio::test]
    async fn a_permit_granted_to_one_who_just_left_comes_back() {
        let pool = pool(1, 1);
        let held = pool.try_permit();
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.acquire(Want::Any).await.map(drop) }
        });
        yield_now().await;
        drop(held); // granted, but the waiter has not run
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(pool.stats().open, 0);
    }
}
