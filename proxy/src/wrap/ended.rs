//! How a process ended.

use std::{fmt, process::ExitCode};

use rustix::process::WaitStatus;

/// How the app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By a signal.
    Signalled(u8),
    /// Nobody could tell.
    Unknown,
}

impl Ended {
    /// The status to end with in its place, as shells have it: 128 and the signal's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => signal.saturating_add(128),
            Self::Unknown => 1,
        }
    }
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(ended.code())
    }
}

impl From<WaitStatus> for Ended {
    fn from(status: WaitStatus) -> Self {
        let byte = |number: i32| u8::try_from(number).ok();
        let exited = status.exit_status().and_then(byte).map(Self::Exited);
        exited
            .or_else(|| status.terminating_signal().and_then(byte).map(Self::Signalled))
            .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}
