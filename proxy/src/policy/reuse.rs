//! Whether what was found may answer (RFC 9111 §4): the one decision of the request's way.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, COOKIE};

use super::{
    cache_control::CacheControl,
    facts::ResponseFacts,
    freshness::{ExchangeTimes, Source, current_age, drawn_lifetime},
    partial,
    request::Admission,
    rule::CacheRule,
    sharing, stale,
    statuses::is_server_error,
};
use crate::{
    status::{Detail, Forward, Fwd},
    stored::Stored,
};

/// What the look-up found, as far as the policy cares.
#[derive(Clone, Copy, Debug)]
pub enum Found<'s> {
    /// The store could not be asked in time.
    Unknown,
    /// Nothing for this resource.
    Nothing,
    /// Variants, but none that this request selects.
    OtherVariants,
    /// The response that this request selects.
    Stored(&'s Stored),
    /// The same, stale since then whatever its lifetime: a purge said so.
    Marked(&'s Stored, SystemTime),
}

/// What to do with a request for which the store was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Serve what was found.
    Serve(Freshness),
    /// Serve what was found, and refresh it for those who come later.
    ServeAndRefresh(Freshness, When),
    /// Ask the origin.
    Fetch(Fetch),
    /// The client wants only what is stored, and nothing is (§5.2.1.7).
    NotCached,
}

/// Whether what is served is refreshed in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It is: it is stale (RFC 5861 §3).
    Now,
    /// It is if it is asked for often: its time is nearly over (`refresh_ahead`).
    IfWanted,
}

/// How the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Why, as far as it is known now.
    pub forward: Forward,
    /// Whether others may wait for this fetch, and this request for theirs.
    pub collapse: bool,
    /// Whether what was found may be renewed by a 304 (§4.3.1).
    pub validate: bool,
}

/// The age of a stored response and what is left of its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// §4.2.3, for `Age`.
    pub age: Duration,
    /// What is left; nothing of a stale one.
    pub left: Duration,
    /// For how long it has been stale.
    pub stale: Duration,
    /// Why a stale one may answer.
    pub allowed: Option<Detail>,
}

impl Freshness {
    /// With a word on it where the store goes on `alone`, without Redis: it may have missed a purge.
    #[must_use]
    pub fn told(self, alone: bool) -> Self {
        let alone = alone.then_some(Detail::StoreDown);
        Self { allowed: self.allowed.or(alone), ..self }
    }
}

/// §4: "a cache MUST NOT reuse a stored response unless": each clause in turn.
#[must_use]
pub fn decide(
    found: Found<'_>,
    asked: &Admission,
    rule: &CacheRule,
    fingerprint: u64,
    now: SystemTime,
) -> Decision {
    let reused = match found {
        Found::Unknown => Err(Forward::because(Fwd::Miss, Some(Detail::StoreDown))),
        Found::Nothing => Err(Forward::because(Fwd::UriMiss, None)),
        Found::OtherVariants => Err(Forward::because(Fwd::VaryMiss, None)),
        Found::Stored(stored) => reuse(stored, None, asked, rule, fingerprint, now),
        Found::Marked(stored, since) => reuse(stored, Some(since), asked, rule, fingerprint, now),
    };
    let forward = match reused {
        Ok(freshness) if freshness.allowed == Some(Detail::StaleWhileRevalidate) => {
            return Decision::ServeAndRefresh(freshness, When::Now);
        }
        Ok(freshness) if is_nearly_over(found, freshness, asked, rule, now) => {
            return Decision::ServeAndRefresh(freshness, When::IfWanted);
        }
        Ok(freshness) => return Decision::Serve(freshness),
        Err(forward) => forward,
    };
    if asked.control.as_ref().is_some_and(|control| control.only_if_cached) {
        return Decision::NotCached;
    }
    let validate = matches!(
        found,
        Found::Stored(stored) | Found::Marked(stored, _) if stored.fingerprint == fingerprint
    );
    Decision::Fetch(fetch(forward, asked, rule, validate))
}

/// Whether something fresh is in the last part of its time, by `refresh_ahead`. Its time is what it had left
/// when it came: else one that comes old would be refreshed at once, by another that is as old.
fn is_nearly_over(
    found: Found<'_>,
    freshness: Freshness,
    asked: &Admission,
    rule: &CacheRule,
    now: SystemTime,
) -> bool {
    let Found::Stored(stored) = found else { return false };
    if rule.refresh_ahead.is_zero() || freshness.allowed.is_some() {
        return false;
    }
    let here = now.duration_since(stored.response_time).unwrap_or_default();
    let last = rule.refresh_ahead.of(freshness.left.saturating_add(here));
    freshness.left <= last && stored.part.is_none() && !selects_by_credentials(stored, asked)
}

/// Requests with credentials that are not keyed go alone: what they get may be for one user only.
/// So do those that ask for more than is stored: a fetch under way began before they asked.
fn fetch(mut forward: Forward, asked: &Admission, rule: &CacheRule, validate: bool) -> Fetch {
    let alone = sharing::goes_alone(asked, rule);
    if let Some(detail) = alone {
        forward = Forward::because(Fwd::Bypass, Some(detail));
    } else if asked.head_only {
        forward.detail = forward.detail.or(Some(Detail::Head));
    }
    let collapse = alone.is_none() && !asked.wants_less() && forward.fwd != Fwd::Request;
    Fetch { forward, collapse, validate: validate && alone.is_none() && asked.range.is_none() }
}

fn reuse(
    stored: &Stored,
    marked: Option<SystemTime>,
    asked: &Admission,
    rule: &CacheRule,
    fingerprint: u64,
    now: SystemTime,
) -> Result<Freshness, Forward> {
    if stored.fingerprint != fingerprint {
        return Err(Forward::because(Fwd::Miss, Some(Detail::RuleChanged)));
    }
    let freshness = offer_marked(&stored.facts, stored.exchange(), marked, asked, rule, now)?;
    if !partial::answers(stored, asked.range.as_ref()) {
        return Err(Forward::because(Fwd::Partial, None));
    }
    // What comes for the range renews a part; nothing else does.
    let renewed_as_whole = stored.part.is_none();
    let refreshed = freshness.allowed == Some(Detail::StaleWhileRevalidate);
    if freshness.allowed.is_some() && !renewed_as_whole || refreshed && selects_by_credentials(stored, asked)
    {
        return Err(Forward::because(Fwd::Stale, None));
    }
    Ok(freshness)
}

/// Whether the response was selected by credentials of one user, which a refresh does not carry.
#[must_use]
pub fn selects_by_credentials(stored: &Stored, asked: &Admission) -> bool {
    let nominates = |name| stored.nominated.contains(&name);
    asked.cookie && nominates(COOKIE) || asked.authorization && nominates(AUTHORIZATION)
}

/// Whether a response is fresh, or may be stale, may meet these credentials, and is what the client
/// asks for.
///
/// # Errors
/// Why the request goes forward instead.
pub fn offer(
    facts: &ResponseFacts,
    exchange: ExchangeTimes,
    asked: &Admission,
    rule: &CacheRule,
    now: SystemTime,
) -> Result<Freshness, Forward> {
    offer_marked(facts, exchange, None, asked, rule, now)
}

/// The same of one that may have been `marked` stale.
fn offer_marked(
    facts: &ResponseFacts,
    exchange: ExchangeTimes,
    marked: Option<SystemTime>,
    asked: &Admission,
    rule: &CacheRule,
    now: SystemTime,
) -> Result<Freshness, Forward> {
    let (freshness, source) = standing(facts, exchange, asked, rule, now)?;
    let mut freshness = marked.map_or(freshness, |since| freshness.marked(since, now));
    if freshness.stale.is_zero() && !freshness.left.is_zero() {
        return Ok(freshness);
    }
    freshness.allowed = allowed_stale(freshness, facts, source, asked, rule);
    freshness.allowed.map(|_| freshness).ok_or(Forward::because(Fwd::Stale, None))
}

/// How old it is, and how long it lives, if credentials and client let it answer at all.
fn standing(
    facts: &ResponseFacts,
    exchange: ExchangeTimes,
    asked: &Admission,
    rule: &CacheRule,
    now: SystemTime,
) -> Result<(Freshness, Source), Forward> {
    let lifetime = drawn_lifetime(facts, exchange.lot, rule).ok_or(Forward::because(Fwd::Stale, None))?;
    sharing::check(asked, facts, lifetime.source, rule)
        .map_err(|detail| Forward::because(Fwd::Bypass, Some(detail)))?;
    let age = current_age(facts, lifetime.source, exchange, now);
    let left = lifetime.length.saturating_sub(age);
    let stale = age.saturating_sub(lifetime.length);
    let freshness = Freshness { age, left, stale, allowed: None };
    match &asked.control {
        Some(control) if !freshness.satisfies(control) => {
            Err(Forward::because(Fwd::Request, Some(Detail::ClientControl)))
        }
        _ => Ok((freshness, lifetime.source)),
    }
}

/// Who lets a stale response answer, if anybody does.
fn allowed_stale(
    freshness: Freshness,
    facts: &ResponseFacts,
    source: Source,
    asked: &Admission,
    rule: &CacheRule,
) -> Option<Detail> {
    if freshness.stale < stale::while_revalidate(facts, source, rule) {
        return Some(Detail::StaleWhileRevalidate);
    }
    let by_client = asked.control.as_ref().map(|control| stale::by_client(facts, source, control, rule));
    by_client.is_some_and(|window| freshness.stale < window).then_some(Detail::MaxStale)
}

/// RFC 5861 §4: whether what was found, and may have been `marked` stale since then, may answer because
/// the origin failed. A stored failure may not answer for another one.
#[must_use]
pub fn instead_of_error(
    stored: &Stored,
    marked: Option<SystemTime>,
    asked: &Admission,
    rule: &CacheRule,
    fingerprint: u64,
    now: SystemTime,
) -> Option<Freshness> {
    let stands_in = stored.fingerprint == fingerprint && stored.part.is_none();
    if !stands_in || is_server_error(stored.facts.status) {
        return None;
    }
    let (freshness, source) = standing(&stored.facts, stored.exchange(), asked, rule, now).ok()?;
    let freshness = marked.map_or(freshness, |since| freshness.marked(since, now));
    let window = stale::if_error(&stored.facts, source, asked.control.as_ref(), rule);
    let allowed = Some(Detail::StaleIfError);
    (freshness.stale < window).then_some(Freshness { allowed, ..freshness })
}

impl Freshness {
    /// The same of what is stale since then, if not for longer.
    fn marked(self, since: SystemTime, now: SystemTime) -> Self {
        let stale = now.duration_since(since).unwrap_or_default().max(self.stale);
        Self { left: Duration::ZERO, stale, ..self }
    }

    /// §5.2.1.1, §5.2.1.3, §5.2.1.4.
    fn satisfies(self, wanted: &CacheControl) -> bool {
        !wanted.no_cache
            && wanted.max_age.is_none_or(|most| self.age <= most)
            && wanted.min_fresh.is_none_or(|least| self.left >= least)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::*;
    use crate::policy::{facts::ResponseFacts, partial::Part, rule::Percent};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn stored(control: &str) -> Stored {
        let mut headers = HeaderMap::new();
        headers.append(HeaderName::from_static("cache-control"), control.parse().unwrap());
        Stored::of(&headers, at(1000))
    }

    fn plain() -> Admission {
        Admission::default()
    }

    fn after(control: &str, asked: &Admission, rule: &CacheRule, seconds: u64) -> Decision {
        decide(Found::Stored(&stored(control)), asked, rule, 0, at(1000 + seconds))
    }

    fn forwarded(decision: Decision) -> (Fwd, Option<Detail>) {
        match decision {
            Decision::Fetch(Fetch { forward, .. }) => (forward.fwd, forward.detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn section_4_fresh_is_served_and_stale_is_not() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        let wanted = Freshness {
            age: Duration::from_secs(9),
            left: Duration::from_secs(1),
            stale: Duration::ZERO,
            allowed: None,
        };
        assert_eq!(after("", &plain(), &rule, 9), Decision::Serve(wanted));
        assert_eq!(forwarded(after("", &plain(), &rule, 10)), (Fwd::Stale, None));
        assert_eq!(forwarded(after("max-age=3", &plain(), &rule, 5)), (Fwd::Stale, None));
    }

    #[test]
    fn in_the_last_part_of_its_time_it_may_be_refreshed_ahead() {
        let ttl = CacheRule::new(Some(Duration::from_secs(100)));
        let ahead = CacheRule { refresh_ahead: Percent::new(10).unwrap(), ..ttl.clone() };
        let is_ahead = |decision| matches!(decision, Decision::ServeAndRefresh(_, When::IfWanted));
        for (seconds, expected) in [(0, false), (89, false), (90, true), (99, true), (100, false)] {
            assert_eq!(is_ahead(after("", &plain(), &ahead, seconds)), expected, "{seconds}");
            assert!(!is_ahead(after("", &plain(), &ttl, seconds)), "{seconds}");
        }
        assert!(is_ahead(after("max-age=10", &plain(), &ahead, 9)), "the app's word counts too");
        let by_then = |stored: &Stored, asked: &Admission, seconds: u64| {
            is_ahead(decide(Found::Stored(stored), asked, &ahead, 0, at(1000 + seconds)))
        };
        let aged = ResponseFacts { age: Duration::from_secs(95), ..stored("").facts };
        let old = Stored { facts: aged, ..stored("") };
        assert!(!by_then(&old, &plain(), 0) && !by_then(&old, &plain(), 4), "it came so");
        let part = Stored { part: Some(Part { start: 0, complete: 9 }), body: "bytes".into(), ..stored("") };
        assert!(!by_then(&part, &plain(), 95));
        let mine = Stored { nominated: [COOKIE].into(), ..stored("public") };
        assert!(!by_then(&mine, &Admission { cookie: true, ..plain() }, 95));
        assert!(by_then(&mine, &plain(), 95));
        let marked = Found::Marked(&mine, at(1001));
        assert!(!is_ahead(decide(marked, &plain(), &ahead, 0, at(1095))));
    }

    #[test]
    fn a_changed_rule_is_a_miss() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        let decision = decide(Found::Stored(&stored("")), &plain(), &rule, 1, at(1000));
        assert_eq!(forwarded(decision), (Fwd::Miss, Some(Detail::RuleChanged)));
    }

    #[test]
    fn credentials_get_only_what_is_offered_to_everybody() {
        let ttl = CacheRule::new(Some(Duration::from_secs(10)));
        let origin = CacheRule::new(None);
        let cookie = Admission { cookie: true, ..plain() };
        let authorization = Admission { authorization: true, ..plain() };
        assert_eq!(forwarded(after("", &cookie, &ttl, 1)), (Fwd::Bypass, Some(Detail::Cookie)));
        assert_eq!(forwarded(after("max-age=5", &cookie, &ttl, 1)), (Fwd::Bypass, Some(Detail::Cookie)));
        assert!(matches!(after("public", &cookie, &ttl, 1), Decision::Serve(_)));
        assert!(matches!(after("max-age=5", &cookie, &origin, 1), Decision::Serve(_)));
        assert_eq!(
            forwarded(after("max-age=5", &authorization, &origin, 1)),
            (Fwd::Bypass, Some(Detail::Authorization))
        );
        for shared in ["public, max-age=5", "s-maxage=5", "max-age=5, must-revalidate"] {
            assert!(matches!(after(shared, &authorization, &origin, 1), Decision::Serve(_)), "{shared}");
        }
    }

    #[test]
    fn section_5_2_1_a_client_may_ask_for_fresher() {
        let rule = CacheRule::new(None);
        let asks = |control: CacheControl| Admission { control: Some(control), ..plain() };
        let second = |n| Some(Duration::from_secs(n));
        for (control, served) in [
            (CacheControl { no_cache: true, ..CacheControl::default() }, false),
            (CacheControl { max_age: second(4), ..CacheControl::default() }, false),
            (CacheControl { max_age: second(5), ..CacheControl::default() }, true),
            (CacheControl { min_fresh: second(6), ..CacheControl::default() }, false),
            (CacheControl { min_fresh: second(5), ..CacheControl::default() }, true),
        ] {
            let decision = after("max-age=10", &asks(control.clone()), &rule, 5);
            assert_eq!(matches!(decision, Decision::Serve(_)), served, "{control:?}");
        }
        let only = asks(CacheControl { only_if_cached: true, ..CacheControl::default() });
        assert_eq!(after("max-age=1", &only, &rule, 5), Decision::NotCached);
    }
}
