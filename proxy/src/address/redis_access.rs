//! Where Redis is, and how to be let in.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{AddressError, RedisUrl, host_and_port};
use crate::admit::Scheme;

/// Where Redis is, and how to be let in. Shown, it leaves out what is secret; files are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAccess {
    /// Where it is.
    pub place: RedisPlace,
    /// As whom to come, where the URL does not say so.
    pub login: RedisLogin,
    /// The number of the database, where the URL does not state one; by default 0.
    pub database: Option<u16>,
    /// Absent: cleartext. Sentinels, and all nodes of a cluster, speak it too.
    pub tls: Option<RedisTls>,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisPlace {
    /// There.
    Server(RedisUrl),
    /// Where the sentinels say.
    Sentinels {
        /// Whom to ask; at least one.
        nodes: Vec<RedisNode>,
        /// By what name they know the master.
        master: String,
        /// As whom to ask them.
        login: RedisLogin,
    },
    /// Where these say: some of the nodes of a cluster, at least one.
    Cluster {
        /// Whom to ask.
        nodes: Vec<RedisNode>,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RedisNode {
    /// A name in lower case or an IP address, without brackets.
    pub host: String,
    /// Stated, or the default of what is there.
    pub port: u16,
}

/// As whom to come. Absent: nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisLogin {
    /// The ACL user; without one it is `default`.
    pub user: Option<String>,
    /// The file that holds the password, read for each connection.
    pub password_file: Option<PathBuf>,
}

/// Files in PEM form, read for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The certificates of the authorities that are believed; absent: the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate with those of its issuers, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl RedisNode {
    /// The port of a sentinel where none is stated.
    pub const SENTINEL_PORT: u16 = 26379;

    /// Reads `host[:port]`.
    ///
    /// # Errors
    /// What is neither.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let digits = |(_, port): (&str, &str)| port.bytes().all(|b| b.is_ascii_digit());
        let stated = !text.ends_with(']') && text.rsplit_once(':').is_some_and(digits);
        if text.ends_with(':') {
            return Err(Self::explain(default_port));
        }
        let whole = if stated { text.to_owned() } else { format!("{text}:{default_port}") };
        let (host, port) = host_and_port(&whole, Scheme::Http).ok_or_else(|| Self::explain(default_port))?;
        Ok(Self { host, port })
    }

    fn explain(default_port: u16) -> AddressError {
        AddressError::new("not a host with an optional port", format!("write host:{default_port}"))
    }
}

impl RedisLogin {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.password_file.is_none()
    }
}

impl From<RedisUrl> for RedisAccess {
    fn from(url: RedisUrl) -> Self {
        let tls = url.is_tls().then(RedisTls::default);
        Self { place: RedisPlace::Server(url), login: RedisLogin::default(), database: None, tls }
    }
}

impl fmt::Display for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(url) => url.fmt(f),
            Self::Sentinels { nodes, master, .. } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "the master {master} of the sentinels {}", nodes.join(", "))
            }
            Self::Cluster { nodes } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "the cluster of {}", nodes.join(", "))
            }
        }
    }
}

impl fmt::Display for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, ", user {user}")?;
        }
        file(f, "password", self.password_file.as_deref())
    }
}

impl fmt::Display for RedisAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        if let RedisPlace::Sentinels { login, .. } = &self.place
            && !login.is_empty()
        {
            write!(f, " (asked as{})", login.to_string().trim_start_matches(','))?;
        }
        if let Some(database) = self.database {
            write!(f, ", database {database}")?;
        }
        self.login.fmt(f)?;
        let Some(tls) = &self.tls else { return Ok(()) };
        if !matches!(self.place, RedisPlace::Server(_)) {
            f.write_str(", over TLS")?;
        }
        file(f, "authorities", tls.ca.as_deref())?;
        file(f, "certificate", tls.identity.as_ref().map(|(certificate, _)| certificate.as_path()))
    }
}

fn file(f: &mut fmt::Formatter<'_>, what: &str, path: Option<&Path>) -> fmt::Result {
    path.map_or(Ok(()), |path| write!(f, ", {what} from {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        for (text, shown) in [
            ("a", "a:26379"),
            ("A.b:80", "a.b:80"),
            ("10.0.0.1:6379", "10.0.0.1:6379"),
            ("[::1]", "[::1]:26379"),
            ("[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(RedisNode::parse(text, 26379).unwrap().to_string(), shown);
        }
        for text in ["", ":1", "a:", "a:0", "a:99999", "a:b", "::1", "redis://a", "u@a", "a/0"] {
            let error = RedisNode::parse(text, 26379).expect_err(text);
            assert_eq!(error.to_string(), "not a host with an optional port: write host:26379", "{text}");
        }
    }
}
