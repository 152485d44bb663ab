//! Station 2: refuses what must never be forwarded, before anything else looks at it. Pure.
//!
//! A request that two parsers could read in two ways is a hole in the app behind (request
//! smuggling), so nothing is repaired here: what is not exactly HTTP/1.x, or HTTP/2 that says the same, is
//! refused.

mod forwarded;
mod framing;
mod h2;
mod head;
mod notable;
mod path;
pub mod proxy_header;
mod reference;
mod target;

use http::StatusCode;

pub use forwarded::Forwarded;
pub use framing::Framing;
pub use head::{ConnectionOptions, Head, HeadLimits, Scan, UNASKED_TLS, begins_tls, read_trailers, scan};
pub use notable::Notable;
pub use target::{Scheme, Target, TargetError, normalise_authority};

/// Why a request is refused; the connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// One sentence for the person who wrote the client.
    pub reason: &'static str,
}

impl Refusal {
    /// 400 with a reason.
    #[must_use]
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    /// Another status with a reason.
    #[must_use]
    pub const fn with(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}
