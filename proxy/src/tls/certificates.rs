//! Certificates and their keys, as the files hold them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;

use super::reload::Reloads;
use crate::{address::TlsPair, reload::read};

/// How long before its end a certificate should have been renewed: most are a month before.
const LATE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

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

    /// Which of those that are presented clients refuse because of their dates, or soon will.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let keys = self.keys.load();
        let said = self.pairs.iter().zip(keys.iter()).filter_map(|(pair, key)| {
            let untimely = untimely(key, now)?;
            Some(format!("tls: {}: {untimely}", pair.cert.display()))
        });
        said.collect()
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

/// What is wrong with the time of a certificate, or will be within [`LATE`].
fn untimely(key: &CertifiedKey, now: SystemTime) -> Option<String> {
    let date = |time: UnixTime| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.as_secs()));
    match untimely_at(key, now).or_else(|| untimely_at(key, now + LATE).filter(is_expiry))? {
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("is valid only from {} on: clients refuse it until then", date(not_before)))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let end = UNIX_EPOCH + Duration::from_secs(not_after.as_secs());
            Some(match end < now {
                true => format!("has expired on {}: clients refuse it, renew it", date(not_after)),
                false => format!("expires on {}: renew it", date(not_after)),
            })
        }
        _ => None,
    }
}

fn is_expiry(error: &CertificateError) -> bool {
    matches!(error, CertificateError::ExpiredContext { .. })
}

/// What a client would find wrong with it at that time, if that is what it finds first. Dates are looked at before
/// anything else, so it matters not that nobody is trusted here.
fn untimely_at(key: &CertifiedKey, time: SystemTime) -> Option<CertificateError> {
    let certificate = ParsedCertificate::try_from(key.end_entity_cert().ok()?).ok()?;
    let time = UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).ok()?);
    let nobody = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], time, &[]) {
        Err(rustls::Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
    .filter(|error| is_expiry(error) || matches!(error, CertificateError::NotValidYetContext { .. }))
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
