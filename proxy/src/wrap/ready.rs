//! Waiting until the app answers.

use std::{io, time::Duration};

use http::StatusCode;
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Ended,
    probe::{self, Address},
};

/// The first wait between two attempts; each further one is half as long again.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// An attempt that hangs is given up after this, so that a later one can succeed.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The app takes connections.
    Connect(Address),
    /// The app answers `GET path` with 2xx or 3xx.
    Get {
        /// Where.
        address: Address,
        /// The path, with its query if there is one.
        path: String,
    },
}

impl Probe {
    fn address(&self) -> &Address {
        match self {
            Self::Connect(address) | Self::Get { address, .. } => address,
        }
    }
}

/// Why the app is not ready.
#[derive(Debug, Error)]
pub enum ReadyError {
    /// It has ended.
    #[error("the app ended with {0} before it was ready")]
    Ended(Ended),
    /// It runs, but did not answer in time.
    #[error("the app did not get ready within {after:?}: {met}: {last}", met = met(.at, .last))]
    Timeout {
        /// Where an answer was waited for.
        at: Address,
        /// How long was waited.
        after: Duration,
        /// What the last attempt met.
        last: io::Error,
    },
}

/// What the last attempt met: nobody, or somebody who does not answer as one that is ready.
fn met(at: &Address, last: &io::Error) -> String {
    match last.kind() {
        io::ErrorKind::Other => format!("what answers at {at} (`upstream`) is not ready"),
        _ => format!("nothing answers at {at} (`upstream`)"),
    }
}

pub(super) async fn wait(probe: &Probe, timeout: Duration) -> Result<(), ReadyError> {
    let deadline = Instant::now() + timeout;
    let mut wait = FIRST_WAIT;
    loop {
        let now = Instant::now();
        let attempt = timeout_at(deadline.min(now + ATTEMPT), attempt(probe));
        let last = match attempt.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(elapsed) => io::Error::new(io::ErrorKind::TimedOut, elapsed),
        };
        let next = Instant::now() + wait;
        if next >= deadline {
            return Err(ReadyError::Timeout { at: probe.address().clone(), after: timeout, last });
        }
        sleep_until(next).await;
        wait = LONGEST_WAIT.min(wait + wait / 2);
    }
}

async fn attempt(probe: &Probe) -> io::Result<()> {
    match probe {
        Probe::Connect(address) => probe::connect(address).await.map(drop),
        Probe::Get { address, path } => match probe::get(address, path).await? {
            status if is_ready(status) => Ok(()),
            status => Err(io::Error::other(format!("GET {path} was answered {status}"))),
        },
    }
}

fn is_ready(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_that_answers_badly_is_not_said_to_be_silent() {
        let told = |last| {
            let at = Address::Tcp { host: "localhost".to_owned(), port: 8000 };
            ReadyError::Timeout { at, after: Duration::from_secs(2), last }.to_string()
        };
        let bad = told(io::Error::other("GET /up was answered 404 Not Found"));
        assert!(bad.ends_with(
            "what answers at localhost:8000 (`upstream`) is not ready: GET /up was answered 404 Not Found"
        ));
        let silent = told(io::ErrorKind::ConnectionRefused.into());
        assert!(silent.contains("nothing answers at localhost:8000 (`upstream`): "), "{silent}");
    }
}
