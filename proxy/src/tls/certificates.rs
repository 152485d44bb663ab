//! Certificates and their keys, as the files hold them.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;

use super::reload::Reloads;
use crate::{address::TlsPair, reload::read};

/// Why a certificate and its key are of no use. Says nothing of what the files hold.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct PairError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl PairError {
    fn new(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

/// What is presented to clients: of all pairs the first that is for the name which the client asks for
/// (SNI, RFC 6066 §3), else the first.
pub struct Certificates {
    pairs: Vec<TlsPair>,
    keys: ArcSwap<Vec<Arc<CertifiedKey>>>,
    pub(super) reloads: Reloads,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// The first pair that is not right.
    pub fn load(pairs: Vec<TlsPair>) -> Result<Self, PairError> {
        let contents = contents(&pairs)?;
        let keys = ArcSwap::from_pointee(keys(&pairs, &contents)?);
        Ok(Self { pairs, keys, reloads: Reloads::of(contents) })
    }

    /// What the files hold now.
    pub(super) fn contents(&self) -> Result<Vec<Contents>, PairError> {
        contents(&self.pairs)
    }

    /// Presents these from now on: all of them, or none.
    pub(super) fn replace(&self, contents: &[Contents]) -> Result<(), PairError> {
        self.keys.store(Arc::new(keys(&self.pairs, contents)?));
        Ok(())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| keys.iter().find(|key| is_for(key, &name)));
        named.or(keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// The two files of a pair.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    certificate: String,
    key: String,
}

fn contents(pairs: &[TlsPair]) -> Result<Vec<Contents>, PairError> {
    let text =
        |path: &PathBuf| read(path).map_err(|error| PairError::new(path, format!("cannot be read: {error}")));
    pairs.iter().map(|pair| Ok(Contents { certificate: text(&pair.cert)?, key: text(&pair.key)? })).collect()
}

fn keys(pairs: &[TlsPair], contents: &[Contents]) -> Result<Vec<Arc<CertifiedKey>>, PairError> {
    pairs.iter().zip(contents).map(|(pair, contents)| key(pair, contents).map(Arc::new)).collect()
}

fn key(pair: &TlsPair, contents: &Contents) -> Result<CertifiedKey, PairError> {
    let chain =
        CertificateDer::pem_slice_iter(contents.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| PairError::new(&pair.cert, "holds no certificate in PEM form"))?;
    let key = PrivateKeyDer::from_pem_slice(contents.key.as_bytes());
    let key = key.map_err(|_| {
        let reason = match contents.key.contains("ENCRYPTED") {
            true => "is encrypted: write it without a passphrase (openssl pkey -in … -out …)",
            false => "holds no private key in PEM form",
        };
        PairError::new(&pair.key, reason)
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        let reason = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("is not for the key beside it, {}", pair.key.display())
            }
            error => format!("cannot be used with the key beside it: {error}"),
        };
        PairError::new(&pair.cert, reason)
    })
}
