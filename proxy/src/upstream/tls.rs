//! TLS to the origin: the machine's roots, verification always on, HTTP/1.1 by ALPN.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::error::SetupError;

/// Which authorities may vouch for the origin.
#[derive(Clone, Debug, Default)]
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
}

impl Tls {
    pub(super) fn new(host: &str, roots: Roots) -> Result<Self, SetupError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| SetupError::ServerName(host.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.load()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
