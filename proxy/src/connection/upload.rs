//! The body of a request, passed on as it comes.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::watchdog::{Elapsed, Patience};
use crate::{
    admit::Framing,
    message::{BodyFrame, Request, RequestBody, RequestBodyError, StreamedBody, Word},
};

/// A body as the connection has it.
pub(crate) trait Frames {
    /// The next frame, none of them empty, and nothing at the end. Dropped, it has lost nothing.
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, RequestBodyError>;

    /// Whether nothing more belongs to it.
    fn has_ended(&self) -> bool;
}

/// The body of a request as the story sees it, and the sender that feeds it.
pub(crate) fn body_channel(request: &Request) -> (RequestBody, mpsc::Sender<BodyFrame>) {
    let (sender, frames) = mpsc::channel(1);
    let left = match request.head.framing {
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    (RequestBody::Streamed(StreamedBody { frames, left, expectation: request.expectation.clone() }), sender)
}

/// Where it goes, and within which limits.
pub(crate) struct Upload<'u> {
    /// To the story.
    pub(crate) sender: mpsc::Sender<BodyFrame>,
    /// What the client may wait for before it sends anything.
    pub(crate) word: Option<Word>,
    /// Bytes.
    pub(crate) most: Option<u64>,
    /// How long the client is waited for.
    pub(crate) patience: Patience<'u>,
    /// Set when the last of it has been read, which may be before anybody has asked whether there is more.
    pub(crate) whole: &'u AtomicBool,
}

impl Upload<'_> {
    /// Passes the body on, one frame ahead of whoever reads it.
    pub(crate) async fn run(mut self, mut body: impl Frames) {
        let mut early = match &self.word {
            // Until then the time is not the client's; who does not wait needs no word.
            Some(word) => tokio::select! {
                biased;
                first = body.next() => Some(first),
                () = word.say() => None,
            },
            None => None,
        };
        let mut left = self.most.unwrap_or(u64::MAX);
        loop {
            let Ok(slot) = self.sender.reserve().await else { return };
            // Nor is the time until somebody wants the frame.
            let next = match early.take() {
                Some(first) => Ok(first),
                None => self.patience.wait(body.next()).await,
            };
            let frame = match next {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => {
                    self.whole.store(true, Ordering::Relaxed);
                    return slot.send(Ok(None));
                }
                Ok(Err(error)) => return slot.send(Err(error)),
                Err(Elapsed) => return slot.send(Err(RequestBodyError::Timeout)),
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.patience.moved(length);
            let Some(rest) = left.checked_sub(length as u64) else {
                return slot.send(Err(RequestBodyError::TooLarge));
            };
            left = rest;
            self.whole.store(body.has_ended(), Ordering::Relaxed);
            let is_last = frame.is_trailers();
            slot.send(Ok(Some(frame)));
            if is_last {
                return;
            }
        }
    }
}
