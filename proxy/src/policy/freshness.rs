//! How long a response is fresh, and how old it is (RFC 9111 §4.2).

use std::{
    hash::Hasher,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{
    facts::{Expires, ResponseFacts},
    rule::CacheRule,
    statuses::{is_heuristically_cacheable, no_store_counts},
};

/// No heuristic lifetime is longer: who meant a day should say so.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 3600);
/// §4.2.2: "A typical setting of this fraction might be 10%."
const HEURISTIC_FRACTION: u32 = 10;
/// What seems to come from further in the future came before the clock was set back: its age is known to
/// nobody. A request that waited for the response read the clock before it came, by less than this.
const AHEAD: Duration = Duration::from_secs(120);
/// As old as anything can be said to be: a cache "MUST consider the value to be 2147483648" (§1.2.2).
const OLDEST: Duration = Duration::from_secs(1 << 31);

/// A freshness lifetime and who stated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How long.
    pub length: Duration,
    /// By whose word.
    pub source: Source,
}

/// Who stated a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The origin.
    Origin,
    /// The rule. Age then counts from receipt, not from `Date`: an origin with a wrong clock must
    /// not cost the hit.
    Rule,
    /// Nobody: it is guessed from `Last-Modified`.
    Heuristic,
}

/// When a request was sent and its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeTimes {
    /// `request_time` of §4.2.3.
    pub request_time: SystemTime,
    /// `response_time` of §4.2.3.
    pub response_time: SystemTime,
    /// What it drew when it came.
    pub lot: Lot,
}

impl ExchangeTimes {
    /// How long the origin took to the head of its answer; nothing where a clock was set back meanwhile.
    #[must_use]
    pub fn took(self) -> Duration {
        self.response_time.duration_since(self.request_time).unwrap_or_default()
    }
}

/// What a response draws of the rule's `jitter`: from nothing of it to almost all, in parts of 65536.
///
/// It is drawn once, and stored: whoever looks finds the same, on every machine, though each reads the
/// times of the exchange by its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lot(u16);

impl Lot {
    /// Another one for each resource and each time that it is fetched.
    #[must_use]
    pub fn draw(resource: &[u8], response_time: SystemTime) -> Self {
        let since = response_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut hash = Xxh3::new();
        hash.write(resource);
        hash.write_u128(since.as_nanos());
        let [low, high, ..] = hash.finish().to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    /// So much of a time.
    fn of(self, most: Duration) -> Duration {
        most / (1 << u16::BITS) * u32::from(self.0)
    }
}

/// §4.2.1, the rule's `ttl` and `status`, and §4.2.2. `None`: nobody states one, and none can be guessed.
#[must_use]
pub fn lifetime(facts: &ResponseFacts, rule: &CacheRule) -> Option<Lifetime> {
    let by = |source| move |length| Lifetime { length, source };
    let by_rule = rule_lifetime(facts, rule).map(by(Source::Rule));
    if rule.override_origin && by_rule.is_some() {
        return by_rule;
    }
    let by_origin = origin_lifetime(facts, rule).map(by(Source::Origin));
    by_origin.or(by_rule).or_else(|| heuristic_lifetime(facts, rule).map(by(Source::Heuristic)))
}

/// The same for one response. What the rule gives is shortened by what that draws of `jitter`, so that what
/// came at one time does not end at one time. What the origin states is its own affair.
#[must_use]
pub fn drawn_lifetime(facts: &ResponseFacts, lot: Lot, rule: &CacheRule) -> Option<Lifetime> {
    let lifetime = lifetime(facts, rule)?;
    let lost = match lifetime.source {
        Source::Rule => lot.of(rule.jitter.of(lifetime.length)),
        Source::Origin | Source::Heuristic => Duration::ZERO,
    };
    Some(Lifetime { length: lifetime.length.saturating_sub(lost), ..lifetime })
}

/// What the rule says of this status.
fn rule_lifetime(facts: &ResponseFacts, rule: &CacheRule) -> Option<Duration> {
    let listed = rule.status.get(&facts.status).copied();
    listed.or(rule.ttl.filter(|_| facts.status == http::StatusCode::OK))
}

/// "If the cache is shared and the s-maxage response directive is present, use its value, or if
/// the max-age response directive is present, use its value, or if the Expires response header
/// field is present, use its value minus the value of the Date response header field."
fn origin_lifetime(facts: &ResponseFacts, rule: &CacheRule) -> Option<Duration> {
    let control = facts.control(rule);
    if control.no_cache {
        return Some(Duration::ZERO);
    }
    let by_directive = control.s_maxage.or(control.max_age);
    by_directive
        .or_else(|| facts.expires(rule).map(|expires| until(expires, facts.date)))
        .or_else(|| (control.private || no_store_counts(control, facts.status)).then_some(Duration::ZERO))
}

/// §4.2.2: "If the response has a Last-Modified header field, caches are encouraged to use a heuristic
/// expiration value that is no more than some fraction of the interval since that time", for a status
/// that is heuristically cacheable or a response that is `public`. A rule with a `ttl` leaves nothing
/// to guess.
fn heuristic_lifetime(facts: &ResponseFacts, rule: &CacheRule) -> Option<Duration> {
    let may_be_guessed = is_heuristically_cacheable(facts.status) || facts.control(rule).public;
    let modified = facts.last_modified.filter(|_| may_be_guessed && rule.ttl.is_none())?;
    let unchanged = facts.date?.duration_since(modified).unwrap_or_default();
    Some((unchanged / HEURISTIC_FRACTION).min(LONGEST_HEURISTIC))
}

/// "A cache recipient MUST interpret invalid date formats, especially the value "0", as
/// representing a time in the past" (§5.3). Every response has a `Date` by the time it comes here.
fn until(expires: Expires, date: Option<SystemTime>) -> Duration {
    match (expires, date) {
        (Expires::At(end), Some(date)) => end.duration_since(date).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// §4.2.3: `current_age`, by the clock that fits who stated the lifetime.
#[must_use]
pub fn current_age(
    facts: &ResponseFacts,
    source: Source,
    exchange: ExchangeTimes,
    now: SystemTime,
) -> Duration {
    let resident = match now.duration_since(exchange.response_time) {
        Ok(resident) => resident,
        Err(early) if early.duration() <= AHEAD => Duration::ZERO,
        Err(_) => OLDEST,
    };
    initial_age(facts, source, exchange).saturating_add(resident)
}

/// §4.2.3: `corrected_initial_age`; without `Date` where the rule states the lifetime.
#[must_use]
pub fn initial_age(facts: &ResponseFacts, source: Source, exchange: ExchangeTimes) -> Duration {
    let delay = exchange.response_time.duration_since(exchange.request_time).unwrap_or_default();
    let corrected = facts.age.saturating_add(delay);
    match source {
        Source::Rule => facts.age,
        Source::Origin | Source::Heuristic => corrected.max(apparent_age(facts, exchange)),
    }
}

fn apparent_age(facts: &ResponseFacts, exchange: ExchangeTimes) -> Duration {
    facts.date.and_then(|date| exchange.response_time.duration_since(date).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{cache_control::CacheControl, rule::Percent};

    const SECOND: Duration = Duration::from_secs(1);
    const HUNDRED: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn facts(fields: &[(&'static str, &str)]) -> ResponseFacts {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        ResponseFacts::of(StatusCode::OK, &headers)
    }

    fn stated(fields: &[(&'static str, &str)], rule: &CacheRule) -> Option<(u64, Source)> {
        lifetime(&facts(fields), rule).map(|l| (l.length.as_secs(), l.source))
    }

    const DATE: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:01:40 GMT");
    const LATER: (&str, &str) = ("expires", "Thu, 01 Jan 1970 00:02:00 GMT");

    #[test]
    fn section_4_2_1_the_origin_states_it_in_this_order() {
        let rule = CacheRule::new(None);
        assert_eq!(stated(&[("cache-control", "max-age=5, s-maxage=9")], &rule), Some((9, Source::Origin)));
        assert_eq!(stated(&[("cache-control", "max-age=5"), DATE, LATER], &rule), Some((5, Source::Origin)));
        assert_eq!(stated(&[DATE, LATER], &rule), Some((20, Source::Origin)));
        assert_eq!(stated(&[DATE, ("expires", "0")], &rule), Some((0, Source::Origin)));
        assert_eq!(stated(&[DATE], &rule), None);
    }

    #[test]
    fn a_ttl_fills_what_the_origin_leaves_open_and_override_beats_it() {
        let mut rule = CacheRule::new(Some(300 * SECOND));
        assert_eq!(stated(&[], &rule), Some((300, Source::Rule)));
        assert_eq!(stated(&[("cache-control", "public")], &rule), Some((300, Source::Rule)));
        for silent in ["no-cache", "no-store", "private"] {
            assert_eq!(stated(&[("cache-control", silent)], &rule), Some((0, Source::Origin)), "{silent}");
        }
        rule.override_origin = true;
        for beaten in ["max-age=1", "no-cache", "must-revalidate", "s-maxage=0"] {
            assert_eq!(stated(&[("cache-control", beaten)], &rule), Some((300, Source::Rule)), "{beaten}");
        }
    }

    #[test]
    fn section_4_2_3_age_counts_delay_and_apparent_age_but_a_ttl_counts_from_receipt() {
        let exchange = ExchangeTimes { request_time: at(100), response_time: at(103), lot: Lot::default() };
        let facts = facts(&[DATE, ("age", "7")]);
        assert_eq!(current_age(&facts, Source::Origin, exchange, at(110)), 17 * SECOND);
        assert_eq!(current_age(&facts, Source::Rule, exchange, at(110)), 14 * SECOND);
        let late = ExchangeTimes { request_time: at(200), response_time: at(200), lot: Lot::default() };
        assert_eq!(current_age(&facts, Source::Origin, late, at(200)), 100 * SECOND);
        assert_eq!(current_age(&facts, Source::Rule, late, at(150)), 7 * SECOND);
    }

    #[test]
    fn what_came_before_the_clock_was_set_back_is_as_old_as_can_be() {
        let exchange = ExchangeTimes { request_time: at(9000), response_time: at(9000), lot: Lot::default() };
        let facts = facts(&[]);
        let age = |now| current_age(&facts, Source::Rule, exchange, now);
        assert_eq!((age(at(9000)), age(at(8880))), (Duration::ZERO, Duration::ZERO));
        assert_eq!((age(at(8879)), age(at(0))), (OLDEST, OLDEST));
    }

    /// A 200 that was changed so many days before its `Date`.
    fn modified(days: u64) -> ResponseFacts {
        ResponseFacts {
            date: Some(at(100 * 24 * 3600)),
            last_modified: Some(at((100 - days) * 24 * 3600)),
            ..facts(&[])
        }
    }

    #[test]
    fn section_4_2_2_a_tenth_of_the_time_it_stayed_the_same_a_day_at_most() {
        let rule = CacheRule::new(None);
        let guess = |facts: &ResponseFacts| lifetime(facts, &rule).map(|l| (l.length.as_secs(), l.source));
        for (days, hours) in [(0, 0), (5, 12), (10, 24), (100, 24)] {
            assert_eq!(guess(&modified(days)), Some((hours * 3600, Source::Heuristic)), "{days} days");
        }
        let ahead = ResponseFacts { date: Some(at(1)), ..modified(5) };
        assert_eq!(guess(&ahead), Some((0, Source::Heuristic)));
        assert_eq!(guess(&ResponseFacts { date: None, ..modified(5) }), None);
        assert_eq!(guess(&ResponseFacts { last_modified: None, ..modified(5) }), None);
    }

    #[test]
    fn section_4_2_2_only_where_nobody_states_a_lifetime() {
        let mut rule = CacheRule::new(None);
        let with = |status: u16, control: CacheControl| ResponseFacts {
            status: StatusCode::from_u16(status).unwrap(),
            cache_control: control,
            ..modified(5)
        };
        let public = CacheControl { public: true, ..CacheControl::default() };
        let source = |facts: &ResponseFacts, rule: &CacheRule| lifetime(facts, rule).map(|l| l.source);
        for (status, silent) in
            [(200, true), (206, true), (404, true), (501, true), (302, false), (500, false)]
        {
            let guessed = silent.then_some(Source::Heuristic);
            assert_eq!(source(&with(status, CacheControl::default()), &rule), guessed, "{status}");
            assert_eq!(source(&with(status, public.clone()), &rule), Some(Source::Heuristic), "{status}");
        }
        for control in [
            CacheControl { max_age: Some(SECOND), ..public.clone() },
            CacheControl { s_maxage: Some(SECOND), ..public.clone() },
            CacheControl { no_cache: true, ..public.clone() },
            CacheControl { private: true, ..public.clone() },
        ] {
            assert_eq!(source(&with(200, control.clone()), &rule), Some(Source::Origin), "{control:?}");
        }
        let expired = ResponseFacts { expires_field: Some(Expires::Invalid), ..modified(5) };
        assert_eq!(source(&expired, &rule), Some(Source::Origin));
        rule.status.insert(StatusCode::NOT_FOUND, SECOND);
        assert_eq!(source(&with(404, public.clone()), &rule), Some(Source::Rule));
        let ttl = CacheRule::new(Some(SECOND));
        assert_eq!(source(&with(200, public.clone()), &ttl), Some(Source::Rule));
        assert_eq!(source(&with(404, public), &ttl), None);
    }

    #[test]
    fn section_4_2_3_a_guess_ages_like_the_origins_word() {
        let exchange = ExchangeTimes { request_time: at(200), response_time: at(203), lot: Lot::default() };
        let facts = facts(&[DATE, ("age", "7")]);
        for now in [0, 203, 300] {
            let age = |source| current_age(&facts, source, exchange, at(now));
            assert_eq!(age(Source::Heuristic), age(Source::Origin), "{now}");
        }
        assert_eq!(current_age(&facts, Source::Heuristic, exchange, at(203)), 103 * SECOND);
    }

    #[test]
    fn section_5_2_2_3_no_store_beside_must_understand_states_no_lifetime() {
        let rule = CacheRule::new(Some(300 * SECOND));
        let both = [("cache-control", "no-store, must-understand")];
        assert_eq!(stated(&both, &rule), Some((300, Source::Rule)));
    }

    #[test]
    fn what_comes_at_one_time_does_not_end_at_one_time() {
        let rule = CacheRule { jitter: Percent::new(10).unwrap(), ..CacheRule::new(Some(300 * SECOND)) };
        let length = |key: &str, time| {
            let lifetime = drawn_lifetime(&facts(&[]), Lot::draw(key.as_bytes(), time), &rule);
            lifetime.unwrap().length
        };
        let page: Vec<Duration> = (0..300).map(|item| length(&format!("/item/{item}"), at(1000))).collect();
        assert!(page.iter().all(|length| (270 * SECOND..=300 * SECOND).contains(length)));
        let mut seconds = [0; 31];
        for length in &page {
            seconds[usize::try_from(length.as_secs() - 270).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|together| *together < 30), "{seconds:?}");
        assert_eq!(page[7], length("/item/7", at(1000)));
        let later: std::collections::BTreeSet<_> = (0..50).map(|s| length("/item/7", at(s))).collect();
        assert!(later.len() > 45, "{later:?}");
    }

    /// Times that peers and clocks may show, at the edges of what there is too.
    fn any_time() -> impl Strategy<Value = SystemTime> {
        let seconds =
            prop_oneof![-4_000_000_000_i64..100_000_000_000, 990_i64..1010, Just(i64::MIN), Just(i64::MAX)];
        (seconds, 0_u64..1_000_000_000).prop_map(|(seconds, nanos)| {
            let distance = Duration::from_secs(seconds.unsigned_abs()) + Duration::from_nanos(nanos);
            let epoch = SystemTime::UNIX_EPOCH;
            let time = if seconds < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
            time.unwrap_or(epoch)
        })
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![(0_u64..100).prop_map(Duration::from_secs), any::<Duration>(), Just(Duration::MAX)]
    }

    prop_compose! {
        fn any_facts()(
            status in 100_u16..=999,
            max_age in proptest::option::of(any_duration()),
            s_maxage in proptest::option::of(any_duration()),
            (public, no_cache, private, no_store, must_understand) in any::<(bool, bool, bool, bool, bool)>(),
            date in proptest::option::of(any_time()),
            expires in proptest::option::of(proptest::option::of(any_time())),
            last_modified in proptest::option::of(any_time()),
            age in any_duration(),
        ) -> ResponseFacts {
            ResponseFacts {
                cache_control: CacheControl {
                    max_age, s_maxage, public, no_cache, private, no_store, must_understand,
                    ..CacheControl::default()
                },
                date,
                expires_field: expires.map(|at| at.map_or(Expires::Invalid, Expires::At)),
                last_modified,
                age,
                ..ResponseFacts::of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new())
            }
        }
    }

    fn any_lot() -> impl Strategy<Value = Lot> {
        prop_oneof![any::<u16>(), Just(0), Just(u16::MAX)].prop_map(Lot)
    }

    prop_compose! {
        fn any_rule()(
            ttl in proptest::option::of(any_duration()),
            override_origin in any::<bool>(),
            jitter in 0_u8..=100,
            listed in proptest::option::of((100_u16..=999, any_duration())),
        ) -> CacheRule {
            let listed = listed.map(|(status, lifetime)| (StatusCode::from_u16(status).unwrap(), lifetime));
            let jitter = Percent::new(jitter).unwrap();
            CacheRule { override_origin, jitter, status: listed.into_iter().collect(), ..CacheRule::new(ttl) }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn section_4_2_freshness_never_grows_as_time_passes(
            facts in any_facts(),
            rule in any_rule(),
            times in [any_time(), any_time(), any_time(), any_time()],
            lot in any_lot(),
        ) {
            let [request_time, response_time, one, other] = times;
            let exchange = ExchangeTimes { request_time, response_time, lot };
            let drawn = drawn_lifetime(&facts, lot, &rule);
            let source = drawn.map_or(Source::Origin, |lifetime| lifetime.source);
            let length = drawn.map_or(Duration::ZERO, |lifetime| lifetime.length);
            let (before, after) = (one.min(other), one.max(other));
            let age = |now| current_age(&facts, source, exchange, now);
            prop_assume!(response_time.duration_since(before).unwrap_or_default() <= AHEAD);
            prop_assert!(age(before) <= age(after));
            prop_assert!(length.saturating_sub(age(before)) >= length.saturating_sub(age(after)));
        }

        #[test]
        fn a_rule_s_lifetime_is_shortened_by_jitter_at_most_and_nobody_else_s(
            facts in any_facts(),
            rule in any_rule(),
            lot in any_lot(),
        ) {
            let (stated, drawn) = (lifetime(&facts, &rule), drawn_lifetime(&facts, lot, &rule));
            prop_assert_eq!(drawn, drawn_lifetime(&facts, lot, &rule));
            prop_assert_eq!(stated.map(|stated| stated.source), drawn.map(|drawn| drawn.source));
            if let Some((stated, drawn)) = stated.zip(drawn) {
                let lost = stated.length.checked_sub(drawn.length);
                let by_rule = stated.source == Source::Rule;
                let most = if by_rule { rule.jitter.of(stated.length) } else { Duration::ZERO };
                prop_assert!(lost.is_some_and(|lost| lost <= most), "{:?} of {:?}", lost, most);
                prop_assert!(stated.length.is_zero() || !drawn.length.is_zero() || rule.jitter.of(HUNDRED) == HUNDRED);
            }
        }

        #[test]
        fn section_4_2_3_nothing_is_younger_than_its_age(
            facts in any_facts(),
            times in [any_time(), any_time(), any_time()],
            lot in any_lot(),
        ) {
            let [request_time, response_time, now] = times;
            let exchange = ExchangeTimes { request_time, response_time, lot };
            for source in [Source::Origin, Source::Rule, Source::Heuristic] {
                let age = current_age(&facts, source, exchange, now);
                prop_assert!(age >= facts.age);
                prop_assert!(age >= initial_age(&facts, source, exchange));
            }
        }

        #[test]
        fn section_4_2_2_a_guess_is_a_day_at_most_and_never_beside_a_ttl(
            facts in any_facts(),
            rule in any_rule(),
        ) {
            if let Some(Lifetime { length, source: Source::Heuristic }) = lifetime(&facts, &rule) {
                prop_assert!(rule.ttl.is_none() && length <= LONGEST_HEURISTIC);
            }
        }
    }
}
