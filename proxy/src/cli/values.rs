//! What the values of options may be.

use crate::{
    address::{Protocol, UpstreamUrl},
    config,
    purge::PurgeUrl,
    wrap::probe::Address,
};

/// Where an admin listener is.
pub(super) fn admin(text: &str) -> Result<Address, String> {
    let has_scheme = text.contains("://") || text.starts_with("unix:");
    let url = if has_scheme { text.to_owned() } else { format!("http://{text}") };
    match UpstreamUrl::parse(&url) {
        Ok(UpstreamUrl::Tcp { protocol: Protocol::H2c, .. }) => {
            Err("the admin listener speaks HTTP/1: write http://…".into())
        }
        Ok(UpstreamUrl::Tcp { protocol: Protocol::Https | Protocol::H2, .. }) => {
            Err("the admin listener speaks no TLS: write http://…, and reach another machine by a tunnel"
                .into())
        }
        Ok(address) => Ok(Address::from(&address).reachable()),
        Err(_) => Err("write http://127.0.0.1:9090 or unix:/path, in --admin or SIDECACHE_ADMIN".into()),
    }
}

/// A filter of the log, as it was written. A word alone is a level: were it taken for a target, a slip
/// would silence all others.
pub(super) fn filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let alone = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ']', '}']);
    let is_level = |part: &str| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    match text.split(',').map(str::trim).filter(alone).find(|part| !is_level(part)) {
        None => Ok(text.to_owned()),
        Some(part) => {
            let near = config::nearest(part, LEVELS).unwrap_or("info");
            let levels = LEVELS.join(", ");
            Err(format!(
                "`{part}` is no level ({levels}): write {near}, or {part}={near} for a target, in --log or SIDECACHE_LOG"
            ))
        }
    }
}

/// A URL that can be purged, as it was written.
pub(super) fn url(text: &str) -> Result<String, String> {
    PurgeUrl::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A path to ask for.
pub(super) fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("a path begins with / and has no spaces".to_owned()) }
}
