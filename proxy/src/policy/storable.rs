//! Whether the origin's answer may be stored (RFC 9111 §3), and for how long it is worth keeping.

use std::time::Duration;

use http::header::SET_COOKIE;

use super::{
    facts::ResponseFacts,
    freshness::{ExchangeTimes, Lifetime, drawn_lifetime, initial_age},
    request::Admission,
    rule::{CacheRule, SetCookie},
    sharing, stale,
    statuses::{
        is_about_another, is_final, is_heuristically_cacheable, is_not_to_be_stored, is_understood,
        no_store_counts,
    },
};
use crate::status::Detail;

/// How long the bytes stay beyond freshness: an edited `ttl` can still make use of them.
const KEPT_STALE: Duration = Duration::from_secs(60);
/// The same for what a 304 can renew.
const KEPT_FOR_VALIDATION: Duration = Duration::from_secs(3600);
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
    let withheld = facts.control(rule).withheld.contains(&SET_COOKIE);
    if facts.sets_cookie && !withheld && rule.set_cookie == SetCookie::Bypass {
        return Err(Detail::SetCookie);
    }
    check_status(facts, rule)?;
    let lifetime = drawn_lifetime(facts, exchange.lot, rule).ok_or(Detail::NoLifetime)?;
    sharing::check(asked, facts, lifetime.source, rule)?;
    let remains = Remains::on_arrival(facts, lifetime, exchange, rule);
    let storable = remains.storable().ok_or(Detail::NotFresh)?;
    // A lifetime of nothing does not say that everybody may see the page.
    if asked.cookie && remains.left.is_zero() && !facts.control(rule).public {
        return Err(Detail::Cookie);
    }
    Ok(storable)
}

/// "the no-store cache directive is not present in the response" and "if the cache is shared, the
/// private response directive is either not present or allows a shared cache to store a modified
/// response"; a rule beats them only by `ignore`. What is to be validated on each use (§5.2.2.4) needs
/// something to validate it by.
fn check_directives(facts: &ResponseFacts, rule: &CacheRule) -> Result<(), Detail> {
    let control = facts.control(rule);
    if no_store_counts(control, facts.status) && !rule.ignore.no_store {
        return Err(Detail::NoStore);
    }
    if control.private && !rule.ignore.private {
        return Err(Detail::Private);
    }
    if control.no_cache && !rule.override_origin && !has_validator(facts) {
        return Err(Detail::NoCache);
    }
    Ok(())
}

/// "the response status code is final" and "if the response status code is 206 or 304, or the
/// must-understand cache directive (see Section 5.2.2.3) is present: the cache understands the response
/// status code".
///
/// Parts (206) are left to what combines them (§3.4), as 304 is to what renews.
fn check_status(facts: &ResponseFacts, rule: &CacheRule) -> Result<(), Detail> {
    let status = facts.status;
    let must_understand = facts.control(rule).must_understand;
    if !is_final(status) || is_about_another(status) || must_understand && !is_understood(status) {
        return Err(Detail::StatusNotListed);
    }
    let listed = rule.status.contains_key(&status);
    let storable = match rule.ttl {
        // An error that is not meant to be kept would hide the app's recovery.
        Some(_) => status == http::StatusCode::OK,
        None => origin_lets_store(facts, rule) && !is_not_to_be_stored(status),
    };
    (listed || storable).then_some(()).ok_or(Detail::StatusNotListed)
}

/// "the response contains at least one of the following": a `public` directive, an `Expires` field, a
/// `max-age` or `s-maxage` directive, or "a status code that is defined as heuristically cacheable".
fn origin_lets_store(facts: &ResponseFacts, rule: &CacheRule) -> bool {
    let control = facts.control(rule);
    let by_directive = control.public || control.max_age.is_some() || control.s_maxage.is_some();
    by_directive || facts.expires(rule).is_some() || is_heuristically_cacheable(facts.status)
}

/// Whether the origin can be asked if it still holds (§4.3.1), by the rule of
/// [`freshening`](super::freshening::has_validator).
fn has_validator(facts: &ResponseFacts) -> bool {
    facts.etag.is_some() || facts.last_modified.is_some()
}

/// What of a response's time is left when it arrives.
struct Remains {
    /// Of its lifetime.
    left: Duration,
    /// Of the time after it in which it may be served while it is refreshed (RFC 5861 §3).
    while_revalidate: Duration,
    /// Of the time after it in which it is of any use.
    beyond: Duration,
}

impl Remains {
    fn on_arrival(
        facts: &ResponseFacts,
        Lifetime { length, source }: Lifetime,
        exchange: ExchangeTimes,
        rule: &CacheRule,
    ) -> Self {
        let age = initial_age(facts, source, exchange);
        let overdue = age.saturating_sub(length);
        let while_revalidate = stale::while_revalidate(facts, source, rule).saturating_sub(overdue);
        let if_error = stale::if_error(facts, source, None, rule).saturating_sub(overdue);
        let validated = if has_validator(facts) { KEPT_FOR_VALIDATION } else { Duration::ZERO };
        Self {
            left: length.saturating_sub(age),
            while_revalidate,
            beyond: while_revalidate.max(if_error).max(validated),
        }
    }

    /// Nothing: it will answer nobody, and nothing can renew it.
    fn storable(&self) -> Option<Storable> {
        let keep = self.left.saturating_add(self.beyond.max(KEPT_STALE)).min(LONGEST_KEPT);
        let fresh = !self.left.is_zero() || !self.while_revalidate.is_zero();
        (fresh || !self.beyond.is_zero()).then_some(Storable { keep, fresh })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderName, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{freshness::Lot, rule::Ignore};

    const TAG: (&str, &str) = ("etag", "\"a\"");
    /// Ten seconds before the answer comes, so that a guess is one second.
    const MODIFIED: (&str, &str) = ("last-modified", "Thu, 01 Jan 1970 00:16:30 GMT");
    const DATE: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:16:40 GMT");
    const HOUR: u64 = 3600;

    fn asked() -> Admission {
        Admission::default()
    }

    fn rule() -> CacheRule {
        CacheRule::new(Some(Duration::from_secs(300)))
    }

    fn origin() -> CacheRule {
        CacheRule::new(None)
    }

    fn storable(
        status: u16,
        fields: &[(&'static str, &str)],
        asked: &Admission,
        rule: &CacheRule,
    ) -> Result<Storable, Detail> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let facts = ResponseFacts::of(StatusCode::from_u16(status).unwrap(), &headers);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let exchange = ExchangeTimes { request_time: now, response_time: now, lot: Lot::default() };
        check(asked, &facts, exchange, rule)
    }

    fn ask(
        status: u16,
        fields: &[(&'static str, &str)],
        asked: &Admission,
        rule: &CacheRule,
    ) -> Result<u64, Detail> {
        storable(status, fields, asked, rule).map(|storable| storable.keep.as_secs())
    }

    /// A 200 with this `Cache-Control` and these fields: for how long it is kept, and whether it is fresh.
    fn kept(
        control: &str,
        fields: &[(&'static str, &'static str)],
        rule: &CacheRule,
    ) -> Result<(u64, bool), Detail> {
        let fields = [&[("cache-control", control)], fields].concat();
        storable(200, &fields, &asked(), rule).map(|storable| (storable.keep.as_secs(), storable.fresh))
    }

    #[test]
    fn a_silent_answer_is_kept_for_the_ttl_of_the_rule() {
        assert_eq!(ask(200, &[], &asked(), &rule()), Ok(360));
        assert_eq!(ask(200, &[], &asked(), &origin()), Err(Detail::NoLifetime));
        assert_eq!(ask(200, &[("age", "300")], &asked(), &rule()), Err(Detail::NotFresh));
        assert_eq!(ask(200, &[("age", "299")], &asked(), &rule()), Ok(61));
        assert_eq!(ask(200, &[("cache-control", "max-age=0")], &asked(), &rule()), Err(Detail::NotFresh));
        assert_eq!(ask(200, &[("expires", "0")], &asked(), &rule()), Err(Detail::NotFresh));
        assert_eq!(kept("max-age=9999999999", &[], &rule()), Ok((LONGEST_KEPT.as_secs(), true)));
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
    fn only_listed_statuses_are_stored_for_a_ttl() {
        let mut rule = rule();
        let lasting = [("cache-control", "public, max-age=60"), TAG];
        for status in [100, 206, 301, 304, 404, 429, 500] {
            assert_eq!(ask(status, &lasting, &asked(), &rule), Err(Detail::StatusNotListed), "{status}");
        }
        for status in [404, 429] {
            rule.status.insert(StatusCode::from_u16(status).unwrap(), Duration::from_secs(10));
            assert_eq!(ask(status, &[], &asked(), &rule), Ok(70), "{status}");
        }
    }

    #[test]
    fn section_3_with_explicit_freshness_any_final_status_is_stored() {
        for status in [200, 201, 299, 302, 303, 307, 400, 403, 404, 499, 500, 503, 599] {
            for (name, value) in [
                ("cache-control", "max-age=60"),
                ("cache-control", "s-maxage=60"),
                ("expires", "Thu, 01 Jan 1970 00:17:40 GMT"),
            ] {
                let answer = ask(status, &[(name, value), DATE], &asked(), &origin());
                assert_eq!(answer, Ok(120), "{status} {name}: {value}");
            }
            let guessed = ask(status, &[("cache-control", "public"), MODIFIED, DATE], &asked(), &origin());
            assert_eq!(guessed, Ok(1 + HOUR), "{status}");
        }
    }

    #[test]
    fn section_3_without_it_only_heuristically_cacheable_or_listed_ones() {
        let mut rule = origin();
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(ask(status, &[MODIFIED, DATE], &asked(), &rule), Ok(1 + HOUR), "{status}");
            assert_eq!(ask(status, &[DATE], &asked(), &rule), Err(Detail::NoLifetime), "{status}");
        }
        for status in [201, 302, 403, 500, 599] {
            for fields in [&[MODIFIED, DATE][..], &[("cache-control", "no-cache"), TAG]] {
                assert_eq!(ask(status, fields, &asked(), &rule), Err(Detail::StatusNotListed), "{status}");
            }
        }
        rule.status.insert(StatusCode::FOUND, Duration::from_secs(10));
        assert_eq!(ask(302, &[], &asked(), &rule), Ok(70));
        assert_eq!(ask(302, &[("cache-control", "max-age=20")], &asked(), &rule), Ok(80));
    }

    #[test]
    fn section_3_what_is_not_final_or_about_another_response_is_never_stored() {
        let lasting = [("cache-control", "public, max-age=60"), TAG];
        // 428, 429, 431 and 511: RFC 6585.
        for status in [100, 103, 199, 206, 304, 428, 429, 431, 511, 600, 999] {
            assert_eq!(ask(status, &lasting, &asked(), &origin()), Err(Detail::StatusNotListed), "{status}");
        }
    }

    #[test]
    fn section_5_2_2_3_must_understand_keeps_or_bars_by_the_status() {
        for (status, control, wanted) in [
            (200, "no-store, must-understand, max-age=60", Ok(120)),
            (404, "max-age=60, must-understand, no-store", Ok(120)),
            (599, "no-store, must-understand, max-age=60", Err(Detail::NoStore)),
            (599, "must-understand, max-age=60", Err(Detail::StatusNotListed)),
            (206, "must-understand, max-age=60", Err(Detail::StatusNotListed)),
            (200, "must-understand", Err(Detail::NoLifetime)),
            (200, "no-store, must-understand", Err(Detail::NoLifetime)),
            (200, "private, no-store, must-understand, max-age=60", Err(Detail::Private)),
        ] {
            let answer = ask(status, &[("cache-control", control)], &asked(), &origin());
            assert_eq!(answer, wanted, "{status} {control}");
        }
        assert_eq!(kept("no-store, must-understand", &[], &rule()), Ok((360, true)));
        let mut listed = rule();
        listed.status.insert(StatusCode::from_u16(599).unwrap(), Duration::from_secs(10));
        assert_eq!(ask(599, &[], &asked(), &listed), Ok(70));
        let must = [("cache-control", "must-understand")];
        assert_eq!(ask(599, &must, &asked(), &listed), Err(Detail::StatusNotListed));
    }

    #[test]
    fn section_5_2_2_4_no_cache_is_stored_to_be_validated() {
        for rule in [rule(), origin()] {
            for validator in [TAG, MODIFIED] {
                assert_eq!(kept("no-cache, max-age=60", &[validator], &rule), Ok((HOUR, false)));
            }
            assert_eq!(kept("no-cache, max-age=60", &[], &rule), Err(Detail::NoCache));
            let no_date = [("last-modified", "yesterday")];
            assert_eq!(kept("no-cache", &no_date, &rule), Err(Detail::NoCache));
        }
    }

    #[test]
    fn section_4_3_stale_on_arrival_is_stored_if_it_can_be_validated() {
        for stale in [
            &[("cache-control", "max-age=0")][..],
            &[("cache-control", "max-age=60"), ("age", "60")],
            &[("cache-control", "max-age=60"), ("age", "9999999999")],
            &[("expires", "0")],
            &[("expires", "Thu, 01 Jan 1970 00:16:40 GMT"), DATE],
        ] {
            for rule in [rule(), origin()] {
                assert_eq!(ask(200, stale, &asked(), &rule), Err(Detail::NotFresh), "{stale:?}");
                let validated = storable(200, &[stale, &[TAG]].concat(), &asked(), &rule);
                let wanted = Storable { keep: KEPT_FOR_VALIDATION, fresh: false };
                assert_eq!(validated, Ok(wanted), "{stale:?}");
            }
        }
        let same_second = [("last-modified", "Thu, 01 Jan 1970 00:16:40 GMT"), DATE];
        assert_eq!(ask(200, &same_second, &asked(), &origin()), Ok(HOUR));
    }

    #[test]
    fn rfc_5861_the_bytes_stay_as_long_as_they_may_be_served_stale() {
        let mut rule = origin();
        assert_eq!(kept("max-age=10, stale-while-revalidate=100", &[], &rule), Ok((110, true)));
        assert_eq!(
            kept("max-age=10, stale-if-error=200, stale-while-revalidate=9", &[], &rule),
            Ok((210, true))
        );
        assert_eq!(kept("max-age=10, stale-if-error=9", &[], &rule), Ok((70, true)));
        assert_eq!(kept("max-age=10, stale-if-error=9", &[TAG], &rule), Ok((10 + HOUR, true)));
        assert_eq!(kept("max-age=10, stale-if-error=7200", &[TAG], &rule), Ok((10 + 2 * HOUR, true)));
        assert_eq!(kept("max-age=10, must-revalidate, stale-if-error=200", &[], &rule), Ok((70, true)));
        rule.stale_if_error = Duration::from_secs(500);
        assert_eq!(kept("max-age=10", &[], &rule), Ok((510, true)));
        assert_eq!(kept("s-maxage=10", &[], &rule), Ok((70, true)));
    }

    #[test]
    fn rfc_5861_stale_on_arrival_is_of_use_within_a_window() {
        assert_eq!(kept("max-age=0, stale-while-revalidate=90", &[], &origin()), Ok((90, true)));
        assert_eq!(kept("max-age=0, stale-if-error=90", &[], &origin()), Ok((90, false)));
        let aged = |age| kept("max-age=10, stale-while-revalidate=90", &[("age", age)], &origin());
        assert_eq!(aged("99"), Ok((60, true)));
        assert_eq!(aged("100"), Err(Detail::NotFresh));
        assert_eq!(kept("no-cache, stale-while-revalidate=90", &[], &origin()), Err(Detail::NoCache));
    }

    #[test]
    fn what_is_stale_on_arrival_is_not_kept_of_one_with_a_cookie() {
        let cookie = Admission { cookie: true, ..asked() };
        let answer = |control| ask(200, &[("cache-control", control), TAG], &cookie, &origin());
        assert_eq!(answer("max-age=1"), Ok(1 + HOUR));
        for control in ["no-cache", "max-age=0", "max-age=0, stale-while-revalidate=9"] {
            assert_eq!(answer(control), Err(Detail::Cookie), "{control}");
        }
        assert_eq!(answer("public, no-cache"), Ok(HOUR));
        let unkept = ask(200, &[("cache-control", "max-age=0")], &cookie, &origin());
        assert_eq!(unkept, Err(Detail::NotFresh));
        // A guess is no word of the origin's.
        assert_eq!(ask(200, &[MODIFIED, DATE], &cookie, &origin()), Err(Detail::Cookie));
    }

    #[test]
    fn set_cookie_and_credentials_are_for_one_user() {
        let mut rule = rule();
        let withheld = [("set-cookie", "a=1"), ("cache-control", "max-age=9, no-cache=\"Set-Cookie\"")];
        assert!(ask(200, &withheld, &asked(), &rule).is_ok(), "it goes to its client and no further");
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

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_stored_is_kept_for_a_while_and_no_longer_than_the_limit(
            status in 100_u16..=999,
            control in "((max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,20}, |\
                        (public|no-cache|must-understand|no-store), ){0,6}",
            age in "[0-9]{1,20}",
            validator in any::<bool>(),
            ttl in proptest::option::of(any::<Duration>()),
        ) {
            let mut fields = vec![("cache-control", &*control), ("age", &*age), DATE];
            fields.extend(validator.then_some(TAG));
            let stale_if_error = ttl.unwrap_or_default();
            let rule = CacheRule { stale_if_error, ..CacheRule::new(ttl) };
            if let Ok(Storable { keep, .. }) = storable(status, &fields, &asked(), &rule) {
                prop_assert!(keep >= KEPT_STALE && keep <= LONGEST_KEPT);
            }
        }
    }
}
