//! `sidecache healthcheck`: asks a running sidecar whether it is ready, or runs at all.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::client::{AskFailed, Client, said};
use crate::wrap::probe::Address;

/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is read of an answer.
const ANSWER_BYTES: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it runs.
    Live,
    /// Whether requests should come to it.
    Ready,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
        }
    }

    /// Whether a sidecar says so, and not an app that answers everything.
    fn is_affirmed(self, answer: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Answer {
            status: String,
        }
        match self {
            Self::Live => answer.trim_ascii() == b"live",
            Self::Ready => serde_json::from_slice(answer)
                .is_ok_and(|Answer { status }| matches!(status.as_str(), "ready" | "degraded")),
        }
    }
}

/// Asks the sidecar whose admin listener is `address`.
///
/// # Errors
/// It is not so, or the sidecar cannot be asked.
pub async fn ask(address: &Address, question: Question) -> Result<(), AskFailed> {
    let (status, text) = Client::new(address, PATIENCE).get(question.path(), ANSWER_BYTES).await?;
    match status.is_success() {
        true if question.is_affirmed(&text) => Ok(()),
        // An app, or whatever else: every sidecar has these paths.
        _ if status.is_success() || status == StatusCode::NOT_FOUND => {
            Err(AskFailed::Stranger(address.clone(), status))
        }
        _ => Err(AskFailed::Answered(address.clone(), status, said(&text))),
    }
}
