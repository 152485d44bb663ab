//! What there is to say of a request by the file alone.

use http::HeaderName;

use super::report::{KeyReport, PassedOver, Report, RuleReport, Verdict};
use crate::{
    admin::stats::cache_word,
    config::{Config, describe},
    key::KeyPolicy,
    message::Request,
    outcomes::resource,
    routes::{Mismatch, Rule},
    way::Book,
};

impl<'l> From<&'l Config> for Book<'l> {
    fn from(config: &'l Config) -> Self {
        Self { rules: &config.rules, hosts: config.hosts.as_deref(), pseudonym: None }
    }
}

/// A report of a decision, with what the file says of the request, and nothing of what is stored.
pub(super) fn report(book: Book<'_>, url: String, request: &Request, decision: Verdict) -> Report {
    let head = &request.head;
    let passed_over = book.rules.passed_over(&head.method, &head.target, &head.headers);
    let rule = book.rule(head);
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
        elsewhere: Vec::new(),
    }
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
