//! What this process has applied of others' purges and is to acknowledge.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::epoch::Epoch;

/// How much of each purge is not acknowledged yet. A purge may name thousands of things: those that are
/// applied while an acknowledgement is on its way go with the next one.
#[derive(Debug, Default)]
pub(super) struct Applied(Mutex<HashMap<Epoch, u64>>);

impl Applied {
    /// One thing more. Whether nobody is acknowledging that purge yet.
    pub(super) fn add(&self, epoch: Epoch) -> bool {
        let mut all = self.lock();
        let is_new = !all.contains_key(&epoch);
        *all.entry(epoch).or_default() += 1;
        is_new
    }

    /// How much is to be acknowledged now. Nothing: that was all, for now.
    pub(super) fn take(&self, epoch: Epoch) -> Option<u64> {
        let mut all = self.lock();
        let count = all.get_mut(&epoch).map(std::mem::take).filter(|count| *count > 0);
        if count.is_none() {
            all.remove(&epoch);
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Epoch, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_meanwhile_goes_with_the_next() {
        let (applied, epoch) = (Applied::default(), Epoch::FIRST);
        for _ in 0..2 {
            assert!(applied.add(epoch) && !applied.add(epoch));
            assert_eq!(applied.take(epoch), Some(2));
            assert!(!applied.add(epoch));
            assert_eq!((applied.take(epoch), applied.take(epoch)), (Some(1), None));
        }
        assert!(applied.lock().is_empty());
    }
}
