//! `sidecache healthcheck`: asks a running sidecar whether it is ready, or runs at all.

use std::{io, time::Duration};

use http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::client::{exchange, said};
use crate::wrap::probe::Address;

/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is read of an answer.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why a sidecar does not count as what was asked.
#[derive(Debug, Error)]
pub enum NotReady {
    /// It says so.
    #[error("{0} answered {1}: {2}")]
    Answered(Address, StatusCode, String),
    /// It cannot be asked.
    #[error(
        "cannot ask {0}: {1}: does a sidecar run with this `admin`? (--admin or SIDECACHE_ADMIN names another)"
    )]
    Unreachable(Address, io::Error),
    /// An app, or whatever else: every sidecar has these paths.
    #[error("{0} answered {1}, but not as a sidecar does: is that its `admin` address?")]
    Stranger(Address, StatusCode),
    /// It does not answer.
    #[error("{0} did not answer within {PATIENCE:?}")]
    Silent(Address),
}

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
pub async fn ask(address: &Address, question: Question) -> Result<(), NotReady> {
    let request = Request::get(question.path()).body(Full::default());
    let request = request.map_err(|error| NotReady::Unreachable(address.clone(), io::Error::other(error)))?;
    match timeout(PATIENCE, exchange(address, request, ANSWER_BYTES)).await {
        Ok(Ok((status, text))) if status.is_success() && question.is_affirmed(&text) => Ok(()),
        Ok(Ok((status, _))) if status.is_success() || status == StatusCode::NOT_FOUND => {
            Err(NotReady::Stranger(address.clone(), status))
        }
        Ok(Ok((status, text))) => Err(NotReady::Answered(address.clone(), status, said(&text))),
        Ok(Err(error)) => Err(NotReady::Unreachable(address.clone(), error)),
        Err(_) => Err(NotReady::Silent(address.clone())),
    }
}
