//! The named limits of every loop, queue, buffer and wait, with their defaults.

use std::time::Duration;

/// `limits:` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections held at once. For a further one the one that has been idle longest is closed; if
    /// none is, that one is refused (503). Over HTTP/2, requests held at once on all of them; a further one is
    /// refused (503).
    pub connections: usize,
    /// Requests at once on a connection of HTTP/2. There may always be so many, whatever `connections` says.
    pub streams: usize,
    /// Bytes of a request head, request line included (431 beyond).
    pub header_bytes: usize,
    /// Fields of a request head (431 beyond).
    pub headers: usize,
    /// Bytes of a request target (414 beyond).
    pub uri_bytes: usize,
    /// Bytes of a request body (413 beyond); absent: no limit.
    pub request_body: Option<u64>,
    /// Connections to the origin held at once, idle ones included.
    pub upstream_connections: usize,
    /// Requests that wait for such a connection; beyond, 503 at once.
    pub upstream_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 128,
            header_bytes: 32 * 1024,
            headers: 100,
            uri_bytes: 8 * 1024,
            request_body: None,
            upstream_connections: 256,
            upstream_queue: 1024,
        }
    }
}

/// `timeouts:` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request head to its last.
    pub header: Duration,
    /// A kept connection between requests, and a quiet tunnel or event stream.
    pub idle: Duration,
    /// For which a client is waited for, at most, until it has moved 4 KiB of a request body or of a
    /// response, or the end of either.
    pub body: Duration,
    /// To connect to the origin, all its addresses together.
    pub connect: Duration,
    /// From the request's end to the first byte of the origin's answer.
    pub first_byte: Duration,
    /// Between two reads of the origin's body.
    pub between_bytes: Duration,
    /// From SIGTERM to the end, whatever still runs. Where requests use it up, a wrapped app gets
    /// five seconds more.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}
