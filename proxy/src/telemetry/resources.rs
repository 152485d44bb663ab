//! Which resources are asked for most, and which most often have to be fetched, and why.
//!
//! As many are kept as there are places (`KEPT`), whatever is asked for (Space-Saving: who comes when all are taken
//! takes the place of who was counted least, and inherits that count as what may not be its own). Whatever is asked
//! for more often than by one request in `KEPT` has a place, and no number that is told is too high by it.
//!
//! Hits pay nearly nothing: of a step, the first few are counted one by one, and the more come, the fewer of them, each
//! for so many more. Nobody waits for the lock, and who does not get it is not counted.

use std::{
    cell::Cell,
    cmp::Reverse,
    collections::HashMap,
    hash::BuildHasher,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;

use crate::{
    admit::Target,
    observe::Exchange,
    status::{Detail, Outcome, Own},
};

/// Places, for resources and for reasons each.
const KEPT: usize = 256;
/// How many of them are told.
pub const TOLD: usize = 20;
/// Of a URL, with what a proxy says of it, no more is kept.
const URL_BYTES: usize = 200;
/// For so long is counted anew; what was counted in the time before is told too.
const HALF: Duration = Duration::from_secs(300);
/// So many hits of a thread are counted in each step before the next ones count for four times as many.
const ALIKE: u32 = 256;
/// So often; by then, one in 64 is counted.
const RAISES: u32 = 3;

/// What is asked for.
#[derive(Debug)]
pub struct Resources {
    halves: Mutex<Halves>,
    /// Counts the steps: the first few hits of each are counted one by one.
    step: AtomicU32,
    hasher: RandomState,
}

#[derive(Debug)]
struct Halves {
    now: Half,
    before: Option<Half>,
}

#[derive(Debug)]
struct Half {
    since: SystemTime,
    hottest: Heaviest<Asked>,
    misses: Heaviest<Missed>,
}

/// What requests ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Scheme, host and path, of a query only that there is one; with `…` at the end of what is not all.
    pub url: Arc<str>,
    /// Name and value of what a trusted proxy says that makes it another resource.
    pub headers: Arc<[(String, String)]>,
    /// The rule that matched last.
    pub rule: Option<Arc<str>>,
}

/// A resource that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub resource: Resource,
    /// Requests that the store answered.
    pub hits: u64,
}

/// A resource and why it was not answered from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Which.
    pub resource: Resource,
    /// What became of the requests.
    pub outcome: Outcome,
    /// When the last of them was done.
    pub last: SystemTime,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Since when was counted.
    pub since: SystemTime,
    /// The resources with the most requests, and how many those were at least.
    pub hottest: Vec<(u64, Asked)>,
    /// The reasons with the most requests, and how many those were at least.
    pub misses: Vec<(u64, Missed)>,
}

/// What a thread knows of the hits that it counts.
#[derive(Clone, Copy)]
struct Turn {
    step: u32,
    /// Hits that were counted in it.
    counted: u32,
    /// Hits that are not counted before the next one.
    skipped: u32,
    /// Never zero.
    random: u32,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn { step: 0, counted: 0, skipped: 0, random: 0x9E37_79B9 }) };
}

impl Turn {
    /// For how many hits this one counts; zero: it is not counted. The gaps are random, since requests come in
    /// patterns, of which some have the same length.
    fn weigh(&mut self, step: u32) -> u64 {
        if self.step != step {
            (self.step, self.counted, self.skipped) = (step, 0, 0);
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return 0;
        }
        let weight = 1 << (2 * (self.counted / ALIKE).min(RAISES));
        self.counted += 1;
        // Xorshift (Marsaglia 2003). From 0 to twice the weight less 2, so that the mean distance is the weight.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.skipped = self.random % (2 * weight - 1);
        u64::from(weight)
    }
}

impl Resources {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(since: SystemTime) -> Self {
        let halves = Mutex::new(Halves { now: Half::new(since), before: None });
        Self { halves, step: AtomicU32::new(1), hasher: RandomState::default() }
    }

    /// Counts one exchange, if it can be had without waiting.
    #[inline]
    pub fn note(&self, exchange: &Exchange<'_>) {
        let weight = match exchange.outcome {
            Outcome::Hit { .. } => {
                let mut turn = TURN.get();
                let weight = turn.weigh(self.step.load(Ordering::Relaxed));
                TURN.set(turn);
                weight
            }
            Outcome::Forward(_) | Outcome::Own(_) => 1,
        };
        if weight > 0 {
            self.count(exchange, weight);
        }
    }

    #[cold]
    fn count(&self, exchange: &Exchange<'_>, weight: u64) {
        let Some(request) = exchange.request else { return };
        let (target, outcome) = (&request.head.target, exchange.outcome);
        let has_query = target.query().is_some();
        let (scheme, forwarded) = (target.scheme().as_str(), target.forwarded());
        let resource =
            self.hasher.hash_one((scheme, target.authority(), forwarded, target.path(), has_query));
        let Ok(mut halves) = self.halves.try_lock() else { return };
        let rule = || exchange.rule.map(Arc::clone);
        let new = || Asked { resource: Resource::new(target, rule()), hits: 0 };
        let asked = halves.now.hottest.note(resource, weight, new);
        if asked.resource.rule.as_ref() != exchange.rule {
            asked.resource.rule = rule();
        }
        if let Outcome::Hit { .. } = outcome {
            asked.hits += weight;
            return;
        }
        if matches!(outcome, Outcome::Own(own) if own != Own::OriginFailed) {
            return;
        }
        let which = asked.resource.clone();
        let reason = self.hasher.hash_one((resource, outcome.word(), outcome.detail().map(Detail::as_str)));
        let now = SystemTime::now();
        let new = || Missed { resource: which, outcome, last: now };
        let missed = halves.now.misses.note(reason, weight, new);
        (missed.resource.rule, missed.last) = (rule(), now);
    }

    /// A step ends: what is older than two halves is forgotten.
    pub fn step(&self, now: SystemTime) {
        self.step.fetch_add(1, Ordering::Relaxed);
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins anew, too.
        if now.duration_since(halves.now.since).unwrap_or(HALF) >= HALF {
            halves.before = Some(mem::replace(&mut halves.now, Half::new(now)));
        }
    }

    /// Those with the most requests of the last five to ten minutes, the most first.
    #[must_use]
    pub fn told(&self) -> Told {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let both = || halves.before.iter().chain([&halves.now]);
        let since = both().map(|half| half.since).next().unwrap_or(halves.now.since);
        let hottest = heaviest(both().map(|half| &half.hottest), |sum, later| {
            sum.hits += later.hits;
            sum.resource.rule.clone_from(&later.resource.rule);
        });
        let misses = heaviest(both().map(|half| &half.misses), Missed::clone_from);
        Told { since, hottest, misses }
    }
}

impl Half {
    fn new(since: SystemTime) -> Self {
        Self { since, hottest: Heaviest::default(), misses: Heaviest::default() }
    }
}

impl Resource {
    /// Of a query only that there is one: tokens travel there.
    fn new(target: &Target, rule: Option<Arc<str>>) -> Self {
        let mut url = format!("{}://{}{}", target.asked_scheme().as_str(), target.authority(), target.path());
        let mut headers = target.forwarded().fields();
        if url.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>() > URL_BYTES {
            url.truncate(url.floor_char_boundary(URL_BYTES));
            url.push('…');
            headers.clear();
        }
        if target.query().is_some() {
            url.push_str("?…");
        }
        Self { url: url.into(), headers: headers.into(), rule }
    }
}

/// A bounded number of things, those that were counted most among them.
#[derive(Debug)]
struct Heaviest<T>(HashMap<u64, Place<T>, RandomState>);

#[derive(Debug)]
struct Place<T> {
    count: u64,
    /// What of it was counted for others that had this place.
    inherited: u64,
    of: T,
}

impl<T> Default for Heaviest<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Heaviest<T> {
    /// Counts one thing, which has a place afterwards.
    fn note(&mut self, hash: u64, weight: u64, new: impl FnOnce() -> T) -> &mut T {
        let inherited = match self.0.contains_key(&hash) {
            true => 0,
            false => self.make_room(),
        };
        let place = self.0.entry(hash);
        let place = place.or_insert_with(|| Place { count: inherited, inherited, of: new() });
        place.count += weight;
        &mut place.of
    }

    /// The count of who has to go, if somebody has to.
    fn make_room(&mut self) -> u64 {
        if self.0.len() < KEPT {
            return 0;
        }
        let lightest = self.0.iter().min_by_key(|(_, place)| place.count).map(|(hash, _)| *hash);
        lightest.and_then(|hash| self.0.remove(&hash)).map_or(0, |place| place.count)
    }
}

/// The heaviest of several times together. What was counted later is added to what was counted before.
fn heaviest<'h, T: Clone + 'h>(
    times: impl Iterator<Item = &'h Heaviest<T>>,
    add: impl Fn(&mut T, &T),
) -> Vec<(u64, T)> {
    let mut sums: HashMap<u64, (u64, T)> = HashMap::new();
    for (hash, place) in times.flat_map(|time| &time.0) {
        let own = place.count - place.inherited;
        match sums.get_mut(hash) {
            Some((sum, of)) => {
                *sum += own;
                add(of, &place.of);
            }
            None => {
                sums.insert(*hash, (own, place.of.clone()));
            }
        }
    }
    let mut heaviest: Vec<_> = sums.into_iter().collect();
    // Those with the same count stand in one order, however often they are told.
    heaviest.sort_unstable_by_key(|(hash, (count, _))| (Reverse(*count), *hash));
    heaviest.into_iter().take(TOLD).map(|(_, heavy)| heavy).collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::{
        admit::{Head, HeadLimits, Scheme},
        headers::Peer,
        message::Request,
        status::{Forward, Fwd},
    };

    const HIT: Outcome = Outcome::Hit { ttl: 9, detail: None };

    fn because(fwd: Fwd, detail: Option<Detail>) -> Outcome {
        Outcome::Forward(Forward::because(fwd, detail))
    }

    fn request(host: &str, path: &str) -> Request {
        forwarded(&format!("{path} HTTP/1.1\r\nHost: {host}\r\n"))
    }

    /// From a trusted proxy.
    fn forwarded(lines: &str) -> Request {
        let text = Bytes::from(format!("GET {lines}\r\n"));
        let limits = HeadLimits { bytes: 10_000, fields: 10, target: 9_000 };
        let mut head = Head::parse(&text, Scheme::Http, &limits).unwrap();
        head.target.trust(&head.headers);
        Request::of(head)
    }

    fn note(resources: &Resources, request: &Request, outcome: Outcome) {
        resources.note(&Exchange {
            request: Some(request),
            unread: None,
            peer: Peer::Local,
            status: StatusCode::OK,
            outcome,
            rule: Some(&Arc::from("/**")),
            spared: Duration::ZERO,
            failed: None,
            body_bytes: 0,
            duration: Duration::ZERO,
            complete: true,
        });
    }

    /// Of the URLs told, the requests and the hits.
    fn hottest(resources: &Resources) -> Vec<(String, u64, u64)> {
        let told = resources.told().hottest;
        told.into_iter()
            .map(|(requests, asked)| (asked.resource.url.to_string(), requests, asked.hits))
            .collect()
    }

    #[test]
    fn few_requests_are_counted_one_by_one() {
        let resources = Resources::new(UNIX_EPOCH);
        let (a, b) = (request("shop", "/a?token=s3cret"), request("shop", "/b"));
        note(&resources, &a, because(Fwd::UriMiss, None));
        (0..5).for_each(|_| note(&resources, &a, HIT));
        note(&resources, &b, because(Fwd::Bypass, Some(Detail::Cookie)));
        note(&resources, &b, because(Fwd::Bypass, Some(Detail::Cookie)));
        note(&resources, &b, because(Fwd::UriMiss, Some(Detail::NoStore)));
        let expected = [("http://shop/a?…".to_owned(), 6, 5), ("http://shop/b".to_owned(), 3, 0)];
        assert_eq!(hottest(&resources), expected);
        let misses = resources.told().misses;
        let (count, most) = &misses[0];
        assert_eq!((*count, &*most.resource.url, misses.len()), (2, "http://shop/b", 3));
        assert_eq!(most.outcome.detail(), Some(Detail::Cookie));
    }

    #[test]
    fn many_hits_are_counted_well_enough_in_whatever_order_they_come() {
        let resources = Resources::new(UNIX_EPOCH);
        let cycle: Vec<_> = (0..64).map(|n| request("a", &format!("/{n}"))).collect();
        for _ in 0..2_000 {
            cycle.iter().for_each(|request| note(&resources, request, HIT));
        }
        let told = hottest(&resources);
        assert_eq!(told.len(), TOLD);
        // Each comes 2,000 times. A sample of some 30 of them strays by less than a fifth, mostly.
        for (url, requests, hits) in told {
            assert_eq!(requests, hits);
            assert!((1_000..4_000).contains(&hits), "{url}: {hits}");
        }
    }

    #[test]
    fn the_heaviest_stay_through_a_flood_of_what_comes_once() {
        let resources = Resources::new(UNIX_EPOCH);
        let miss = because(Fwd::UriMiss, None);
        let heavy = request("shop", "/heavy");
        for n in 0..20_000 {
            note(&resources, &request("shop", &format!("/once/{n}")), miss);
            if n % 10 == 0 {
                note(&resources, &heavy, miss);
            }
        }
        let halves = resources.halves.lock().unwrap();
        assert_eq!((halves.now.hottest.0.len(), halves.now.misses.0.len()), (KEPT, KEPT));
        drop(halves);
        let told = hottest(&resources);
        assert_eq!(told[0], ("http://shop/heavy".to_owned(), 2_000, 0));
        // What came once is not said to have come more often.
        assert!(told[1..].iter().all(|(_, requests, _)| *requests <= 1), "{told:?}");
    }

    #[test]
    fn of_a_long_url_only_the_beginning_is_kept() {
        let resources = Resources::new(UNIX_EPOCH);
        note(&resources, &request("shop", &format!("/{}?q", "x".repeat(8_000))), HIT);
        let (url, ..) = &hottest(&resources)[0];
        assert!(
            url.len() < URL_BYTES + 10 && url.starts_with("http://shop/xxx") && url.ends_with("x…?…"),
            "{url}"
        );
        let resources = Resources::new(UNIX_EPOCH);
        let host = "x".repeat(8_000);
        let request = forwarded(&format!("/a HTTP/1.1\r\nHost: shop\r\nX-Forwarded-Host: {host}\r\n"));
        note(&resources, &request, HIT);
        let (_, Asked { resource, .. }) = resources.told().hottest.remove(0);
        assert_eq!((&*resource.url, resource.headers.len()), ("http://shop/a…", 0));
    }

    #[test]
    fn what_a_trusted_proxy_was_asked_for_is_told_apart_as_it_is_stored_apart() {
        let resources = Resources::new(UNIX_EPOCH);
        let line = "/a HTTP/1.1\r\nHost: shop\r\n";
        let both = "X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: front\r\n";
        let own = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: shop\r\n";
        for (times, fields) in [(1, ""), (2, both), (3, own)] {
            let request = forwarded(&format!("{line}{fields}"));
            (0..times).for_each(|_| note(&resources, &request, because(Fwd::UriMiss, None)));
        }
        let Told { hottest, misses, .. } = resources.told();
        let fields =
            |all: &[(String, String)]| all.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>();
        let told = |at: usize| {
            let (asked, missed) = (&hottest[at].1.resource, &misses[at].1.resource);
            assert_eq!(asked, missed);
            (asked.url.to_string(), fields(&asked.headers))
        };
        assert_eq!(told(0), ("http://shop/a".to_owned(), vec!["x-forwarded-proto: http".to_owned()]));
        let said = ["x-forwarded-proto: https", "x-forwarded-host: front"].map(str::to_owned);
        assert_eq!(told(1), ("https://shop/a".to_owned(), said.to_vec()));
        assert_eq!(told(2), ("http://shop/a".to_owned(), vec![]));
    }

    #[test]
    fn what_is_older_than_ten_minutes_is_forgotten() {
        let resources = Resources::new(UNIX_EPOCH);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        note(&resources, &request("a", "/"), HIT);
        resources.step(at(299));
        resources.step(at(300));
        note(&resources, &request("a", "/"), HIT);
        assert_eq!(hottest(&resources), [("http://a/".to_owned(), 2, 2)]);
        assert_eq!(resources.told().since, at(0));
        resources.step(at(600));
        assert_eq!(hottest(&resources), [("http://a/".to_owned(), 1, 1)]);
        resources.step(at(900));
        assert_eq!(hottest(&resources), []);
    }

    #[test]
    fn nobody_waits_for_it() {
        let resources = Resources::new(UNIX_EPOCH);
        let held = resources.halves.lock().unwrap();
        // Would never return if it waited.
        note(&resources, &request("a", "/"), because(Fwd::UriMiss, None));
        drop(held);
        assert_eq!(hottest(&resources), []);
    }
}
