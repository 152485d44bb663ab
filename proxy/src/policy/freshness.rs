//! How long a response is fresh, and how old it is (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use super::{
    facts::{Expires, ResponseFacts},
    rule::CacheRule,
};

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
}

/// When a request was sent and its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeTimes {
    /// `request_time` of §4.2.3.
    pub request_time: SystemTime,
    /// `response_time` of §4.2.3.
    pub response_time: SystemTime,
}

/// §4.2.1, and the rule's `ttl` and `status`. `None`: nobody states one.
#[must_use]
pub fn lifetime(facts: &ResponseFacts, rule: &CacheRule) -> Option<Lifetime> {
    let by_rule = rule_lifetime(facts, rule).map(|length| Lifetime { length, source: Source::Rule });
    if rule.override_origin && by_rule.is_some() {
        return by_rule;
    }
    let by_origin = origin_lifetime(facts, rule).map(|length| Lifetime { length, source: Source::Origin });
    by_origin.or(by_rule)
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
        .or_else(|| control.states_lifetime().then_some(Duration::ZERO))
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
    let resident = now.duration_since(exchange.response_time).unwrap_or_default();
    initial_age(facts, source, exchange).saturating_add(resident)
}

/// §4.2.3: `corrected_initial_age`; without `Date` where the rule states the lifetime.
#[must_use]
pub fn initial_age(facts: &ResponseFacts, source: Source, exchange: ExchangeTimes) -> Duration {
    let delay = exchange.response_time.duration_since(exchange.request_time).unwrap_or_default();
    let corrected = facts.age.saturating_add(delay);
    match source {
        Source::Rule => facts.age,
        Source::Origin => corrected.max(apparent_age(facts, exchange)),
    }
}

fn apparent_age(facts: &ResponseFacts, exchange: ExchangeTimes) -> Duration {
    facts.date.and_then(|date| exchange.response_time.duration_since(date).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
        let exchange = ExchangeTimes { request_time: at(100), response_time: at(103) };
        let facts = facts(&[DATE, ("age", "7")]);
        assert_eq!(current_age(&facts, Source::Origin, exchange, at(110)), 17 * SECOND);
        assert_eq!(current_age(&facts, Source::Rule, exchange, at(110)), 14 * SECOND);
        let late = ExchangeTimes { request_time: at(200), response_time: at(200) };
        assert_eq!(current_age(&facts, Source::Origin, late, at(200)), 100 * SECOND);
        assert_eq!(current_age(&facts, Source::Rule, late, at(150)), 7 * SECOND);
    }
}
