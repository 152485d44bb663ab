//! What Redis may have lost: the server that we look things up on may have taken the place of another,
//! which had acknowledged purges and not yet passed them on.

use std::sync::{Mutex, PoisonError};

use crate::epoch::Epoch;

/// Up to which purge that may be.
#[derive(Debug)]
pub(super) struct Doubt(Mutex<Since>);

#[derive(Debug)]
struct Since {
    /// Whether there was nothing to lose before its first connection.
    first: bool,
    session: u64,
    epoch: Epoch,
}

impl Doubt {
    /// Of a server: the `first` one that we know, or one that has come later, and may have taken the place of
    /// another.
    pub(super) fn new(first: bool) -> Self {
        Self(Mutex::new(Since { first, session: 0, epoch: Epoch::FIRST }))
    }

    /// Up to the last one that was known when the connection began over which an answer came, or a little
    /// later. That is the `session`th or one before; `known` is the last purge known now.
    pub(super) fn until(&self, session: u64, known: Epoch) -> Epoch {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if session > since.session {
            since.epoch = if session == 1 && since.first { Epoch::FIRST } else { known };
            since.session = session;
        }
        since.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_casts_doubt_on_what_was_before_it() {
        let (doubt, epoch) = (Doubt::new(true), |number| Epoch::from_number(number).unwrap());
        assert_eq!(doubt.until(1, epoch(5)), Epoch::FIRST);
        assert_eq!(doubt.until(2, epoch(5)), epoch(5));
        assert_eq!(doubt.until(2, epoch(9)), epoch(5));
        assert_eq!(doubt.until(3, epoch(9)), epoch(9));
        // One who was slow to ask.
        assert_eq!(doubt.until(2, epoch(11)), epoch(9));
        assert_eq!(Doubt::new(false).until(1, epoch(5)), epoch(5));
    }
}
