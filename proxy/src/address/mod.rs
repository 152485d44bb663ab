//! Addresses as the file writes them: where we listen, where the app is, where Redis is. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use http::HeaderValue;
use thiserror::Error;

use crate::admit::{Scheme, normalise_authority};

mod redis_access;
mod redis_url;

pub use redis_access::{RedisAccess, RedisLogin, RedisNode, RedisPlace, RedisTls};
pub use redis_url::RedisUrl;

/// Where to accept connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// The same, where clients speak TLS.
    Tls(SocketAddr),
    /// A socket file, by its absolute path.
    Unix(PathBuf),
}

/// The files of a certificate, with its chain, and of its key, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The server's certificate first, then those that lead to an authority.
    pub cert: PathBuf,
    /// The key of the first.
    pub key: PathBuf,
}

/// Where the app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// Over the network.
    Tcp {
        /// What is spoken there.
        protocol: Protocol,
        /// A name in lower case or an IP address, without brackets.
        host: String,
        /// Stated, or the scheme's own.
        port: u16,
    },
    /// Over a socket file, by its absolute path: HTTP/1 in cleartext.
    Unix(PathBuf),
}

/// What an app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1 in cleartext.
    Http,
    /// HTTP/1 over TLS.
    Https,
    /// HTTP/2 in cleartext.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::H2c, Self::H2];

    /// As a URL begins.
    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        }
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Http | Self::H2c => Scheme::Http,
            Self::Https | Self::H2 => Scheme::Https,
        }
    }

    /// Whether it is HTTP/2.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}

/// Why a text is no such address, and what to write instead. Neither repeats the text, which may
/// hold a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}: {advice}")]
pub struct AddressError {
    /// What is wrong.
    pub what: &'static str,
    /// What to write.
    pub advice: String,
}

impl AddressError {
    fn new(what: &'static str, advice: impl Into<String>) -> Self {
        Self { what, advice: advice.into() }
    }
}

impl Listen {
    /// Reads `address:port`, `[::]:port`, the same behind `tls://`, or `unix:/path`.
    ///
    /// # Errors
    /// Names too: which address a name stands for may change, a listener may not.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix);
        }
        if let Some(address) = text.strip_prefix("tls://") {
            return address.parse().map(Self::Tls).map_err(|_| {
                let AddressError { what, advice } = Self::explain(address);
                AddressError { what, advice: format!("{advice}, behind tls://") }
            });
        }
        text.parse().map(Self::Tcp).map_err(|_| Self::explain(text))
    }

    /// Its address and port, unless it is a socket file.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether the system lets only one of the two be there: they are one socket file, or one port of
    /// addresses of which one is the other or stands for all of its kind.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        match (self.socket_address(), other.socket_address()) {
            (Some(one), Some(other)) => {
                let (ours, theirs) = (one.ip(), other.ip());
                let either = ours.is_unspecified() || theirs.is_unspecified();
                let meet = ours == theirs || (either && ours.is_ipv4() == theirs.is_ipv4());
                one.port() != 0 && one.port() == other.port() && meet
            }
            _ => self == other,
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether a connection to `upstream` would arrive here, as far as that shows without a
    /// look-up.
    #[must_use]
    pub fn accepts(&self, upstream: &UpstreamUrl) -> bool {
        match (self, upstream) {
            (Self::Unix(ours), UpstreamUrl::Unix(theirs)) => ours == theirs,
            (Self::Tcp(ours) | Self::Tls(ours), UpstreamUrl::Tcp { host, port, .. }) => {
                let address =
                    if host == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() };
                let reaches =
                    |ip: IpAddr| ip == ours.ip() || (ours.ip().is_unspecified() && ip.is_loopback());
                ours.port() == *port && address.is_some_and(reaches)
            }
            _ => false,
        }
    }

    fn explain(text: &str) -> AddressError {
        let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
        let host = text.rsplit_once(':').map_or("", |(host, _)| host);
        if let Some((scheme, _)) = text.split_once("://") {
            let advice = match scheme {
                "https" => "write tls:// before an address and a port, tls://[::]:8443",
                _ => "write an address and a port, 127.0.0.1:8080",
            };
            return AddressError::new("a listener has no such scheme", advice);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return AddressError::new("the port is missing", format!("write {}", SocketAddr::new(ip, 8080)));
        }
        if port.parse::<u16>().is_err() {
            return AddressError::new(
                "not an address with a port",
                "write 127.0.0.1:8080, [::]:8080 or unix:/path",
            );
        }
        match host {
            "localhost" => {
                AddressError::new("a listener needs an IP address", format!("write 127.0.0.1:{port}"))
            }
            "" | "*" => AddressError::new(
                "the address is missing",
                format!("write 127.0.0.1:{port} for this machine only, [::]:{port} for everybody"),
            ),
            _ => AddressError::new(
                "a listener needs an IP address",
                format!("write 127.0.0.1:{port} or [::]:{port}"),
            ),
        }
    }
}

impl UpstreamUrl {
    /// Its authority as a `Host` field; a socket file has none of its own.
    #[must_use]
    pub fn host_field(&self) -> HeaderValue {
        let text = match self {
            Self::Tcp { protocol, host, port } => authority(host, *port, protocol.scheme()),
            Self::Unix(_) => "localhost".to_owned(),
        };
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
    }

    /// Reads `http://host[:port]`, `https://host[:port]`, the same with `h2c` or `h2`, or `unix:/path`.
    ///
    /// # Errors
    /// A path, query or user info too: requests reach the app as they came.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| Self::explain_scheme(text))?;
        let is_meant = |protocol: &Protocol| protocol.word().eq_ignore_ascii_case(scheme);
        let protocol = Protocol::ALL.into_iter().find(is_meant).ok_or_else(|| Self::explain_scheme(""))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(AddressError::new(
                "user and password have no place here",
                "the app sees each client's own",
            ));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(AddressError::new("paths are not rewritten", "write scheme, host and port only"));
        }
        let (host, port) = host_and_port(authority, protocol.scheme()).ok_or_else(|| {
            AddressError::new("not a host with an optional port", "write http://127.0.0.1:8000")
        })?;
        Ok(Self::Tcp { protocol, host, port })
    }

    fn explain_scheme(text: &str) -> AddressError {
        if !text.contains("://") && host_and_port(text, Scheme::Http).is_some() {
            return AddressError::new("the scheme is missing", format!("write http://{text}"));
        }
        AddressError::new(
            "not the URL of an app",
            "write http://app:8000, https://app:443, h2c://app:50051, h2://app:443 or unix:/path",
        )
    }
}

/// The host without brackets, the port or the scheme's own.
fn host_and_port(text: &str, scheme: Scheme) -> Option<(String, u16)> {
    let authority = normalise_authority(text.as_bytes(), scheme)?;
    let (host, port) = match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok().filter(|&port| port != 0)?),
        None => (authority.as_str(), scheme.default_port()),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((bare.to_owned(), port))
}

/// The longest path a socket address holds on every system we know, in bytes.
const MAX_SOCKET_PATH: usize = 103;

fn socket_path(path: &str) -> Result<PathBuf, AddressError> {
    let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if !path.starts_with('/') || path.len() == 1 {
        return Err(AddressError::new("a socket needs its absolute path", "write unix:/run/app.sock"));
    }
    if path.len() > MAX_SOCKET_PATH || path.contains('\0') {
        let advice = format!("at most {MAX_SOCKET_PATH} bytes");
        return Err(AddressError::new("the system cannot hold such a long socket path", advice));
    }
    Ok(path.into())
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { protocol, host, port } if host.contains(':') => {
                write!(f, "{}://[{host}]:{port}", protocol.word())
            }
            Self::Tcp { protocol, host, port } => write!(f, "{}://{host}:{port}", protocol.word()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `host[:port]`, an address of IPv6 in brackets, the scheme's own port left out.
fn authority(host: &str, port: u16, scheme: Scheme) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == scheme.default_port() { host } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listeners() {
        for text in ["127.0.0.1:8080", "[::]:80", "unix:/run/s.sock", "127.0.0.1:0", "tls://[::]:8443"] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), text);
        }
        for (text, advice) in [
            ("localhost:80", "write 127.0.0.1:80"),
            (":8080", "write 127.0.0.1:8080 for this machine only, [::]:8080 for everybody"),
            ("8080", "write 127.0.0.1:8080 for this machine only, [::]:8080 for everybody"),
            ("10.0.0.1", "write 10.0.0.1:8080"),
            ("::1", "write [::1]:8080"),
            ("http://127.0.0.1:80", "write an address and a port, 127.0.0.1:8080"),
            ("https://[::]:443", "write tls:// before an address and a port, tls://[::]:8443"),
            ("tls://localhost:443", "write 127.0.0.1:443, behind tls://"),
            ("127.0.0.1:70000", "write 127.0.0.1:8080, [::]:8080 or unix:/path"),
            ("unix:run/s", "write unix:/run/app.sock"),
        ] {
            assert_eq!(Listen::parse(text).unwrap_err().advice, advice, "{text}");
        }
    }

    #[test]
    fn upstreams() {
        for (text, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://App.Internal./", "http://app.internal:80"),
            ("https://a_b", "https://a_b:443"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://[::1]", "http://[::1]:80"),
            ("H2C://a", "h2c://a:80"),
            ("h2://[::1]", "h2://[::1]:443"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(UpstreamUrl::parse(text).unwrap().to_string(), shown);
        }
        for (text, what) in [
            ("localhost:8000", "the scheme is missing"),
            ("http://u:p@a", "user and password have no place here"),
            ("http://a/api", "paths are not rewritten"),
            ("http://a/?x", "paths are not rewritten"),
            ("http://a:99999", "not a host with an optional port"),
            ("http://a:0", "not a host with an optional port"),
            ("http://", "not a host with an optional port"),
            ("ftp://a", "not the URL of an app"),
            ("", "not the URL of an app"),
        ] {
            assert_eq!(UpstreamUrl::parse(text).unwrap_err().what, what, "{text}");
        }
    }

    #[test]
    fn a_listener_knows_an_upstream_that_is_itself() {
        let accepts = |listen: &str, upstream: &str| {
            Listen::parse(listen).unwrap().accepts(&UpstreamUrl::parse(upstream).unwrap())
        };
        assert!(accepts("127.0.0.1:80", "http://127.0.0.1"));
        assert!(accepts("127.0.0.1:80", "http://localhost"));
        assert!(accepts("[::]:80", "http://localhost"));
        assert!(accepts("unix:/a", "unix:/a"));
        assert!(!accepts("127.0.0.1:81", "http://127.0.0.1"));
        assert!(!accepts("127.0.0.1:80", "http://10.0.0.1"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_is_shown_parses_again(text in "(http://|tls://|h2c://|h2://|unix:|rediss?://|)?.{0,30}") {
            if let Ok(listen) = Listen::parse(&text) {
                prop_assert_eq!(Listen::parse(&listen.to_string()), Ok(listen));
            }
            if let Ok(upstream) = UpstreamUrl::parse(&text) {
                prop_assert_eq!(UpstreamUrl::parse(&upstream.to_string()), Ok(upstream));
            }
            let _ = RedisUrl::parse(&text);
        }
    }
}
