//! What Redis is to do, and has not said that it has done.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use super::{
    super::condition::Throttle,
    act::Act,
    recent::{MOST, Recent, Taken},
};
use crate::{
    epoch::Epoch,
    purges::{Mark, Purges},
};

/// One act that is noted.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) act: Act,
    /// Tells it from a later one, which its answer does not acknowledge.
    number: u64,
}

/// Some that are being sent.
#[derive(Debug)]
pub(super) struct UnderWay<'n> {
    noted: &'n Noted,
    entries: &'n [Entry],
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut latest = self.noted.lock();
        for entry in self.entries {
            latest.under_way.remove(&entry.number);
        }
    }
}

/// All of them, and those that Redis may have lost.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) purges: Arc<Purges>,
    entries: Mutex<Latest>,
    /// So that look-ups need no lock as long as there is none.
    any: AtomicBool,
    any_due: AtomicBool,
}

#[derive(Debug)]
struct Latest {
    of: HashMap<u128, Entry>,
    /// Those that somebody sends at this moment.
    under_way: HashSet<u64>,
    recent: Recent,
    count: u64,
    lines: Throttle,
}

impl Noted {
    pub(super) fn new(purges: Arc<Purges>) -> Self {
        let latest = Latest {
            of: HashMap::new(),
            under_way: HashSet::new(),
            recent: Recent::default(),
            count: 0,
            lines: Throttle::new(),
        };
        let (any, any_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { purges, entries: Mutex::new(latest), any, any_due }
    }

    /// Notes them. What they make obsolete is so here from now on, in an epoch that is earlier than any
    /// that Redis may give yet.
    pub(super) fn note(&self, acts: Vec<Act>) -> Vec<Entry> {
        let epoch = self.purges.next(SystemTime::UNIX_EPOCH);
        acts.iter().for_each(|act| act.apply(&self.purges, epoch));
        let mut latest = self.lock();
        self.any.store(true, Ordering::Release);
        acts.into_iter().map(|act| self.note_one(&mut latest, act, epoch)).collect()
    }

    fn note_one(&self, latest: &mut Latest, act: Act, epoch: Epoch) -> Entry {
        let what = act.what();
        if latest.of.len() >= MOST && !latest.of.contains_key(&what) {
            if latest.lines.allows() {
                tracing::warn!("Redis takes no purges: nothing that was fetched until now is served from it");
            }
            // In place of all that is noted.
            let everything = Act::everything();
            everything.apply(&self.purges, epoch);
            latest.of.clear();
            latest.insert(everything);
        }
        latest.insert(act)
    }

    /// Redis has them, and they took that epoch; `due`: over a connection that is gone by now.
    pub(super) fn acknowledged<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry> + Clone,
        epoch: Epoch,
        due: bool,
    ) {
        entries.clone().for_each(|entry| entry.act.apply(&self.purges, epoch));
        let mut latest = self.lock();
        for entry in entries {
            latest.strike_out(entry);
            latest.recent.add(&entry.act, epoch, due);
        }
        self.tell(&latest);
    }

    /// Redis may have lost what it acknowledged.
    pub(super) fn doubt(&self) {
        let mut latest = self.lock();
        if latest.recent.are_due() {
            tracing::warn!(
                "Redis may have lost more purges than are remembered: what was fetched before these goes"
            );
        }
        self.tell(&latest);
    }

    /// Redis has these, that it might have lost.
    pub(super) fn confirm<'t>(&self, taken: impl Iterator<Item = &'t Taken>) {
        let mut latest = self.lock();
        taken.for_each(|taken| latest.recent.confirm(taken));
        self.tell(&latest);
    }

    /// Whether something of that is noted and not acknowledged.
    pub(super) fn holds(&self, what: u128) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().of.contains_key(&what)
    }

    /// What of the purges of that Redis may have lost.
    pub(super) fn lost(&self, what: u128) -> Mark {
        match self.any_due.load(Ordering::Acquire) {
            true => self.lock().recent.lost(what),
            false => Mark::default(),
        }
    }

    /// These are being sent, until what is returned is dropped.
    pub(super) fn under_way<'n>(&'n self, entries: &'n [Entry]) -> UnderWay<'n> {
        self.lock().under_way.extend(entries.iter().map(|entry| entry.number));
        UnderWay { noted: self, entries }
    }

    /// All that nobody sends: sent once more, they would make obsolete what has come since.
    pub(super) fn all(&self) -> Vec<Entry> {
        let latest = self.lock();
        let is_left = |entry: &&Entry| !latest.under_way.contains(&entry.number);
        latest.of.values().filter(is_left).cloned().collect()
    }

    pub(super) fn due(&self) -> Vec<Taken> {
        self.lock().recent.due()
    }

    fn tell(&self, latest: &Latest) {
        self.any.store(!latest.of.is_empty(), Ordering::Release);
        self.any_due.store(latest.recent.any_due(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    fn insert(&mut self, act: Act) -> Entry {
        let what = act.what();
        let act = match self.of.get(&what) {
            Some(earlier) => act.with(&earlier.act),
            None => act,
        };
        self.count += 1;
        let entry = Entry { act, number: self.count };
        self.of.insert(what, entry.clone());
        entry
    }

    fn strike_out(&mut self, entry: &Entry) {
        let what = entry.act.what();
        if self.of.get(&what).is_some_and(|noted| noted.number == entry.number) {
            self.of.remove(&what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{epoch::Mode, purges::Standing, tags::Tag};

    fn purge(hash: usize, mode: Mode) -> Act {
        Act::Purge { hash: hash as u128, name: hash.to_string().into(), mode }
    }

    fn epoch(number: usize) -> Epoch {
        Epoch::from_number(number as u64).unwrap()
    }

    /// Those that Redis may have lost, with their epochs.
    fn due(noted: &Noted) -> Vec<(u128, u64)> {
        let mut due: Vec<_> =
            noted.due().iter().map(|taken| (taken.act.what(), taken.epoch.number())).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn an_earlier_answer_does_not_acknowledge_a_later_purge() {
        let noted = Noted::new(Arc::default());
        let earlier = noted.note(vec![purge(1, Mode::Hard), purge(2, Mode::Hard)]);
        let later = noted.note(vec![purge(1, Mode::Hard)]);
        noted.acknowledged(earlier.iter(), epoch(1), false);
        assert!(noted.holds(1) && !noted.holds(2));
        noted.acknowledged(later.iter(), epoch(2), false);
        assert!(!noted.holds(1) && noted.all().is_empty());
    }

    #[test]
    fn what_is_being_sent_is_not_sent_once_more() {
        let noted = Noted::new(Arc::default());
        let entries = noted.note(vec![purge(1, Mode::Hard), purge(2, Mode::Hard)]);
        let under_way = noted.under_way(&entries);
        assert!(noted.all().is_empty() && noted.holds(1) && noted.holds(2));
        noted.note(vec![purge(1, Mode::Hard)]);
        assert_eq!(noted.all().len(), 1, "a later one");
        drop(under_way);
        assert_eq!(noted.all().len(), 2, "no answer has come");
    }

    #[test]
    fn what_redis_may_have_lost_keeps_its_epoch() {
        let noted = Noted::new(Arc::default());
        let sent = noted.note(vec![purge(1, Mode::Hard), purge(2, Mode::Soft)]);
        noted.acknowledged(sent.iter(), epoch(5), false);
        assert!(due(&noted).is_empty());
        noted.doubt();
        assert_eq!(due(&noted), [(1, 5), (2, 5)]);
        assert!(!noted.holds(1), "what came after it is served");
        assert_eq!(noted.lost(1).leaves(epoch(4)), Standing::Purged);
        assert_eq!(noted.lost(1).leaves(epoch(5)), Standing::Valid);
        assert_eq!(noted.lost(2).leaves(epoch(4)), Standing::Stale(epoch(5)));

        let sent = noted.due();
        noted.acknowledged(noted.note(vec![purge(1, Mode::Hard)]).iter(), epoch(7), true);
        noted.confirm(sent.iter());
        assert_eq!(due(&noted), [(1, 7)], "its answer came over a connection that is gone");
        noted.confirm(noted.due().iter());
        assert!(due(&noted).is_empty());
        noted.doubt();
        assert_eq!(due(&noted), [(1, 7), (2, 5)], "they are remembered");
    }

    #[test]
    fn a_hard_purge_and_a_soft_one_are_both_remembered() {
        let noted = Noted::new(Arc::default());
        for (mode, number) in [(Mode::Hard, 5), (Mode::Soft, 7), (Mode::Hard, 3)] {
            noted.acknowledged(noted.note(vec![purge(1, mode)]).iter(), epoch(number), false);
        }
        noted.doubt();
        assert_eq!(noted.lost(1), Mark { hard: epoch(5), soft: epoch(7) });
    }

    #[test]
    fn what_is_noted_twice_does_both() {
        for (earlier, later) in
            [(purge(1, Mode::Hard), purge(1, Mode::Soft)), (purge(1, Mode::Soft), purge(1, Mode::Hard))]
        {
            let noted = Noted::new(Arc::default());
            noted.note(vec![earlier, later]);
            let all = noted.all();
            assert!(matches!(all[0].act, Act::Purge { mode: Mode::Hard, .. }), "{all:?}");
        }
    }

    #[test]
    fn with_one_too_many_everything_is_purged() {
        let purges = Arc::new(Purges::default());
        let noted = Noted::new(Arc::clone(&purges));
        noted.note((0..MOST).map(|n| purge(n, Mode::Hard)).collect());
        let before = purges.epoch();
        noted.note(vec![purge(0, Mode::Hard)]);
        assert_eq!(purges.judge(&[], before), Standing::Valid);
        let before = purges.epoch();
        noted.note(vec![purge(MOST, Mode::Hard)]);
        assert_eq!(purges.judge(&[], before), Standing::Purged);
        assert!(noted.holds(MOST as u128) && noted.all().len() == 2);
    }

    #[test]
    fn when_more_may_be_lost_than_is_remembered_what_is_older_goes() {
        let noted = Noted::new(Arc::default());
        let acknowledge = |n, number| {
            noted.acknowledged(noted.note(vec![purge(n, Mode::Hard)]).iter(), epoch(number), false);
        };
        (0..MOST).for_each(|n| acknowledge(n, n + 1));
        // The same over and over takes no more room.
        (0..3 * MOST).for_each(|n| acknowledge(MOST - 1, MOST + 1 + n));
        noted.doubt();
        assert_eq!(noted.due().len(), MOST);
        noted.confirm(noted.due().iter());
        let last = 4 * MOST + 2;
        acknowledge(MOST, last);
        acknowledge(MOST + 1, last + 1);
        noted.doubt();
        let everything = Tag::everything().bits();
        assert_eq!(noted.lost(everything).hard, epoch(2), "as of the last one that is forgotten");
        assert_eq!(noted.due().len(), MOST);
        noted.confirm(noted.due().iter());

        let all = noted.note(vec![Act::everything()]);
        noted.acknowledged(all.iter(), epoch(last + 2), false);
        noted.doubt();
        let wanted = (everything, epoch(last + 2).number());
        assert_eq!(due(&noted), [wanted], "what that covers is not remembered beside it");
    }
}
