//! Whether the origin's answer may be stored (RFC 9111 §3), and for how long it is worth keeping.

use std::time::Duration;

use super::{
    facts::ResponseFacts,
    freshness::{ExchangeTimes, initial_age, lifetime},
    request::Admission,
    rule::{CacheRule, SetCookie},
    sharing,
};
use crate::status::Detail;

/// How long the bytes stay beyond freshness: an edited `ttl` can still make use of them.
const KEPT_STALE: Duration = Duration::from_secs(60);
/// No response is kept longer, whatever it says.
const LONGEST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to do with a response that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storable {
    /// For how long its bytes are worth keeping.
    pub keep: Duration,
    /// Whether it could answer another request now.
    pub fresh: bool,
}

/// §3: "a cache MUST NOT store a response to a request unless": each clause in turn. For how long
/// the bytes are worth keeping; freshness is decided anew on each read.
///
/// # Errors
/// The first clause that stands in the way.
pub fn check(
    asked: &Admission,
    facts: &ResponseFacts,
    exchange: ExchangeTimes,
    rule: &CacheRule,
) -> Result<Storable, Detail> {
    if asked.head_only {
        return Err(Detail::Head);
    }
    check_directives(facts, rule)?;
    if facts.sets_cookie && rule.set_cookie == SetCookie::Bypass {
        return Err(Detail::SetCookie);
    }
    if !status_is_listed(facts, rule) {
        return Err(Detail::StatusNotListed);
    }
    let lifetime = lifetime(facts, rule).ok_or(Detail::NoLifetime)?;
    sharing::check(asked, facts, lifetime.source, rule)?;
    let left = lifetime.length.checked_sub(initial_age(facts, lifetime.source, exchange));
    let left = left.filter(|left| !left.is_zero()).ok_or(Detail::NotFresh)?;
    Ok(Storable { keep: left.saturating_add(KEPT_STALE).min(LONGEST_KEPT), fresh: true })
}

/// "the no-store cache directive is not present in the response" and "if the cache is shared, the
/// private response directive is either not present or allows a shared cache to store a modified
/// response"; a rule beats them only by `ignore`. `no-cache` would need validation on each use.
fn check_directives(facts: &ResponseFacts, rule: &CacheRule) -> Result<(), Detail> {
    let control = facts.control(rule);
    if control.no_store && !rule.ignore.no_store {
        return Err(Detail::NoStore);
    }
    if control.private && !rule.ignore.private {
        return Err(Detail::Private);
    }
    if control.no_cache && !rule.override_origin {
        return Err(Detail::NoCache);
    }
    Ok(())
}

/// 200, and what the rule lists: an error that is not meant to be kept would hide the app's recovery.
fn status_is_listed(facts: &ResponseFacts, rule: &CacheRule) -> bool {
    facts.status == http::StatusCode::OK || rule.status.contains_key(&facts.status)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderName, StatusCode};

    use super::*;
    use crate::policy::rule::Ignore;

    fn asked() -> Admission {
        Admission { head_only: false, cookie: false, authorization: false, control: None }
    }

    fn rule() -> CacheRule {
        CacheRule::new(Some(Duration::from_secs(300)))
    }

    fn ask(
        status: u16,
        fields: &[(&'static str, &str)],
        asked: &Admission,
        rule: &CacheRule,
    ) -> Result<u64, Detail> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let facts = ResponseFacts::of(StatusCode::from_u16(status).unwrap(), &headers);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let exchange = ExchangeTimes { request_time: now, response_time: now };
        check(asked, &facts, exchange, rule).map(|storable| storable.keep.as_secs())
    }

    #[test]
    fn a_silent_answer_is_kept_for_the_ttl_of_the_rule() {
        assert_eq!(ask(200, &[], &asked(), &rule()), Ok(360));
        assert_eq!(ask(200, &[], &asked(), &CacheRule::new(None)), Err(Detail::NoLifetime));
        assert_eq!(ask(200, &[("age", "300")], &asked(), &rule()), Err(Detail::NotFresh));
        assert_eq!(ask(200, &[("cache-control", "max-age=0")], &asked(), &rule()), Err(Detail::NotFresh));
        assert_eq!(ask(200, &[("expires", "0")], &asked(), &rule()), Err(Detail::NotFresh));
    }

    #[test]
    fn section_3_directives_beat_the_rule_unless_it_says_the_two_words() {
        let mut beats = rule();
        beats.override_origin = true;
        let mut ignores = beats.clone();
        ignores.ignore = Ignore { no_store: true, private: true };
        for (control, detail) in [
            ("No-Store", Detail::NoStore),
            ("max-age=60, private", Detail::Private),
            ("no-cache", Detail::NoCache),
        ] {
            let fields = [("cache-control", control)];
            assert_eq!(ask(200, &fields, &asked(), &rule()), Err(detail), "{control}");
            let beaten = detail == Detail::NoCache;
            assert_eq!(ask(200, &fields, &asked(), &beats).is_ok(), beaten, "{control}");
            assert_eq!(ask(200, &fields, &asked(), &ignores), Ok(360), "{control}");
        }
    }

    #[test]
    fn only_listed_statuses_are_stored() {
        let mut rule = rule();
        for status in [206, 301, 404, 500] {
            assert_eq!(ask(status, &[], &asked(), &rule), Err(Detail::StatusNotListed), "{status}");
        }
        rule.status.insert(StatusCode::NOT_FOUND, Duration::from_secs(10));
        assert_eq!(ask(404, &[], &asked(), &rule), Ok(70));
    }

    #[test]
    fn set_cookie_and_credentials_are_for_one_user() {
        let mut rule = rule();
        let sets = [("set-cookie", "a=1")];
        assert_eq!(ask(200, &sets, &asked(), &rule), Err(Detail::SetCookie));
        rule.set_cookie = SetCookie::Strip;
        assert!(ask(200, &sets, &asked(), &rule).is_ok());
        let cookie = Admission { cookie: true, ..asked() };
        assert_eq!(ask(200, &[], &cookie, &rule), Err(Detail::Cookie));
        assert!(ask(200, &[("cache-control", "public")], &cookie, &rule).is_ok());
        let authorization = Admission { authorization: true, ..asked() };
        assert_eq!(ask(200, &[], &authorization, &rule), Err(Detail::Authorization));
        assert!(ask(200, &[("cache-control", "s-maxage=9")], &authorization, &rule).is_ok());
        assert_eq!(ask(200, &[], &Admission { head_only: true, ..asked() }, &rule), Err(Detail::Head));
    }
}
