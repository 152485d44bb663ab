//! What requests with credentials of one user may share with others (RFC 9111 §3.5, and the rule).

use super::{facts::ResponseFacts, freshness::Source, request::Admission, rule::CacheRule};
use crate::status::Detail;

/// Whether a response may be stored from, or served to, a request with these credentials.
///
/// `Authorization`: "a shared cache MUST NOT use a cached response to a request with an
/// Authorization header field to satisfy any subsequent request unless the response contains a
/// Cache-Control field with a response directive that allows it to be stored by a shared cache":
/// `must-revalidate`, `public` or `s-maxage`. Cookies, on which RFC 9111 is silent: `public`, or a
/// lifetime that the origin itself states where the rule leaves lifetimes to it.
///
/// # Errors
/// Which credential stands in the way.
pub fn check(
    asked: &Admission,
    facts: &ResponseFacts,
    source: Source,
    rule: &CacheRule,
) -> Result<(), Detail> {
    let control = facts.control(rule);
    let shared = control.public || control.must_revalidate || control.s_maxage.is_some();
    if asked.authorization && !shared {
        return Err(Detail::Authorization);
    }
    let by_origin_alone = rule.ttl.is_none() && source == Source::Origin;
    if asked.cookie && !control.public && !by_origin_alone {
        return Err(Detail::Cookie);
    }
    Ok(())
}

/// Whether a request, for its credentials, neither waits for another's fetch nor lets others wait.
#[must_use]
pub fn goes_alone(asked: &Admission, rule: &CacheRule) -> Option<Detail> {
    if asked.authorization {
        return Some(Detail::Authorization);
    }
    (asked.cookie && rule.ttl.is_some()).then_some(Detail::Cookie)
}
