//! Stored responses that other requests select, of which one may be this request's answer too.
//!
//! RFC 9111 §4.1: where none matches, "the request is forwarded to the origin server, potentially with
//! preconditions added to describe what responses the cache has already stored". A 304 then says that
//! what one client got is right for another. That is believed only of a strong entity tag, and only
//! where nothing but negotiation (RFC 9110 §12.5) selects: there are origins whose tags are of a version
//! and not of a representation, and what a cookie, a token or a field of the app's own selects must
//! never change hands by one.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, ETAG, IF_NONE_MATCH,
    },
};

use super::{freshness::lifetime, request::Admission, rule::CacheRule, sharing, strong::is_strong_tag};
use crate::{headers::has_token, stored::Stored};

/// RFC 9110 §12.5: fields by which a client says what it prefers, and not who it is.
static NEGOTIATION: [HeaderName; 4] = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE];

/// Bytes of an entity tag that is asked about: some of them must fit into one request.
const LONGEST_TAG: usize = 256;

/// A request for which nothing that is stored was selected.
#[derive(Clone, Copy, Debug)]
pub struct Seeker<'r> {
    /// Its fields.
    pub headers: &'r HeaderMap,
    /// What the policy lets it do.
    pub admission: &'r Admission,
    /// The rule that matched.
    pub rule: &'r CacheRule,
    /// Its fingerprint.
    pub fingerprint: u64,
}

impl Seeker<'_> {
    /// Whether a stored response may be its answer if the origin says so. A part is no answer, whatever
    /// the origin says of the whole (RFC 9111 §3.3).
    #[must_use]
    pub fn may_have(&self, stored: &Stored) -> bool {
        stored.part.is_none()
            && stored.fingerprint == self.fingerprint
            && stored.facts.status == StatusCode::OK
            && stored.facts.etag.as_ref().is_some_and(is_askable)
            && self.is_negotiated(stored)
            && self.may_meet(stored)
            && self.takes_coding(stored)
    }

    fn is_negotiated(&self, stored: &Stored) -> bool {
        let key = &self.rule.key;
        let mut selecting = key.headers.iter().chain(&stored.nominated);
        key.cookies.is_empty() && selecting.all(|name| NEGOTIATION.contains(name))
    }

    /// RFC 9111 §3.5.
    fn may_meet(&self, stored: &Stored) -> bool {
        lifetime(&stored.facts, self.rule).is_some_and(|lifetime| {
            sharing::check(self.admission, &stored.facts, lifetime.source, self.rule).is_ok()
        })
    }

    /// A coded body is for who lists its coding, whatever its tag says: origins are known to give the
    /// plain body and the coded one the same.
    fn takes_coding(&self, stored: &Stored) -> bool {
        stored.fields().get_all(CONTENT_ENCODING).iter().all(|codings| {
            codings.to_str().is_ok_and(|coding| has_token(self.headers, &ACCEPT_ENCODING, coding))
        })
    }
}

/// Strong, and not too long.
fn is_askable(tag: &HeaderValue) -> bool {
    is_strong_tag(tag) && tag.len() <= LONGEST_TAG
}

/// RFC 9111 §4.3.1: puts the entity tags of these into a request, in the place of conditions it had.
pub fn ask<'s>(request: &mut HeaderMap, siblings: impl IntoIterator<Item = &'s Stored>) {
    let tags = siblings.into_iter().filter_map(|stored| stored.facts.etag.as_ref());
    let list = tags.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        request.insert(IF_NONE_MATCH, list);
    }
}

/// §4.3.4: the newest of these, the newest first, that has the strong validator of a 304. "If none of the
/// stored responses contains at least one of the same strong validators, then the cache MUST NOT use
/// the new response to update any stored responses."
#[must_use]
pub fn identified<'s, S: AsRef<Stored>>(siblings: &'s [S], told: &HeaderMap) -> Option<&'s S> {
    let tag = told.get(ETAG).filter(|tag| is_askable(tag))?;
    siblings.iter().find(|stored| stored.as_ref().facts.etag.as_ref() == Some(tag))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use http::header::{AUTHORIZATION, COOKIE, USER_AGENT};

    use super::*;
    use crate::{
        key::KeyPolicy,
        policy::{facts::ResponseFacts, partial::Part},
    };

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn stored(nominated: &[HeaderName], fields: &[(&'static str, &'static str)]) -> Arc<Stored> {
        Arc::new(Stored {
            nominated: nominated.into(),
            fingerprint: 7,
            ..Stored::of(&map(fields), SystemTime::UNIX_EPOCH)
        })
    }

    const TAGGED: (&str, &str) = ("etag", "\"a\"");

    fn may_have(stored: &Stored, rule: &CacheRule, asked: &[(&'static str, &'static str)]) -> bool {
        let headers = map(asked);
        let admission = Admission {
            cookie: headers.contains_key(COOKIE),
            authorization: headers.contains_key(AUTHORIZATION),
            ..Admission::default()
        };
        Seeker { headers: &headers, admission: &admission, rule, fingerprint: 7 }.may_have(stored)
    }

    #[test]
    fn section_4_1_only_negotiation_lets_an_answer_change_hands() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        for nominated in [&[][..], &[ACCEPT_LANGUAGE], &[ACCEPT, ACCEPT_ENCODING]] {
            assert!(may_have(&stored(nominated, &[TAGGED]), &rule, &[]), "{nominated:?}");
        }
        for nominated in
            [&[COOKIE][..], &[AUTHORIZATION], &[USER_AGENT], &[ACCEPT, "x-tenant".parse().unwrap()]]
        {
            assert!(!may_have(&stored(nominated, &[TAGGED]), &rule, &[]), "{nominated:?}");
        }
        let by_language = stored(&[ACCEPT_LANGUAGE], &[TAGGED]);
        for (headers, cookies, may) in [
            (vec![ACCEPT], vec![], true),
            (vec!["x-tenant".parse().unwrap()], vec![], false),
            (vec![AUTHORIZATION], vec![], false),
            (vec![], vec!["session".to_owned()], false),
        ] {
            let key = KeyPolicy { headers, cookies, ..KeyPolicy::default() };
            assert_eq!(may_have(&by_language, &CacheRule { key, ..rule.clone() }, &[]), may);
        }
    }

    #[test]
    fn section_8_8_3_only_a_strong_tag_tells_one_answer_from_another() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        for (tag, may) in [
            ("\"a\"", true),
            ("\"\"", true),
            ("\"a, b\"", true),
            ("W/\"a\"", false),
            ("a", false),
            ("\"", false),
            ("\"a", false),
            ("\"a\", \"b\"", false),
        ] {
            assert_eq!(may_have(&stored(&[ACCEPT], &[("etag", tag)]), &rule, &[]), may, "{tag}");
        }
        assert!(!may_have(&stored(&[ACCEPT], &[]), &rule, &[]));
        let long: &'static str = format!("\"{}\"", "x".repeat(LONGEST_TAG)).leak();
        assert!(!may_have(&stored(&[ACCEPT], &[("etag", long)]), &rule, &[]));
    }

    #[test]
    fn a_changed_rule_another_status_and_a_part_are_not_asked_about() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        let (headers, admission) = (HeaderMap::new(), Admission::default());
        let seeker =
            |fingerprint| Seeker { headers: &headers, admission: &admission, rule: &rule, fingerprint };
        let sibling = stored(&[ACCEPT], &[TAGGED]);
        assert!(seeker(7).may_have(&sibling));
        assert!(!seeker(8).may_have(&sibling));
        let missing = ResponseFacts { status: StatusCode::NOT_FOUND, ..sibling.facts.clone() };
        let missing = Stored { facts: missing, ..Arc::into_inner(sibling).unwrap() };
        assert!(!seeker(7).may_have(&missing));
        let whole = Arc::into_inner(stored(&[ACCEPT], &[TAGGED])).unwrap();
        let part = Stored { part: Some(Part { start: 0, complete: 1 }), ..whole };
        assert!(!seeker(7).may_have(&part));
    }

    #[test]
    fn section_3_5_credentials_meet_only_what_is_for_everybody() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        let public = [TAGGED, ("cache-control", "public")];
        for credentials in [("cookie", "a=1"), ("authorization", "Bearer me")] {
            assert!(!may_have(&stored(&[ACCEPT], &[TAGGED]), &rule, &[credentials]), "{credentials:?}");
            assert!(may_have(&stored(&[ACCEPT], &public), &rule, &[credentials]), "{credentials:?}");
        }
    }

    #[test]
    fn a_coded_body_is_for_who_lists_its_coding() {
        let rule = CacheRule::new(Some(Duration::from_secs(10)));
        let coded = stored(&[ACCEPT_ENCODING], &[TAGGED, ("content-encoding", "gzip")]);
        for (accepted, may) in [
            ("gzip", true),
            ("br, GZIP", true),
            ("br", false),
            ("*", false),
            ("", false),
            ("gzip;q=0", false),
        ] {
            assert_eq!(may_have(&coded, &rule, &[("accept-encoding", accepted)]), may, "{accepted}");
        }
        assert!(!may_have(&coded, &rule, &[]));
        assert!(may_have(&stored(&[ACCEPT_ENCODING], &[TAGGED]), &rule, &[("accept-encoding", "br")]));
    }

    #[test]
    fn section_4_3_1_all_tags_are_in_one_list() {
        let siblings = ["\"a\"", "\"b, c\""].map(|tag| stored(&[], &[("etag", tag)]));
        let mut request = map(&[("if-none-match", "\"mine\""), ("accept", "*/*")]);
        ask(&mut request, siblings.iter().map(AsRef::as_ref));
        assert_eq!(request, map(&[("if-none-match", "\"a\", \"b, c\""), ("accept", "*/*")]));
    }

    #[test]
    fn section_4_3_4_the_newest_with_the_strong_tag_is_identified() {
        let siblings = ["\"a\"", "\"b\"", "\"b\"", "W/\"c\""].map(|tag| stored(&[], &[("etag", tag)]));
        for (told, found) in [
            (&[("etag", "\"a\"")][..], Some(0)),
            (&[("etag", "\"b\"")], Some(1)),
            (&[("etag", "W/\"a\"")], None),
            (&[("etag", "W/\"c\"")], None),
            (&[("etag", "\"c\"")], None),
            (&[("etag", "\"A\"")], None),
            (&[("etag", "\"d\"")], None),
            (&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
            (&[], None),
        ] {
            let one = identified(&siblings, &map(told));
            assert_eq!(
                one.and_then(|one| siblings.iter().position(|s| Arc::ptr_eq(s, one))),
                found,
                "{told:?}"
            );
        }
    }
}
