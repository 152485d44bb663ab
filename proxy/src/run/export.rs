//! What is exported beside log and metrics: spans, in builds that can.

use std::sync::Arc;

use super::RunError;
use crate::observe::Observer;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;

/// Whoever exports, if anybody does.
pub(super) struct Export {
    #[cfg(feature = "otel")]
    spans: Option<Arc<Spans>>,
}

#[cfg(feature = "otel")]
impl Export {
    /// Begins, if the environment says where to.
    pub(super) fn start() -> Result<Self, RunError> {
        Ok(Self { spans: Spans::start()? })
    }

    /// Who is to be told of every exchange.
    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.spans.clone().map(|spans| spans as _)
    }

    /// Sends what is left.
    pub(super) async fn finish(self) {
        if let Some(spans) = self.spans {
            spans.finish().await;
        }
    }
}

#[cfg(not(feature = "otel"))]
impl Export {
    pub(super) fn start() -> Result<Self, RunError> {
        Ok(Self {})
    }

    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        None
    }

    pub(super) async fn finish(self) {}
}
