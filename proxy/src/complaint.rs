//! What happens with each connection of a flood is said now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// From one line of a kind to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// What has happened since, without a line.
    untold: u64,
}

impl Complaint {
    /// It has happened again. How often it has, if there is to be a line now.
    pub(crate) fn again(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.untold += 1;
        if said.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        said.last = Some(Instant::now());
        Some(std::mem::take(&mut said.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_are_counted() {
        let complaint = Complaint::default();
        let told: Vec<_> = (0..1000).filter_map(|_| complaint.again()).collect();
        assert_eq!(told, [1]);
        complaint.0.lock().unwrap().last = None;
        assert_eq!(complaint.again(), Some(1000));
    }
}
