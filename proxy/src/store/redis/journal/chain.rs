//! The latest purges of this process, each with the one before it: as long as that is its own too, it is known what
//! there was between two of them.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{act::Act, noted::Entry};
use crate::{epoch::Epoch, store::redis::epochs::Epochs};

/// So many purges are remembered. What comes while something is fetched are a few at most.
const LENGTH: usize = 256;

/// The latest of them, as they were told of.
#[derive(Debug, Default)]
pub(super) struct Chain {
    known: Mutex<Known>,
    /// Told when one is known that was asked for, or will not be.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Known {
    links: VecDeque<Link>,
    /// Those who ask for an epoch: it may be taken before they know of it.
    asking: BTreeSet<u64>,
    asked: u64,
}

/// One of them, of one thing or more.
#[derive(Debug)]
struct Link {
    epochs: Epochs,
    of: Box<[u128]>,
    /// Of tags, and so of any resource.
    of_tags: bool,
}

/// One who asks for an epoch, until this is dropped.
#[derive(Debug)]
pub(super) struct Asking<'c> {
    chain: &'c Chain,
    number: u64,
}

impl Link {
    fn of(entries: &[Entry], epochs: Epochs) -> Self {
        let of_tags = entries.iter().any(|entry| matches!(entry.act, Act::PurgeTag { .. }));
        Self { epochs, of: entries.iter().map(|entry| entry.act.what()).collect(), of_tags }
    }

    fn may_concern(&self, hash: u128) -> bool {
        self.of_tags || self.of.contains(&hash)
    }
}

impl Asking<'_> {
    /// These took such an epoch.
    pub(super) fn got(self, entries: &[Entry], epochs: Epochs) {
        let mut known = self.chain.lock();
        if known.links.len() >= LENGTH {
            known.links.pop_front();
        }
        known.links.push_back(Link::of(entries, epochs));
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.chain.lock().asking.remove(&self.number);
        self.chain.settled.notify_waiters();
    }
}

impl Chain {
    /// An epoch is about to be asked for.
    pub(super) fn ask(&self) -> Asking<'_> {
        let mut known = self.lock();
        known.asked += 1;
        let number = known.asked;
        known.asking.insert(number);
        Asking { chain: self, number }
    }

    /// Returns when it is known what came of all that was asked for until now. Redis answers in the order in which it
    /// is asked, but who asked may not have seen the answer yet.
    pub(super) async fn settled(&self) {
        let until = self.lock().asked;
        loop {
            let mut settled = pin!(self.settled.notified());
            // From here on: what is settled between the look and the wait counts too.
            settled.as_mut().enable();
            if self.lock().asking.first().is_none_or(|number| *number > until) {
                return;
            }
            settled.await;
        }
    }

    /// The latest purge up to `last` that may concern the resource of that hash, beside `own`: what is not known to
    /// concern others may.
    pub(super) fn latest_beside(&self, own: Epochs, hash: u128, last: Epoch) -> Epoch {
        let (mut latest, known) = (last, self.lock());
        let before = |latest: Epoch| {
            let is_it = |link: &&Link| link.epochs.taken == latest && !link.may_concern(hash);
            let others = || known.links.iter().find(is_it).map(|link| link.epochs.before);
            let before = if latest == own.taken { Some(own.before) } else { others() };
            // One that Redis did not tell from the one before it leads nowhere.
            before.filter(|before| *before < latest)
        };
        while let Some(earlier) = before(latest) {
            latest = earlier;
        }
        latest
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Poll};

    use super::*;
    use crate::{epoch::Mode, purges::Purges, store::redis::journal::noted::Noted, tags::Tag};

    fn epochs(taken: u64, before: u64) -> Epochs {
        let epoch = |number| Epoch::from_number(number).unwrap();
        Epochs { taken: epoch(taken), before: epoch(before) }
    }

    fn of(hash: u128) -> Act {
        Act::Purge { hash, name: "".into(), mode: Mode::Hard }
    }

    fn entries(act: Act) -> Vec<Entry> {
        Noted::new(Arc::<Purges>::default()).note(vec![act])
    }

    /// Purges of these at 10, 20 and so on, but for what somebody else purged: the latest that may concern resource 1,
    /// beside the one at `own`.
    fn latest(acts: Vec<Act>, own: u64, elses: Option<u64>) -> u64 {
        let (chain, mut last) = (Chain::default(), 0);
        for act in acts {
            last += 10;
            if elses != Some(last) {
                chain.ask().got(&entries(act), epochs(last, last - 10));
            }
        }
        chain.latest_beside(epochs(own, own - 10), 1, Epoch::from_number(last).unwrap()).number()
    }

    #[test]
    fn what_concerned_others_is_passed_over() {
        assert_eq!(latest(vec![of(1)], 10, None), 0);
        assert_eq!(latest(vec![of(2), of(1), of(3)], 20, None), 0);
        assert_eq!(latest(vec![of(2), of(1), of(3), of(1), of(4)], 40, None), 20);
        assert_eq!(latest(vec![of(2), of(1), of(3), of(1), of(4)], 20, None), 40);
        let tag = || Act::PurgeTag { tag: Tag::named(b"t"), mode: Mode::Soft };
        assert_eq!(latest(vec![of(2), tag(), of(3), of(1)], 40, None), 20);
        assert_eq!(latest(vec![of(2), tag(), of(3)], 20, None), 0, "it is its own");
    }

    #[test]
    fn what_somebody_else_purged_may_concern_anything() {
        assert_eq!(latest(vec![of(2), of(3), of(1), of(4)], 30, Some(20)), 20);
        assert_eq!(latest(vec![of(2), of(3), of(1), of(4)], 30, Some(40)), 40);
    }

    #[test]
    fn it_has_an_end() {
        let (chain, own, last) = (Chain::default(), epochs(1000, 999), Epoch::from_number(1000).unwrap());
        for number in 1..1000 {
            chain.ask().got(&entries(of(2)), epochs(number, number - 1));
        }
        assert_eq!(chain.latest_beside(own, 1, last).number(), 999 - u64::try_from(LENGTH).unwrap());
        chain.ask().got(&entries(of(2)), epochs(2000, 2000));
        assert_eq!(chain.latest_beside(own, 1, epochs(2000, 0).taken).number(), 2000);
        assert_eq!(chain.latest_beside(epochs(7, 7), 1, epochs(7, 0).taken).number(), 7);
    }

    #[tokio::test]
    async fn who_asked_for_an_epoch_is_waited_for() {
        let chain = Chain::default();
        let (one, other) = (chain.ask(), chain.ask());
        let mut settled = pin!(chain.settled());
        let mut is_settled =
            async || std::future::poll_fn(|cx| Poll::Ready(settled.as_mut().poll(cx).is_ready())).await;
        assert!(!is_settled().await);
        let _later = chain.ask();
        other.got(&entries(of(2)), epochs(20, 10));
        assert!(!is_settled().await);
        // No answer has come.
        drop(one);
        assert!(is_settled().await);
    }
}
