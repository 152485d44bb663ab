//! The counters of requests, made once per configuration: counting a hit takes no lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;

use super::{
    counts::{Class, Counts, RuleCounts},
    metrics::Scrape,
};
use crate::{
    histogram::{Histogram, nanoseconds},
    observe::Exchange,
    status::{Forward, Fwd, Outcome, Own},
};

const OUTCOMES: usize = Outcome::WORDS.len();
/// Where those of the proxy itself begin.
const FIRST_OWN: usize = 9;
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The `rule` of requests that no rule matched, or one that an edit has removed meanwhile.
const UNMATCHED: &str = "-";

/// The counters of one rule.
#[derive(Debug, Default)]
struct RuleMetrics {
    requests: [[Counter; CLASSES.len()]; OUTCOMES],
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
        let classes = self.requests.get(place(outcome));
        if let Some(counter) = classes.and_then(|classes| classes.get(class(exchange.status))) {
            counter.inc();
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
        let errors = self.requests.iter().filter_map(|classes| classes.last());
        Counts {
            took: self.took.each_ref().map(Histogram::read),
            errors: errors.map(Counter::get).sum(),
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
        let counted = Outcome::WORDS.iter().zip(&self.requests).skip(FIRST_OWN);
        let counted = counted.map(|(word, classes)| (*word, classes.iter().map(Counter::get).sum()));
        counted.filter(|(_, count)| *count > 0)
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
            Fwd::Partial => 8,
        },
        Outcome::Own(Own::Refused) => FIRST_OWN,
        Outcome::Own(Own::OriginFailed) => 10,
        Outcome::Own(Own::NotCached) => 11,
        Outcome::Own(Own::Failed) => 12,
        Outcome::Own(Own::ClientGone) => 13,
        Outcome::Own(Own::Answered) => 14,
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
        8 | 12 => 3,
        9..=11 => 4,
        _ => 1,
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
            "Requests that are done, by the rule that matched, what became of them, and the status sent",
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
        let forwards = [
            Fwd::Bypass,
            Fwd::Method,
            Fwd::UriMiss,
            Fwd::VaryMiss,
            Fwd::Miss,
            Fwd::Request,
            Fwd::Stale,
            Fwd::Partial,
        ];
        let owns =
            [Own::Refused, Own::OriginFailed, Own::NotCached, Own::Failed, Own::ClientGone, Own::Answered];
        let all: Vec<_> = [Outcome::Hit { ttl: 0, detail: None }]
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
