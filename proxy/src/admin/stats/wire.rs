//! `/stats` and `/resources` as JSON, for who sends it and who reads it. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin::routes::{Configuration, Readiness};

/// How a sidecar fares, and fared in the last minutes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Of the program.
    pub version: String,
    /// When the process began.
    pub started: String,
    /// When this was read.
    pub now: String,
    /// As `/readyz` says.
    pub health: Readiness,
    /// The last ten minutes.
    pub window: Window,
    /// Since the start.
    pub totals: Totals,
    /// Since the start, in the order of the file; what no rule matched comes last, without a name.
    pub rules: Vec<Rule>,
    /// What is stored.
    pub store: Store,
    /// Connections to the origin.
    pub upstream: Upstream,
    /// As `/config` says.
    pub config: Configuration,
}

/// Steps of one length.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Window {
    /// That length.
    pub step_seconds: u64,
    /// At most 120, the oldest first. One that was not whole, because the machine slept, is missing.
    pub points: Vec<Point>,
}

/// What came within a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// When it ended.
    pub at: String,
    /// By who answered them.
    #[serde(flatten)]
    pub answered: Answered,
    /// Those whose answer had a status of 500 or more.
    pub errors: u64,
    /// Bytes of body sent.
    pub bytes: u64,
    /// How long hits took.
    pub hit_ms: Option<Quantiles>,
    /// How long forwarded requests took.
    pub forwarded_ms: Option<Quantiles>,
    /// What hits spared the origin.
    pub origin_saved_seconds: f64,
}

/// Requests, by who answered them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answered {
    /// All that were done.
    pub requests: u64,
    /// Those that the store answered.
    pub hits: u64,
    /// Those that the origin answered.
    pub forwarded: u64,
    /// Those that the proxy answered itself.
    pub own: u64,
}

/// How long half of the requests took at most, and 99 of 100, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// All requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Totals {
    /// By who answered them.
    #[serde(flatten)]
    pub answered: Answered,
    /// Those whose answer had a status of 500 or more.
    pub errors: u64,
    /// Bytes of body sent.
    pub bytes: u64,
    /// Those that shared the fetch of another one.
    pub collapsed: u64,
    /// What hits spared the origin.
    pub origin_saved_seconds: f64,
}

/// The requests of one rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Its name; nothing for what no rule matched.
    pub name: Option<String>,
    /// `300s`, `origin` or `off`: whose word a lifetime is; `300s, in shadow` for a rule that answers nothing.
    pub cache: String,
    /// By who answered them.
    #[serde(flatten)]
    pub answered: Answered,
    /// Hits by all; nothing, without any.
    pub hit_ratio: Option<f64>,
    /// Those that would have been hits, were the rule not in shadow.
    pub would_hit: u64,
    /// Bytes of body sent.
    pub bytes: u64,
    /// How long hits took.
    pub hit_ms: Option<Quantiles>,
    /// How long forwarded requests took.
    pub forwarded_ms: Option<Quantiles>,
    /// What hits spared the origin.
    pub origin_saved_seconds: f64,
    /// How often each cause was told, by its word; and what the proxy answered itself, by the word of the outcome.
    pub details: BTreeMap<String, u64>,
    /// In the last ten minutes.
    pub recent: Recent,
}

/// The requests of one rule in the window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Recent {
    /// All of them.
    pub requests: u64,
    /// Those that the store answered.
    pub hits: u64,
    /// Those that the origin answered.
    pub forwarded: u64,
    /// Hits by all; nothing, without any.
    pub hit_ratio: Option<f64>,
}

/// The tiers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Store {
    /// Of this process.
    pub memory: Memory,
    /// What all share, if they do.
    pub redis: Option<Redis>,
}

/// The memory tier.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// URLs with stored responses.
    pub resources: u64,
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub budget_bytes: u64,
}

/// The Redis tier.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Redis {
    /// Whether it answers.
    pub up: bool,
    /// Whether it tells what changes.
    pub tracked: bool,
    /// Whether it is spared after failures.
    pub breaker: Breaker,
    /// Look-ups that found the response.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Look-ups answered with an error, or not made.
    pub errors: u64,
    /// Look-ups not answered in time.
    pub timeouts: u64,
    /// Responses that it did not take.
    pub dropped_writes: u64,
}

/// Of either side: `closed` when all is well, `open` when nothing is sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Breaker {
    /// For look-ups.
    pub read: Circuit,
    /// For what is stored.
    pub write: Circuit,
}

/// A breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Circuit {
    /// All goes through.
    Closed,
    /// Nothing does, but now and then one to see.
    Open,
}

/// Connections to the origin.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// With a request on them.
    pub busy: u64,
    /// Without.
    pub idle: u64,
    /// Requests that wait for one.
    pub queued: u64,
}

/// What is asked for most, and what has to be fetched most, in the last five to ten minutes. Of a URL's query it only
/// says that there is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resources {
    /// Since when was counted.
    pub since: String,
    /// At most 20, the most requests first.
    pub hottest: Vec<Hot>,
    /// At most 20, the most requests first.
    pub misses: Vec<Miss>,
}

/// What requests may ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    /// Scheme, host, path, and `?…` for a query; before that with `…` at its end if it is cut.
    pub url: String,
    /// Name and value of what a trusted proxy says that makes it another resource.
    pub headers: Vec<(String, String)>,
    /// The rule that matched.
    pub rule: Option<String>,
}

/// What is asked for. Of many hits one in some is counted, for all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hot {
    /// What.
    #[serde(flatten)]
    pub resource: Resource,
    /// Requests.
    pub requests: u64,
    /// Those that the store answered.
    pub hits: u64,
}

/// What was not answered from the store, for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Miss {
    /// What.
    #[serde(flatten)]
    pub resource: Resource,
    /// Requests.
    pub forwarded: u64,
    /// The word for what became of them.
    pub outcome: String,
    /// The word for the cause, where there is one.
    pub detail: Option<String>,
    /// When the last of them was done.
    pub last: String,
}
