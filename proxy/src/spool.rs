//! A body on its way from the origin to everybody who waits for it.
//!
//! One task writes, at the origin's pace; each reader reads at its own, and none holds back the
//! others: what it has not read yet waits here. That is why a spool has a limit, and why a body
//! that passes it belongs to one reader alone from there on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::watch;

use crate::message::{BoxError, PollFrame, StreamBody};

/// A body, as far as it has come.
pub struct Spool {
    state: Mutex<State>,
    /// The same as `state.end`, for those who wait for it alone.
    ended: watch::Sender<Option<Ended>>,
    /// The announced length.
    length: Option<u64>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// At its proven end.
    Whole,
    /// It passed the limit; the rest goes to one reader.
    Overflowed,
    /// Before its end.
    Cut,
}

#[derive(Default)]
struct State {
    chunks: Vec<Bytes>,
    bytes: u64,
    end: Option<End>,
    /// Those to be woken, and how often that has been done: who has waited since is in the list.
    waiting: Vec<Waker>,
    wakes: u64,
}

impl State {
    /// Has `waker` woken at the next change. `place`: where it was put before, if it was.
    fn wait(&mut self, waker: &Waker, place: &mut Option<(u64, usize)>) {
        let known = place.filter(|(wakes, _)| *wakes == self.wakes).map(|(_, index)| index);
        match known.and_then(|index| self.waiting.get_mut(index)) {
            Some(known) => known.clone_from(waker),
            None => {
                *place = Some((self.wakes, self.waiting.len()));
                self.waiting.push(waker.clone());
            }
        }
    }
}

enum End {
    Whole(HeaderMap),
    Overflowed(Option<StreamBody>),
    Cut,
}

/// The origin's answer ended before its end.
#[derive(Clone, Copy, Debug, Error)]
#[error("the origin's answer ended early")]
pub struct CutShort;

impl Spool {
    /// An empty one for a body of the announced length.
    #[must_use]
    pub fn new(length: Option<u64>) -> Self {
        Self { state: Mutex::default(), ended: watch::Sender::new(None), length }
    }

    /// The announced length.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether all of it is here: it has ended well, or is as long as was announced.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let state = self.lock();
        matches!(state.end, Some(End::Whole(_))) || state.end.is_none() && Some(state.bytes) == self.length
    }

    fn end(&self, end: End, ended: Ended) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        wake(state);
        self.ended.send_replace(Some(ended));
    }

    /// Waits for the end, however it comes.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended::Cut),
            Err(_) => Ended::Cut,
        }
    }

    /// All of it in one piece, that holds no more memory than it has bytes.
    #[must_use]
    pub fn collect(&self) -> Bytes {
        let state = self.lock();
        let length = state.chunks.iter().map(Bytes::len).sum();
        let mut whole = BytesMut::with_capacity(length);
        state.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end of a spool. Dropped before the end, it cuts the body: nobody waits for a writer
/// that is gone, and nobody takes what there is for all of it.
pub struct SpoolWriter(Arc<Spool>);

impl SpoolWriter {
    /// The one writer of `spool`.
    #[must_use]
    pub fn new(spool: &Arc<Spool>) -> Self {
        Self(Arc::clone(spool))
    }

    /// Adds to the body. The bytes there are now.
    pub fn push(&self, data: Bytes) -> u64 {
        let mut state = self.0.lock();
        state.bytes += data.len() as u64;
        state.chunks.push(data);
        let bytes = state.bytes;
        wake(state);
        bytes
    }

    /// The body is whole.
    pub fn finish(self, trailers: HeaderMap) {
        self.0.end(End::Whole(trailers), Ended::Whole);
    }

    /// The body is longer than may wait here; what follows goes to the first reader that gets there.
    pub fn overflow(self, rest: StreamBody) {
        self.0.end(End::Overflowed(Some(rest)), Ended::Overflowed);
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.0.end(End::Cut, Ended::Cut);
    }
}

/// Wakes the readers, after the lock is gone.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    state.wakes += 1;
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
}

/// Reads a spool from its beginning.
pub struct SpoolReader {
    spool: Arc<Spool>,
    next: usize,
    rest: Option<StreamBody>,
    done: bool,
    /// Where it is among those to be woken.
    waits: Option<(u64, usize)>,
}

impl SpoolReader {
    /// A reader at the beginning.
    #[must_use]
    pub fn new(spool: Arc<Spool>) -> Self {
        Self { spool, next: 0, rest: None, done: false, waits: None }
    }

    /// The next frame of what is spooled, or the stream that goes on behind it.
    fn poll_spool(&mut self, cx: &mut Context<'_>) -> PollFrame {
        let mut state = self.spool.lock();
        if let Some(chunk) = state.chunks.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        let frame = match &mut state.end {
            None => {
                state.wait(cx.waker(), &mut self.waits);
                return Poll::Pending;
            }
            Some(End::Whole(trailers)) if trailers.is_empty() => None,
            Some(End::Whole(trailers)) => Some(Ok(Frame::trailers(trailers.clone()))),
            Some(End::Cut) => Some(Err(CutShort.into())),
            Some(End::Overflowed(rest)) => {
                self.rest = rest.take();
                match self.rest {
                    Some(_) => return Poll::Pending,
                    None => Some(Err(CutShort.into())),
                }
            }
        };
        self.done = true;
        Poll::Ready(frame)
    }
}

impl Body for SpoolReader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        if self.done {
            return Poll::Ready(None);
        }
        if self.rest.is_none() {
            let frame = self.poll_spool(cx);
            if self.rest.is_none() {
                return frame;
            }
        }
        match &mut self.rest {
            Some(rest) => Poll::Ready(ready!(rest.as_mut().poll_frame(cx))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.spool.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
