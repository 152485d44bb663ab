//! `sidecache healthcheck`: asks a running sidecar whether it is ready, or runs at all.

use std::{io, time::Duration};

use http::StatusCode;
use thiserror::Error;
use tokio::time::timeout;

use crate::{address::Listen, wrap::probe};

/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a sidecar does not count as what was asked.
#[derive(Debug, Error)]
pub enum NotReady {
    /// It says so.
    #[error("{0} answered {1}")]
    Answered(Listen, StatusCode),
    /// It cannot be asked.
    #[error(
        "cannot ask {0}: {1}: does a sidecar run with this `admin`? (--admin or SIDECACHE_ADMIN names another)"
    )]
    Unreachable(Listen, io::Error),
    /// It does not answer.
    #[error("{0} did not answer within {PATIENCE:?}")]
    Silent(Listen),
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
}

/// Asks the sidecar whose admin listener is `address`.
///
/// # Errors
/// It is not so, or the sidecar cannot be asked.
pub async fn ask(address: &Listen, question: Question) -> Result<(), NotReady> {
    let asked = timeout(PATIENCE, probe::get(&address.into(), question.path())).await;
    match asked {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(NotReady::Answered(address.clone(), status)),
        Ok(Err(error)) => Err(NotReady::Unreachable(address.clone(), error)),
        Err(_) => Err(NotReady::Silent(address.clone())),
    }
}
