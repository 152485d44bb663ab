//! What the sidecar says about itself: lines for people, numbers for machines.

pub mod log;
pub mod metrics;
pub mod observer;
pub mod rule_metrics;
pub mod snapshot;
