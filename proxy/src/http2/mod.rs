//! HTTP/2 on a client's connection (RFC 9113).
//!
//! The frames are read and written by the `h2` crate; what stands above them is our own, as with HTTP/1: a
//! general server hides when a client takes a request back, and cannot write interim responses.
//!
//! One task moves the frames of a connection, and each request on it is a task, which ends with the connection at
//! the latest. All that waits, piles up or repeats itself has a limit: the library's on what is kept in memory,
//! and `meter`'s on what is done in vain.

mod joined;
mod meter;
mod metered;
mod resets;
mod stream;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{Instant, Sleep, sleep_until, timeout},
};

pub(crate) use self::joined::Joined;
use self::metered::{Metered, Reading};
use crate::{
    connection::{Connection, LAST_CHANCE},
    limits::Limits,
};

/// Bytes of a request's body that may be on their way. A connection has room for as many of each request, so that
/// bodies that the app does not read hold up no others.
const WINDOW: u32 = 64 * 1024;
/// The largest window (RFC 9113 §6.9.1).
const MOST_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of an answer that wait until the connection takes them.
const SEND_BUFFER: usize = 32 * 1024;
/// What a field counts beside its name and value, and all that is in a head but fields, at most (RFC 9113
/// §6.5.2).
const FIELD: usize = 32;
const PSEUDO_FIELDS: usize = 256;
/// Crumbs of a cookie, which are one field in HTTP/1: so many there is room for, beside what they say.
const CRUMBS: usize = 256;
const CRUMB: usize = FIELD + "cookie".len();
/// Streams that we have reset and whose frames may still come, and those that a client has reset before we knew
/// of them.
const RESET_STREAMS: usize = 50;
const UNSEEN_RESETS: usize = 20;
/// Streams that we had to reset because of what came on them.
const FORCED_RESETS: usize = 100;

/// Serves one connection until it ends: one that is in HTTP/2 because the handshake of TLS said so, or because
/// its first bytes are the preface. `io` is read from there.
pub async fn serve<T>(io: T, connection: Connection)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let live = connection.app.live();
    let reading = Reading::new();
    let metered = Metered::new(io, reading.clone(), Arc::clone(connection.place.resets()));
    let handshake = builder(&live.limits).handshake(metered);
    let begun = tokio::select! {
        biased;
        begun = timeout(live.timeouts.header, handshake) => begun,
        () = connection.last_call() => return,
    };
    match begun {
        Ok(Ok(frames)) => Session::new(frames, reading, connection).run().await,
        Ok(Err(error)) => lost(&connection, &error),
        Err(_) => tracing::debug!("a connection did not get to the end of its preface"),
    }
}

/// The library has ended a connection, or the client has.
fn lost(connection: &Connection, error: &h2::Error) {
    tracing::debug!(%error, "a connection of HTTP/2 has failed");
    if error.is_library() {
        complain(connection, &error.to_string());
    }
}

/// What came on a connection is not to be borne, and it is ended.
fn complain(connection: &Connection, abuse: &str) {
    // Of several reasons the first.
    let _ = connection.ended.set(abuse.into());
    if let Some(times) = connection.place.lost_to_abuse() {
        tracing::warn!(abuse, times, peer = ?connection.peer, "a connection of HTTP/2 is closed");
    }
}

fn builder(limits: &Limits) -> Builder {
    let fields = limits.headers.saturating_mul(FIELD).saturating_add(PSEUDO_FIELDS + CRUMBS * CRUMB);
    let head = limits.header_bytes.saturating_add(fields);
    let streams = u32::try_from(limits.streams).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(streams).min(MOST_WINDOW))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(FORCED_RESETS));
    builder
}

type Frames<T> = h2::server::Connection<Metered<T>, Bytes>;

/// A connection whose preface has come.
struct Session<T> {
    frames: Frames<T>,
    requests: JoinSet<()>,
    connection: Arc<Connection>,
    reading: Reading,
    timer: Pin<Box<Sleep>>,
    /// When a request ended last, or the goodbye was said.
    quiet: Instant,
    /// No request is under way, and no answer.
    idle: bool,
    /// We have said that we take no more requests.
    leaving: bool,
}

/// What a session has to act on.
enum Event {
    Request(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    /// The last answer that was under way has gone.
    Answered,
    /// No more requests are to be taken.
    Drain,
    /// Another connection needs the place of this one.
    Asked,
    /// It has been quiet for too long.
    Idle,
    /// The client is to be sent away, because of this.
    Abuse(&'static str),
    Closed,
}

impl<T> Session<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn new(frames: Frames<T>, reading: Reading, connection: Connection) -> Self {
        let now = Instant::now();
        Self {
            frames,
            requests: JoinSet::new(),
            connection: Arc::new(connection),
            reading,
            timer: Box::pin(sleep_until(now)),
            quiet: now,
            idle: true,
            leaving: false,
        }
    }

    async fn run(mut self) {
        let mut draining = self.connection.draining.clone();
        let mut drained = pin!(async move { draining.wait_for(|draining| *draining).await.is_ok() });
        let connection = Arc::clone(&self.connection);
        loop {
            let (leaving, idle) = (self.leaving, self.idle);
            let event = tokio::select! {
                biased;
                _ = drained.as_mut(), if !leaving => Event::Drain,
                event = poll_fn(|cx| self.poll(cx)) => event,
                () = connection.place.asked_for(), if idle => Event::Asked,
            };
            if connection.place.is_asked_for() {
                return self.go().await;
            }
            match event {
                Event::Request(request) => {
                    let (request, respond) = *request;
                    self.idle = false;
                    self.requests.spawn(stream::serve(Arc::clone(&self.connection), request, respond));
                }
                Event::Answered => self.idle = true,
                Event::Drain => self.leave(),
                Event::Idle if !self.leaving => self.leave(),
                Event::Idle | Event::Closed | Event::Asked => return,
                Event::Abuse(abuse) => return self.give_up(abuse).await,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while let Poll::Ready(Some(_)) = self.requests.poll_join_next(cx) {
            self.quiet = Instant::now();
        }
        let accepted = pin!(self.frames.accept()).poll(cx);
        let now = Instant::now();
        if let Some(flood) = self.reading.meter().flood(now) {
            return Poll::Ready(Event::Abuse(flood.what()));
        }
        match accepted {
            Poll::Ready(Some(Ok(request))) => Poll::Ready(Event::Request(Box::new(request))),
            Poll::Ready(Some(Err(error))) => {
                lost(&self.connection, &error);
                Poll::Ready(Event::Closed)
            }
            Poll::Ready(None) => Poll::Ready(Event::Closed),
            Poll::Pending if !self.idle && self.requests.is_empty() && !self.frames.has_streams() => {
                Poll::Ready(Event::Answered)
            }
            Poll::Pending => self.poll_late(cx).map(|()| self.late()),
        }
    }

    /// Waits for the first of all that may take too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = [self.head_deadline(), self.quiet_deadline()].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(())
    }

    fn late(&self) -> Event {
        match self.head_deadline() {
            Some(deadline) if deadline <= Instant::now() => {
                Event::Abuse("a head that does not come to its end")
            }
            _ => Event::Idle,
        }
    }

    fn head_deadline(&self) -> Option<Instant> {
        Some(self.reading.meter().head_since()? + self.connection.app.live().timeouts.header)
    }

    fn quiet_deadline(&self) -> Option<Instant> {
        if !self.requests.is_empty() {
            return None;
        }
        let timeouts = &self.connection.app.live().timeouts;
        Some(match (self.frames.has_streams(), self.leaving) {
            // Answers that the client has not taken yet: it has the time anew as it takes them.
            (true, _) => self.quiet.max(self.reading.meter().taken_at()) + timeouts.body,
            (false, false) => self.quiet + timeouts.idle,
            (false, true) => self.quiet + LAST_CHANCE,
        })
    }

    /// Says that no more requests are taken, but for those on their way (RFC 9113 §6.8).
    fn leave(&mut self) {
        self.frames.graceful_shutdown();
        self.leaving = true;
        self.quiet = Instant::now();
    }

    /// Goes at once, having told the client that nothing more will be answered, if it takes the word.
    async fn go(mut self) {
        self.frames.abrupt_shutdown(Reason::NO_ERROR);
        poll_fn(|cx| {
            // What this makes of it does not matter any more.
            let _ = self.frames.poll_closed(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// RFC 9113 §7: `ENHANCE_YOUR_CALM`, "the endpoint detected that its peer is exhibiting a behavior that might
    /// be generating excessive load".
    async fn give_up(mut self, abuse: &str) {
        complain(&self.connection, abuse);
        self.requests.abort_all();
        self.frames.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        // It may never take the goodbye.
        let _ = timeout(LAST_CHANCE, poll_fn(|cx| self.frames.poll_closed(cx))).await;
    }
}
