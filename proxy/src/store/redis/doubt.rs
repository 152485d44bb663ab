//! What Redis may have lost: the server that we look things up on may have taken the place of another,
//! which had acknowledged purges and not yet passed them on.

use std::sync::{Mutex, PoisonError};

use crate::epoch::Epoch;

/// Up to which purge that may be.
#[derive(Debug, Default)]
pub(super) struct Doubt(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    session: u64,
    epoch: Epoch,
}

impl Doubt {
    /// Up to the last one that was known when the connection began over which an answer came, or a little
    /// later. That is the `session`th or one before; `known` is the last purge known now. Before the first
    /// one there was nothing to lose.
    pub(super) fn until(&self, session: u64, known: Epoch) -> Epoch {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if session > since.session {
            *since = Since { session, epoch: if session > 1 { known } else { Epoch::FIRST } };
        }
        since.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_casts_doubt_on_what_was_before_it() {
        let (doubt, epoch) = (Doubt::default(), |number| Epoch::from_number(number).unwrap());
        assert_eq!(doubt.until(1, epoch(5)), Epoch::FIRST);
        assert_eq!(doubt.until(2, epoch(5)), epoch(5));
        assert_eq!(doubt.until(2, epoch(9)), epoch(5));
        assert_eq!(doubt.until(3, epoch(9)), epoch(9));
        // One who was slow to ask.
        assert_eq!(doubt.until(2, epoch(11)), epoch(9));
    }
}
