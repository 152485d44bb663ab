//! Logs and counts every exchange.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    log::{AccessLine, access, access_enabled},
    metrics::Metrics,
    rule_metrics::RuleMetrics,
};
use crate::{
    headers::Peer,
    observe::{Exchange, Observer},
    routes::Rules,
};

/// The observer of a running sidecar.
pub struct Recorder {
    metrics: Arc<Metrics>,
    unmatched: Arc<RuleMetrics>,
    /// The counters of each rule by its name, resolved when the file is loaded.
    rules: ArcSwap<HashMap<Arc<str>, Arc<RuleMetrics>>>,
}

impl Recorder {
    /// Counts in `metrics`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, rules: &Rules) -> Self {
        let recorder = Self { unmatched: metrics.unmatched(), metrics, rules: ArcSwap::default() };
        recorder.resolve(rules);
        recorder
    }

    /// Takes up the rules of an edited file.
    pub fn resolve(&self, rules: &Rules) {
        let names = rules.iter().map(|rule| Arc::clone(&rule.name));
        let counters = self.metrics.rules(rules.iter().map(|rule| &*rule.name));
        self.rules.store(Arc::new(names.zip(counters).collect()));
    }
}

impl Observer for Recorder {
    fn observe(&self, exchange: &Exchange<'_>) {
        let rules = self.rules.load();
        // A request that began before an edit may name a rule that is gone.
        let counters = exchange.rule.and_then(|rule| rules.get(rule)).unwrap_or(&self.unmatched);
        counters.count(exchange.outcome, exchange.status, exchange.body_bytes);
        let Some(request) = exchange.request.filter(|_| access_enabled()) else { return };
        access(&AccessLine {
            peer: match exchange.peer {
                Peer::Ip(address) => Some(address),
                Peer::Local => None,
            },
            method: &request.head.method,
            host: request.head.target.authority(),
            path: request.head.target.path(),
            version: request.head.version,
            status: exchange.status,
            bytes: exchange.body_bytes,
            duration: exchange.duration,
            outcome: exchange.outcome,
            rule: exchange.rule.map(|rule| &**rule),
            complete: exchange.complete,
        });
    }
}
