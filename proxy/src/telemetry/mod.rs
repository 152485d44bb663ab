//! What the sidecar says about itself: lines for people, numbers for machines.

pub mod access;
pub mod counts;
pub mod exposition;
pub mod log;
pub mod metrics;
pub mod resources;
mod rule_metrics;
pub mod snapshot;
pub mod window;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::observe::{Exchange, Observer};
use access::AccessLog;
use metrics::Metrics;

/// Counts every exchange, where anybody can read the numbers, and writes the access line of those that get one.
pub struct Telemetry {
    metrics: Option<Arc<Metrics>>,
    access: ArcSwap<AccessLog>,
}

impl Telemetry {
    /// Counts here, and logs as this says.
    #[must_use]
    pub fn new(metrics: Option<Arc<Metrics>>, access: AccessLog) -> Self {
        Self { metrics, access: ArcSwap::from_pointee(access) }
    }

    /// Puts an edited `access_log` in force.
    pub fn follow(&self, access: AccessLog) {
        self.access.store(Arc::new(access));
    }
}

impl Observer for Telemetry {
    fn observe(&self, exchange: &Exchange<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.count(exchange);
        }
        self.access.load().tell(exchange);
    }
}
