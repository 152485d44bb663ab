//! `sidecache healthcheck`: asks a running sidecar whether it is ready, or runs at all.

use std::time::Duration;

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
}

/// Asks the sidecar whose admin listener is `address`.
///
/// # Errors
/// It is not so, or the sidecar cannot be asked.
pub async fn ask(address: &Address, question: Question) -> Result<(), AskFailed> {
    let (status, text) = Client::new(address, PATIENCE).get(question.path(), ANSWER_BYTES).await?;
    match status.is_success() {
        true => Ok(()),
        false => Err(AskFailed::Answered(address.clone(), status, said(&text))),
    }
}
