//! Certificates: an authority, what it has signed, and clients that believe it.

use std::{fs, net::SocketAddr, ops::Range, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::wire::{Wire, soon};

/// A folder with certificates and keys in it.
pub struct Papers {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), authority }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `file.pem` and `file.key` for these names. What is presented then.
    pub fn issue(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let (certificate, key) = self.signed(names);
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// The same for `a.test`, valid in these years.
    pub fn issue_for(&self, file: &str, years: Range<i32>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn signed(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        (CertificateParams::new(names).unwrap().signed_by(&key, &self.authority).unwrap(), key)
    }

    /// `{ cert: …, key: … }` of what was written so.
    pub fn pair(&self, file: &str) -> String {
        let path = self.path(file);
        format!("{{ cert: {0}.pem, key: {0}.key }}", path.display())
    }

    /// Connects as `name`, offering these protocols.
    pub async fn connect(&self, address: SocketAddr, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.try_connect(address, name, alpn).await.unwrap()
    }

    pub async fn try_connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = soon("a connection", TcpStream::connect(address)).await.unwrap();
        self.shake_hands(tcp, name, alpn).await
    }

    /// The same over a connection that is there.
    pub async fn shake_hands(
        &self,
        tcp: TcpStream,
        name: &str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
    }

    /// A client that has connected.
    pub async fn wire(&self, address: SocketAddr, name: &str) -> Wire {
        Wire::new(self.connect(address, name, &[]).await)
    }
}

/// What the server has shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
