//! Making a connection: resolve, try the addresses in turn, handshake, all within one time limit.

use std::{future::Future, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    error::FetchError,
    resolve::{Resolver, interleave},
    socket::Stream,
    tls::Tls,
};

/// How long one address is tried before the next is tried beside it (RFC 8305 §8).
const STAGGER: Duration = Duration::from_millis(250);

/// How long a connection is silent before the kernel asks whether the peer still lives, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The way to the origin.
pub(super) enum Route {
    Tcp(Arc<Resolver>),
    Tls(Arc<Resolver>, Tls),
    Unix(PathBuf),
}

impl Route {
    /// Whose addresses are asked for, if the origin has any.
    pub(super) fn resolver(&self) -> Option<&Arc<Resolver>> {
        match self {
            Self::Tcp(resolver) | Self::Tls(resolver, _) => Some(resolver),
            Self::Unix(_) => None,
        }
    }

    /// Connects within `limit`; with the origin's address, if it has one.
    pub(super) async fn connect(
        &self,
        limit: Duration,
    ) -> Result<(Box<dyn Stream>, Option<SocketAddr>), FetchError> {
        let deadline = Instant::now() + limit;
        match self {
            Self::Unix(path) => {
                let connecting = timeout_at(deadline, UnixStream::connect(path)).await;
                let stream = connecting.map_err(|_| FetchError::ConnectTimeout(limit))?;
                Ok((Box::new(stream.map_err(FetchError::from_connect)?), None))
            }
            Self::Tcp(resolver) => {
                let (stream, peer) = tcp(resolver, deadline, limit).await?;
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Tls(resolver, tls) => {
                let (stream, peer) = tcp(resolver, deadline, limit).await?;
                let shaking = timeout_at(deadline, tls.handshake(stream)).await;
                let stream = shaking.map_err(|_| FetchError::ConnectTimeout(limit))?;
                Ok((Box::new(stream.map_err(FetchError::from_handshake)?), Some(peer)))
            }
        }
    }
}

async fn tcp(
    resolver: &Arc<Resolver>,
    deadline: Instant,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), FetchError> {
    let host = || resolver.host().to_owned();
    let addresses = timeout_at(deadline, resolver.addresses())
        .await
        .map_err(|_| FetchError::DnsTimeout { host: host(), limit })?
        .map_err(|source| FetchError::Dns { host: host(), source })?;
    timeout_at(deadline, race(interleave(&addresses), dial))
        .await
        .map_err(|_| FetchError::ConnectTimeout(limit))?
        .map_err(FetchError::from_connect)
}

async fn dial(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok((stream, address))
}

/// Happy Eyeballs (RFC 8305 §5): the next address is tried when the one before failed or took [`STAGGER`];
/// the first connection wins and the others are dropped.
async fn race<T, F>(addresses: Vec<SocketAddr>, dial: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut untried = addresses.into_iter();
    let mut failure = None;
    loop {
        if let Some(address) = untried.next() {
            attempts.spawn(dial(address));
        }
        let pace = if untried.len() > 0 { STAGGER } else { Duration::MAX };
        match timeout(pace, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = Some(telling(failure, error)),
            Ok(Some(Err(ended))) => failure = Some(telling(failure, io::Error::other(ended))),
            Ok(None) => return Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
            Err(_) => {} // slow: the next is tried beside it
        }
    }
}

/// Of two failures the one that says more: "refused" comes from the origin's machine, the rest from the way.
fn telling(earlier: Option<io::Error>, later: io::Error) -> io::Error {
    match earlier {
        Some(earlier) if later.kind() != io::ErrorKind::ConnectionRefused => earlier,
        _ => later,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_does_not_hold_up_the_next() {
        let start = Instant::now();
        let won = race(addresses(3), |address| async move {
            let delay = [10_000, 10_000, 30][usize::from(address.port() - 1)];
            sleep(Duration::from_millis(delay)).await;
            Ok(address.port())
        });
        assert_eq!(won.await.unwrap(), 3);
        assert_eq!(start.elapsed(), STAGGER * 2 + Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_address_makes_way_at_once() {
        let start = Instant::now();
        let won = race(addresses(2), |address| async move {
            if address.port() == 1 {
                Err(io::ErrorKind::ConnectionRefused.into())
            } else {
                Ok(address.port())
            }
        });
        assert_eq!(won.await.unwrap(), 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_address_may_still_win() {
        let won = race(addresses(2), |address| async move {
            sleep(Duration::from_millis([300, 10_000][usize::from(address.port() - 1)])).await;
            Ok(address.port())
        });
        assert_eq!(won.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_failed_is_told_by_the_clearest() {
        let failed = race(addresses(3), |address| async move {
            let kinds = [
                io::ErrorKind::NetworkUnreachable,
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::NetworkUnreachable,
            ];
            Err::<(), _>(io::Error::from(kinds[usize::from(address.port() - 1)]))
        });
        assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(Vec::new(), |_| async { Ok(()) }).await.is_err());
    }
}
