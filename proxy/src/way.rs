//! How far a request comes without the store: the host, the rule, and what the rule lets it ask. Whoever answers a
//! request asks it, and whoever explains one.

use std::sync::Arc;

use http::Method;

use crate::{
    admit::{Head, Notable},
    app::Live,
    error::Failure,
    headers::{has_passed_here, max_forwards},
    policy::{
        request::{Admission, Inquiry, admit},
        rule::CacheRule,
    },
    routes::{Rule, Rules, serves},
    status::{Detail, Forward, Fwd},
};

/// What the file says, as far as it matters before the store is asked.
#[derive(Clone, Copy, Debug)]
pub struct Book<'l> {
    /// The routes.
    pub rules: &'l Rules,
    /// The hosts that are served, unless all are.
    pub hosts: Option<&'l [String]>,
    /// The name of the process in `Via`, if one runs.
    pub pseudonym: Option<&'l str>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Way<'l> {
    /// No further.
    Refused(Failure),
    /// It asks this proxy itself, under this rule.
    Answered(Option<&'l Rule>),
    /// Past the store, for this reason and under this rule.
    Passes(Forward, Option<&'l Rule>),
    /// To the store.
    Asks {
        /// The rule that matches.
        rule: &'l Rule,
        /// What that says of caching.
        cache: &'l Arc<CacheRule>,
        /// Under which conditions a stored response may answer.
        admission: Admission,
    },
}

impl<'l> From<&'l Live> for Book<'l> {
    fn from(live: &'l Live) -> Self {
        Self { rules: &live.rules, hosts: live.hosts.as_deref(), pseudonym: Some(&live.pseudonym) }
    }
}

impl<'l> Book<'l> {
    /// The way of a request with this head.
    #[must_use]
    pub fn way(self, head: &Head) -> Way<'l> {
        if !serves(self.hosts, &head.target) {
            return Way::Refused(Failure::misdirected());
        }
        let came_back = |pseudonym| has_passed_here(&head.headers, pseudonym);
        if head.notable.has(Notable::VIA) && self.pseudonym.is_some_and(came_back) {
            return Way::Refused(Failure::looped());
        }
        let (rule, cache) = match self.rule(head) {
            Some(rule @ Rule { cache: Some(cache), .. }) => (rule, cache),
            other => return past(head, uncached(other, head), other),
        };
        match admit(&Inquiry::of(head), cache) {
            Ok(admission) => Way::Asks { rule, cache, admission },
            Err(forward) => past(head, forward, Some(rule)),
        }
    }

    /// The rule that it matches.
    #[must_use]
    pub fn rule(self, head: &Head) -> Option<&'l Rule> {
        self.rules.find(&head.method, &head.target, &head.headers)
    }
}

/// RFC 9110 §7.6.2: an `OPTIONS` with `Max-Forwards: 0` MUST NOT be forwarded; "instead, the intermediary MUST
/// respond as the final recipient."
fn past<'l>(head: &Head, forward: Forward, rule: Option<&'l Rule>) -> Way<'l> {
    match head.method == Method::OPTIONS && max_forwards(&head.headers) == Some(0) {
        true => Way::Answered(rule),
        false => Way::Passes(forward, rule),
    }
}

/// Why a request without a rule that caches goes forward.
fn uncached(rule: Option<&Rule>, head: &Head) -> Forward {
    let detail = match rule {
        Some(_) => Detail::RuleOff,
        None if head.target.is_ambiguous() => Detail::AmbiguousTarget,
        None => Detail::NoRule,
    };
    Forward::because(Fwd::Bypass, Some(detail))
}
