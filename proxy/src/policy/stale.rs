//! For how long a response may be served after its lifetime (RFC 9111 §4.2.4, RFC 5861).

use std::time::Duration;

use super::{
    cache_control::CacheControl,
    facts::ResponseFacts,
    freshness::Source,
    rule::{CacheRule, ClientControl},
};

/// §4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol
/// directive (e.g., by a no-cache response directive, a must-revalidate response directive, or an
/// applicable s-maxage or proxy-revalidate response directive)". A lifetime that overrides the
/// origin's overrides these too. `None`: prohibited.
fn allowed<'f>(facts: &'f ResponseFacts, source: Source, rule: &CacheRule) -> Option<&'f CacheControl> {
    let control = facts.control(rule);
    let overridden = rule.override_origin && source == Source::Rule;
    let prohibited = control.no_cache || control.must_revalidate || control.proxy_revalidate;
    (overridden || !prohibited).then_some(control)
}

/// RFC 5861 §3: for how long it may be served while it is refreshed.
///
/// `s-maxage` means `proxy-revalidate` (§5.2.2.10). Beside it the origin's own word that stale is
/// fine stands, as the more particular one; the rule's does not.
#[must_use]
pub fn while_revalidate(facts: &ResponseFacts, source: Source, rule: &CacheRule) -> Duration {
    let by_origin = |control: &CacheControl| control.stale_while_revalidate;
    window(facts, source, rule, by_origin, rule.stale_while_revalidate)
}

/// RFC 5861 §4: for how long it may be served when the origin fails. The request's own directive
/// counts where the rule honours it.
#[must_use]
pub fn if_error(
    facts: &ResponseFacts,
    source: Source,
    asked: Option<&CacheControl>,
    rule: &CacheRule,
) -> Duration {
    let asked = asked.filter(|_| rule.client_control == ClientControl::Honour);
    let by_client = asked.and_then(|control| control.stale_if_error).unwrap_or_default();
    let by_rule = rule.stale_if_error.max(by_client);
    window(facts, source, rule, |control| control.stale_if_error, by_rule)
}

/// §5.2.1.2: for how long the client takes it. Unless the origin prohibits it.
#[must_use]
pub fn by_client(facts: &ResponseFacts, source: Source, asked: &CacheControl, rule: &CacheRule) -> Duration {
    window(facts, source, rule, |_| None, asked.max_stale.unwrap_or_default())
}

fn window(
    facts: &ResponseFacts,
    source: Source,
    rule: &CacheRule,
    by_origin: impl Fn(&CacheControl) -> Option<Duration>,
    by_others: Duration,
) -> Duration {
    let Some(control) = allowed(facts, source, rule) else { return Duration::ZERO };
    let revalidated = control.s_maxage.is_some() && source == Source::Origin;
    by_origin(control).unwrap_or(if revalidated { Duration::ZERO } else { by_others })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode, header::CACHE_CONTROL};

    use super::*;

    fn facts(control: &str) -> ResponseFacts {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, control.parse().unwrap());
        ResponseFacts::of(StatusCode::OK, &headers)
    }

    fn rule() -> CacheRule {
        CacheRule {
            stale_while_revalidate: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(7),
            ..CacheRule::new(None)
        }
    }

    fn windows(control: &str, source: Source, rule: &CacheRule) -> (u64, u64) {
        let facts = facts(control);
        let swr = while_revalidate(&facts, source, rule);
        (swr.as_secs(), if_error(&facts, source, None, rule).as_secs())
    }

    #[test]
    fn rfc_5861_the_origin_goes_before_the_rule() {
        assert_eq!(windows("max-age=1", Source::Origin, &rule()), (5, 7));
        let both = "max-age=1, stale-while-revalidate=20, stale-if-error=30";
        assert_eq!(windows(both, Source::Origin, &rule()), (20, 30));
        assert_eq!(windows("max-age=1, stale-while-revalidate=0", Source::Origin, &rule()), (0, 7));
        assert_eq!(windows("max-age=1, stale-if-error=x", Source::Origin, &rule()), (5, 0));
    }

    #[test]
    fn section_4_2_4_directives_prohibit_what_the_rule_allows() {
        for directive in ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=1"] {
            assert_eq!(windows(directive, Source::Origin, &rule()), (0, 0), "{directive}");
        }
        for directive in ["no-cache", "must-revalidate", "proxy-revalidate"] {
            let control = format!("max-age=1, stale-while-revalidate=9, {directive}");
            assert_eq!(windows(&control, Source::Origin, &rule()), (0, 0), "{directive}");
        }
        assert_eq!(windows("s-maxage=1, stale-while-revalidate=9", Source::Origin, &rule()), (9, 0));
    }

    #[test]
    fn what_overrides_the_origin_overrides_its_prohibition() {
        let beats = CacheRule { override_origin: true, ..rule() };
        assert_eq!(windows("must-revalidate", Source::Rule, &beats), (5, 7));
        assert_eq!(windows("s-maxage=1", Source::Rule, &beats), (5, 7));
        assert_eq!(windows("must-revalidate", Source::Rule, &rule()), (0, 0));
    }

    #[test]
    fn section_5_2_1_2_the_client_may_take_stale_where_the_origin_lets_it() {
        let asked = |stale| CacheControl { max_stale: Some(stale), ..CacheControl::default() };
        let hour = asked(Duration::from_secs(3600));
        let by_client = |control, asked| by_client(&facts(control), Source::Origin, asked, &rule()).as_secs();
        assert_eq!(by_client("max-age=1", &hour), 3600);
        assert_eq!(by_client("max-age=1, stale-while-revalidate=5", &hour), 3600);
        assert_eq!(by_client("max-age=1, must-revalidate", &hour), 0);
        assert_eq!(by_client("max-age=1", &asked(Duration::MAX)), Duration::MAX.as_secs());
    }
}
