//! Why a tracking connection ends, or does not begin.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::redis::condition::Failure;

/// Why a connection is of no use.
pub(super) enum Why {
    /// It may be better next time.
    Lost(Failure),
    /// Redis does not want to be tracked.
    Denied(Failure),
}

impl Why {
    pub(super) fn lost(error: &RedisError) -> Self {
        Self::Lost(error.into())
    }

    pub(super) fn denied(error: &RedisError) -> Self {
        Self::Denied(error.into())
    }
}

/// Whether Redis says that the user may not.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// Whether it says that it cannot, or will not: so it will the next time.
pub(super) fn is_denial(error: &RedisError) -> bool {
    is_forbidden(error) || matches!(error.code(), Some("ERR" | "NOPROTO"))
}
