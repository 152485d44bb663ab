//! One connection while it lasts, and who may send on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use redis::aio::MultiplexedConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::{StoreError, redis::dialer::Server};

#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Server,
    gone: Arc<AtomicBool>,
    room: Arc<Semaphore>,
    /// The room of commands that nobody waits for any more, but that Redis has not answered: it stays taken
    /// until a later beat is answered, and with it all that was sent before.
    abandoned: AtomicUsize,
}

impl Session {
    /// With so much room for what is on its way. `gone` is set by whoever sees that it is.
    pub(super) fn new(
        connection: MultiplexedConnection,
        server: Server,
        gone: Arc<AtomicBool>,
        room: usize,
    ) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self { connection, server, gone, room, abandoned: AtomicUsize::new(0) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.server.is_deposed()
    }

    /// It is of no use any more.
    pub(super) fn give_up(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// The right to send a command that takes so much room, if that is there.
    pub(super) fn admit(self: Arc<Self>, weight: u32) -> Result<Ticket, StoreError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight);
        Ok(Ticket { permit: Some(room.map_err(|_| StoreError::Overload)?), session: self })
    }

    /// The same, as soon as there is room; at once or not at all behind what has been abandoned, because that
    /// took too long already.
    pub(super) async fn queue(self: Arc<Self>, weight: u32) -> Result<Ticket, StoreError> {
        if self.abandoned() > 0 {
            return self.admit(weight);
        }
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
        Ok(Ticket { permit: Some(room.map_err(|_| StoreError::Overload)?), session: self })
    }

    /// How much room is taken by what is abandoned.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// So much of it is free again.
    pub(super) fn regain(&self, answered: usize) {
        self.abandoned.fetch_sub(answered, Ordering::Relaxed);
        self.room.add_permits(answered);
    }
}

/// The right to one command at a time. Dropped before the answer, it leaves the command abandoned.
pub(super) struct Ticket {
    pub(super) session: Arc<Session>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    pub(super) fn answered(mut self) {
        self.permit.take();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.session.abandoned.fetch_add(permit.num_permits(), Ordering::Relaxed);
            permit.forget();
        }
    }
}
