//! Which Redis, and how much of a request it may take.

use std::{fmt, path::Path, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use thiserror::Error;

use super::{
    cluster::Seeds,
    credentials::{Credentials, FileError, bytes},
    dialer::Dialer,
    layout::is_prefix,
    sentinels::Sentinels,
};
use crate::{
    address::{RedisAccess, RedisLogin, RedisPlace},
    stored::{Compression, Seal, SealError},
};

/// What a request waits for Redis in all, unless told otherwise.
const BUDGET: Duration = Duration::from_millis(50);

/// Which Redis to use, and how.
#[derive(Clone)]
pub struct Settings {
    pub(super) route: Route,
    pub(super) prefix: String,
    pub(super) budget: Duration,
    pub(super) compression: Compression,
    pub(super) seal: Seal,
}

/// The way to Redis.
#[derive(Clone)]
pub(super) enum Route {
    /// One server at a time has everything.
    One(Dialer),
    /// Nodes of a cluster share it; these tell of all.
    Cluster(Seeds),
}

/// Why there can be no such store. None of these repeats the URL: it may hold a password.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The URL.
    #[error(
        "not the URL of a Redis: redis://, rediss:// or redis+unix:// is expected, with a host or a path"
    )]
    Url,
    /// The prefix.
    #[error("a prefix is 1 to 64 printable characters without blanks, quotes, braces and any of *?[]\\")]
    Prefix,
    /// A password, a certificate or a key.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Settings {
    /// The Redis at `url` (`redis://`, `rediss://`, `redis+unix://`, with user, password and
    /// database as usual), in which every key begins with `prefix`.
    ///
    /// # Errors
    /// [`SettingsError`], for a URL or a prefix that is none.
    pub fn new(url: &str, prefix: &str) -> Result<Self, SettingsError> {
        let (address, redis) = parts(url)?;
        let credentials = Credentials::new(redis, &RedisLogin::default(), None);
        Self::with(Route::One(Dialer::to(address, credentials)), prefix)
    }

    /// That Redis, in which every key begins with `prefix`.
    ///
    /// # Errors
    /// [`SettingsError`], for a prefix that is none, or a file that cannot be used now.
    pub fn of(access: &RedisAccess, prefix: &str) -> Result<Self, SettingsError> {
        let RedisAccess { place, login, database, tls } = access;
        let numbered = |redis: RedisConnectionInfo| match database {
            Some(number) => redis.set_db((*number).into()),
            None => redis,
        };
        let none = RedisConnectionInfo::default;
        let route = match place {
            RedisPlace::Server(url) => {
                let (address, redis) = parts(url.expose())?;
                Route::One(Dialer::to(address, Credentials::new(numbered(redis), login, tls.clone())))
            }
            RedisPlace::Sentinels { nodes, master, login: theirs } => {
                let asked = Credentials::new(none(), theirs, tls.clone());
                let sentinels = Sentinels::new(nodes.clone(), master.clone(), asked);
                let credentials = Credentials::new(numbered(none()), login, tls.clone());
                Route::One(Dialer::by(sentinels, credentials))
            }
            RedisPlace::Cluster { nodes } => {
                Route::Cluster(Seeds::new(nodes, Credentials::new(none(), login, tls.clone())))
            }
        };
        match &route {
            Route::One(dialer) => dialer.check()?,
            Route::Cluster(seeds) => seeds.check()?,
        }
        Self::with(route, prefix)
    }

    fn with(route: Route, prefix: &str) -> Result<Self, SettingsError> {
        if !is_prefix(prefix) {
            return Err(SettingsError::Prefix);
        }
        let (compression, seal) = (Compression::Off, Seal::default());
        Ok(Self { route, prefix: prefix.to_owned(), budget: BUDGET, compression, seal })
    }

    /// The same, with another share of each request; 50 ms by default.
    #[must_use]
    pub fn with_budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    /// The same, with bodies packed or not; what others have written is read in any case.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// The same, with entries proven by codes that are made with the keys in this file, and no others believed.
    /// It is read now, and not again.
    ///
    /// # Errors
    /// [`SettingsError::File`], if there are no keys in it.
    pub fn with_keys(self, path: &Path) -> Result<Self, SettingsError> {
        let wrong = |error: SealError| FileError { path: path.to_owned(), reason: error.to_string() };
        let seal = Seal::with_keys(&bytes(path)?).map_err(wrong)?;
        Ok(Self { seal, ..self })
    }

    /// Where it is, without user and password.
    pub(super) fn address(&self) -> String {
        match &self.route {
            Route::One(dialer) => dialer.to_string(),
            Route::Cluster(seeds) => seeds.to_string(),
        }
    }
}

/// Where it is, and how it is to be spoken to.
fn parts(url: &str) -> Result<(ConnectionAddr, RedisConnectionInfo), SettingsError> {
    let given = url.into_connection_info().map_err(|_| SettingsError::Url)?;
    Ok((given.addr().clone(), given.redis_settings().clone()))
}

/// Makes aws-lc-rs the TLS of this process, unless one has been chosen already. To be called before
/// the first `rediss://`; [`RedisStore::start`](super::RedisStore::start) does.
pub fn install_crypto_provider() {
    // An error only says that there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address())
            .field("prefix", &self.prefix)
            .field("budget", &self.budget)
            .field("compression", &self.compression)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_shows_nowhere() {
        for url in ["redis://me:canary@h:1/2", "rediss://:canary@h", "redis+unix:///s.sock?pass=canary"] {
            let shown = format!("{:?}", Settings::new(url, "app").unwrap());
            assert!(!shown.contains("canary"), "{shown}");
        }
        for url in ["redis://me:canary@h:99999", "http://:canary@h", "canary", "redis://:canary@h/x"] {
            let error = Settings::new(url, "app").unwrap_err();
            assert!(matches!(error, SettingsError::Url));
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_prefix_cannot_break_the_layout() {
        for bad in ["", "a b", "a{b", "a*", "ä", "a\nb", &"x".repeat(65)] {
            let error = Settings::new("redis://h", bad).unwrap_err();
            assert!(matches!(error, SettingsError::Prefix), "{bad:?}");
        }
        Settings::new("redis://h", "shop:eu-1.prod").unwrap();
    }
}
