//! Judges a history. The rule: a purge that was answered by 200 is obeyed by every read that begins
//! afterwards, on any sidecar. Pure: histories written by hand show that it can fail.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    around::around,
    history::{Fault, Got, History, Key, Kind, Moment, Purge, Read, Span, Version},
};

/// After a fault, a sidecar connects again within this, and only then must be as good as before.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);
/// For how long a sidecar trusts its memory without a word from Redis.
const TRUSTED: Duration = Duration::from_secs(2);
/// Violations that are printed with all that is known of them.
const SHOWN: usize = 10;

/// What the sidecars promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Purges are obeyed always.
    Always,
    /// Not by a sidecar that a fault has cut off from Redis, in answers that say so.
    UnlessCutOff,
}

/// What a run must have seen for its verdict to mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    pub(crate) reads: usize,
    pub(crate) purges: usize,
    /// Of the reads outside faults.
    pub(crate) hits: f64,
    /// Of the purges, answered by 200.
    pub(crate) promised: f64,
    /// Purges that each kind of fault overlaps.
    pub(crate) overlaps: usize,
    /// Writes whose answer was stored.
    pub(crate) posts: usize,
    /// Reads of what was being fetched for longer than a sidecar trusts its memory without a word.
    pub(crate) waits: usize,
}

/// A read that should not have been.
#[derive(Debug)]
pub(crate) struct Violation<'h> {
    pub(crate) read: &'h Read,
    got: Version,
    /// The purge that it ignored: the first that promised more.
    purge: &'h Purge,
    /// What was wrong with the fleet between that purge and the end of the read.
    faults: Vec<&'h Fault>,
}

impl<'h> Violation<'h> {
    fn new(history: &'h History, read: &'h Read, got: Version, purge: &'h Purge) -> Self {
        let since = Span { begun: purge.span.begun, ended: read.span.ended };
        Self { read, got, purge, faults: during(history, since).collect() }
    }

    /// How long after the promise the read began.
    fn late_by(&self) -> Duration {
        self.read.span.begun.saturating_sub(self.purge.span.ended)
    }
}

/// Answered reads.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    reads: usize,
    hits: usize,
}

impl Answers {
    fn add(&mut self, got: &Got) {
        self.reads += 1;
        self.hits += usize::from(got.is_hit());
    }

    fn share(self) -> f64 {
        share(self.hits, self.reads)
    }
}

/// What a history shows.
#[derive(Debug, Default)]
pub(crate) struct Verdict<'h> {
    all: Answers,
    /// Of sidecars that no fault touched.
    calm: Answers,
    /// Failed reads that no fault explains.
    pub(crate) failed: Vec<&'h Read>,
    excused: usize,
    posts: usize,
    stored_posts: usize,
    waits: usize,
    purges: usize,
    promised: usize,
    overlaps: BTreeMap<Kind, usize>,
    pub(crate) violations: Vec<Violation<'h>>,
    /// Reads of what was purged by sidecars that were cut off and promise nothing then.
    pub(crate) apart: usize,
    /// What happened to the resource of the first of them.
    story: Vec<String>,
    /// From when a version was there until a read of an older one began, promised or not.
    stalest: Duration,
}

/// The purges of one resource that were promised, in the order of their answers.
type Promises<'h> = BTreeMap<Key, Vec<(Version, &'h Purge)>>;

/// When each version of each resource was there.
type Raises = BTreeMap<Key, BTreeMap<Version, Moment>>;

impl<'h> Verdict<'h> {
    pub(crate) fn of(history: &'h History, promise: Promise) -> Self {
        let mut verdict = Self {
            posts: history.posts.len(),
            stored_posts: history.posts.iter().filter(|post| post.got.is_stored()).count(),
            waits: history.reads.iter().filter(|read| read.took() > TRUSTED).count(),
            purges: history.purges.len(),
            promised: history.purges.iter().filter(|purge| purge.is_promised()).count(),
            overlaps: overlaps(history),
            ..Self::default()
        };
        for post in history.posts.iter().filter(|post| !post.got.is_page()) {
            verdict.add_failed(post, &troubles(history, post));
        }
        let (promises, raises) = (promises(history), raises(history));
        for read in &history.reads {
            let troubles = troubles(history, read);
            if troubles.is_empty() {
                verdict.calm.add(&read.got);
            }
            let Got::Page { version, .. } = read.got else {
                verdict.add_failed(read, &troubles);
                continue;
            };
            verdict.all.add(&read.got);
            verdict.stalest = verdict.stalest.max(staleness(&raises, read, version));
            match broken(&promises, read, version) {
                None => {}
                Some(_) if promise == Promise::UnlessCutOff && is_cut_off(history, read) => {
                    verdict.apart += 1;
                }
                Some(purge) => verdict.violations.push(Violation::new(history, read, version, purge)),
            }
        }
        verdict.violations.sort_by_key(|violation| violation.read.span.begun);
        verdict.story =
            verdict.violations.first().map(|first| around(history, first.read)).unwrap_or_default();
        verdict
    }

    fn add_failed(&mut self, read: &'h Read, troubles: &[&Fault]) {
        match troubles.iter().any(|fault| fault.excuses_failures_of(read.sidecar)) {
            true => self.excused += 1,
            false => self.failed.push(read),
        }
    }

    /// What is missing or wrong.
    pub(crate) fn shortcomings(&self, demands: &Demands) -> Vec<String> {
        let mut all = Vec::new();
        let mut demand = |is_so: bool, what: String| {
            if !is_so {
                all.push(what);
            }
        };
        demand(self.violations.is_empty(), format!("{} reads broke a promise", self.violations.len()));
        demand(self.failed.is_empty(), format!("{} reads failed without a reason", self.failed.len()));
        demand(self.all.reads >= demands.reads, format!("{} reads of {}", self.all.reads, demands.reads));
        demand(self.purges >= demands.purges, format!("{} purges of {}", self.purges, demands.purges));
        demand(self.calm.share() >= demands.hits, "too few hits".to_owned());
        let posts = format!("{} answers to writes were stored of {}", self.stored_posts, demands.posts);
        demand(self.stored_posts >= demands.posts, posts);
        demand(self.waits >= demands.waits, format!("{} long waits of {}", self.waits, demands.waits));
        demand(share(self.promised, self.purges) >= demands.promised, "too few 200s".to_owned());
        for kind in Kind::ALL {
            let overlaps = self.overlaps.get(&kind).copied().unwrap_or_default();
            demand(overlaps >= demands.overlaps, format!("{kind:?} overlaps {overlaps} purges"));
        }
        all
    }

    /// How long after a promise a read began that broke it, at most.
    fn worst(&self) -> Duration {
        self.violations.iter().map(Violation::late_by).max().unwrap_or_default()
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The faults at that time, and shortly before it.
fn during(history: &History, span: Span) -> impl Iterator<Item = &Fault> {
    history.faults.iter().filter(move |fault| fault.span.and(SETTLED).overlaps(span))
}

/// Those that touch the sidecar of this read.
fn troubles<'h>(history: &'h History, read: &Read) -> Vec<&'h Fault> {
    during(history, read.span).filter(|fault| fault.touches(read.sidecar)).collect()
}

/// Whether its sidecar had lost Redis, and has said so. Who is stopped before it has connected again is cut off for
/// as long, and then connects.
fn is_cut_off(history: &History, read: &Read) -> bool {
    let of_it = |fault: &&Fault| fault.touches(read.sidecar);
    let stopped = |time: Span| {
        let stops = history.faults.iter().filter(of_it).filter(|fault| fault.kind == Kind::SidecarFrozen);
        stops.map(|fault| fault.span).find(|span| span.overlaps(time))
    };
    let mut cuts = history.faults.iter().filter(|fault| fault.cuts_off(read.sidecar)).map(|fault| {
        let time = fault.span.and(SETTLED);
        stopped(time).map_or(time, |stop| Span { ended: time.ended.max(stop.ended + SETTLED), ..time })
    });
    read.got.is_told_of_an_outage() && cuts.any(|time| time.overlaps(read.span))
}

/// How many purges each kind of fault overlaps.
fn overlaps(history: &History) -> BTreeMap<Kind, usize> {
    let of = |kind| {
        let faults = || history.faults.iter().filter(|fault| fault.kind == kind);
        let overlap = |purge: &&Purge| faults().any(|fault| fault.span.overlaps(purge.span));
        (kind, history.purges.iter().filter(overlap).count())
    };
    Kind::ALL.into_iter().map(of).collect()
}

fn promises(history: &History) -> Promises<'_> {
    let mut promises = Promises::new();
    for purge in history.purges.iter().filter(|purge| purge.is_promised()) {
        for (key, version) in &purge.covers {
            promises.entry(*key).or_default().push((*version, purge));
        }
    }
    for purges in promises.values_mut() {
        purges.sort_by_key(|(_, purge)| purge.span.ended);
    }
    promises
}

fn raises(history: &History) -> Raises {
    let mut raises = Raises::new();
    for purge in &history.purges {
        for (key, version) in &purge.covers {
            let at = raises.entry(*key).or_default().entry(*version).or_insert(purge.raised);
            *at = purge.raised.min(*at);
        }
    }
    raises
}

/// For how long a newer version had been there when a read began that got this one.
fn staleness(raises: &Raises, read: &Read, got: Version) -> Duration {
    let newer = raises.get(&read.key).and_then(|raises| raises.range(got + 1..).next());
    newer.map_or(Duration::ZERO, |(_, raised)| read.span.begun.saturating_sub(*raised))
}

/// The first promise that a read of this version broke.
fn broken<'h>(promises: &Promises<'h>, read: &Read, got: Version) -> Option<&'h Purge> {
    let purges = promises.get(&read.key)?;
    let before = purges.partition_point(|(_, purge)| purge.span.ended < read.span.begun);
    purges[..before].iter().find(|(version, _)| *version > got).map(|(_, purge)| *purge)
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read { sidecar, key, span, got } = self.read;
        let promised = self.purge.covers.iter().find(|(covered, _)| covered == key).map(|(_, v)| *v);
        writeln!(
            f,
            "sidecar {sidecar} read version {} of {key} at {span}, {:?} after version {} was promised",
            self.got,
            self.late_by(),
            promised.unwrap_or_default(),
        )?;
        writeln!(f, "  {got:?}")?;
        writeln!(f, "  purge of {} on sidecar {} at {}", self.purge.what, self.purge.via, self.purge.span)?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answers { reads, hits } = self.all;
        writeln!(f, "reads           {reads} ({} more failed under a fault)", self.excused)?;
        writeln!(f, "hits            {hits} ({:.1} %)", 100.0 * self.all.share())?;
        writeln!(f, "outside faults  {:.1} % of {}", 100.0 * self.calm.share(), self.calm.reads)?;
        writeln!(f, "waits           {} of more than {TRUSTED:?}", self.waits)?;
        writeln!(f, "writes          {} ({} stored)", self.posts, self.stored_posts)?;
        let promised = 100.0 * share(self.promised, self.purges);
        writeln!(f, "purges          {} ({promised:.1} % with 200)", self.purges)?;
        for (kind, overlaps) in &self.overlaps {
            writeln!(f, "  in {:<16} {overlaps}", format!("{kind:?}"))?;
        }
        writeln!(f, "violations      {}", self.violations.len())?;
        writeln!(f, "cut off, apart  {}", self.apart)?;
        writeln!(f, "worst staleness {:?} after a promise, {:?} after a change", self.worst(), self.stalest)?;
        self.violations.iter().take(SHOWN).try_for_each(|violation| write!(f, "{violation}"))?;
        self.story.iter().try_for_each(|event| writeln!(f, "{event}"))?;
        let failed = self.failed.iter().take(SHOWN);
        failed.into_iter().try_for_each(|read| writeln!(f, "failed: {read:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(begun: u64, ended: u64) -> Span {
        Span { begun: Duration::from_millis(begun), ended: Duration::from_millis(ended) }
    }

    fn read(sidecar: usize, key: Key, begun: u64, ended: u64, version: Version) -> Read {
        let got = Got::Page { version, says: "hit; ttl=60".to_owned() };
        Read { sidecar, key, span: ms(begun, ended), got }
    }

    fn purge(covers: &[(Key, Version)], begun: u64, ended: u64, status: Option<u16>) -> Purge {
        let (what, raised) = ("tag a, hard".to_owned(), Duration::from_millis(begun));
        let names = covers.iter().map(|(key, _)| *key).collect();
        Purge { via: 0, what, names, covers: covers.to_vec(), raised, span: ms(begun, ended), status }
    }

    fn fault(kind: Kind, sidecar: Option<usize>, begun: u64, ended: u64) -> Fault {
        Fault { kind, sidecar, late: None, span: ms(begun, ended) }
    }

    fn history(reads: Vec<Read>, purges: Vec<Purge>, faults: Vec<Fault>) -> History {
        History { reads, posts: vec![], purges, faults }
    }

    /// How many reads broke a promise, and how many are counted apart.
    fn judged(history: &History, promise: Promise) -> (usize, usize) {
        let verdict = Verdict::of(history, promise);
        (verdict.violations.len(), verdict.apart)
    }

    #[test]
    fn an_older_version_after_the_answer_is_a_violation_on_any_sidecar() {
        let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
        let history = history(vec![read(0, 7, 111, 112, 1), read(2, 7, 900, 901, 0)], purges, vec![]);
        assert_eq!(judged(&history, Promise::Always), (2, 0));
        assert_eq!(judged(&history, Promise::UnlessCutOff), (2, 0));
        let verdict = Verdict::of(&history, Promise::Always);
        let said = verdict.to_string();
        assert!(said.contains("sidecar 2 read version 0 of 7"), "{said}");
        assert!(said.contains("790ms after a promise, 800ms after a change"), "{said}");
        let story: Vec<_> = verdict.story.iter().map(|event| event.split(" s ").nth(1).unwrap()).collect();
        assert_eq!(story.len(), 3, "{story:?}");
        assert!(story[0].starts_with("tag a, hard on sidecar 0: Some(200)"), "{story:?}");
        assert!(story[1].starts_with("read by sidecar 0: Page"), "{story:?}");
    }

    #[test]
    fn what_began_before_the_answer_may_be_either() {
        let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
        let reads = vec![
            read(0, 7, 90, 300, 1),  // ended long after, but began before
            read(0, 7, 105, 106, 1), // while it was under way
            read(0, 7, 110, 111, 1), // in the same instant: no order is known
            read(0, 7, 105, 106, 2),
            read(0, 7, 111, 112, 2),
            read(0, 7, 111, 112, 3), // a newer one, not purged yet
        ];
        assert_eq!(judged(&history(reads, purges, vec![]), Promise::Always), (0, 0));
    }

    #[test]
    fn only_a_200_promises_and_only_what_it_covers() {
        for status in [None, Some(202), Some(404), Some(503)] {
            let purges = vec![purge(&[(7, 2)], 100, 110, status)];
            assert_eq!(judged(&history(vec![read(0, 7, 200, 201, 1)], purges, vec![]), Promise::Always).0, 0);
        }
        let purges = vec![purge(&[(6, 9), (8, 2)], 100, 110, Some(200))];
        let reads = vec![read(0, 7, 200, 201, 1), read(0, 8, 200, 201, 1)];
        let history = history(reads, purges, vec![]);
        let verdict = Verdict::of(&history, Promise::Always);
        assert_eq!(verdict.violations.iter().map(|v| v.read.key).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn the_highest_promise_so_far_counts_however_the_answers_are_ordered() {
        // The purge of version 3 was answered before that of version 2, which began earlier.
        let purges = vec![purge(&[(7, 2)], 100, 300, Some(200)), purge(&[(7, 3)], 150, 200, Some(200))];
        for (begun, version, broken) in [
            (190, 1, 0),
            (210, 2, 1),
            (210, 3, 0),
            (310, 2, 1), // the later answer, of the lower version, takes nothing back
            (310, 3, 0),
        ] {
            let reads = vec![read(1, 7, begun, begun + 1, version)];
            let history = history(reads, purges.clone(), vec![]);
            assert_eq!(judged(&history, Promise::Always).0, broken, "{version} at {begun}");
        }
    }

    #[test]
    fn a_fault_excuses_nothing_where_the_promise_is_whole() {
        let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
        let faults = vec![fault(Kind::TrackingCut, Some(1), 50, 500)];
        let reads = vec![read(1, 7, 200, 201, 1), read(0, 7, 200, 201, 1), read(1, 7, 1501, 1502, 1)];
        let history = history(reads, purges, faults);
        assert_eq!(judged(&history, Promise::Always), (3, 0));
        assert_eq!(judged(&history, Promise::UnlessCutOff), (3, 0), "none has said that it is cut off");
        let said = Verdict::of(&history, Promise::Always).to_string();
        assert!(said.contains("TrackingCut of sidecar 1"), "the violation tells of it: {said}");
    }

    #[test]
    fn only_who_is_cut_off_and_says_so_is_excused() {
        let alone = |sidecar, at| {
            let got = Got::Page { version: 1, says: "hit; ttl=60; detail=store-down".to_owned() };
            Read { got, ..read(sidecar, 7, at, at + 1, 1) }
        };
        for kind in Kind::ALL {
            let may = usize::from(fault(kind, Some(1), 0, 1).cuts_off(1));
            let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
            // Another one, and this one once it has had time to come back, are not.
            let reads = vec![alone(1, 200), alone(0, 200), alone(1, 1501), read(1, 7, 200, 201, 1)];
            let history = history(reads, purges, vec![fault(kind, Some(1), 50, 500)]);
            let judged = judged(&history, Promise::UnlessCutOff);
            assert_eq!(judged, (4 - may, may), "{kind:?}");
        }
        let stop = fault(Kind::SidecarFrozen, Some(1), 1000, 3000);
        let faults = vec![fault(Kind::RedisKilled, None, 50, 500), stop];
        let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
        let stopped = history(vec![alone(1, 3900), alone(1, 4001), alone(0, 2000)], purges, faults);
        assert_eq!(judged(&stopped, Promise::UnlessCutOff), (2, 1), "it could not connect");

        // What comes too late is as good as lost.
        for (by, excused) in [(499, 0), (500, 1)] {
            let late = Some((1, Duration::from_millis(by)));
            let faults = vec![Fault { late, ..fault(Kind::RollLost, Some(1), 50, 500) }];
            let purges = vec![purge(&[(7, 2)], 100, 110, Some(200))];
            let history = history(vec![alone(1, 200), alone(0, 200)], purges, faults);
            assert_eq!(judged(&history, Promise::UnlessCutOff), (2 - excused, excused), "{by}");
        }

        let excused = Kind::ALL.into_iter().filter(|kind| fault(*kind, None, 0, 1).cuts_off(2));
        assert_eq!(
            excused.collect::<Vec<_>>(),
            [Kind::RedisFrozen, Kind::RedisKilled, Kind::TrackingCut, Kind::TrackingSilent]
        );
    }

    #[test]
    fn a_write_is_judged_by_its_failure_alone() {
        let failed = Read { got: Got::Failed("refused".to_owned()), ..read(1, 5, 200, 201, 0) };
        let purges = vec![purge(&[(5, 2)], 100, 110, Some(200))];
        let posts = vec![failed, read(1, 5, 300, 301, 1)];
        let history = History { posts, ..history(vec![], purges, vec![]) };
        let verdict = Verdict::of(&history, Promise::Always);
        assert_eq!((verdict.failed.len(), verdict.violations.len(), verdict.posts), (1, 0, 2));
    }

    #[test]
    fn a_read_may_fail_only_where_its_sidecar_was_gone() {
        let failed =
            |sidecar, at| Read { got: Got::Failed("refused".to_owned()), ..read(sidecar, 7, at, at + 1, 0) };
        for (kind, sidecar, at, unexplained) in [
            (Kind::SidecarKilled, 1, 200, 0),
            (Kind::SidecarFrozen, 1, 200, 0),
            (Kind::SidecarKilled, 0, 200, 1),
            (Kind::SidecarKilled, 1, 2000, 1),
            (Kind::TrackingCut, 1, 200, 1),
        ] {
            let faults = vec![fault(kind, Some(1), 100, 500)];
            let history = history(vec![failed(sidecar, at)], vec![], faults);
            let verdict = Verdict::of(&history, Promise::Always);
            assert_eq!(verdict.failed.len(), unexplained, "{kind:?} {sidecar} {at}");
        }
        let faults = vec![fault(Kind::RedisKilled, None, 100, 500)];
        let history = history(vec![failed(1, 200)], vec![], faults);
        assert_eq!(Verdict::of(&history, Promise::Always).failed.len(), 1, "Redis never costs an answer");
    }

    /// One that has what is demanded, but no more.
    fn enough() -> (History, Demands) {
        let mut all = history(vec![], vec![], vec![]);
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            let begun = 10_000 * (at as u64 + 1);
            all.faults.push(fault(kind, None, begun, begun + 100));
            all.purges.push(purge(&[(1, 1)], begun + 100, begun + 200, Some(200)));
        }
        all.reads = vec![read(0, 1, 1, 2, 0), read(0, 1, 3, 2004, 0)];
        let says = "fwd=method; stored".to_owned();
        all.posts = vec![Read { got: Got::Page { version: 0, says }, ..read(0, 1, 1, 2, 0) }];
        let purges = Kind::ALL.len();
        let demands = Demands { reads: 2, purges, hits: 1.0, promised: 1.0, overlaps: 1, posts: 1, waits: 1 };
        (all, demands)
    }

    /// What is wrong with a history that has enough, after a change.
    fn wrong(change: impl FnOnce(&mut History)) -> Vec<String> {
        let (mut history, demands) = enough();
        change(&mut history);
        Verdict::of(&history, Promise::Always).shortcomings(&demands)
    }

    #[test]
    fn a_run_that_has_seen_too_little_proves_nothing() {
        assert_eq!(wrong(|_| {}), Vec::<String>::new());
        assert_eq!(wrong(|all| drop(all.reads.pop())), ["1 reads of 2", "0 long waits of 1"]);
        assert_eq!(wrong(|all| drop(all.posts.pop())), ["0 answers to writes were stored of 1"]);
        assert_eq!(wrong(|all| all.purges[0].status = Some(503)), ["too few 200s"]);
        assert_eq!(wrong(|all| all.faults[2].span = ms(5_000, 5_000)), ["RedisFlushed overlaps 0 purges"]);
        let miss = Got::Page { version: 0, says: "fwd=uri-miss; stored".to_owned() };
        assert_eq!(wrong(|all| all.reads[0].got = miss), ["too few hits"]);
        assert_eq!(wrong(|all| all.reads.push(read(0, 1, 90_000, 90_001, 0))), ["1 reads broke a promise"]);
        let fewer = wrong(|all| drop(all.purges.pop()));
        assert_eq!(fewer, ["9 purges of 10", "SidecarFrozen overlaps 0 purges"]);
    }

    #[test]
    fn hits_under_a_fault_do_not_make_up_for_misses_outside() {
        let miss = Got::Page { version: 0, says: "fwd=uri-miss; stored".to_owned() };
        let under_a_fault = read(0, 1, 10_050, 10_051, 0);
        let wrong = wrong(|all| {
            all.reads = vec![under_a_fault; 100];
            all.reads.push(Read { got: miss, ..read(0, 1, 1, 2002, 0) });
        });
        assert_eq!(wrong, ["too few hits"]);
    }
}
