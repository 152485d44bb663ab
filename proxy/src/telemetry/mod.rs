//! What the sidecar says about itself: lines for people, numbers for machines.

pub mod counts;
pub mod exposition;
pub mod log;
pub mod metrics;
pub mod resources;
mod rule_metrics;
pub mod snapshot;
pub mod window;

use std::sync::Arc;

use crate::observe::{Exchange, Observer};
use metrics::Metrics;

/// Counts every exchange, where anybody can read the numbers, and writes its access line.
pub struct Telemetry(pub Option<Arc<Metrics>>);

impl Observer for Telemetry {
    fn observe(&self, exchange: &Exchange<'_>) {
        if let Some(metrics) = &self.0 {
            metrics.count(exchange);
        }
        log::access(exchange);
    }
}
