//! The body of an answer on its way from the origin.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Times, connection::Connection, error::FetchError, framing::Framing, pool::Pool, sender::Incoming,
    trailers::Passing,
};
use crate::message::PollFrame;

/// The body of an answer. It holds the connection: read to its end it gives that back for the next request,
/// dropped earlier it closes it.
pub struct UpstreamBody {
    incoming: Incoming,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    trailers: Passing,
    silence: Silence,
    /// Until the body ended, well or badly.
    held: Option<Held>,
}

/// The connection a body comes over, and where it goes afterwards.
pub(super) struct Held {
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    /// Whether it can serve another request.
    pub(super) reusable: bool,
    /// Who counts how long answers take, and since when this one does.
    pub(super) times: Arc<Times>,
    pub(super) began: Instant,
}

impl Held {
    /// The answer is complete.
    fn release(self) {
        let Self { connection, pool, reusable, times, began } = self;
        times.whole.note(began.elapsed());
        if !reusable {
            return;
        }
        if connection.is_ready() {
            return pool.put(connection);
        }
        // The request is not sent to its end, or the connection's task has not come to look: wait aside.
        tokio::spawn(async move {
            if let Some(connection) = connection.settled().await {
                pool.put(connection);
            }
        });
    }
}

impl UpstreamBody {
    /// The body `incoming` of an answer with these `fields`, which fails when it is silent for `limit`.
    pub(super) fn new(
        incoming: Incoming,
        fields: &HeaderMap,
        ends: Framing,
        limit: Duration,
        held: Held,
    ) -> Self {
        let (trailers, silence) = (Passing::of_answer(fields), Silence::new(limit));
        let left = match ends {
            Framing::Length(length) => Some(length),
            _ => incoming.is_end_stream().then_some(0),
        };
        let mut body = Self { incoming, left, trailers, silence, held: Some(held) };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The empty body of an answer whose connection went elsewhere.
    pub(super) fn without_connection(incoming: Incoming) -> Self {
        let (trailers, silence) = (Passing::default(), Silence::new(Duration::ZERO));
        Self { incoming, left: Some(0), trailers, silence, held: None }
    }

    fn finish(&mut self) {
        if let Some(held) = self.held.take() {
            held.release();
        }
    }

    fn fail(&mut self, error: FetchError) -> PollFrame<FetchError> {
        self.held = None;
        Poll::Ready(Some(Err(error)))
    }

    /// The frames stopped: at the end that was announced, or short of it.
    fn end(&mut self) -> PollFrame<FetchError> {
        if self.left.is_some_and(|left| left > 0) {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            return self.fail(FetchError::Incomplete(cut.into()));
        }
        self.finish();
        Poll::Ready(None)
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> PollFrame<FetchError> {
        let last_write = self.held.as_ref().map(|held| held.connection.last_write());
        if self.silence.poll(cx, last_write).is_pending() {
            return Poll::Pending;
        }
        self.fail(FetchError::BetweenBytes(self.silence.limit))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<FetchError> {
        let this = &mut *self;
        if this.held.is_none() {
            return Poll::Ready(None);
        }
        match this.incoming.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.silence.broken();
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.left = this.left.map(|left| left.saturating_sub(length));
                // Whoever knows the length does not ask for a frame after the last.
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(this.trailers.pass(frame).map(Ok))
            }
            Poll::Ready(Some(Err(error))) => this.fail(FetchError::Incomplete(error)),
            Poll::Ready(None) => this.end(),
            Poll::Pending => this.wait(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.held.is_none();
        f.debug_struct("UpstreamBody")
            .field("left", &self.left)
            .field("ended", &ended)
            .finish_non_exhaustive()
    }
}

/// The time since the reader began to wait for a frame. Time in which nobody asked for one does not count.
struct Silence {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    fn broken(&mut self) {
        self.since = None;
    }

    /// Ready when the limit is over. A request body that still moves (`last_write`) is no silence: an origin
    /// that reads while it answers waits for that.
    fn poll(&mut self, cx: &mut Context<'_>, last_write: Option<Instant>) -> Poll<()> {
        let began = *self.since.get_or_insert_with(Instant::now);
        let deadline = began.max(last_write.unwrap_or(began)) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
