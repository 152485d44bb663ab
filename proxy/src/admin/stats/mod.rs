//! `/stats` and `/resources`: how the sidecar fares, for the dashboard and `sidecache top`.

pub mod wire;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Json, extract::State};

use self::wire::{Answered, Circuit, Hot, Miss, Quantiles};
use super::{AdminState, routes::rfc3339};
use crate::{
    histogram::Durations,
    routes::{Rule, Rules},
    status::Detail,
    store::{
        memory::MemoryStats,
        redis::{BreakerState, Stats as RedisStats},
    },
    telemetry::{
        counts::{Class, Counts, RuleCounts},
        metrics::Metrics,
        resources::{Resource, Told},
        window::{Answers, Point, STEP},
    },
    upstream::Stats as UpstreamStats,
};

/// What `/stats` tells beside health and configuration.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// When the process began.
    pub started: SystemTime,
    /// When this was read.
    pub now: SystemTime,
    /// The last minutes.
    pub window: Vec<Point>,
    /// Since the start.
    pub totals: Counts,
    /// The same by rule, in the order of the file.
    pub rules: Vec<OfRule>,
    /// The memory tier, and the bytes that it may take.
    pub memory: (MemoryStats, u64),
    /// The Redis tier.
    pub redis: Option<Redis>,
    /// The client to the origin.
    pub upstream: UpstreamStats,
}

/// What is told of a rule.
#[derive(Clone, Debug)]
pub struct OfRule {
    /// Since the start.
    pub counted: RuleCounts,
    /// In the last ten minutes.
    pub recent: Answers,
    /// What its `cache` says: see [`cache_word`].
    pub cache: String,
}

/// What is told of the Redis tier.
#[derive(Clone, Copy, Debug)]
pub struct Redis {
    /// What it has counted.
    pub stats: RedisStats,
    /// Whether Redis answers.
    pub up: bool,
    /// Whether it tells what changes.
    pub tracked: bool,
}

impl Numbers {
    /// What was counted under these rules, before anything is stored.
    #[must_use]
    pub fn of(metrics: &Metrics, rules: &Rules, now: SystemTime) -> Self {
        Self {
            started: metrics.started(),
            now,
            window: metrics.window(now),
            totals: metrics.totals(),
            rules: in_order(metrics, rules),
            memory: (MemoryStats { entries: 0, bytes: 0, evictions: 0 }, 0),
            redis: None,
            upstream: UpstreamStats::default(),
        }
    }
}

/// The counts of each rule of the file, in its order, and last of what matched none.
fn in_order(metrics: &Metrics, rules: &Rules) -> Vec<OfRule> {
    let mut by_name: HashMap<Option<Arc<str>>, RuleCounts> =
        metrics.by_rule().into_iter().map(|counts| (counts.name.clone(), counts)).collect();
    let named = rules.iter().map(|rule| (Some(Arc::clone(&rule.name)), cache_word(rule)));
    let all = named.chain([(None, "off".to_owned())]);
    // An edit may be half in force.
    let told = |(name, cache)| {
        let counted = by_name.remove(&name)?;
        Some(OfRule { recent: metrics.recent(&counted), counted, cache })
    };
    all.filter_map(told).collect()
}

/// What [`cache_word`] ends with for a rule in shadow.
pub const IN_SHADOW: &str = ", in shadow";

/// Whose word the lifetime of a response is: `off`, the rule's own one (`300s`), or `origin`; and whether the rule
/// only says what it would do: `300s, in shadow`.
#[must_use]
pub fn cache_word(rule: &Rule) -> String {
    let Some(cache) = &rule.cache else { return "off".to_owned() };
    let whose = match cache.ttl {
        None => "origin".to_owned(),
        Some(ttl) if ttl.subsec_millis() == 0 => format!("{}s", ttl.as_secs()),
        Some(ttl) => format!("{}ms", ttl.as_millis()),
    };
    if cache.shadow { whose + IN_SHADOW } else { whose }
}

/// `GET /stats`.
pub(super) async fn stats(State(state): State<AdminState>) -> Json<wire::Stats> {
    let numbers = (state.stats)();
    let (memory, budget_bytes) = numbers.memory;
    Json(wire::Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: rfc3339(numbers.started),
        now: rfc3339(numbers.now),
        health: (state.health)().into(),
        window: wire::Window {
            step_seconds: STEP.as_secs(),
            points: numbers.window.iter().map(Into::into).collect(),
        },
        totals: (&numbers.totals).into(),
        rules: numbers.rules.into_iter().map(Into::into).collect(),
        store: wire::Store {
            memory: wire::Memory { resources: memory.entries as u64, bytes: memory.bytes, budget_bytes },
            redis: numbers.redis.map(Into::into),
        },
        upstream: wire::Upstream {
            busy: numbers.upstream.open.saturating_sub(numbers.upstream.idle) as u64,
            idle: numbers.upstream.idle as u64,
            queued: numbers.upstream.waiting as u64,
        },
        config: (state.config)().into(),
    })
}

/// `GET /resources`.
pub(super) async fn resources(State(state): State<AdminState>) -> Json<wire::Resources> {
    let Told { since, hottest, misses } = (state.resources)();
    Json(wire::Resources {
        since: rfc3339(since),
        hottest: hottest
            .into_iter()
            .map(|(requests, asked)| Hot { resource: asked.resource.into(), requests, hits: asked.hits })
            .collect(),
        misses: misses
            .into_iter()
            .map(|(forwarded, missed)| Miss {
                resource: missed.resource.into(),
                forwarded,
                outcome: missed.outcome.word().to_owned(),
                detail: missed.outcome.detail().map(|detail: Detail| detail.as_str().to_owned()),
                last: rfc3339(missed.last),
            })
            .collect(),
    })
}

impl From<Resource> for wire::Resource {
    fn from(Resource { url, headers, rule }: Resource) -> Self {
        Self { url: url.to_string(), headers: headers.to_vec(), rule: rule.map(|rule| rule.to_string()) }
    }
}

impl From<OfRule> for wire::Rule {
    fn from(OfRule { counted, recent, cache }: OfRule) -> Self {
        let (would_hit, RuleCounts { name, counts, details }) = (counted.would_hit(), counted);
        let ratio = |hits: u64, requests: u64| (requests > 0).then(|| hits as f64 / requests as f64);
        Self {
            name: name.map(|name| name.to_string()),
            cache,
            answered: (&counts).into(),
            hit_ratio: ratio(counts.of(Class::Hit), counts.requests()),
            would_hit,
            bytes: counts.bytes,
            hit_ms: quantiles(&counts.took_by(Class::Hit)),
            forwarded_ms: quantiles(&counts.took_by(Class::Forwarded)),
            origin_saved_seconds: counts.spared.as_secs_f64(),
            details: details.into_iter().map(|(word, count)| (word.to_owned(), count)).collect(),
            recent: wire::Recent {
                requests: recent.requests,
                hits: recent.hits,
                forwarded: recent.forwarded,
                hit_ratio: ratio(recent.hits, recent.requests),
            },
        }
    }
}

impl From<&Point> for wire::Point {
    fn from(point: &Point) -> Self {
        let counts = &point.counts;
        Self {
            at: rfc3339(point.at),
            answered: counts.into(),
            errors: counts.errors,
            bytes: counts.bytes,
            hit_ms: quantiles(&counts.took_by(Class::Hit)),
            forwarded_ms: quantiles(&counts.took_by(Class::Forwarded)),
            origin_saved_seconds: counts.spared.as_secs_f64(),
        }
    }
}

impl From<&Counts> for Answered {
    fn from(counts: &Counts) -> Self {
        Self {
            requests: counts.requests(),
            hits: counts.of(Class::Hit),
            forwarded: counts.of(Class::Forwarded),
            own: counts.of(Class::Own),
        }
    }
}

impl From<&Counts> for wire::Totals {
    fn from(counts: &Counts) -> Self {
        Self {
            answered: counts.into(),
            errors: counts.errors,
            bytes: counts.bytes,
            collapsed: counts.collapsed,
            origin_saved_seconds: counts.spared.as_secs_f64(),
        }
    }
}

impl From<Redis> for wire::Redis {
    fn from(Redis { stats, up, tracked }: Redis) -> Self {
        let circuit = |state| match state {
            BreakerState::Closed => Circuit::Closed,
            BreakerState::Open => Circuit::Open,
        };
        let breaker =
            wire::Breaker { read: circuit(stats.read_breaker), write: circuit(stats.write_breaker) };
        Self {
            up,
            tracked,
            breaker,
            hits: stats.hits,
            misses: stats.misses,
            errors: stats.errors + stats.refused,
            timeouts: stats.timeouts,
            dropped_writes: stats.dropped_writes,
        }
    }
}

/// To the microsecond: beyond that they are guesses.
fn quantiles(took: &Durations) -> Option<Quantiles> {
    let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let (p50, p99) = (took.quantile(0.5)?, took.quantile(0.99)?);
    Some(Quantiles { p50: milliseconds(p50), p99: milliseconds(p99) })
}
