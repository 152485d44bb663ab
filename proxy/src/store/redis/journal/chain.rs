//! The latest purges of this process, each with the one before it: as long as that is its own too, it is known what
//! there was between two of them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{act::Act, noted::Entry};
use crate::{epoch::Epoch, store::redis::epochs::Epochs};

/// So many purges are remembered. Between what a purge is needed for and the purge there are a few at most.
const LENGTH: usize = 256;

/// The latest of them, as they were told of.
#[derive(Debug, Default)]
pub(super) struct Chain(Mutex<VecDeque<Link>>);

/// One of them, of one thing or more.
#[derive(Debug)]
struct Link {
    epochs: Epochs,
    of: Box<[u128]>,
    /// Of tags, and so of any resource.
    of_tags: bool,
}

impl Link {
    fn of(entries: &[Entry], epochs: Epochs) -> Self {
        let of_tags = entries.iter().any(|entry| matches!(entry.act, Act::PurgeTag { .. }));
        Self { epochs, of: entries.iter().map(|entry| entry.act.what()).collect(), of_tags }
    }

    fn may_concern(&self, other: &Self) -> bool {
        self.of_tags || self.of.iter().any(|what| other.of.contains(what))
    }
}

impl Chain {
    /// These took such an epoch.
    pub(super) fn add(&self, entries: &[Entry], epochs: Epochs) {
        let mut links = self.lock();
        if links.len() >= LENGTH {
            links.pop_front();
        }
        links.push_back(Link::of(entries, epochs));
    }

    /// The latest purge before that of these which may concern the same resources: what is not known to concern
    /// others may.
    pub(super) fn before(&self, entries: &[Entry], epochs: Epochs) -> Epoch {
        let (own, links) = (Link::of(entries, epochs), self.lock());
        let mut before = epochs.before;
        while let Some(link) = links.iter().find(|link| link.epochs.taken == before) {
            // One that Redis did not tell from the one before it leads nowhere.
            if link.may_concern(&own) || link.epochs.before >= before {
                break;
            }
            before = link.epochs.before;
        }
        before
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{epoch::Mode, purges::Purges, store::redis::journal::noted::Noted, tags::Tag};

    fn epoch(number: u64) -> Epoch {
        Epoch::from_number(number).unwrap()
    }

    fn of(hash: u128) -> Act {
        Act::Purge { hash, name: "".into(), mode: Mode::Hard }
    }

    fn entries(acts: Vec<Act>) -> Vec<Entry> {
        Noted::new(Arc::<Purges>::default()).note(acts)
    }

    /// Purges of these at 10, 20 and so on; what there was before one more of resource 1.
    fn before_one_more(acts: Vec<Act>, lacking: Option<u64>) -> u64 {
        let (chain, one) = (Chain::default(), entries(vec![of(1)]));
        let mut last = 0;
        for act in acts {
            let epochs = Epochs { taken: epoch(last + 10), before: epoch(last) };
            if lacking != Some(last + 10) {
                chain.add(&entries(vec![act]), epochs);
            }
            last += 10;
        }
        let epochs = Epochs { taken: epoch(last + 10), before: epoch(last) };
        chain.add(&one, epochs);
        chain.before(&one, epochs).number()
    }

    #[test]
    fn what_concerned_others_is_passed_over() {
        assert_eq!(before_one_more(vec![], None), 0);
        assert_eq!(before_one_more(vec![of(2), of(3)], None), 0);
        assert_eq!(before_one_more(vec![of(2), of(1), of(3)], None), 20);
        let tag = Act::PurgeTag { tag: Tag::named(b"t"), mode: Mode::Soft };
        assert_eq!(before_one_more(vec![of(2), tag, of(3)], None), 20);
    }

    #[test]
    fn what_somebody_else_purged_may_concern_anything() {
        assert_eq!(before_one_more(vec![of(2), of(3), of(4)], Some(20)), 20);
        assert_eq!(before_one_more(vec![of(2), of(3), of(4)], Some(30)), 30);
    }

    #[test]
    fn it_has_an_end() {
        let (chain, one) = (Chain::default(), entries(vec![of(1)]));
        for number in 1..1000 {
            chain.add(&entries(vec![of(2)]), Epochs { taken: epoch(number), before: epoch(number - 1) });
        }
        let epochs = Epochs { taken: epoch(1000), before: epoch(999) };
        assert_eq!(chain.before(&one, epochs).number(), 999 - u64::try_from(LENGTH).unwrap());
        chain.add(&one, Epochs { taken: epoch(7), before: epoch(7) });
        assert_eq!(chain.before(&one, Epochs { taken: epoch(8), before: epoch(7) }).number(), 7);
    }
}
