//! The counters of requests, made once per configuration: counting a hit takes no lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;

use super::{
    counts::{Class, Counts, RuleCounts},
    metrics::Scrape,
};
use crate::{
    histogram::{Histogram, nanoseconds},
    observe::Exchange,
    status::{Forward, Outcome, Own},
};

/// Any other method counts as the last: clients may make up as many as they like.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The `rule` of requests that no rule matched, or one that an edit has removed meanwhile.
const UNMATCHED: &str = "-";

/// The counters of one rule.
#[derive(Debug, Default)]
struct RuleMetrics {
    /// Bare numbers, since each [`Counter`] would be an allocation of its own.
    requests: [[[AtomicU64; CLASSES.len()]; Outcome::COUNT]; METHODS.len()],
    /// By the words of the vocabulary, as far as they have come up.
    details: Mutex<BTreeMap<&'static str, u64>>,
    bytes: Counter,
    /// By who answered, in the order of [`Class::ALL`].
    took: [Histogram; Class::ALL.len()],
    collapsed: Counter,
    /// Nanoseconds that hits spared the origin.
    spared: Counter,
}

impl RuleMetrics {
    /// Five atomic additions for a hit; where there is a detail to name, a short lock.
    fn count(&self, exchange: &Exchange<'_>) {
        let outcome = exchange.outcome;
        let method = exchange.request.map(|request| &request.head.method);
        let outcomes = self.requests.get(method_place(method));
        let classes = outcomes.and_then(|outcomes| outcomes.get(outcome.place()));
        if let Some(counter) = classes.and_then(|classes| classes.get(class(exchange.status))) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes.inc_by(exchange.body_bytes);
        self.histogram(Class::of(outcome)).note(exchange.duration);
        match outcome {
            Outcome::Hit { .. } => {
                self.spared.inc_by(nanoseconds(exchange.spared));
            }
            Outcome::Forward(Forward { collapsed: true, .. }) => {
                self.collapsed.inc();
            }
            Outcome::Forward(_) | Outcome::Own(_) => {}
        }
        if let Some(detail) = outcome.detail() {
            let mut details = self.details.lock().unwrap_or_else(PoisonError::into_inner);
            *details.entry(detail.as_str()).or_default() += 1;
        }
    }

    fn histogram(&self, class: Class) -> &Histogram {
        let [hit, forwarded, own] = &self.took;
        match class {
            Class::Hit => hit,
            Class::Forwarded => forwarded,
            Class::Own => own,
        }
    }

    fn spared(&self) -> Duration {
        Duration::from_nanos(self.spared.get())
    }

    fn details(&self) -> BTreeMap<&'static str, u64> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counts(&self) -> Counts {
        let errors = self.requests.iter().flatten().filter_map(|classes| classes.last());
        Counts {
            took: self.took.each_ref().map(Histogram::read),
            errors: errors.map(|counter| counter.load(Ordering::Relaxed)).sum(),
            bytes: self.bytes.get(),
            collapsed: self.collapsed.get(),
            spared: self.spared(),
        }
    }

    fn named(&self, name: Option<&Arc<str>>) -> RuleCounts {
        let details = self.details().into_iter().chain(self.own()).collect();
        RuleCounts { name: name.map(Arc::clone), counts: self.counts(), details }
    }

    /// What the proxy answered itself, by the words of the outcomes, which have no detail.
    fn own(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = Own::ALL.iter().map(|own| {
            let place = Outcome::Own(*own).place();
            let classes = self.requests.iter().filter_map(|outcomes| outcomes.get(place)).flatten();
            (own.as_str(), classes.map(|counter| counter.load(Ordering::Relaxed)).sum())
        });
        counted.filter(|(_, count)| *count > 0)
    }
}

/// Where a method is in [`METHODS`]; there is none where nothing could be read as a request.
fn method_place(method: Option<&Method>) -> usize {
    match method {
        Some(&Method::GET) => 0,
        Some(&Method::HEAD) => 1,
        Some(&Method::POST) => 2,
        Some(&Method::PUT) => 3,
        Some(&Method::PATCH) => 4,
        Some(&Method::DELETE) => 5,
        Some(&Method::OPTIONS) => 6,
        _ => 7,
    }
}

/// Where a status is in [`CLASSES`]; what is beyond 599 counts as an error of the origin.
fn class(status: StatusCode) -> usize {
    usize::from((status.as_u16() / 100).clamp(1, 5) - 1)
}

/// Whether this is shown before the first such request, because Prometheus cannot see the step from nothing to one: the
/// first failure would raise no alarm.
fn is_expected(method: &str, outcome: Outcome, class: &str) -> bool {
    method == "GET" && class == expected_class(outcome)
}

/// The class of status that an outcome most often has.
fn expected_class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit { .. } | Outcome::Forward(_) | Outcome::Own(Own::Answered) => "2xx",
        Outcome::Own(Own::Refused | Own::ClientGone) => "4xx",
        Outcome::Own(Own::OriginFailed | Own::NotCached | Own::Failed) => "5xx",
    }
}

/// The counters of one configuration.
#[derive(Debug, Default)]
struct InForce {
    by_name: BTreeMap<Arc<str>, Arc<RuleMetrics>>,
    /// The same by where the names are, in order: a request has the very name that its configuration has, and to
    /// compare the text would cost more than to count.
    by_place: Vec<(usize, Arc<RuleMetrics>)>,
}

impl InForce {
    /// Those of the rules that stay, and new ones.
    fn after(old: &Self, names: &[Arc<str>]) -> Self {
        let kept = |name| old.by_name.get(name).cloned().unwrap_or_default();
        let by_name: BTreeMap<_, _> = names.iter().map(|name| (Arc::clone(name), kept(name))).collect();
        let mut by_place: Vec<_> =
            by_name.iter().map(|(name, rule)| (place_of(name), Arc::clone(rule))).collect();
        by_place.sort_unstable_by_key(|(place, _)| *place);
        Self { by_name, by_place }
    }

    fn find(&self, name: &Arc<str>) -> Option<&RuleMetrics> {
        let place = place_of(name);
        match self.by_place.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(at) => self.by_place.get(at).map(|(_, rule)| rule.as_ref()),
            // A request that began before an edit.
            Err(_) => self.by_name.get(name).map(AsRef::as_ref),
        }
    }
}

/// Nothing else is there as long as somebody holds the name.
fn place_of(name: &Arc<str>) -> usize {
    Arc::as_ptr(name).cast::<u8>().addr()
}

/// The counters of the rules in force.
#[derive(Debug, Default)]
pub(super) struct Rules {
    in_force: ArcSwap<InForce>,
    unmatched: RuleMetrics,
    /// What was counted of rules that an edit has removed: sums over all must not shrink by it.
    removed: Mutex<Counts>,
}

impl Rules {
    pub(super) fn follow(&self, names: &[Arc<str>]) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.in_force.rcu(|old| InForce::after(old, names));
        for (_, rule) in old.by_name.iter().filter(|(name, _)| !names.contains(name)) {
            *removed += &rule.counts();
        }
    }

    pub(super) fn count(&self, exchange: &Exchange<'_>) {
        let in_force = self.in_force.load();
        let rule = exchange.rule.and_then(|name| in_force.find(name));
        rule.unwrap_or(&self.unmatched).count(exchange);
    }

    /// What was counted in all, also of rules that are gone.
    pub(super) fn totals(&self) -> Counts {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = *removed;
        totals += &self.unmatched.counts();
        self.in_force.load().by_name.values().for_each(|rule| totals += &rule.counts());
        totals
    }

    /// What was counted of each rule in force, by name, and last of requests without one.
    pub(super) fn each(&self) -> Vec<RuleCounts> {
        let in_force = self.in_force.load();
        let named = in_force.by_name.iter().map(|(name, rule)| rule.named(Some(name)));
        named.chain([self.unmatched.named(None)]).collect()
    }

    pub(super) fn write(&self, scrape: &mut Scrape<'_>) {
        let in_force = self.in_force.load();
        let rules = || {
            let named = in_force.by_name.iter().map(|(name, rule)| (name.as_ref(), rule.as_ref()));
            named.chain([(UNMATCHED, &self.unmatched)])
        };
        scrape.counters(
            "sidecache_requests",
            "Requests that are done, by the rule that matched, their method, what became of them, and the status sent",
            rules().flat_map(|(name, rule)| rule_series(name, rule)),
        );
        scrape.counters(
            "sidecache_request_details",
            "The same requests by the exact cause in `detail`, as far as there is one to name",
            rules().flat_map(|(name, rule)| {
                rule.details()
                    .into_iter()
                    .map(move |(word, count)| ([("rule", name), ("detail", word)], count))
            }),
        );
        scrape.histograms(
            "sidecache_request_duration_seconds",
            "The same requests by the time from their head to the end of their answer, and by who gave it: the store (hit), the origin (forwarded) or the proxy (own)",
            rules().flat_map(|(name, rule)| {
                Class::ALL.map(|class| {
                    ([("rule", name), ("class", class.word())], rule.histogram(class).read())
                })
            }),
        );
        scrape.counters(
            "sidecache_requests_collapsed",
            "Requests that shared the fetch of another one, by the rule that matched",
            rules().map(|(name, rule)| ([("rule", name)], rule.collapsed.get())),
        );
        scrape.counters(
            "sidecache_origin_saved_seconds",
            "Time that hits spared the origin: what it took to the head of its answer, without the body, when it was last asked for what they got",
            rules().map(|(name, rule)| ([("rule", name)], rule.spared().as_secs_f64())),
        );
        scrape.counters(
            "sidecache_response_bytes",
            "Bytes of body sent to clients, by the rule that matched",
            rules().map(|(name, rule)| ([("rule", name)], rule.bytes.get())),
        );
    }
}

type Series<'n> = ([(&'n str, &'n str); 4], u64);

/// What has been counted, and what is shown before it has.
fn rule_series<'n>(name: &'n str, rule: &'n RuleMetrics) -> impl Iterator<Item = Series<'n>> {
    METHODS.iter().zip(&rule.requests).flat_map(move |(method, outcomes)| {
        Outcome::all().zip(outcomes).flat_map(move |(outcome, classes)| {
            CLASSES.iter().zip(classes).filter_map(move |(class, counter)| {
                let count = counter.load(Ordering::Relaxed);
                let word = outcome.word();
                let labels =
                    [("rule", name), ("method", *method), ("outcome", word), ("status_class", *class)];
                (count > 0 || is_expected(method, outcome, class)).then_some((labels, count))
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Failure, upstream::FetchError};

    #[test]
    fn every_outcome_is_shown_first_with_the_class_of_the_status_that_it_sends() {
        for outcome in Outcome::all() {
            let status = match outcome {
                Outcome::Hit { .. } | Outcome::Forward(_) | Outcome::Own(Own::Answered) => StatusCode::OK,
                Outcome::Own(Own::Refused) => Failure::misdirected().reply().status,
                Outcome::Own(Own::OriginFailed) => FetchError::QueueFull.status(),
                Outcome::Own(Own::NotCached) => Failure::not_cached().reply().status,
                Outcome::Own(Own::Failed) => Failure::internal().reply().status,
                Outcome::Own(Own::ClientGone) => StatusCode::from_u16(499).unwrap(),
            };
            assert_eq!(expected_class(outcome), CLASSES[class(status)], "{outcome:?}");
        }
    }

    #[test]
    fn every_method_is_counted_under_its_own_word() {
        for word in METHODS {
            let method = Method::from_bytes(word.as_bytes()).unwrap();
            assert_eq!(METHODS[method_place(Some(&method))], word);
        }
        assert_eq!(METHODS[method_place(Some(&Method::TRACE))], "other");
        assert_eq!(METHODS[method_place(None)], "other");
    }

    #[test]
    fn the_very_name_and_its_text_lead_to_the_same_counters() {
        let names = ["/b", "/a", "/c"].map(Arc::from);
        let in_force = InForce::after(&InForce::default(), &names);
        for name in &names {
            let (very, text) = (in_force.find(name).unwrap(), in_force.find(&Arc::from(&**name)).unwrap());
            assert!(std::ptr::eq(very, text), "{name}");
            assert!(std::ptr::eq(very, in_force.by_name[name].as_ref()), "{name}");
        }
        assert!(in_force.find(&Arc::from("/d")).is_none());
        let after = InForce::after(&in_force, &["/c".into(), "/d".into()]);
        assert!(std::ptr::eq(after.find(&names[2]).unwrap(), in_force.find(&names[2]).unwrap()));
        assert!(after.find(&names[0]).is_none());
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
