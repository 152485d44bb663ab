//! Purges, and those that Redis may not have: look-ups find nothing there until it has.
//!
//! A purge is noted before it is sent, and struck out when it is acknowledged. What is left is sent
//! again after each good beat. What was acknowledged is remembered for some minutes: a Redis that we
//! come back to may have lost it, as one that has taken the place of another. Only so many are noted, and
//! only so many remembered; when there is one more, everything is purged instead.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use redis::{Cmd, cmd};
use tokio::{task::AbortHandle, time::Instant};

use super::{
    announcement::{Announcement, Kind},
    cluster::{Links, Nodes, Spot},
    condition::Throttle,
    epochs::{Epochs, epochs},
    layout,
    link::{Beats, Role},
};
use crate::{
    epoch::{Epoch, Mode},
    purges::Purges,
    sabotage::Omission,
    store::{StoreError, Wait},
    tags::Tag,
};

/// Purges that are noted, and as many that are remembered: some megabytes. More than one request can name.
const MOST: usize = 16 * 1024;
/// For how long purges are remembered once Redis has them.
const RECENT: Duration = Duration::from_secs(600);
/// Purges that are sent again at once, and how long an answer may take, which no request waits for.
const BATCH: (usize, Duration) = (256, Duration::from_secs(1));
/// For how long all can hear of a purge, in milliseconds.
const ANNOUNCED: u64 = 60_000;
/// For how long the record of a tag is kept that nothing stored carries yet, in milliseconds.
pub(super) const UNUSED_RECORD: u64 = 24 * 60 * 60 * 1000;

/// The way of purges to Redis. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    retries: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    links: Links,
    prefix: String,
    noted: Noted,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.retries.abort();
    }
}

impl Journal {
    /// Starts to send what is to be sent again, on the current runtime.
    pub(super) fn start(nodes: &Arc<Nodes>, purges: Arc<Purges>) -> Self {
        let links = Links::new(nodes, Role::Purges);
        let prefix = nodes.settings().prefix.clone();
        let shared = Arc::new(Shared { links, prefix, noted: Noted::new(purges) });
        let retries = tokio::spawn(Arc::clone(&shared).retry()).abort_handle();
        Self { shared, retries }
    }

    /// Has Redis do this, within `limit`, and gives the epoch that it took, and the one before. However it ends, look-ups
    /// find no more what was there before.
    pub(super) async fn enter(
        &self,
        acts: Vec<Act>,
        wait: Wait,
        limit: Duration,
    ) -> Result<Epochs, StoreError> {
        let entries = self.shared.noted.note(acts);
        self.shared.send(&entries, wait, limit).await
    }

    /// Whether something of the resource of that hash is noted and not acknowledged.
    pub(super) fn awaits(&self, hash: u128) -> bool {
        self.shared.noted.holds(hash)
    }

    /// The last epoch of the fleet.
    pub(super) async fn last(&self, within: Duration) -> Result<Epoch, StoreError> {
        self.shared.learn_epoch(within).await
    }

    /// The connections: what follows a purge uses them too.
    pub(super) fn links(&self) -> &Links {
        &self.shared.links
    }
}

impl Shared {
    /// Sends what is noted after each good beat, for ever.
    async fn retry(self: Arc<Self>) {
        let pulse = self.links.nodes().pulse();
        let (mut connections, mut beats) = (0, Beats::of(&pulse.beats));
        loop {
            beats.next().await;
            let now = pulse.connections.load(Ordering::SeqCst);
            if now != connections && self.learn_epoch(BATCH.1).await.is_ok() {
                connections = now;
                self.noted.note_again();
            }
            for entries in self.noted.all().chunks(BATCH.0) {
                if let Err(error) = self.send(entries, Wait::ForStore, BATCH.1).await {
                    tracing::debug!(%error, "purges were not made up for");
                    break;
                }
            }
        }
    }

    /// What is fetched from now on is later than all purges that Redis knows of.
    async fn learn_epoch(&self, within: Duration) -> Result<Epoch, StoreError> {
        let last = epochs(&self.links, &self.prefix, self.noted.purges.epoch(), "last", within).await?.taken;
        self.noted.purges.catch_up(last);
        Ok(last)
    }

    /// What one node has is not held up by another one that has not.
    async fn send(&self, entries: &[Entry], wait: Wait, limit: Duration) -> Result<Epochs, StoreError> {
        let begun = Instant::now();
        let epochs = epochs(&self.links, &self.prefix, self.noted.purges.epoch(), "next", limit).await?;
        let taken = epochs.taken;
        let command =
            |entry: &Entry| (Spot::Of(entry.act.what()), entry.act.command(&self.prefix, taken, wait));
        let commands: Vec<_> = entries.iter().map(command).collect();
        let answers = self.links.run_each::<()>(&commands, limit.saturating_sub(begun.elapsed())).await;
        let done = entries.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        self.noted.acknowledged(done.map(|(entry, _)| entry), taken);
        answers.into_iter().collect::<Result<(), _>>().map(|()| epochs)
    }
}

/// A script, in one command: it need not be there yet.
pub(super) fn eval(script: &str, keys: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(script).arg(keys.len()).arg(keys);
    eval
}

/// What Redis is to do.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Purge a resource.
    Purge { hash: u128, name: Arc<str>, mode: Mode },
    /// Purge what carries a tag.
    PurgeTag { tag: Tag, mode: Mode },
}

impl Act {
    /// What it is about: of two acts about the same, the later one is enough.
    pub(super) fn what(&self) -> u128 {
        match self {
            Self::Purge { hash, .. } => *hash,
            Self::PurgeTag { tag, .. } => tag.bits(),
        }
    }

    /// What does both.
    fn with(self, earlier: &Self) -> Self {
        match earlier {
            Self::Purge { mode: Mode::Hard, .. } | Self::PurgeTag { mode: Mode::Hard, .. } => earlier.clone(),
            _ => self,
        }
    }

    fn command(&self, prefix: &str, epoch: Epoch, wait: Wait) -> Cmd {
        let wait = wait == Wait::ForFleet;
        let announced =
            |what, kind, mode| layout::announcement(prefix, &Announcement { what, kind, mode, wait, epoch });
        let digits = |epoch: Epoch| format!("{:016x}", epoch.number());
        match self {
            Self::Purge { hash, name, mode } => {
                let leases = match Omission::LeaseBreak.is_made() {
                    true => layout::leases(prefix, 0),
                    false => layout::leases(prefix, *hash),
                };
                let announcement = announced(*hash, Kind::Resource, *mode);
                let marked = if *mode == Mode::Soft { digits(epoch) } else { String::new() };
                let mut script = eval(include_str!("purge.lua"), &[name, &leases, &announcement]);
                script.arg(marked).arg(ANNOUNCED);
                script
            }
            Self::PurgeTag { tag, mode } => {
                let announcement = announced(tag.bits(), Kind::Tag, *mode);
                let (hard, soft) = match mode {
                    Mode::Hard => (epoch, Epoch::FIRST),
                    Mode::Soft => (Epoch::FIRST, epoch),
                };
                let record = layout::record(prefix, *tag);
                let mut script = eval(include_str!("purge_tag.lua"), &[&record, &announcement]);
                script.arg(digits(hard)).arg(digits(soft)).arg(UNUSED_RECORD).arg(ANNOUNCED);
                script
            }
        }
    }

    /// What it makes obsolete in this process.
    fn apply(&self, purges: &Purges, epoch: Epoch) {
        match self {
            Self::Purge { hash, mode, .. } => purges.purge_resource(*hash, *mode, epoch),
            Self::PurgeTag { tag, mode } => purges.purge_tag(*tag, *mode, epoch),
        }
    }
}

/// One act that is noted.
#[derive(Clone, Debug)]
struct Entry {
    act: Act,
    /// Tells it from a later one, which its answer does not acknowledge.
    number: u64,
}

#[derive(Debug)]
struct Noted {
    purges: Arc<Purges>,
    entries: Mutex<Latest>,
    /// So that look-ups need no lock as long as there is none.
    any: AtomicBool,
}

#[derive(Debug)]
struct Latest {
    of: HashMap<u128, Entry>,
    /// What Redis has acknowledged, the oldest first.
    recent: VecDeque<(Instant, Act)>,
    /// When the last one was acknowledged that there was no room to remember.
    forgotten: Option<Instant>,
    count: u64,
    lines: Throttle,
}

impl Noted {
    fn new(purges: Arc<Purges>) -> Self {
        let latest = Latest {
            of: HashMap::new(),
            recent: VecDeque::new(),
            forgotten: None,
            count: 0,
            lines: Throttle::new(),
        };
        Self { purges, entries: Mutex::new(latest), any: AtomicBool::new(false) }
    }

    /// Notes them. What they make obsolete is so here from now on, in an epoch that is earlier than any
    /// that Redis may give yet.
    fn note(&self, acts: Vec<Act>) -> Vec<Entry> {
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
            self.note_everything(latest, epoch);
        }
        latest.insert(act)
    }

    /// In place of all that is noted.
    fn note_everything(&self, latest: &mut Latest, epoch: Epoch) {
        let everything = Act::PurgeTag { tag: Tag::everything(), mode: Mode::Hard };
        everything.apply(&self.purges, epoch);
        latest.of.clear();
        latest.insert(everything);
    }

    /// Redis has them, and they took that epoch.
    fn acknowledged<'e>(&self, entries: impl Iterator<Item = &'e Entry> + Clone, epoch: Epoch) {
        entries.clone().for_each(|entry| entry.act.apply(&self.purges, epoch));
        let mut latest = self.lock();
        for entry in entries {
            latest.strike_out(entry);
        }
        self.any.store(!latest.of.is_empty(), Ordering::Release);
    }

    /// Redis may have lost what it acknowledged.
    fn note_again(&self) {
        let mut latest = self.lock();
        latest.forget_old();
        for (_, act) in std::mem::take(&mut latest.recent) {
            if !latest.of.contains_key(&act.what()) {
                latest.insert(act);
            }
        }
        if latest.forgotten.take().is_some() {
            tracing::warn!("Redis may have lost more purges than are remembered: everything is purged");
            self.note_everything(&mut latest, self.purges.next(SystemTime::UNIX_EPOCH));
        }
        self.any.store(!latest.of.is_empty(), Ordering::Release);
    }

    fn holds(&self, what: u128) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().of.contains_key(&what)
    }

    fn all(&self) -> Vec<Entry> {
        self.lock().of.values().cloned().collect()
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
        self.recent.push_back((Instant::now(), entry.act.clone()));
        self.forget_old();
    }

    fn forget_old(&mut self) {
        let is_old = |at: &Instant| at.elapsed() > RECENT;
        while self.recent.front().is_some_and(|(at, _)| is_old(at)) {
            self.recent.pop_front();
        }
        self.forgotten = self.forgotten.filter(|at| !is_old(at));
        while self.recent.len() > MOST {
            self.forgotten = self.recent.pop_front().map(|(at, _)| at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(hash: usize, mode: Mode) -> Act {
        Act::Purge { hash: hash as u128, name: hash.to_string().into(), mode }
    }

    #[test]
    fn an_earlier_answer_does_not_acknowledge_a_later_purge() {
        let noted = Noted::new(Arc::default());
        let earlier = noted.note(vec![purge(1, Mode::Hard), purge(2, Mode::Hard)]);
        let later = noted.note(vec![purge(1, Mode::Hard)]);
        noted.acknowledged(earlier.iter(), Epoch::FIRST);
        assert!(noted.holds(1) && !noted.holds(2));
        noted.acknowledged(later.iter(), Epoch::FIRST);
        assert!(!noted.holds(1) && noted.all().is_empty());
    }

    #[test]
    fn what_redis_may_have_lost_is_noted_again() {
        let noted = Noted::new(Arc::default());
        let sent = noted.note(vec![purge(1, Mode::Hard)]);
        noted.acknowledged(sent.iter(), Epoch::FIRST);
        assert!(!noted.holds(1));
        noted.note_again();
        assert!(noted.holds(1));
        noted.acknowledged(noted.all().iter(), Epoch::FIRST);
        assert!(!noted.holds(1));
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
        assert_eq!(purges.judge(&[], before), crate::purges::Standing::Valid);
        let before = purges.epoch();
        noted.note(vec![purge(MOST, Mode::Hard)]);
        assert_eq!(purges.judge(&[], before), crate::purges::Standing::Purged);
        assert!(noted.holds(MOST as u128) && noted.all().len() == 2);
    }

    #[test]
    fn when_more_may_be_lost_than_is_remembered_everything_is_purged() {
        let noted = Noted::new(Arc::default());
        let acknowledge = |n| noted.acknowledged(noted.note(vec![purge(n, Mode::Hard)]).iter(), Epoch::FIRST);
        (0..MOST).for_each(acknowledge);
        noted.note_again();
        assert_eq!(noted.all().len(), MOST);
        noted.acknowledged(noted.all().iter(), Epoch::FIRST);
        acknowledge(MOST);
        noted.note_again();
        let everything = Tag::everything().bits();
        assert!(noted.holds(everything) && noted.all().len() == 1);
        noted.acknowledged(noted.all().iter(), Epoch::FIRST);
        noted.note_again();
        assert_eq!(noted.all().len(), 1, "what that covers is not remembered beside it");
    }
}
