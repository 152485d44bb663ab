//! TLS to the origin: the machine's roots, verification always on, one protocol by ALPN.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::error::SetupError;

/// Which authorities may vouch for the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    #[default]
    Native,
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
}

impl Roots {
    fn load(self) -> Result<RootCertStore, SetupError> {
        let certificates = match self {
            Self::Only(certificates) => certificates,
            Self::Native => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::warn!(%error, "a root certificate cannot be read");
                }
                found.certs
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() { Err(SetupError::NoRoots) } else { Ok(roots) }
    }
}

/// Makes TLS sessions to one origin.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    protocol: &'static [u8],
}

impl Tls {
    /// For sessions in which `protocol` is spoken (RFC 7301).
    pub(super) fn new(host: &str, roots: Roots, protocol: &'static [u8]) -> Result<Self, SetupError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| SetupError::ServerName(host.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.load()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, protocol })
    }

    pub(super) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        match stream.get_ref().1.alpn_protocol() {
            // Most of those who speak HTTP/1 have never heard of anything else.
            None if self.protocol == b"http/1.1" => Ok(stream),
            Some(agreed) if agreed == self.protocol => Ok(stream),
            _ => Err(io::Error::other("the origin does not agree to speak HTTP/2")),
        }
    }
}
