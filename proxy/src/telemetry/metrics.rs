//! The numbers at `/metrics`, in the OpenMetrics text format.
//!
//! How many series there are follows from the configuration, never from the traffic: no label holds
//! anything that a client sends.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use tokio::time::Instant;

use super::{
    counts::{Counts, RuleCounts},
    resources::{Resources, Told},
    rule_metrics::Rules,
    window::{Answers, Point, Window},
};
use crate::{histogram::Durations, observe::Exchange};

/// Everything that is measured.
pub struct Metrics {
    registry: Registry,
    rules: Arc<Rules>,
    started: SystemTime,
    window: Window,
    resources: Resources,
}

impl Metrics {
    /// The counters of requests, the build, and when the process began.
    #[must_use]
    pub fn new(started: SystemTime) -> Self {
        let rules = Arc::new(Rules::default());
        let mut metrics = Self {
            registry: Registry::default(),
            rules: Arc::clone(&rules),
            started,
            window: Window::default(),
            resources: Resources::new(started),
        };
        metrics.register(move |scrape| rules.write(scrape));
        metrics.register(move |scrape| process(scrape, started));
        metrics
    }

    /// Has `write` called on every scrape, for numbers that others keep.
    ///
    /// It is called with no lock of ours held and must not block. Two writers must not use one name.
    pub fn register(&mut self, write: impl Fn(&mut Scrape<'_>) + Send + Sync + 'static) {
        self.registry.register_collector(Box::new(Writer(write)));
    }

    /// Makes the counters of the rules of a configuration; to be called before it comes into force.
    /// A rule that keeps its name keeps its counts; one that is gone is forgotten.
    pub fn follow(&self, rules: &[Arc<str>]) {
        self.rules.follow(rules);
    }

    /// Counts one exchange, and waits for nothing.
    pub fn count(&self, exchange: &Exchange<'_>) {
        self.rules.count(exchange);
        self.resources.note(exchange);
    }

    /// Ends a step of the window; to be called every [`STEP`](super::window::STEP).
    pub fn step(&self, at: SystemTime, now: Instant) {
        self.window.step(at, now, self.totals(), &self.by_rule());
        self.resources.step(at);
    }

    /// The steps of the last ten minutes, the oldest first.
    #[must_use]
    pub fn window(&self, now: SystemTime) -> Vec<Point> {
        self.window.points(now)
    }

    /// What was asked for most in the last minutes.
    #[must_use]
    pub fn resources(&self) -> Told {
        self.resources.told()
    }

    /// What was counted of requests in all.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.rules.totals()
    }

    /// What was counted of each rule in force, by name, and last of requests without one.
    #[must_use]
    pub fn by_rule(&self) -> Vec<RuleCounts> {
        self.rules.each()
    }

    /// What of the counts of a rule has come in the last ten minutes.
    #[must_use]
    pub fn recent(&self, rule: &RuleCounts) -> Answers {
        self.window.recent(rule)
    }

    /// When the process began.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// All of it, as text in the format of OpenMetrics; [`super::exposition`] knows the other one.
    ///
    /// # Errors
    /// None that a `String` as the target can cause.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

fn process(scrape: &mut Scrape<'_>, started: SystemTime) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    scrape.gauges("sidecache_build_info", "The version that runs", [(version, 1_u64)]);
    scrape.gauge("process_start_time_seconds", "When the process began, in Unix time", unix_seconds(started));
}

/// Seconds since 1970, as Prometheus has times; zero for what is before.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// One reading of the numbers, as it is being written. Names are given as they appear, but for
/// counters, whose `_total` is added here.
pub struct Scrape<'e> {
    encoder: DescriptorEncoder<'e>,
    result: fmt::Result,
}

impl Scrape<'_> {
    /// A number that only grows.
    pub fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) {
        self.counters(name, help, [([("", ""); 0], value)]);
    }

    /// Numbers that only grow, told apart by labels.
    pub fn counters<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
    ) {
        self.family(name, help, MetricType::Counter, series, |encoder, value| {
            encoder.encode_counter::<NoLabelSet, V, u64>(&value, None)
        });
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) {
        self.gauges(name, help, [([("", ""); 0], value)]);
    }

    /// Numbers that go up and down, told apart by labels.
    pub fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
    ) {
        self.family(name, help, MetricType::Gauge, series, |encoder, value| encoder.encode_gauge(&value));
    }

    /// How long things took, told apart by labels.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], Durations)>,
    ) {
        self.family(name, help, MetricType::Histogram, series, |encoder, took| {
            let buckets: Vec<_> = took.buckets().collect();
            encoder.encode_histogram::<NoLabelSet>(took.sum.as_secs_f64(), took.count(), &buckets, None)
        });
    }

    /// How many fell between each end (in seconds, the last one infinite) and the one before it.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: Duration,
    ) {
        let buckets: Vec<_> = buckets.into_iter().collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let encoder = &mut self.encoder;
        self.result = self.result.and_then(|()| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            family.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
        });
    }

    fn family<'l, const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], V)>,
        write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) {
        let encoder = &mut self.encoder;
        let result = self.result.and_then(|()| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            series.into_iter().try_for_each(|(labels, value)| match N {
                // An empty set of labels would be written as `{}`.
                0 => write(&mut family, value),
                _ => write(&mut family.encode_family(&labels)?, value),
            })
        });
        self.result = result;
    }
}

/// A closure as a collector.
struct Writer<F>(F);

impl<F: Fn(&mut Scrape<'_>) + Send + Sync + 'static> Collector for Writer<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scrape = Scrape { encoder, result: Ok(()) };
        (self.0)(&mut scrape);
        scrape.result
    }
}

impl<F> fmt::Debug for Writer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::{
        admit::{Head, HeadLimits, Scheme},
        headers::Peer,
        message::Request,
        status::{Detail, Forward, Fwd, Outcome, Own},
    };

    fn metrics() -> Metrics {
        Metrics::new(UNIX_EPOCH + Duration::from_millis(1_500))
    }

    fn names<const N: usize>(names: [&str; N]) -> [Arc<str>; N] {
        names.map(Arc::from)
    }

    fn request(method: &str) -> Request {
        let text = Bytes::from(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let limits = HeadLimits { bytes: 1_000, fields: 10, target: 100 };
        Request::of(Head::parse(&text, Scheme::Http, &limits).unwrap())
    }

    fn count(metrics: &Metrics, rule: Option<&str>, outcome: Outcome, status: u16, body_bytes: u64) {
        count_of(metrics, Some(&request("GET")), rule, outcome, status, body_bytes);
    }

    fn count_of(
        metrics: &Metrics,
        request: Option<&Request>,
        rule: Option<&str>,
        outcome: Outcome,
        status: u16,
        body_bytes: u64,
    ) {
        metrics.count(&Exchange {
            request,
            unread: None,
            peer: Peer::Local,
            status: StatusCode::from_u16(status).unwrap(),
            outcome,
            failed: None,
            rule: rule.map(Arc::from).as_ref(),
            spared: Duration::from_millis(1_500),
            body_bytes,
            duration: Duration::from_millis(3),
            complete: true,
        });
    }

    fn assert_shows(metrics: &Metrics, lines: &[&str]) {
        let page = metrics.render().unwrap();
        for line in lines {
            assert!(page.lines().any(|have| have == *line), "{line} not in\n{page}");
        }
    }

    const HIT: Outcome = Outcome::Hit { ttl: 9, detail: None };
    const MISS: Outcome = Outcome::Forward(Forward {
        fwd: Fwd::UriMiss,
        status: None,
        stored: true,
        collapsed: false,
        detail: None,
    });

    #[test]
    fn counts_requests_by_rule_method_outcome_and_class() {
        let metrics = metrics();
        metrics.follow(&names(["/a", "say \"hi\""]));
        count(&metrics, Some("/a"), HIT, 200, 100);
        count(&metrics, Some("/a"), HIT, 200, 50);
        count(&metrics, Some("/a"), MISS, 404, 7);
        count(&metrics, Some("say \"hi\""), HIT, 304, 0);
        count(&metrics, None, Outcome::Own(Own::Refused), 400, 3);
        assert_shows(
            &metrics,
            &[
                r#"sidecache_requests_total{rule="/a",method="GET",outcome="hit",status_class="2xx"} 2"#,
                r#"sidecache_requests_total{rule="/a",method="GET",outcome="uri-miss",status_class="4xx"} 1"#,
                r#"sidecache_requests_total{rule="/a",method="GET",outcome="origin-failed",status_class="5xx"} 0"#,
                r#"sidecache_requests_total{rule="say \"hi\"",method="GET",outcome="hit",status_class="3xx"} 1"#,
                r#"sidecache_requests_total{rule="-",method="GET",outcome="refused",status_class="4xx"} 1"#,
                r#"sidecache_response_bytes_total{rule="/a"} 157"#,
                "process_start_time_seconds 1.5",
                concat!("sidecache_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
                "# EOF",
            ],
        );
    }

    #[test]
    fn methods_are_told_apart_as_far_as_there_are_words_for_them() {
        let metrics = metrics();
        metrics.follow(&names(["/a"]));
        for method in ["HEAD", "POST", "PURGE", "BREW", "get"] {
            count_of(&metrics, Some(&request(method)), Some("/a"), MISS, 200, 1);
        }
        // What could not be read as a request.
        count_of(&metrics, None, None, Outcome::Own(Own::Refused), 400, 1);
        assert_shows(
            &metrics,
            &[
                r#"sidecache_requests_total{rule="/a",method="GET",outcome="uri-miss",status_class="2xx"} 0"#,
                r#"sidecache_requests_total{rule="/a",method="HEAD",outcome="uri-miss",status_class="2xx"} 1"#,
                r#"sidecache_requests_total{rule="/a",method="POST",outcome="uri-miss",status_class="2xx"} 1"#,
                r#"sidecache_requests_total{rule="/a",method="other",outcome="uri-miss",status_class="2xx"} 3"#,
                r#"sidecache_requests_total{rule="-",method="other",outcome="refused",status_class="4xx"} 1"#,
            ],
        );
        assert!(!metrics.render().unwrap().contains(r#"method="PUT""#), "only what has come up");
    }

    #[test]
    fn times_are_counted_by_who_answered() {
        let metrics = metrics();
        metrics.follow(&names(["/a"]));
        let collapsed = Outcome::Forward(Forward { collapsed: true, ..Forward::because(Fwd::UriMiss, None) });
        for outcome in [HIT, HIT, MISS, collapsed, Outcome::Own(Own::OriginFailed)] {
            count(&metrics, Some("/a"), outcome, 200, 0);
        }
        assert_shows(
            &metrics,
            &[
                "# TYPE sidecache_request_duration_seconds histogram",
                r#"sidecache_request_duration_seconds_bucket{le="0.0025",rule="/a",class="hit"} 0"#,
                r#"sidecache_request_duration_seconds_bucket{le="0.005",rule="/a",class="hit"} 2"#,
                r#"sidecache_request_duration_seconds_bucket{le="+Inf",rule="/a",class="forwarded"} 2"#,
                r#"sidecache_request_duration_seconds_sum{rule="/a",class="hit"} 0.006"#,
                r#"sidecache_request_duration_seconds_count{rule="/a",class="own"} 1"#,
                r#"sidecache_requests_collapsed_total{rule="/a"} 1"#,
                // Only hits spare the origin anything.
                r#"sidecache_origin_saved_seconds_total{rule="/a"} 3.0"#,
            ],
        );
    }

    #[test]
    fn the_exact_cause_is_counted_too() {
        let metrics = metrics();
        metrics.follow(&names(["/a"]));
        let cause = |detail| Outcome::Forward(Forward::because(Fwd::Bypass, Some(detail)));
        for outcome in [cause(Detail::Cookie), cause(Detail::Cookie), cause(Detail::NoStore), MISS] {
            count(&metrics, Some("/a"), outcome, 200, 0);
        }
        assert_shows(
            &metrics,
            &[
                r#"sidecache_request_details_total{rule="/a",detail="cookie"} 2"#,
                r#"sidecache_request_details_total{rule="/a",detail="no-store"} 1"#,
            ],
        );
    }

    #[test]
    fn a_reload_keeps_the_counts_of_rules_that_stay() {
        let metrics = metrics();
        metrics.follow(&names(["/stays", "/goes"]));
        count(&metrics, Some("/stays"), MISS, 200, 1);
        count(&metrics, Some("/goes"), MISS, 200, 1);
        metrics.follow(&names(["/new", "/stays"]));
        count(&metrics, Some("/stays"), MISS, 200, 1);
        // A request that began before the reload.
        count(&metrics, Some("/goes"), MISS, 200, 1);
        assert_shows(
            &metrics,
            &[
                r#"sidecache_requests_total{rule="/stays",method="GET",outcome="uri-miss",status_class="2xx"} 2"#,
                r#"sidecache_requests_total{rule="/new",method="GET",outcome="uri-miss",status_class="2xx"} 0"#,
                r#"sidecache_requests_total{rule="-",method="GET",outcome="uri-miss",status_class="2xx"} 1"#,
            ],
        );
        assert!(!metrics.render().unwrap().contains("/goes"));
        assert_eq!((metrics.totals().requests(), metrics.totals().bytes), (4, 4), "all there ever were");
    }

    #[test]
    fn traffic_adds_no_series_beyond_method_outcome_and_class() {
        let metrics = metrics();
        metrics.follow(&names(["/a"]));
        for status in 100..1000 {
            count(&metrics, Some("/a"), MISS, status, 1);
        }
        let page = metrics.render().unwrap();
        let series = page.lines().filter(|line| line.starts_with("sidecache_requests_total{rule=\"/a\""));
        // One for each outcome, and the other four classes of the one outcome seen.
        assert_eq!(series.count(), Outcome::COUNT + 4, "{page}");
    }

    #[test]
    fn numbers_of_others_are_read_on_every_scrape() {
        let mut metrics = metrics();
        let value = Arc::new(std::sync::atomic::AtomicU64::new(1));
        let read = Arc::clone(&value);
        metrics.register(move |scrape| {
            let now = read.load(std::sync::atomic::Ordering::Relaxed);
            scrape.gauge("x_entries", "Entries", now);
            scrape.counters("x_errors", "Errors", [([("kind", "budget")], now), ([("kind", "refused")], 7)]);
        });
        assert!(metrics.render().unwrap().contains("x_entries 1\n"));
        value.store(2, std::sync::atomic::Ordering::Relaxed);
        let page = metrics.render().unwrap();
        assert!(page.contains("# TYPE x_errors counter\n"), "{page}");
        assert!(page.contains("x_entries 2\n"), "{page}");
        assert!(page.contains("x_errors_total{kind=\"refused\"} 7\n"), "{page}");
    }
}
