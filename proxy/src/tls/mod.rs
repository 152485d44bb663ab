//! TLS on the side of the clients (RFC 8446): certificates from files, and one stream for what speaks
//! HTTP over it.

mod certificates;
mod reload;
mod stream;

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

pub use self::{
    certificates::{Certificates, PairError},
    reload::TlsStats,
    stream::{TlsReader, TlsStream, TlsWriter},
};

/// What is spoken over TLS, by its name in ALPN (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [H2, b"http/1.1"];
const H2: &[u8] = b"h2";

/// What client and server have agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: also where the client names nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Makes the server's end of TLS sessions.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// With these certificates, as they are at the time of each handshake.
    ///
    /// # Errors
    /// None that is known: the versions are those that the library has.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates })
    }

    /// What is presented.
    #[must_use]
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Shakes hands. How long that may take is the caller's business.
    ///
    /// # Errors
    /// The client has gone, or will not have us.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<(TlsStream, Protocol)> {
        let stream = TlsStream::accept(&self.acceptor, socket).await?;
        let protocol = if stream.protocol() == Some(H2) { Protocol::Http2 } else { Protocol::Http1 };
        Ok((stream, protocol))
    }
}
