//! Where the origin is, and the limits towards it.

use std::{path::PathBuf, time::Duration};

use super::{pool::Bounds, tls::Roots};
use crate::limits::{Limits, Timeouts};

/// Age beyond which a connection is not used again: the origin's load balancer gets its turn.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// Idle time beyond which a connection is closed.
pub const MAX_IDLE: Duration = Duration::from_secs(60);

/// Where the origin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Plain TCP.
    Http {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS.
    Https {
        /// A name or an address; the certificate must hold it.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// The origin and the limits towards it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub origin: Origin,
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
    /// The same for an event stream, if longer.
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
    pub fn new(origin: Origin, limits: &Limits, timeouts: &Timeouts) -> Self {
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
