//! An answer that passes by on its way to the client, as the origin sent it: where a fill could have stored it, it is
//! stored without its body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Empty};

use super::{Answer, Fill, Right, Storing};
use crate::{
    flight::Shared,
    message::{BoxError, PollFrame, StreamBody},
    policy::storable::Storable,
    purges::Begun,
    spool::Spool,
    status::Detail,
    upstream::Framing,
};

impl Fill {
    /// Judges an answer as if this fill had asked for it; the same answer, which has its head stored once its
    /// body has come whole and is not too long. With the reason where it has not.
    pub fn overhear(self, answer: Answer, begun: Begun) -> (Answer, Option<Detail>) {
        let exchange = self.exchanged(begun);
        let (shared, Storable { keep, .. }) = match self.admitted(&answer, exchange) {
            Ok(admitted) => admitted,
            Err(detail) => return (answer, Some(detail)),
        };
        let shared = Arc::new(Shared { body: Arc::new(Spool::new(Some(0))), ..shared });
        let note = Note { fill: self, storing: Storing { shared, begun, keep } };
        if answer.ends == Framing::Empty {
            note.keep();
            return (answer, None);
        }
        let overheard = |body| -> StreamBody { Box::pin(Overheard { body, bytes: 0, note: Some(note) }) };
        (answer.map_body(overheard), None)
    }
}

/// What is to be stored once the body has ended.
struct Note {
    fill: Fill,
    storing: Storing,
}

impl Note {
    fn keep(self) {
        let Self { mut fill, storing } = self;
        tokio::spawn(async move {
            fill.right = Right::try_once(&fill.app, &fill.key, &fill.seek.variant, fill.seek.left).await;
            fill.relay(storing, Box::pin(Empty::new().map_err(Into::into))).await;
        });
    }
}

/// A body that is passed on unchanged, and counted.
struct Overheard {
    body: StreamBody,
    bytes: u64,
    /// Until the end, however that comes.
    note: Option<Note>,
}

impl Overheard {
    fn ended_well(&mut self) {
        if let Some(note) = self.note.take_if(|note| self.bytes <= note.fill.rule.max_body) {
            note.keep();
        }
    }
}

impl Body for Overheard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                // Who knows that this was the last one need not ask for more.
                if self.body.is_end_stream() {
                    self.ended_well();
                }
            }
            Some(Err(_)) => self.note = None,
            None => self.ended_well(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
