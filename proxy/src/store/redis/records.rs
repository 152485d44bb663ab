//! What Redis says of purges by tag, for what is read from it.
//!
//! Each tag that something stored carries has a record. One that is missing may have told of a purge,
//! so that what carries the tag is not served. What has been read of a record stays true for as long as
//! this process hears of every purge.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};
use redis::{Value, cmd};
use tokio::{sync::watch, time::Instant};

use super::{
    Inner,
    cluster::{Links, Slots, Spot},
    journal::{UNUSED_RECORD, eval},
    layout,
    trust::Session,
};
use crate::{
    epoch::Epoch,
    purges::{Mark, Standing},
    store::StoreError,
    stored::Stored,
    tags::Tag,
};

/// Records that are remembered.
const REMEMBERED: usize = 64 * 1024;
/// So many are read now and then though nobody used them.
const FEW: usize = 256;
/// The longest that a record is asked to last.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Records that were read lately.
pub(super) struct Records {
    read: Cache<Tag, Arc<Record>, UnitWeighter, RandomState>,
    /// The tags of whatever is stored.
    expected: watch::Sender<BTreeSet<Tag>>,
}

#[derive(Debug)]
struct Record {
    mark: Mark,
    /// In which session it was read: what has been purged since then was heard of.
    session: Session,
    /// Until when it lasts at least.
    until: Instant,
    /// Whether it was used since it was last read.
    used: AtomicBool,
}

/// The record of a tag, as it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(super) tag: Tag,
    /// Whether it was, since this was last asked.
    pub(super) lately: bool,
}

/// A tag, the session in which its record was asked for, and what that says and for how long, if it is there.
type Reading = (Tag, Option<Session>, Option<(Mark, Duration)>);

impl Records {
    pub(super) fn new() -> Self {
        let (hasher, cycle) = (RandomState::default(), DefaultLifecycle::default());
        Self {
            read: Cache::with(REMEMBERED, REMEMBERED as u64, UnitWeighter, hasher, cycle),
            expected: watch::Sender::new([Tag::everything()].into()),
        }
    }

    /// What is stored from now on carries these tags.
    pub(super) fn expect(&self, tags: impl Iterator<Item = Tag>) {
        let tags: BTreeSet<_> = tags.chain([Tag::everything()]).collect();
        self.expected.send_if_modified(|expected| {
            let are_others = *expected != tags;
            *expected = tags;
            are_others
        });
    }

    /// Told when other tags are expected.
    pub(super) fn expected(&self) -> watch::Receiver<BTreeSet<Tag>> {
        self.expected.subscribe()
    }

    fn get(&self, tag: Tag, session: Option<Session>) -> Option<Arc<Record>> {
        let record = self.read.get(&tag).filter(|record| Some(record.session) == session)?;
        // Many share it: as a rule nobody need write.
        if !record.used.load(Ordering::Relaxed) {
            record.used.store(true, Ordering::Relaxed);
        }
        Some(record)
    }

    fn remember(&self, tag: Tag, mark: Mark, session: Option<Session>, lasts: Duration) {
        let until = Instant::now() + lasts.min(LONGEST);
        if let Some(session) = session {
            self.read.insert(tag, Arc::new(Record { mark, session, until, used: AtomicBool::new(false) }));
        }
    }

    /// Those that Redis is to see used: all, while they are few, else those that were; and what is expected.
    pub(super) fn to_touch(&self) -> Vec<Use> {
        let (all, expected) = (self.read.len() <= FEW, self.expected.borrow().clone());
        let used = |(tag, record): (Tag, Arc<Record>)| Use {
            tag,
            lately: record.used.swap(false, Ordering::Relaxed),
        };
        let due = |record: &Use| !expected.contains(&record.tag) && (all || record.lately);
        let others: Vec<_> = self.read.iter().map(used).filter(due).collect();
        let always = expected.into_iter().map(|tag| Use { tag, lately: true });
        always.chain(others).collect()
    }

    /// It is gone.
    pub(super) fn forget(&self, tag: Tag) {
        self.read.remove(&tag);
    }

    /// Another node tells of the purges of those tags: they come back as what that one says, though the session here
    /// goes on.
    pub(super) fn moved(&self, slots: &Slots) {
        self.read.retain(|tag, _| !slots.have(tag.bits()));
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Records").field(&self.read.len()).finish()
    }
}

impl Inner {
    /// What purges by tag leave of what was just read, by this process' knowledge and by Redis'. At most
    /// one more round trip; none as a rule, while this process hears of all purges.
    pub(super) async fn standing(&self, stored: &Stored, within: Duration) -> Result<Standing, StoreError> {
        let known = self.purges.judge(&stored.tags, stored.epoch);
        // What Redis has not been told yet may have taken an epoch here that is long over there.
        let awaited = || covering(stored).any(|tag| self.journal.awaits(tag.bits()));
        if known == Standing::Purged || awaited() {
            return Ok(Standing::Purged);
        }
        let (mut all, mut unread) = (Mark::default(), Vec::new());
        for tag in covering(stored) {
            let session = self.session(tag.bits());
            match self.records.get(tag, session) {
                Some(record) => all = all.with(record.mark),
                None => unread.push((tag, session)),
            }
        }
        for (tag, session, record) in self.read(&unread, within).await? {
            let Some((mark, lasts)) = record else { return Ok(Standing::Purged) };
            self.note(mark);
            self.records.remember(tag, mark, session, lasts);
            all = all.with(mark);
        }
        Ok(known.and(all.leaves(stored.epoch)))
    }

    /// What is fetched from now on is later than the purges that a record tells of. Only while nobody tells of them
    /// otherwise: who is told would take for known what has not been heard yet, and renew what memory holds until then.
    fn note(&self, mark: Mark) {
        if self.nodes.view().nodes().iter().all(|node| node.trust.session().is_none()) {
            self.purges.catch_up(mark.hard.max(mark.soft));
        }
    }

    async fn read(
        &self,
        tags: &[(Tag, Option<Session>)],
        within: Duration,
    ) -> Result<Vec<Reading>, StoreError> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let ask = |(tag, _): &(Tag, _)| {
            let name = layout::record(&self.settings.prefix, *tag);
            ["GET", "PTTL"].map(|command| (Spot::Of(tag.bits()), cmd(command).arg(&name).to_owned()))
        };
        let commands: Vec<_> = tags.iter().flat_map(ask).collect();
        let answers = self.reads.run_each::<Value>(&commands, within).await;
        let records = answers.chunks(2).map(record);
        tags.iter().zip(records).map(|((tag, session), record)| Ok((*tag, *session, record?))).collect()
    }

    /// Sees to it that the records of what is to be stored last longer than that. False: there was none,
    /// and what it told may cover the entry.
    pub(super) async fn keep_records(
        &self,
        stored: &Stored,
        keep: Duration,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let until = Instant::now() + keep.min(LONGEST);
        let with_session = |tag: Tag| (tag, self.session(tag.bits()));
        let lasting = |(tag, session): &(Tag, _)| {
            self.records.get(*tag, *session).is_some_and(|record| record.until >= until)
        };
        let tags: Vec<_> = covering(stored).map(with_session).filter(|tag| !lasting(tag)).collect();
        if tags.is_empty() {
            return Ok(true);
        }
        let missing = self.renew(&self.writes, &tags, keep, None, within).await?;
        if missing.is_empty() {
            return Ok(true);
        }
        Ok(stored.epoch >= self.make_anew(&missing, keep, within).await?)
    }

    /// Makes these records as of the last epoch, which is that of any purge that they may have told of; those that
    /// are there by now stay.
    pub(super) async fn make_anew(
        &self,
        missing: &[(Tag, Option<Session>)],
        keep: Duration,
        within: Duration,
    ) -> Result<Epoch, StoreError> {
        let now = self.journal.learn_epoch(within).await?;
        self.renew(self.journal.links(), missing, keep, Some(now), within).await?;
        Ok(now)
    }

    /// Has these records last; those that are missing are made anew, as of that epoch, or given back.
    async fn renew(
        &self,
        links: &Links,
        tags: &[(Tag, Option<Session>)],
        keep: Duration,
        anew: Option<Epoch>,
        within: Duration,
    ) -> Result<Vec<(Tag, Option<Session>)>, StoreError> {
        let needed = u64::try_from(keep.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        let lasts = needed.saturating_mul(2).max(UNUSED_RECORD);
        let anew =
            anew.map(|epoch| layout::digits(epoch) + &layout::digits(Epoch::FIRST)).unwrap_or_default();
        let script = |(tag, _): &(Tag, _)| {
            let name = layout::record(&self.settings.prefix, *tag);
            let script =
                eval(include_str!("record.lua"), &[&name]).arg(needed).arg(lasts).arg(&anew).to_owned();
            (Spot::Of(tag.bits()), script)
        };
        let commands: Vec<_> = tags.iter().map(script).collect();
        let answers = links.run_each::<(Vec<u8>, u64)>(&commands, within).await;
        let mut missing = Vec::new();
        for ((tag, session), answer) in tags.iter().zip(answers) {
            let (bytes, left) = answer?;
            match parse(&bytes) {
                Some(mark) => {
                    self.note(mark);
                    self.records.remember(*tag, mark, *session, Duration::from_millis(left));
                }
                None => missing.push((*tag, *session)),
            }
        }
        Ok(missing)
    }
}

/// What a purge can name that covers it, the resource apart.
fn covering(stored: &Stored) -> impl Iterator<Item = Tag> {
    stored.tags.iter().copied().chain([Tag::everything()])
}

/// What the answers to `GET` and `PTTL` say.
fn record(answers: &[Result<Value, StoreError>]) -> Result<Option<(Mark, Duration)>, StoreError> {
    Ok(match answers {
        [Ok(Value::BulkString(bytes)), Ok(Value::Int(left))] => {
            parse(bytes).zip(u64::try_from(*left).ok().map(Duration::from_millis))
        }
        // The key is there, and no record: one that is missing.
        [Ok(_) | Err(StoreError::Refused(_)), Ok(_)] => None,
        other => {
            return other
                .iter()
                .find_map(|answer| answer.as_ref().err())
                .map_or(Ok(None), |error| Err(error.clone()));
        }
    })
}

/// Both epochs of a record.
fn parse(record: &[u8]) -> Option<Mark> {
    let (hard, soft) = record.split_at_checked(16)?;
    Some(Mark { hard: layout::epoch_of(hard)?, soft: layout::epoch_of(soft)? })
}

#[cfg(test)]
mod tests {
    use super::{super::trust::Trust, *};
    use crate::clock::Clock;

    #[test]
    fn who_waits_for_other_tags_is_not_told_of_the_same() {
        let (records, tags) = (Records::new(), ["a", "b"].map(|name| Tag::named(name.as_bytes())));
        let mut expected = records.expected();
        let mut is_told = |tags: &[Tag]| {
            records.expect(tags.iter().copied());
            let told = expected.has_changed().unwrap();
            expected.mark_unchanged();
            told
        };
        assert!(!is_told(&[]), "everything is expected from the start");
        assert!(is_told(&tags) && !is_told(&tags) && is_told(&tags[..1]));
    }

    #[test]
    fn what_moves_is_read_again_though_the_session_goes_on() {
        let (records, moving) = (Records::new(), Slots::those(|slot| slot % 2 == 0));
        let session = Some(Trust::new(Clock::System, Arc::default()).begin(Duration::ZERO));
        let tags: Vec<_> = (0..100_u8).map(|number| Tag::named(&[number])).collect();
        tags.iter().for_each(|tag| records.remember(*tag, Mark::default(), session, LONGEST));
        records.moved(&moving);
        let (moved, stayed): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(|tag| moving.have(tag.bits()));
        assert!(!moved.is_empty() && moved.iter().all(|tag| records.get(*tag, session).is_none()));
        assert!(!stayed.is_empty() && stayed.iter().all(|tag| records.get(*tag, session).is_some()));
    }

    #[test]
    fn a_record_is_two_epochs() {
        let mark = parse(b"000000000000000a0000000000000014").unwrap();
        assert_eq!((mark.hard.number(), mark.soft.number()), (10, 20));
        for bad in ["", "a", "000000000000000a000000000000001", "+00000000000000a0000000000000014"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(&[0xff; 32]), None);
        assert_eq!(parse(b"ffffffffffffffff0000000000000014"), None);
    }
}
