//! The URL of a Redis, which may hold a password.

use std::fmt;

use super::{AddressError, RedisNode, host_and_port, socket_path};
use crate::admit::Scheme;

/// `redis://[user:password@]host[:port][/database]`, `rediss://…` (TLS) or
/// `redis+unix:///path[?db=…&user=…&pass=…]`.
///
/// Shown, it leaves user and password out; only [`RedisUrl::expose`] gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// As written.
    secret: String,
    /// Without user and password.
    shown: String,
}

impl RedisUrl {
    /// The port of Redis where the URL states none.
    pub const DEFAULT_PORT: u16 = 6379;

    /// Reads one.
    ///
    /// # Errors
    /// What is no such URL. The error says nothing of what was written.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(explain_scheme)?;
        let shown = match scheme {
            "redis" | "rediss" => {
                let (user, place) = split_user(rest);
                check_user(user.unwrap_or_default())?;
                let masked = if user.is_some() { "***@" } else { "" };
                format!("{scheme}://{masked}{}", server(place)?)
            }
            "redis+unix" => format!("redis+unix://{}", socket(rest)?),
            "valkey" | "valkeys" | "unix" => {
                let ours = match scheme {
                    "valkey" => "redis://",
                    "valkeys" => "rediss://",
                    _ => "redis+unix://",
                };
                return Err(AddressError::new("not a scheme we know", format!("write {ours}")));
            }
            _ => return Err(explain_scheme()),
        };
        Ok(Self { secret: text.to_owned(), shown })
    }

    /// The URL with user and password, to connect with. Never to be shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.secret
    }

    /// That of a server, without user and password.
    #[must_use]
    pub fn of(node: &RedisNode, tls: bool) -> Self {
        let scheme = if tls { "rediss" } else { "redis" };
        let url = format!("{scheme}://{node}");
        Self { secret: url.clone(), shown: url }
    }

    /// Whether it states a user or a password.
    #[must_use]
    pub fn holds_login(&self) -> bool {
        self.secret.contains('@') || self.options().any(|(name, _)| matches!(name, "user" | "pass"))
    }

    /// Whether it states a database.
    #[must_use]
    pub fn holds_database(&self) -> bool {
        let path = self.shown.split_once("://").and_then(|(_, place)| place.split_once('/'));
        match self.is_socket() {
            true => self.options().any(|(name, _)| name == "db"),
            false => path.is_some_and(|(_, database)| !database.is_empty()),
        }
    }

    /// Whether it is a socket on this machine.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.secret.starts_with("redis+unix:")
    }

    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let options = self.secret.split_once('?').map_or("", |(_, options)| options);
        options.split('&').filter_map(|option| option.split_once('='))
    }

    /// Whether it asks for TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.secret.starts_with("rediss:")
    }
}

fn explain_scheme() -> AddressError {
    AddressError::new(
        "not the URL of a Redis",
        "write redis://host:6379, rediss:// for TLS or redis+unix:///path",
    )
}

/// A password may hold anything but a bare `/`, `?` or `#`; the last `@` ends it.
fn split_user(rest: &str) -> (Option<&str>, &str) {
    match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    }
}

fn check_user(user: &str) -> Result<(), AddressError> {
    let escapes = user.split('%').skip(1);
    let good_escapes = escapes
        .into_iter()
        .all(|tail| tail.get(..2).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())));
    if good_escapes && user.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@[]".contains(&b)) {
        return Ok(());
    }
    let advice = "percent-encode its special characters: %40 for @, %2F for /, %25 for %";
    Err(AddressError::new("user or password is not part of a URL as it is", advice))
}

/// `host[:port][/database]`, checked.
fn server(place: &str) -> Result<&str, AddressError> {
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    if place.contains(['?', '#']) {
        return Err(AddressError::new("options in the URL are not read", "write redis://host:6379/0"));
    }
    if !database.bytes().all(|b| b.is_ascii_digit()) || database.len() > 5 {
        return Err(AddressError::new("the database is a number", "write redis://host:6379/0"));
    }
    if host_and_port(authority, Scheme::Http).is_none() {
        return Err(AddressError::new("not a host with an optional port", "write redis://host:6379"));
    }
    Ok(place)
}

/// The path of `redis+unix://`, and the database where stated.
fn socket(rest: &str) -> Result<String, AddressError> {
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let mut shown = socket_path(path)
        .map_err(|error| AddressError { advice: "write redis+unix:///run/redis.sock".to_owned(), ..error })?
        .display()
        .to_string();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("db", number)) if number.parse::<u16>().is_ok() => shown.push_str(&format!("?db={number}")),
            Some(("user" | "pass", value)) => check_user(value)?,
            _ => {
                return Err(AddressError::new("not an option of a Redis socket", "db=, user= and pass= are"));
            }
        }
    }
    Ok(shown)
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_everything_but_the_secret() {
        for (text, shown) in [
            ("redis://h", "redis://h"),
            ("redis://h:6379/2", "redis://h:6379/2"),
            ("redis://:s3cret@h/0", "redis://***@h/0"),
            ("rediss://user:s3%40cret@[::1]:6380", "rediss://***@[::1]:6380"),
            ("redis+unix:///run/r.sock", "redis+unix:///run/r.sock"),
            ("redis+unix:///run/r.sock?db=1&user=u&pass=s3cret", "redis+unix:///run/r.sock?db=1"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.expose()), (shown, text));
            assert!(!format!("{url:?}").contains("s3"));
        }
    }

    #[test]
    fn tells_what_it_states() {
        for (text, login, database, tls, socket) in [
            ("redis://h", false, false, false, false),
            ("redis://h/", false, false, false, false),
            ("rediss://u:p@h:1/3", true, true, true, false),
            ("redis+unix:///run/r.sock", false, false, false, true),
            ("redis+unix:///run/r.sock?db=1", false, true, false, true),
            ("redis+unix:///run/r.sock?user=u&pass=s3cret", true, false, false, true),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            let stated = (url.holds_login(), url.holds_database(), url.is_tls(), url.is_socket());
            assert_eq!(stated, (login, database, tls, socket), "{text}");
        }
        let node = RedisNode { host: "::1".to_owned(), port: 7 };
        assert_eq!(RedisUrl::of(&node, true), RedisUrl::parse("rediss://[::1]:7").unwrap());
    }

    #[test]
    fn refuses_with_advice_and_without_the_secret() {
        for (text, what) in [
            ("localhost:6379", "not the URL of a Redis"),
            ("http://s3cret", "not the URL of a Redis"),
            ("valkey://s3cret", "not a scheme we know"),
            ("redis://", "not a host with an optional port"),
            ("redis://:s3cret", "not a host with an optional port"),
            ("redis://:s3/cret@h", "user or password is not part of a URL as it is"),
            ("redis://:s3@cret@h", "user or password is not part of a URL as it is"),
            ("redis://:s3%cret@h", "user or password is not part of a URL as it is"),
            ("redis://h/s3cret", "the database is a number"),
            ("redis://h?s3cret=1", "options in the URL are not read"),
            ("redis+unix://s3cret", "a socket needs its absolute path"),
            ("redis+unix:///a?s3cret=1", "not an option of a Redis socket"),
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert_eq!(error.what, what, "{text}");
            assert!(!error.to_string().contains("s3"), "{text}");
        }
    }
}
