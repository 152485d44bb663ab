//! What comes of a fetch.

use std::time::Duration;

use http::response;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;

use super::{body::UpstreamBody, framing::Framing};
use crate::message::StreamBody;

/// The answer to a request: its head is here, its body still coming.
#[derive(Debug)]
pub struct Fetched<B = UpstreamBody> {
    /// Status and fields as the origin sent them, hop-by-hop fields included.
    pub head: response::Parts,
    /// The body. It holds the connection.
    pub body: B,
    /// The tunnel, when the origin agreed to the upgrade the request asked for (101). It still counts as one of
    /// the pool's connections, until it is closed.
    pub upgraded: Option<OnUpgrade>,
    /// How the end of the body is known.
    pub ends: Framing,
    /// Where the time went.
    pub timing: Timing,
}

impl<B> Fetched<B> {
    /// The same with another body.
    pub fn map_body<C>(self, change: impl FnOnce(B) -> C) -> Fetched<C> {
        let Self { head, body, upgraded, ends, timing } = self;
        Fetched { head, body: change(body), upgraded, ends, timing }
    }
}

impl Fetched {
    /// The same with its body as one of no make in particular.
    #[must_use]
    pub fn streamed(self) -> Fetched<StreamBody> {
        self.map_body(|body| -> StreamBody { Box::pin(body.map_err(Into::into)) })
    }
}

/// Where the time of a fetch went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// In the queue for a connection.
    pub queued: Duration,
    /// Making a connection; zero if an idle one served.
    pub connecting: Duration,
    /// From there to the head of the answer.
    pub first_byte: Duration,
    /// Whether the connection had served another request before.
    pub reused: bool,
}
