//! Whether the store may be asked for a request at all (RFC 9111 §4, §5.2.1, and the rule).

use http::{
    HeaderMap, Method,
    header::{AUTHORIZATION, CACHE_CONTROL, COOKIE},
};

use super::{
    cache_control::CacheControl,
    facts::has_pragma_no_cache,
    range::RangeRequest,
    rule::{CacheRule, ClientControl, Credentials},
};
use crate::{
    admit::{Head, Notable},
    key::cookies,
    status::{Detail, Forward, Fwd},
};

/// What the policy needs of a request.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its fields.
    pub headers: &'r HeaderMap,
    /// Which of them matter.
    pub notable: Notable,
    /// Whether it has a body.
    pub has_body: bool,
    /// Whether it asks for another protocol.
    pub wants_upgrade: bool,
    /// Whether it has fields that are not passed on, so that the origin cannot select by them.
    pub hides_fields: bool,
}

impl<'r> Inquiry<'r> {
    /// What it needs of one with this head, and a body or none.
    #[must_use]
    pub fn of(head: &'r Head) -> Self {
        Self {
            method: &head.method,
            headers: &head.headers,
            notable: head.notable,
            has_body: head.framing.has_body(),
            wants_upgrade: head.connection.wants_upgrade,
            hides_fields: head.connection.hides_fields,
        }
    }
}

/// A request for which the store may be asked, and under which conditions it may answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Only the head is wanted: served from a stored `GET`, never filling.
    pub head_only: bool,
    /// It carries a cookie that is not keyed, so only what says `public` may answer.
    pub cookie: bool,
    /// It carries an `Authorization` that is not keyed, so only what RFC 9111 §3.5 allows may answer.
    pub authorization: bool,
    /// Which ranges it asks for. Only of a `GET`: "a server MUST ignore a Range header field received
    /// with a request method that is unrecognized or for which range handling is not defined" (RFC 9110
    /// §14.2).
    pub range: Option<RangeRequest>,
    /// Its directives, as far as the rule lets them count.
    pub control: Option<CacheControl>,
}

impl Admission {
    /// The admission of a request with these fields, of which only the credentials matter.
    fn with_credentials(headers: &HeaderMap, notable: Notable, rule: &CacheRule) -> Self {
        let kept = rule.credentials == Credentials::Bypass;
        Self {
            cookie: kept && has_unkeyed_cookie(headers, notable, rule),
            authorization: kept && has_unkeyed_authorization(notable, rule),
            ..Self::default()
        }
    }

    /// Whether its answer may be less than what others need.
    #[must_use]
    pub fn wants_less(&self) -> bool {
        self.head_only || self.range.is_some()
    }

    /// Whether it carries credentials of one user.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.cookie || self.authorization
    }
}

/// Asks the rule and the request.
///
/// # Errors
/// How the request is forwarded when neither reading nor storing is for it.
pub fn admit(inquiry: &Inquiry<'_>, rule: &CacheRule) -> Result<Admission, Forward> {
    let Inquiry { headers, notable, .. } = *inquiry;
    let refuse = |fwd, detail| Err(Forward::because(fwd, Some(detail)));
    if inquiry.method != Method::GET && inquiry.method != Method::HEAD {
        return Err(Forward::because(Fwd::Method, None));
    }
    if inquiry.has_body {
        return refuse(Fwd::Bypass, Detail::RequestBody);
    }
    if inquiry.wants_upgrade {
        return refuse(Fwd::Bypass, Detail::Upgrade);
    }
    if inquiry.hides_fields {
        return refuse(Fwd::Bypass, Detail::HiddenFields);
    }
    if notable.has(Notable::PRECONDITIONS) {
        return refuse(Fwd::Request, Detail::Precondition);
    }
    let control = notable.has(Notable::CONTROL).then(|| client_control(headers, rule)).flatten();
    if control.as_ref().is_some_and(|control| control.no_store) {
        return refuse(Fwd::Request, Detail::ClientNoStore);
    }
    let head_only = inquiry.method == Method::HEAD;
    let ranged = notable.has(Notable::RANGE) && !head_only;
    let range = ranged.then(|| RangeRequest::of(headers)).flatten();
    Ok(Admission { head_only, range, control, ..Admission::with_credentials(headers, notable, rule) })
}

/// §5.2.1 and, without `Cache-Control`, §5.4.
fn client_control(headers: &HeaderMap, rule: &CacheRule) -> Option<CacheControl> {
    if rule.client_control == ClientControl::Ignore {
        return None;
    }
    if headers.contains_key(CACHE_CONTROL) {
        return Some(CacheControl::of(headers, &CACHE_CONTROL));
    }
    has_pragma_no_cache(headers).then(|| CacheControl { no_cache: true, ..CacheControl::default() })
}

/// Whether it carries credentials of one user that the rule does not key, whatever else it says of them.
#[must_use]
pub fn has_unkeyed_credentials(headers: &HeaderMap, notable: Notable, rule: &CacheRule) -> bool {
    has_unkeyed_cookie(headers, notable, rule) || has_unkeyed_authorization(notable, rule)
}

/// §5.2.1.5: whether it says `no-store`, and that counts.
#[must_use]
pub fn forbids_storing(headers: &HeaderMap, rule: &CacheRule) -> bool {
    client_control(headers, rule).is_some_and(|control| control.no_store)
}

fn has_unkeyed_cookie(headers: &HeaderMap, notable: Notable, rule: &CacheRule) -> bool {
    notable.has(Notable::COOKIE)
        && !rule.key.headers.contains(&COOKIE)
        && cookies(headers).any(|(name, _)| !rule.key.cookies.iter().any(|keyed| keyed.as_bytes() == name))
}

fn has_unkeyed_authorization(notable: Notable, rule: &CacheRule) -> bool {
    notable.has(Notable::AUTHORIZATION) && !rule.key.headers.contains(&AUTHORIZATION)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;

    fn ask(method: &Method, fields: &[(&'static str, &str)], rule: &CacheRule) -> Result<Admission, Forward> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        admit(
            &Inquiry {
                method,
                headers: &headers,
                notable: Notable::of(&headers),
                has_body: false,
                wants_upgrade: false,
                hides_fields: false,
            },
            rule,
        )
    }

    fn rule() -> CacheRule {
        CacheRule::new(Some(Duration::from_secs(300)))
    }

    #[test]
    fn only_get_and_head_ask_the_store() {
        assert!(!ask(&Method::GET, &[], &rule()).unwrap().head_only);
        assert!(ask(&Method::HEAD, &[], &rule()).unwrap().head_only);
        for other in ["POST", "OPTIONS", "gET", "PURGE"] {
            let method = Method::from_bytes(other.as_bytes()).unwrap();
            assert_eq!(ask(&method, &[], &rule()), Err(Forward::because(Fwd::Method, None)), "{other}");
        }
    }

    #[test]
    fn what_the_request_asks_can_rule_the_store_out() {
        for (field, detail) in
            [("if-match", Detail::Precondition), ("if-unmodified-since", Detail::Precondition)]
        {
            let wanted = Forward::because(Fwd::Request, Some(detail));
            assert_eq!(ask(&Method::GET, &[(field, "x")], &rule()), Err(wanted), "{field}");
        }
    }

    #[test]
    fn section_14_2_only_a_get_asks_for_ranges() {
        let range = [("range", "bytes=0-1")];
        assert!(ask(&Method::GET, &range, &rule()).unwrap().range.is_some());
        assert_eq!(ask(&Method::HEAD, &range, &rule()).unwrap().range, None);
        assert_eq!(ask(&Method::GET, &[("if-range", "\"a\"")], &rule()).unwrap().range, None);
    }

    #[test]
    fn credentials_that_are_not_keyed_are_marked_unless_the_rule_ignores_them() {
        let mut rule = rule();
        let cookie = [("cookie", "a=1; b=2")];
        assert!(ask(&Method::GET, &cookie, &rule).unwrap().cookie);
        assert!(ask(&Method::GET, &[("authorization", "x")], &rule).unwrap().authorization);
        rule.key.cookies = vec!["a".into()];
        assert!(ask(&Method::GET, &cookie, &rule).unwrap().cookie);
        rule.key.cookies.push("b".into());
        assert!(!ask(&Method::GET, &cookie, &rule).unwrap().cookie);
        rule.key.headers = vec![AUTHORIZATION];
        assert!(!ask(&Method::GET, &[("authorization", "x")], &rule).unwrap().authorization);
        rule = self::rule();
        rule.credentials = Credentials::Ignore;
        assert!(!ask(&Method::GET, &cookie, &rule).unwrap().has_credentials());
    }

    #[test]
    fn section_5_2_1_counts_only_where_the_rule_honours_it() {
        let no_store = [("cache-control", "no-store")];
        assert!(ask(&Method::GET, &no_store, &rule()).is_ok());
        let honours = CacheRule::new(None);
        let wanted = Forward::because(Fwd::Request, Some(Detail::ClientNoStore));
        assert_eq!(ask(&Method::GET, &no_store, &honours), Err(wanted));
        assert!(ask(&Method::GET, &[("pragma", "no-cache")], &honours).unwrap().control.unwrap().no_cache);
    }
}
