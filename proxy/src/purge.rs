//! A purge, as whoever asks for one and whoever carries it out speak of it. Pure.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::HOST};
use thiserror::Error;

use crate::{
    admit::{Scheme, Target, TargetError, normalise_authority},
    epoch::{Epoch, Mode},
};

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRequest {
    /// All variants of these.
    pub urls: Vec<PurgeUrl>,
    /// All that carries one of these.
    pub tags: Vec<String>,
    /// All that was stored under one of these, by their names in the file.
    pub rules: Vec<String>,
    /// All there is.
    pub everything: bool,
    /// What becomes of it.
    pub mode: Mode,
    /// Whether the report is to wait until every live sidecar has done it.
    pub wait: bool,
}

/// What became of a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeReport {
    /// Its place among the purges of the fleet. None where Redis did not take it.
    pub epoch: Option<Epoch>,
    /// How far it came.
    pub reached: Reached,
    /// The live sidecars that it went to, this one among them.
    pub members: usize,
    /// For how long the others were waited for.
    pub waited: Duration,
    /// URLs under which nothing was stored, and which were probably meant to have another host; and those of which
    /// something stays that a trusted proxy asked for under another host.
    pub elsewhere: Vec<Elsewhere>,
}

impl PurgeReport {
    /// For how long the others were waited for: milliseconds, with three places behind the point.
    #[must_use]
    pub fn waited_ms(&self) -> f64 {
        (self.waited.as_secs_f64() * 1e6).round() / 1e3
    }
}

/// A URL whose path clients ask for with other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Which URL of the request: its place there.
    pub place: usize,
    /// With which hosts they do, the last one first.
    pub hosts: Vec<AskedAs>,
}

/// With which host a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedAs {
    /// Its `Host`.
    pub host: Arc<str>,
    /// The `X-Forwarded-Host` of a trusted proxy, where that is another: what is stored for such a request has a
    /// key that no URL names.
    pub forwarded: Option<Arc<str>>,
}

impl AskedAs {
    /// That of a request for this target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let text = |host: &HeaderValue| String::from_utf8_lossy(host.as_bytes()).into();
        Self { host: target.authority().into(), forwarded: target.forwarded().host.as_ref().map(text) }
    }

    /// Whether a request for this target is of them.
    #[must_use]
    pub fn is_of(&self, target: &Target) -> bool {
        let forwarded = self.forwarded.as_ref().map(|host| host.as_bytes());
        *self.host == *target.authority()
            && forwarded == target.forwarded().host.as_ref().map(HeaderValue::as_bytes)
    }

    /// Whether a trusted proxy sent it that names this host, as its own or as that of its client: in whatever spelling,
    /// and among others that it names.
    #[must_use]
    pub fn is_forwarded_for(&self, host: &str) -> bool {
        let Some(forwarded) = &self.forwarded else { return false };
        let is_host = |named: &str, scheme| {
            normalise_authority(named.trim().as_bytes(), scheme).is_some_and(|named| named == host)
        };
        let names = |named| is_host(named, Scheme::Http) || is_host(named, Scheme::Https);
        *self.host == *host || forwarded.split(',').any(names)
    }
}

impl fmt::Display for AskedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.forwarded.iter().try_for_each(|host| write!(f, " and X-Forwarded-Host {host}"))
    }
}

/// How far a purge came. Reasons are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Every live sidecar has applied it.
    Fleet,
    /// It is in Redis, and every sidecar will hear of it; nobody waited until they had.
    Asked,
    /// This sidecar alone has applied it: Redis did not take it.
    LocalOnly(String),
}

/// A URL, as clients write it, and the targets that requests for it have here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeUrl(Vec<Target>);

/// Why a text names no URL that could be purged, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PurgeUrlError {
    /// A path alone: each host has its own responses.
    #[error(
        "`{0}` names no host: write http://HOST{0}, with the `host` that the access log shows for its requests"
    )]
    NoHost(String),
    /// A host and a path.
    #[error("`{0}` has no scheme: write http://{0}")]
    NoScheme(String),
    /// Not one of ours.
    #[error("`{0}` is no http URL: write http://HOST/PATH")]
    Scheme(String),
    /// User information, a port that is none, or the like.
    #[error("`{0}` has no host with an optional port behind its scheme: write http://HOST/PATH")]
    Host(String),
    /// No request has one.
    #[error("`{0}` has a fragment, which is never sent: leave out the # and what follows")]
    Fragment(String),
    /// A blank, a control byte, or more than fits.
    #[error("`{0}` is not as clients send it: percent-encode it (a blank is %20)")]
    Byte(String),
    /// [`Target::is_ambiguous`].
    #[error("`{0}` is never cached, because of //, .., %2F or the like in its path: write the plain path")]
    Ambiguous(String),
}

impl PurgeUrl {
    /// Reads `http://host[:port]/path?query`, or `https://…`.
    ///
    /// The scheme says only which port may be left out, as clients do in `Host`. What clients asked for
    /// by `http:` goes together with what they asked for by `https:`, of a TLS listener or of a proxy before
    /// us: whoever purges a page means both.
    ///
    /// # Errors
    /// What no request could have, or would not be cached.
    pub fn parse(text: &str) -> Result<Self, PurgeUrlError> {
        let (_, host, rest) = named(text)?;
        let mut targets = Vec::new();
        for scheme in [Scheme::Http, Scheme::Https] {
            for spelling in spellings(rest) {
                let target =
                    target(spelling, &host, scheme).map_err(|_| PurgeUrlError::Byte(text.to_owned()))?;
                if target.is_ambiguous() {
                    return Err(PurgeUrlError::Ambiguous(text.to_owned()));
                }
                targets.extend(as_forwarded(target));
            }
        }
        Ok(Self(targets))
    }

    /// The targets of requests for it, to a listener that speaks TLS or to one that does not: as clients ask
    /// us themselves, and as a trusted proxy passes on what it was asked under either scheme.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }
}

/// Scheme, normalised authority, and what follows it: of any URL that clients may write, also one that is
/// never cached.
///
/// # Errors
/// What no request could have.
pub(crate) fn named(text: &str) -> Result<(Scheme, HeaderValue, &str), PurgeUrlError> {
    let (scheme, authority, rest) = split(text)?;
    let host = normalise_authority(authority.as_bytes(), scheme);
    let host = host.and_then(|host| HeaderValue::try_from(host).ok());
    Ok((scheme, host.ok_or_else(|| PurgeUrlError::Host(text.to_owned()))?, rest))
}

/// Scheme, authority, and what follows.
fn split(text: &str) -> Result<(Scheme, &str, &str), PurgeUrlError> {
    let own = || text.to_owned();
    if text.starts_with('/') {
        return Err(PurgeUrlError::NoHost(own()));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| PurgeUrlError::NoScheme(own()))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(PurgeUrlError::Scheme(own())),
    };
    if rest.contains('#') {
        return Err(PurgeUrlError::Fragment(own()));
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Ok((scheme, authority, path))
}

/// The path and query as browsers send them, and where that is another, as it stands: some clients
/// do not encode what is not ASCII.
pub(crate) fn spellings(rest: &str) -> Vec<String> {
    let rooted = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    if rooted.is_ascii() {
        return vec![rooted];
    }
    let encoded = rooted.bytes().map(|byte| match byte.is_ascii() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    vec![encoded.collect(), rooted]
}

/// As a listener of that scheme reads it.
fn target(path: String, host: &HeaderValue, scheme: Scheme) -> Result<Target, TargetError> {
    let headers = HeaderMap::from_iter([(HOST, host.clone())]);
    Target::parse(&Bytes::from(path), &headers, scheme, true)
}

/// The target itself, and with each scheme that a trusted proxy may state.
fn as_forwarded(target: Target) -> Vec<Target> {
    let forwarded = [Scheme::Http, Scheme::Https].map(|scheme| {
        let mut forwarded = target.clone();
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme.as_str()));
        forwarded.trust(&headers);
        forwarded
    });
    [target].into_iter().chain(forwarded).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{QueryPolicy, ResourceKey};

    fn keys(url: &str) -> Vec<ResourceKey> {
        let url = PurgeUrl::parse(url).unwrap();
        url.targets().map(|target| ResourceKey::new(target, &QueryPolicy::All)).collect()
    }

    /// The key that a request has which reads so on the wire.
    fn requested(path: &str, fields: &[(&'static str, &str)]) -> ResourceKey {
        requested_of(Scheme::Http, path, fields)
    }

    /// The same of a listener of that scheme.
    fn requested_of(scheme: Scheme, path: &str, fields: &[(&'static str, &str)]) -> ResourceKey {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = fields.collect();
        let raw = Bytes::from(path.to_owned());
        let mut target = Target::parse(&raw, &headers, scheme, true).unwrap();
        target.trust(&headers);
        ResourceKey::new(&target, &QueryPolicy::All)
    }

    #[test]
    fn the_key_is_that_of_a_request_for_the_url() {
        for (url, path, host) in [
            ("http://shop.example/products?page=2", "/products?page=2", "shop.example"),
            ("HTTP://Shop.Example.:80/", "/", "shop.example"),
            ("http://shop.example", "/", "shop.example:80"),
            ("http://shop.example?x", "/?x", "shop.example"),
            ("http://localhost:8080/a[b]*", "/a[b]*", "localhost:8080"),
            ("http://[::1]:8080/", "/", "[::1]:8080"),
            ("https://shop.example:443/a", "/a", "shop.example"),
            ("https://shop.example:80/a?", "/a?", "shop.example:80"),
            ("http://shop.example/käse", "/k%C3%A4se", "shop.example"),
        ] {
            assert_eq!(keys(url).first(), Some(&requested(path, &[("host", host)])), "{url}");
        }
    }

    #[test]
    fn what_a_trusted_proxy_was_asked_goes_too_by_either_scheme() {
        for url in ["http://shop.example/a", "https://shop.example/a"] {
            let keys = keys(url);
            assert_eq!(keys.len(), 6);
            for listener in [Scheme::Http, Scheme::Https] {
                for proto in [&[][..], &[("x-forwarded-proto", "http")], &[("x-forwarded-proto", "https")]] {
                    let fields = [&[("host", "shop.example")], proto].concat();
                    assert!(keys.contains(&requested_of(listener, "/a", &fields)), "{url} {proto:?}");
                }
            }
        }
        assert!(keys("http://a/ä").contains(&requested("/ä", &[("host", "a")])));
    }

    #[test]
    fn a_trusted_proxy_names_a_host_in_whatever_spelling() {
        let asked = |forwarded: Option<&str>| AskedAs {
            host: "shop.internal".into(),
            forwarded: forwarded.map(Into::into),
        };
        for forwarded in ["shop.example", "Shop.Example", "shop.example:443", "edge, shop.example.:80"] {
            for host in ["shop.example", "shop.internal"] {
                assert!(asked(Some(forwarded)).is_forwarded_for(host), "{forwarded}");
            }
            assert!(!asked(Some(forwarded)).is_forwarded_for("other.example"), "{forwarded}");
        }
        assert!(!asked(Some("\u{fffd}, ,")).is_forwarded_for(""));
        assert!(!asked(None).is_forwarded_for("shop.internal"));
    }

    #[test]
    fn what_no_request_has_is_refused_with_what_to_write() {
        for (text, advice) in [
            ("/products?page=2", "write http://HOST/products?page=2"),
            ("shop.example/products", "write http://shop.example/products"),
            ("", "no scheme"),
            ("ftp://shop.example/", "no http URL"),
            ("http:///products", "no host"),
            ("http://me@shop.example/", "no host"),
            ("http://shop.example:x/", "no host"),
            ("http://shop.example/a#b", "leave out the #"),
            ("http://shop.example/a b", "percent-encode"),
            ("http://shop.example/a/../b", "write the plain path"),
            ("http://shop.example//a", "write the plain path"),
        ] {
            let error = PurgeUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(https?://)?[a-z:/?#@%.\u{e4} ]{0,32}", any in ".*") {
            let _ = (PurgeUrl::parse(&text), PurgeUrl::parse(&any));
        }
    }
}
