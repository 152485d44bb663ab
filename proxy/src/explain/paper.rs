//! How far a request comes without the store: the host, the rule, the key, and what the rule lets it ask.

use std::sync::Arc;

use http::HeaderName;

use super::report::{KeyReport, PassedOver, Report, RuleReport, Verdict};
use crate::{
    admin::stats::cache_word,
    admit::Notable,
    app::Live,
    config::{Config, describe},
    error::Failure,
    handler::uncached,
    headers::has_passed_here,
    key::KeyPolicy,
    message::Request,
    outcomes::resource,
    pass::asks_this_proxy,
    policy::{
        request::{Admission, Inquiry, admit},
        rule::CacheRule,
    },
    routes::{Mismatch, Rule, Rules, serves},
    status::{Forward, Outcome, Own},
};

/// What the file says, as far as it matters before the store is asked.
#[derive(Clone, Copy)]
pub(super) struct Book<'l> {
    rules: &'l Rules,
    hosts: Option<&'l [String]>,
    /// The name of the process in `Via`, if one runs.
    pseudonym: Option<&'l str>,
}

/// Where a request goes.
pub(super) enum Way<'l> {
    /// Past the store, and so it ends.
    Settled(Verdict),
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

impl<'l> From<&'l Config> for Book<'l> {
    fn from(config: &'l Config) -> Self {
        Self { rules: &config.rules, hosts: config.hosts.as_deref(), pseudonym: None }
    }
}

impl<'l> Book<'l> {
    /// The way of a request, stations 2 to 4 of the story: the same questions in the same order.
    pub(super) fn way(self, request: &Request) -> Way<'l> {
        let head = &request.head;
        if !serves(self.hosts, &head.target) {
            return refused(&Failure::misdirected());
        }
        let came_back = |pseudonym| has_passed_here(&head.headers, pseudonym);
        if head.notable.has(Notable::VIA) && self.pseudonym.is_some_and(came_back) {
            return refused(&Failure::looped());
        }
        let (rule, cache) = match self.rule(request) {
            Some(rule @ Rule { cache: Some(cache), .. }) => (rule, cache),
            other => return passed(request, uncached(other, request)),
        };
        match admit(&Inquiry::of(head, head.framing.has_body()), cache) {
            Ok(admission) => Way::Asks { rule, cache, admission },
            Err(forward) => passed(request, forward),
        }
    }

    fn rule(self, request: &Request) -> Option<&'l Rule> {
        let head = &request.head;
        self.rules.find(&head.method, &head.target, &head.headers)
    }

    /// What there is to say of it by the file alone.
    pub(super) fn report(self, url: String, request: &Request, decision: Verdict) -> Report {
        let head = &request.head;
        let passed_over = self.rules.passed_over(&head.method, &head.target, &head.headers);
        let rule = self.rule(request);
        let cache = rule.and_then(|rule| rule.cache.as_ref());
        let target = &head.target;
        let origin = format!("{}://{}", target.asked_scheme().as_str(), target.authority());
        let readable = resource(rule, head);
        let key = cache.map(|cache| KeyReport {
            resource: origin + &String::from_utf8_lossy(readable.readable()),
            headers: target.forwarded().fields(),
            selected_by: selected_by(&cache.key, &[]),
        });
        Report {
            method: head.method.to_string(),
            url,
            rule: rule.map(told),
            passed_over: passed_over.map(|(rule, why)| passed_over_by(rule, why)).collect(),
            key,
            stored: None,
            decision,
            last: None,
            origin: None,
        }
    }
}

fn passed<'l>(request: &Request, forward: Forward) -> Way<'l> {
    Way::Settled(Verdict::of(match asks_this_proxy(request) {
        true => Outcome::Own(Own::Answered),
        false => Outcome::Forward(forward),
    }))
}

fn refused<'l>(failure: &Failure) -> Way<'l> {
    let why = failure.failed().cause;
    Way::Settled(Verdict::of(Outcome::Own(Own::Refused)).saying(format!("refused: {why}")))
}

/// Names of fields, and `cookie NAME`: what the rule keys, and what the app's `Vary` has named.
pub(super) fn selected_by(keyed: &KeyPolicy, nominated: &[HeaderName]) -> Vec<String> {
    let fields = keyed.headers.iter().chain(nominated).map(ToString::to_string);
    let mut all: Vec<String> = fields.collect();
    all.dedup();
    all.extend(keyed.cookies.iter().map(|name| format!("cookie {name}")));
    all
}

fn told(rule: &Rule) -> RuleReport {
    RuleReport {
        name: rule.name.to_string(),
        pattern: rule.pattern.to_string(),
        cache: cache_word(rule),
        says: describe::behaviour(rule),
    }
}

fn passed_over_by(rule: &Rule, why: Mismatch<'_>) -> PassedOver {
    let any = |all: &Option<Vec<http::Method>>| {
        let all = all.iter().flatten().map(ToString::to_string);
        all.collect::<Vec<_>>().join(", ")
    };
    let why = match why {
        Mismatch::Path => format!("the path is not {}", rule.pattern),
        Mismatch::Method => format!("it is for {} alone", any(&rule.methods)),
        Mismatch::Host => format!("it is for the host {} alone", rule.host.as_deref().unwrap_or_default()),
        Mismatch::Header(name) => format!("`{name}` is not there, or not as the rule wants it"),
        Mismatch::Ambiguous => "the path can be read in two ways, and the rule caches".to_owned(),
    };
    PassedOver { name: rule.name.to_string(), why }
}
