//! `sidecache healthcheck`: asks a running sidecar whether it is ready.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http::StatusCode;
use thiserror::Error;
use tokio::time::timeout;

use super::Address;
use crate::wrap::probe;

/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a sidecar does not count as ready.
#[derive(Debug, Error)]
pub enum NotReady {
    /// It says so.
    #[error("{0} answered {1}")]
    Answered(Address, StatusCode),
    /// It cannot be asked.
    #[error("cannot ask {0}: {1}")]
    Unreachable(Address, io::Error),
    /// It does not answer.
    #[error("{0} did not answer within {PATIENCE:?}")]
    Silent(Address),
}

/// Asks the sidecar whose admin listener is `address`.
///
/// # Errors
/// It is not ready, or cannot be asked.
pub async fn ask(address: &Address) -> Result<(), NotReady> {
    let asked = timeout(PATIENCE, probe::get(&reachable(address), "/readyz")).await;
    match asked {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(NotReady::Answered(address.clone(), status)),
        Ok(Err(error)) => Err(NotReady::Unreachable(address.clone(), error)),
        Err(_) => Err(NotReady::Silent(address.clone())),
    }
}

/// A listener on all addresses is asked by the loopback one, which it knows as its own.
fn reachable(address: &Address) -> probe::Address {
    match address {
        Address::Unix(path) => probe::Address::Unix(path.clone()),
        Address::Tcp(tcp) => probe::Address::Tcp { host: specified(*tcp).to_string(), port: tcp.port() },
    }
}

fn specified(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
