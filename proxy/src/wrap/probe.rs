//! The smallest client: does something answer there? For the app that is being waited for, and for
//! `sidecache healthcheck`.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
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
            Listen::Tcp(address) => address,
        };
        let host = match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::Tcp { host: host.to_string(), port: address.port() }
    }
}

impl From<&UpstreamUrl> for Address {
    fn from(upstream: &UpstreamUrl) -> Self {
        match upstream {
            UpstreamUrl::Http { host, port } | UpstreamUrl::Https { host, port } => {
                Self::Tcp { host: host.clone(), port: *port }
            }
            UpstreamUrl::Unix(path) => Self::Unix(path.clone()),
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
    let stream = connect(address).await?;
    let host = match address {
        Address::Tcp { .. } => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("sidecache/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends by itself once `send` and the response are dropped.
    tokio::spawn(connection);
    send.send_request(request).await.map(|response| response.status()).map_err(io::Error::other)
}
