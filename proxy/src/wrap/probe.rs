//! The smallest client: does something answer there, and what? For the app that is being waited for,
//! and for the commands that ask a running sidecar.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::address::{Listen, UpstreamUrl};

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host, by name or address (IPv6 without brackets), and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listener is asked where it listens; one on all addresses by the loopback one.
impl From<&Listen> for Address {
    fn from(listen: &Listen) -> Self {
        let address = match listen {
            Listen::Unix(path) => return Self::Unix(path.clone()),
            Listen::Tcp(address) | Listen::Tls(address) => address,
        };
        Self::Tcp { host: address.ip().to_string(), port: address.port() }.reachable()
    }
}

impl Address {
    /// Where it is to be asked: for all addresses the loopback one.
    #[must_use]
    pub fn reachable(self) -> Self {
        match self {
            Self::Tcp { host, port } => {
                let host = match host.parse() {
                    Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
                    Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.to_string(),
                    _ => host,
                };
                Self::Tcp { host, port }
            }
            unix => unix,
        }
    }
}

impl From<&UpstreamUrl> for Address {
    fn from(upstream: &UpstreamUrl) -> Self {
        match upstream {
            UpstreamUrl::Unix(path) => Self::Unix(path.clone()),
            UpstreamUrl::Tcp { host, port, .. } => Self::Tcp { host: host.clone(), port: *port },
        }
    }
}

/// A connection, of either kind.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects. Waits as long as the system does: the caller sets the limit.
///
/// # Errors
/// As the system gives them.
pub async fn connect(address: &Address) -> io::Result<Box<dyn Connection>> {
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Trying a port where nobody listens may happen to pick that very port as its own, and
            // TCP then connects the socket to itself.
            if stream.local_addr()? == stream.peer_addr()? {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Box::new(stream))
        }
    }
}

/// The status of `GET path`. The body is not read. The caller sets the limit of time.
///
/// # Errors
/// No connection, or no answer that is HTTP.
pub async fn get(address: &Address, path: &str) -> io::Result<StatusCode> {
    let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
    Ok(send(address, request).await?.status())
}

/// The answer to a request, on a connection of its own. Its target is a path; the fields that say from
/// whom and to whom it goes are set here. The caller sets the limit of time.
///
/// # Errors
/// No connection, or no answer that is HTTP.
pub async fn send(address: &Address, mut request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
    let stream = connect(address).await?;
    let host = match address {
        Address::Tcp { .. } => HeaderValue::try_from(address.to_string()).map_err(io::Error::other)?,
        Address::Unix(_) => HeaderValue::from_static("localhost"),
    };
    let agent = HeaderValue::from_static(concat!("sidecache/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().extend([
        (header::HOST, host),
        (header::USER_AGENT, agent),
        (header::CONNECTION, HeaderValue::from_static("close")),
    ]);
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends by itself once `send` and the response are dropped.
    tokio::spawn(connection);
    send.send_request(request).await.map_err(io::Error::other)
}
