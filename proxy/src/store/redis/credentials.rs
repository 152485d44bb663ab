//! What lets us in: user, password and certificates. What is in files is read for each connection, so
//! that it may be replaced while we run.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, io::tcp::TcpSettings,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use thiserror::Error;

use crate::address::{RedisLogin, RedisTls};

/// Bytes of a file that is read.
const MOST: u64 = 1 << 20;

/// Why a file is of no use. Says nothing of what is in it.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct FileError {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// As whom to come, and over what.
#[derive(Clone)]
pub(super) struct Credentials {
    /// User, password and database as far as they are in no file.
    redis: RedisConnectionInfo,
    password_file: Option<PathBuf>,
    tls: Option<RedisTls>,
}

/// What was read of them.
pub(super) struct Secrets {
    redis: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

impl Credentials {
    pub(super) fn new(redis: RedisConnectionInfo, login: &RedisLogin, tls: Option<RedisTls>) -> Self {
        let redis = match &login.user {
            Some(user) => redis.set_username(user),
            None => redis,
        };
        Self { redis, password_file: login.password_file.clone(), tls }
    }

    /// Whether it is TLS that is spoken.
    pub(super) fn are_over_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads the files.
    pub(super) fn read(&self) -> Result<Secrets, FileError> {
        let redis = self.redis.clone();
        let redis = match &self.password_file {
            Some(path) => redis.set_password(password(path)?),
            None => redis,
        };
        let certificates = self.tls.as_ref().map(certificates).transpose()?;
        Ok(Secrets { redis, certificates })
    }

    /// The same, without holding up whoever else is served.
    pub(super) async fn fetch(&self) -> RedisResult<Secrets> {
        let credentials = self.clone();
        // Files may be on a disk that is slow.
        let read = tokio::task::spawn_blocking(move || credentials.read()).await;
        read.map_err(io::Error::other)?.map_err(|error| RedisError::from(io::Error::other(error)))
    }
}

impl Secrets {
    /// With these, to there.
    pub(super) fn client(
        &self,
        address: ConnectionAddr,
        protocol: ProtocolVersion,
        tcp: TcpSettings,
    ) -> RedisResult<Client> {
        let redis = self.redis.clone().set_protocol(protocol);
        let info: ConnectionInfo = address.into_connection_info()?;
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }
}

fn password(path: &Path) -> Result<String, FileError> {
    let wrong = |reason: &str| FileError { path: path.to_owned(), reason: reason.to_owned() };
    let text = String::from_utf8(bytes(path)?).map_err(|_| wrong("is not UTF-8"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(wrong("is empty")),
        password => Ok(password.to_owned()),
    }
}

fn certificates(tls: &RedisTls) -> Result<TlsCertificates, FileError> {
    let root_cert = tls.ca.as_deref().map(chain).transpose()?;
    let client_tls = match &tls.identity {
        Some((certificate, key)) => {
            Some(ClientTlsConfig { client_cert: chain(certificate)?, client_key: private_key(key)? })
        }
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

/// Of which there is one at least: with none, every server would be a stranger.
fn chain(path: &Path) -> Result<Vec<u8>, FileError> {
    let pem = bytes(path)?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_)) => Ok(pem),
        _ => Err(FileError { path: path.to_owned(), reason: "holds no certificate in PEM form".to_owned() }),
    }
}

fn private_key(path: &Path) -> Result<Vec<u8>, FileError> {
    let pem = bytes(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => {
            Err(FileError { path: path.to_owned(), reason: "holds no private key in PEM form".to_owned() })
        }
    }
}

/// What is in a file, up to a limit.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map(|_| bytes)
        .map_err(|error| FileError { path: path.to_owned(), reason: format!("cannot be read: {error}") })
}
