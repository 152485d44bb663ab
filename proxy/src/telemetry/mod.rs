//! What the sidecar says about itself: lines for people, numbers for machines.

pub mod log;
pub mod metrics;
mod rule_metrics;
pub mod snapshot;

use std::sync::Arc;

use crate::observe::{Exchange, Observer};
use metrics::Metrics;

/// Counts every exchange and writes its access line.
pub struct Telemetry(pub Arc<Metrics>);

impl Observer for Telemetry {
    fn observe(&self, exchange: &Exchange<'_>) {
        self.0.count(exchange);
        log::access(exchange);
    }
}
