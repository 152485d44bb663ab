//! What the sidecar says about itself: lines for people, numbers for machines.

pub mod access;
pub mod counts;
pub mod exposition;
mod harmless;
pub mod log;
pub mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
pub mod resources;
mod rule_metrics;
pub mod snapshot;
pub mod window;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::observe::{Exchange, Observer};
use access::AccessLog;
use metrics::Metrics;

/// Counts every exchange, where anybody can read the numbers, writes the access line of those that get one, and tells
/// who else wants to know.
pub struct Telemetry {
    metrics: Option<Arc<Metrics>>,
    access: ArcSwap<AccessLog>,
    beside: Option<Arc<dyn Observer>>,
}

impl Telemetry {
    /// Counts here, and logs as this says.
    #[must_use]
    pub fn new(metrics: Option<Arc<Metrics>>, access: AccessLog) -> Self {
        Self { metrics, access: ArcSwap::from_pointee(access), beside: None }
    }

    /// Tells this one too.
    #[must_use]
    pub fn beside(self, other: Option<Arc<dyn Observer>>) -> Self {
        Self { beside: other, ..self }
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
        if access::is_on() {
            self.access.load().tell(exchange);
        }
        if let Some(other) = &self.beside {
            other.observe(exchange);
        }
    }
}
