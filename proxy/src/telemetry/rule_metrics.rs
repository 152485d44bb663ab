//! The counters of requests, with handles resolved once per configuration: counting takes no lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;

use super::metrics::Scrape;
use crate::status::{Fwd, Outcome, Own};

const OUTCOMES: usize = Outcome::WORDS.len();
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The `rule` of requests that no rule matched.
const UNMATCHED: &str = "-";

/// The counters of one rule; clones of the [`Arc`] count together.
#[derive(Debug, Default)]
pub struct RuleMetrics {
    requests: [[Counter; CLASSES.len()]; OUTCOMES],
    bytes: Counter,
}

impl RuleMetrics {
    /// Counts one request that is done: two atomic additions.
    pub fn count(&self, outcome: Outcome, status: StatusCode, body_bytes: u64) {
        let counter = self.requests.get(place(outcome)).and_then(|classes| classes.get(class(status)));
        if let Some(counter) = counter {
            counter.inc();
        }
        self.bytes.inc_by(body_bytes);
    }
}

/// Where an outcome's word is in [`Outcome::WORDS`].
fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Hit { .. } => 0,
        Outcome::Forward(forward) => match forward.fwd {
            Fwd::Bypass => 1,
            Fwd::Method => 2,
            Fwd::UriMiss => 3,
            Fwd::VaryMiss => 4,
            Fwd::Miss => 5,
            Fwd::Request => 6,
            Fwd::Stale => 7,
        },
        Outcome::Own(Own::Refused) => 8,
        Outcome::Own(Own::OriginFailed) => 9,
        Outcome::Own(Own::NotCached) => 10,
        Outcome::Own(Own::Failed) => 11,
    }
}

/// Where a status is in [`CLASSES`]; what is beyond 599 counts as an error of the origin.
fn class(status: StatusCode) -> usize {
    usize::from((status.as_u16() / 100).clamp(1, 5) - 1)
}

/// The class that an outcome most often has. It is shown before the first request, because
/// Prometheus cannot see the step from nothing to one: the first failure would raise no alarm.
fn expected_class(place: usize) -> usize {
    match place {
        8 => 3,
        9 | 10 => 4,
        _ => 1,
    }
}

/// The counters of the rules in force.
#[derive(Debug, Default)]
pub(super) struct Rules {
    by_name: Mutex<BTreeMap<String, Arc<RuleMetrics>>>,
    unmatched: Arc<RuleMetrics>,
}

impl Rules {
    pub(super) fn resolve<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<Arc<RuleMetrics>> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = BTreeMap::new();
        let handles = names
            .into_iter()
            .map(|name| {
                let rule = kept.get(name).or_else(|| by_name.get(name)).cloned().unwrap_or_default();
                kept.insert(name.to_owned(), Arc::clone(&rule));
                rule
            })
            .collect();
        *by_name = kept;
        handles
    }

    pub(super) fn unmatched(&self) -> Arc<RuleMetrics> {
        Arc::clone(&self.unmatched)
    }

    pub(super) fn write(&self, scrape: &mut Scrape<'_>) {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rules = || {
            let named = by_name.iter().map(|(name, rule)| (name.as_str(), rule));
            named.chain([(UNMATCHED, &self.unmatched)])
        };
        scrape.counters(
            "sidecache_requests",
            "Requests that are done, by the rule that matched, what became of them, and the status sent",
            rules().flat_map(|(name, rule)| rule_series(name, rule)),
        );
        scrape.counters(
            "sidecache_response_bytes",
            "Bytes of body sent to clients, by the rule that matched",
            rules().map(|(name, rule)| ([("rule", name)], rule.bytes.get())),
        );
    }
}

type Series<'n> = ([(&'n str, &'n str); 3], u64);

/// What has been counted, and the expected class of every outcome, counted or not.
fn rule_series<'n>(name: &'n str, rule: &'n RuleMetrics) -> impl Iterator<Item = Series<'n>> {
    Outcome::WORDS.iter().zip(&rule.requests).enumerate().flat_map(move |(place, (word, classes))| {
        CLASSES.iter().zip(classes).enumerate().filter_map(move |(class, (label, counter))| {
            let count = counter.get();
            (count > 0 || class == expected_class(place))
                .then_some(([("rule", name), ("outcome", *word), ("status_class", *label)], count))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Forward;

    #[test]
    fn every_outcome_is_counted_under_its_own_word() {
        let forwards =
            [Fwd::Bypass, Fwd::Method, Fwd::UriMiss, Fwd::VaryMiss, Fwd::Miss, Fwd::Request, Fwd::Stale];
        let owns = [Own::Refused, Own::OriginFailed, Own::NotCached];
        let all: Vec<_> = [Outcome::Hit { ttl: 0 }]
            .into_iter()
            .chain(forwards.map(|fwd| Outcome::Forward(Forward::because(fwd, None))))
            .chain(owns.map(Outcome::Own))
            .collect();
        assert_eq!(all.len(), Outcome::WORDS.len());
        for outcome in all {
            assert_eq!(Outcome::WORDS[place(outcome)], outcome.word());
        }
    }

    #[test]
    fn every_status_has_a_class() {
        for (status, label) in
            [(100, "1xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (503, "5xx"), (999, "5xx")]
        {
            assert_eq!(CLASSES[class(StatusCode::from_u16(status).unwrap())], label);
        }
    }
}
