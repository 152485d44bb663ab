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
