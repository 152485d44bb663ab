//! The seam to whoever watches: one call for each request, when its answer has been sent.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    headers::Peer,
    identity::RequestId,
    message::{Failed, Request},
    status::Outcome,
};

/// One request and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'r> {
    /// The request; absent where it could not be read as one.
    pub request: Option<&'r Request>,
    /// The id of one that could not be read.
    pub unread: Option<&'r RequestId>,
    /// Who sent it.
    pub peer: Peer,
    /// The status of the answer.
    pub status: StatusCode,
    /// What became of it.
    pub outcome: Outcome,
    /// The name of the rule that matched.
    pub rule: Option<&'r Arc<str>>,
    /// What a hit spared the origin, as [`Reply::spared`](crate::message::Reply::spared) has it.
    pub spared: Duration,
    /// Why the answer is an error of the proxy's own, if it is.
    pub failed: Option<&'r Failed>,
    /// Bytes of the body that were sent.
    pub body_bytes: u64,
    /// From the request's head to the answer's end.
    pub duration: Duration,
    /// Whether the client got all of it.
    pub complete: bool,
}

impl<'r> Exchange<'r> {
    /// What it is called.
    #[must_use]
    pub fn request_id(&self) -> Option<&'r RequestId> {
        self.request.map(Request::request_id).or(self.unread)
    }
}

/// Told of every exchange. Called on the way of a request: it must not block.
pub trait Observer: Send + Sync {
    /// One exchange is over.
    fn observe(&self, exchange: &Exchange<'_>);
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Exchange<'_>) {}
}
