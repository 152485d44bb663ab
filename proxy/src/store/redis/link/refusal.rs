//! Why a link has no answer.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// Why there is none.
#[derive(Debug)]
pub(in crate::store::redis) enum Refusal {
    /// This node of a cluster does not serve the key.
    Elsewhere(Elsewhere),
    /// Nobody need be asked again.
    Failed(StoreError),
}

/// Where else a key is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store::redis) enum Elsewhere {
    /// There, as the node writes it.
    Moved(String),
    /// On its way there.
    Leaving,
    /// Nowhere, at this moment: half of it is on its way, or the cluster is not whole.
    Nowhere,
}

impl Elsewhere {
    /// What an error of a node says, if it is about that.
    pub(in crate::store::redis) fn of(error: &RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => Some(Self::Moved(
                error.redirect_node().map_or_else(String::new, |(address, _)| address.to_owned()),
            )),
            ErrorKind::Server(ServerErrorKind::Ask) => Some(Self::Leaving),
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                Some(Self::Nowhere)
            }
            _ => None,
        }
    }

    /// Whether the node serves others all the same.
    pub(in crate::store::redis) fn is_alive(&self) -> bool {
        *self != Self::Nowhere
    }
}

/// Whether Redis takes no writes because it is not the master.
pub(in crate::store::redis) fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
