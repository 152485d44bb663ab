//! Which Redis, and how much of a request it may take.

use std::{fmt, time::Duration};

use redis::{Client, IntoConnectionInfo, ProtocolVersion, io::tcp::TcpSettings};
use thiserror::Error;

use super::layout::is_prefix;
use crate::stored::Compression;

/// What a request waits for Redis in all, unless told otherwise.
const BUDGET: Duration = Duration::from_millis(50);

/// How long bytes may stay unacknowledged on a connection before it is given up.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Which Redis to use, and how.
#[derive(Clone)]
pub struct Settings {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) budget: Duration,
    pub(super) compression: Compression,
}

/// Why there can be no such store. None of these repeats the URL: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The URL.
    #[error(
        "not the URL of a Redis: redis://, rediss:// or redis+unix:// is expected, with a host or a path"
    )]
    Url,
    /// The prefix.
    #[error("a prefix is 1 to 64 printable characters without blanks, quotes, braces and any of *?[]\\")]
    Prefix,
}

impl Settings {
    /// The Redis at `url` (`redis://`, `rediss://`, `redis+unix://`, with user, password and
    /// database as usual), in which every key begins with `prefix`.
    ///
    /// # Errors
    /// [`SettingsError`], for a URL or a prefix that is none.
    pub fn new(url: &str, prefix: &str) -> Result<Self, SettingsError> {
        if !is_prefix(prefix) {
            return Err(SettingsError::Prefix);
        }
        let given = url.into_connection_info().map_err(|_| SettingsError::Url)?;
        let redis = given.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = TcpSettings::default().set_nodelay(true);
        // What the other end does not acknowledge for so long is lost, and the connection with it.
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
        let info = given.set_redis_settings(redis).set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|_| SettingsError::Url)?;
        Ok(Self { client, prefix: prefix.to_owned(), budget: BUDGET, compression: Compression::Off })
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

    /// Where it is, without user and password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }
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
            assert_eq!(error, SettingsError::Url);
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn a_prefix_cannot_break_the_layout() {
        for bad in ["", "a b", "a{b", "a*", "ä", "a\nb", &"x".repeat(65)] {
            assert_eq!(Settings::new("redis://h", bad).unwrap_err(), SettingsError::Prefix, "{bad:?}");
        }
        Settings::new("redis://h", "shop:eu-1.prod").unwrap();
    }
}
