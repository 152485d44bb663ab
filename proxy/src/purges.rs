//! What this process knows of purges: what is judged by it is stored, or being fetched.

mod known;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    pin::pin,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::Notify;

pub use self::known::{Begun, Known};
use crate::{
    epoch::{Epoch, Mode},
    store::Purge,
    tags::Tag,
};

/// What is known of purges.
///
/// A tag's purge is remembered by itself, since what it covers stays where it is until it is looked
/// at. What a resource's purge covers is removed, so that it concerns only what is being fetched: it
/// shares a place with others, and costs those a store that could have been spared them. The latest are
/// remembered by themselves too, for a Redis that has lost them.
#[derive(Default)]
pub struct Purges {
    last: Moment,
    /// The latest one that is known from the store that all share, and not only on its way there.
    told: Moment,
    last_of_tags: Moment,
    resources: Places,
    tags: RwLock<TagMarks>,
    lately: RwLock<Marks<u128>>,
    changes: AtomicU64,
    /// Of those changes.
    news: Notify,
    /// Times in which purges may not have been heard of.
    gaps: AtomicU64,
    turn: Mutex<()>,
}

/// What a purge leaves of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All.
    Valid,
    /// It is stale since then, by the clock of epochs.
    Stale(Epoch),
    /// Nothing.
    Purged,
}

/// Places for the purges of resources.
const PLACES: usize = 16 * 1024;
/// Tags whose purge is remembered, and resources. With one more tag, what was fetched before the oldest of
/// these purges is purged as a whole.
const TAGS: usize = 64 * 1024;

/// An epoch that only moves on.
#[derive(Default)]
struct Moment(AtomicU64);

impl Moment {
    fn get(&self) -> Epoch {
        Epoch::from_number(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }

    fn raise(&self, epoch: Epoch) -> Epoch {
        let before = self.0.fetch_max(epoch.number(), Ordering::SeqCst);
        Epoch::from_number(before).unwrap_or_default()
    }
}

/// The latest purge of each place.
struct Places(Box<[Moment]>);

/// The latest purges of so many.
struct Marks<K> {
    of: HashMap<K, Mark>,
    oldest_first: VecDeque<(Epoch, K)>,
}

/// Those of tags.
#[derive(Default)]
struct TagMarks {
    latest: Marks<Tag>,
    /// The latest one that is forgotten.
    floor: Epoch,
}

/// The latest purge of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// What was fetched before then is gone.
    pub hard: Epoch,
    /// What was fetched before then is stale.
    pub soft: Epoch,
}

impl Default for Places {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Moment::default()).collect())
    }
}

impl Purges {
    /// A fetch begins.
    #[must_use]
    pub fn begin(&self, at: SystemTime) -> Begun {
        Begun { known: self.known(), at }
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        // In this order: what was not heard of until now is not taken to be known.
        let gaps = self.gaps.load(Ordering::SeqCst);
        Known { epoch: self.epoch(), gaps }
    }

    /// Whether a purge after that one covers what has been fetched of a resource.
    #[must_use]
    pub fn cover(&self, hash: u128, since: Epoch, tags: &[Tag]) -> bool {
        self.resource(hash) > since || self.judge(tags, since) != Standing::Valid
    }

    /// Returns when a purge by tag, rule or of everything covers what is fetched since a fetch began.
    pub async fn covered(&self, begun: Begun, tags: &[Tag]) {
        loop {
            let mut news = pin!(self.news.notified());
            // From here on: what comes between the look and the wait is news too.
            news.as_mut().enable();
            if self.judge(tags, begun.known.epoch) != Standing::Valid {
                return;
            }
            news.await;
        }
    }

    /// The latest epoch that is known: what a fetch notes when it begins.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.last.get()
    }

    /// The latest epoch of which the store that all share has told.
    #[must_use]
    pub fn told(&self) -> Epoch {
        self.told.get()
    }

    /// The store that all share has told of this epoch.
    pub fn note_told(&self, epoch: Epoch) {
        self.told.raise(epoch);
    }

    /// This process has taken this epoch for a purge that acts here already: who is told of it has missed nothing.
    pub fn take(&self, epoch: Epoch) {
        self.last.raise(epoch);
    }

    /// The last epoch is known to be this one. Purges up to it that were not heard of may concern all
    /// that is being fetched.
    pub fn catch_up(&self, epoch: Epoch) {
        self.note_told(epoch);
        if epoch > self.epoch() {
            self.miss();
            self.last.raise(epoch);
        }
    }

    /// Purges may have been made that were not heard of: they may concern all that is being fetched.
    pub fn miss(&self) {
        self.gaps.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether some may have been since then.
    #[must_use]
    pub fn missed(&self, since: Known) -> bool {
        self.gaps.load(Ordering::SeqCst) != since.gaps
    }

    /// A new epoch for a purge made `now`.
    pub fn next(&self, now: SystemTime) -> Epoch {
        loop {
            let next = self.epoch().next(now);
            // Unless somebody else has just taken it.
            if self.last.raise(next) < next {
                return next;
            }
        }
    }

    /// A purge made `now`, where nobody purges anything in another way: its epoch, and that of the latest one before
    /// it that may have concerned the same resources. It is known when it has been carried out: who knows of it has
    /// not found what it covers.
    pub fn apply(&self, purge: &Purge, now: SystemTime, carry_out: impl FnOnce(Epoch)) -> (Epoch, Epoch) {
        // One after the other: what was before this one has been applied.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let of_resources = purge.resources.iter().map(|key| self.resource(key.wide_hash()));
        let before = of_resources.fold(self.last_of_tags.get(), Epoch::max);
        let epoch = self.epoch().next(now);
        purge.resources.iter().for_each(|key| self.mark_resource(key.wide_hash(), purge.mode, epoch));
        purge.tags.iter().for_each(|tag| self.mark_tag(*tag, purge.mode, epoch));
        purge.stale.iter().for_each(|tag| self.mark_tag(*tag, Mode::Soft, epoch));
        carry_out(epoch);
        self.last.raise(epoch);
        (epoch, before)
    }

    /// A resource is purged.
    pub fn purge_resource(&self, hash: u128, mode: Mode, epoch: Epoch) {
        self.mark_resource(hash, mode, epoch);
        self.last.raise(epoch);
    }

    fn mark_resource(&self, hash: u128, mode: Mode, epoch: Epoch) {
        let mut lately = self.lately.write().unwrap_or_else(PoisonError::into_inner);
        lately.set(hash, mode, epoch);
        drop(lately);
        if let Some(place) = self.place(hash) {
            place.raise(epoch);
        }
    }

    /// What carries a tag is purged.
    pub fn purge_tag(&self, tag: Tag, mode: Mode, epoch: Epoch) {
        self.mark_tag(tag, mode, epoch);
        self.last.raise(epoch);
    }

    fn mark_tag(&self, tag: Tag, mode: Mode, epoch: Epoch) {
        self.tags.write().unwrap_or_else(PoisonError::into_inner).set(tag, mode, epoch);
        // In this order: who sees the change finds the mark.
        self.last_of_tags.raise(epoch);
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.news.notify_waiters();
    }

    /// Whether what has been fetched of a resource since then may be obsolete, whatever tags it has.
    #[must_use]
    pub fn concern(&self, hash: u128, since: Known) -> bool {
        let later = |epoch: Epoch| epoch > since.epoch;
        later(self.last_of_tags.get()) || later(self.resource(hash)) || self.missed(since)
    }

    /// The latest purge of a resource, or of one that shares its place.
    #[must_use]
    pub fn resource(&self, hash: u128) -> Epoch {
        self.place(hash).map(Moment::get).unwrap_or_default()
    }

    /// What tags' purges leave of a response that was fetched since `epoch`.
    #[must_use]
    pub fn judge(&self, tags: &[Tag], epoch: Epoch) -> Standing {
        if self.last_of_tags.get() <= epoch {
            return Standing::Valid;
        }
        self.tags.read().unwrap_or_else(PoisonError::into_inner).judge(tags, epoch)
    }

    /// What is left of a resource that was fetched at `epoch`, where none of its purges up to `until` has
    /// been carried out. Of so many as are remembered.
    #[must_use]
    pub fn judge_undone(&self, hash: u128, epoch: Epoch, until: Epoch) -> Standing {
        let lately = self.lately.read().unwrap_or_else(PoisonError::into_inner);
        let mark = lately.of.get(&hash).copied().unwrap_or_default();
        let undone = |purge: Epoch| if purge <= until { purge } else { Epoch::FIRST };
        Mark { hard: undone(mark.hard), soft: undone(mark.soft) }.leaves(epoch)
    }

    /// Changes whenever a judgement may have changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn place(&self, hash: u128) -> Option<&Moment> {
        self.resources.0.get(usize::try_from(hash % PLACES as u128).ok()?)
    }
}

impl<K> Default for Marks<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), oldest_first: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Marks<K> {
    /// Notes a purge. The latest one that there is no room for any more.
    fn set(&mut self, what: K, mode: Mode, epoch: Epoch) -> Epoch {
        let mark = self.of.entry(what).or_default();
        let moment = match mode {
            Mode::Hard => &mut mark.hard,
            Mode::Soft => &mut mark.soft,
        };
        *moment = epoch.max(*moment);
        self.oldest_first.push_back((epoch, what));
        let mut forgotten = Epoch::FIRST;
        while self.of.len() > TAGS || self.oldest_first.len() > 2 * TAGS {
            forgotten = forgotten.max(self.forget_oldest());
        }
        forgotten
    }

    /// The mark goes, unless that has been purged again.
    fn forget_oldest(&mut self) -> Epoch {
        let Some((epoch, what)) = self.oldest_first.pop_front() else { return Epoch::FIRST };
        if self.of.get(&what).is_none_or(|mark| mark.hard.max(mark.soft) > epoch) {
            return Epoch::FIRST;
        }
        self.of.remove(&what);
        epoch
    }
}

impl TagMarks {
    fn set(&mut self, tag: Tag, mode: Mode, epoch: Epoch) {
        self.floor = self.floor.max(self.latest.set(tag, mode, epoch));
    }

    fn judge(&self, tags: &[Tag], epoch: Epoch) -> Standing {
        let everything = Tag::everything();
        let marks = tags.iter().chain([&everything]).filter_map(|tag| self.latest.of.get(tag));
        let whole = Mark { hard: self.floor, soft: Epoch::FIRST };
        marks.fold(whole, |all, mark| all.with(*mark)).leaves(epoch)
    }
}

impl Standing {
    /// What both leave.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Purged, _) | (_, Self::Purged) => Self::Purged,
            (Self::Stale(one), Self::Stale(another)) => Self::Stale(one.max(another)),
            (Self::Valid, other) | (other, Self::Valid) => other,
        }
    }
}

impl Mark {
    /// The later ones of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { hard: self.hard.max(other.hard), soft: self.soft.max(other.soft) }
    }

    /// What is left of what was fetched at that epoch.
    #[must_use]
    pub fn leaves(self, epoch: Epoch) -> Standing {
        match epoch {
            _ if epoch < self.hard => Standing::Purged,
            _ if epoch < self.soft => Standing::Stale(self.soft),
            _ => Standing::Valid,
        }
    }
}

impl fmt::Debug for Purges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purges").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::ResourceKey;

    fn tag(name: usize) -> Tag {
        Tag::named(name.to_string().as_bytes())
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)
    }

    #[test]
    fn what_was_fetched_before_a_purge_goes_and_what_comes_after_it_stays() {
        let purges = Purges::default();
        let before = purges.epoch();
        let hard = purges.next(now());
        purges.purge_tag(tag(1), Mode::Hard, hard);
        assert_eq!(purges.judge(&[tag(0), tag(1)], before), Standing::Purged);
        assert_eq!(purges.judge(&[tag(0), tag(2)], before), Standing::Valid);
        assert_eq!(purges.judge(&[tag(1)], purges.epoch()), Standing::Valid);

        let soft = purges.next(now());
        purges.purge_tag(tag(1), Mode::Soft, soft);
        assert_eq!(purges.judge(&[tag(1)], hard), Standing::Stale(soft));
        assert_eq!(purges.judge(&[tag(1)], before), Standing::Purged);
        // One that is heard of late takes nothing back.
        purges.purge_tag(tag(1), Mode::Hard, hard);
        assert_eq!(purges.judge(&[tag(1)], hard), Standing::Stale(soft));
    }

    #[test]
    fn a_purge_tells_of_the_one_before_it_that_concerned_the_same() {
        let purges = Purges::default();
        let purge = |paths: &[&str], tags: &[Tag]| {
            let resources = paths.iter().map(|path| ResourceKey::of_path(path)).collect();
            purges.apply(&Purge { resources, tags: tags.to_vec(), ..Purge::default() }, now(), drop)
        };
        let (first, none) = purge(&["/a"], &[]);
        assert_eq!(none, Epoch::FIRST);
        purge(&["/b"], &[]);
        let (second, before) = purge(&["/a", "/c"], &[]);
        assert_eq!(before, first);
        let (third, before) = purge(&["/b", "/c"], &[tag(1)]);
        assert_eq!(before, second);
        assert_eq!(purge(&["/d"], &[]).1, third, "it may carry the tag");
    }

    #[test]
    fn a_purge_is_known_when_it_has_been_carried_out() {
        let (purges, keys) = (Purges::default(), ["/a", "/b"].map(ResourceKey::of_path));
        let purge = Purge { resources: keys.to_vec(), tags: vec![tag(1)], ..Purge::default() };
        let before = purges.known();
        let (taken, _) = purges.apply(&purge, now(), |epoch| {
            assert_eq!(purges.epoch(), before.epoch());
            assert!(keys.iter().all(|key| purges.cover(key.wide_hash(), before.epoch(), &[])));
            assert!(purges.cover(7, before.epoch(), &[tag(1)]) && epoch > before.epoch());
        });
        assert_eq!(purges.epoch(), taken);
    }

    #[test]
    fn everything_covers_what_has_no_tags() {
        let purges = Purges::default();
        let epoch = purges.next(now());
        purges.purge_tag(Tag::everything(), Mode::Hard, epoch);
        assert_eq!(purges.judge(&[], Epoch::FIRST), Standing::Purged);
        assert_eq!(purges.judge(&[], epoch), Standing::Valid);
    }

    #[test]
    fn a_purge_concerns_what_is_being_fetched() {
        let purges = Purges::default();
        let begun = purges.known();
        assert!(!purges.concern(7, begun));
        purges.purge_resource(7, Mode::Hard, purges.next(now()));
        assert!(purges.concern(7, begun) && !purges.concern(8, begun));
        assert!(!purges.concern(7, purges.known()));
        purges.purge_tag(tag(1), Mode::Soft, purges.next(now()));
        assert!(purges.concern(8, begun), "its tags are not known yet");
    }

    #[test]
    fn what_was_not_heard_of_concerns_all_that_is_being_fetched() {
        let purges = Purges::default();
        let begun = purges.known();
        let theirs = begun.epoch().next(now());
        purges.catch_up(theirs);
        assert!(purges.concern(7, begun) && purges.missed(begun));
        // Whoever learns of it first: the others are told the same.
        let since = purges.known();
        purges.catch_up(theirs);
        assert!(since.epoch() == theirs && !purges.concern(7, since));
        // Nor is anything missed of what is its own.
        let ours = theirs.next(now());
        purges.take(ours);
        purges.catch_up(ours);
        assert!(purges.epoch() == ours && !purges.concern(7, since));
        purges.miss();
        assert!(purges.concern(7, since) && !purges.concern(7, purges.known()));
    }

    #[test]
    fn what_redis_has_lost_is_remembered() {
        let purges = Purges::default();
        let (before, hard, soft) = (purges.epoch(), purges.next(now()), purges.next(now()));
        purges.purge_resource(7, Mode::Hard, hard);
        purges.purge_resource(8, Mode::Soft, soft);
        assert_eq!(purges.judge_undone(7, before, before), Standing::Valid, "it is carried out");
        assert_eq!(purges.judge_undone(7, before, soft), Standing::Purged);
        assert_eq!(purges.judge_undone(7, hard, soft), Standing::Valid);
        assert_eq!(purges.judge_undone(8, before, soft), Standing::Stale(soft));
        assert_eq!(purges.judge_undone(9, before, soft), Standing::Valid);
    }

    #[test]
    fn epochs_differ_though_the_clock_stands_still() {
        let purges = Purges::default();
        let (one, other) = (purges.next(now()), purges.next(now()));
        assert!(one < other && purges.epoch() == other);
    }

    #[test]
    fn what_is_forgotten_still_counts() {
        let purges = Purges::default();
        let first = purges.next(now());
        purges.purge_tag(tag(0), Mode::Hard, first);
        for n in 1..=TAGS {
            purges.purge_tag(tag(n), Mode::Hard, purges.next(now()));
        }
        let marks = purges.tags.read().unwrap();
        assert!(marks.latest.of.len() == TAGS && marks.floor == first);
        drop(marks);
        assert_eq!(purges.judge(&[tag(0)], Epoch::FIRST), Standing::Purged);
        assert_eq!(purges.judge(&[tag(0)], first), Standing::Valid);
        // One tag over and over needs no more room than one.
        for _ in 0..3 * TAGS {
            purges.purge_tag(tag(0), Mode::Soft, purges.next(now()));
        }
        assert!(purges.tags.read().unwrap().latest.oldest_first.len() <= 2 * TAGS);
    }
}
