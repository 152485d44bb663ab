//! Where the origin is, and the limits towards it.

use std::time::Duration;

use super::{pool::Bounds, tls::Roots};
use crate::{
    address::UpstreamUrl,
    limits::{Limits, Timeouts},
};

/// Age beyond which a connection is not used again: the origin's load balancer gets its turn.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// Idle time beyond which a connection is closed.
pub const MAX_IDLE: Duration = Duration::from_secs(60);

/// Beyond this a time limit is none.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The origin and the limits towards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub origin: UpstreamUrl,
    /// Connections held at once, idle ones and tunnels included.
    pub connections: usize,
    /// Requests that wait for a connection, first come, first served; each at most `first_byte`, since to the
    /// client it is one wait for an answer.
    pub queue: usize,
    /// To connect: name, all addresses and TLS together.
    pub connect: Duration,
    /// To the head of the answer, from the moment the last byte of the request moved.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub between_bytes: Duration,
    /// The same for an event stream and for a call of a procedure, if longer.
    pub idle: Duration,
    /// Age beyond which a connection is not used again.
    pub max_age: Duration,
    /// Idle time beyond which a connection is closed.
    pub max_idle: Duration,
    /// Who may vouch for an https origin.
    pub roots: Roots,
}

impl Settings {
    /// `limits` and `timeouts` towards `origin`.
    #[must_use]
    pub fn new(origin: UpstreamUrl, limits: &Limits, timeouts: &Timeouts) -> Self {
        Self {
            origin,
            connections: limits.upstream_connections,
            queue: limits.upstream_queue,
            connect: timeouts.connect,
            first_byte: timeouts.first_byte,
            between_bytes: timeouts.between_bytes,
            idle: timeouts.idle,
            max_age: MAX_AGE,
            max_idle: MAX_IDLE,
            roots: Roots::Native,
        }
    }

    /// No limit so far off that an instant beside it overflows.
    pub(super) fn bounded(mut self) -> Self {
        for limit in [
            &mut self.connect,
            &mut self.first_byte,
            &mut self.between_bytes,
            &mut self.idle,
            &mut self.max_age,
            &mut self.max_idle,
        ] {
            *limit = (*limit).min(FOREVER);
        }
        self
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.connections,
            queue: self.queue,
            patience: self.first_byte,
            max_age: self.max_age,
            max_idle: self.max_idle,
        }
    }
}
