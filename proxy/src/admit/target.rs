//! The request target and the authority it is for: parsed once, used for rule, key and forwarding.

use std::fmt;

use http::{HeaderMap, header::HOST, uri::PathAndQuery};
use thiserror::Error;

/// The scheme under which the client reached the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What a request asks for (RFC 9112 §3.2), in the one form used from here on.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    authority: String,
    /// As received, byte for byte; `*` for `OPTIONS *`.
    path_and_query: PathAndQuery,
}

/// Why a target cannot be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Not origin-form, absolute-form of http(s), or `*`.
    #[error("the request target is neither a path nor an http URL")]
    Form,
    /// A byte that has no place in a request target.
    #[error("the request target has a byte that must be percent-encoded")]
    Byte,
    /// No `Host` in HTTP/1.1, or more than one.
    #[error("the request needs exactly one Host field")]
    HostCount,
    /// `Host` is not `host[:port]`.
    #[error("the Host field is not a host with an optional port")]
    HostSyntax,
    /// An absolute-form target names another authority than `Host`.
    #[error("the request target and the Host field name different authorities")]
    HostMismatch,
}

impl Target {
    /// Reads the target of a request line together with its `Host`.
    ///
    /// `Host` is required in HTTP/1.1 (`host_required`); without it the authority is empty.
    ///
    /// # Errors
    /// What does not fit RFC 9112 §3.2 to the letter: nothing is repaired, because the app behind
    /// might repair it in another way.
    pub fn parse(
        raw: &str,
        headers: &HeaderMap,
        scheme: Scheme,
        host_required: bool,
    ) -> Result<Self, TargetError> {
        let host = single_host(headers, scheme, host_required)?;
        if raw.starts_with('/') || raw == "*" {
            return Ok(Self { scheme, authority: host.unwrap_or_default(), path_and_query: path(raw)? });
        }
        let (stated, rest) = absolute_form(raw)?;
        let authority = normalise_authority(stated.as_bytes(), scheme).ok_or(TargetError::Form)?;
        if host.is_some_and(|host| host != authority) {
            return Err(TargetError::HostMismatch);
        }
        let path_and_query = if rest.starts_with('/') { path(rest)? } else { path(&format!("/{rest}"))? };
        Ok(Self { scheme, authority, path_and_query })
    }

    /// The scheme under which the client asked.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, and the port where it is not the scheme's own: lower case, no trailing dot.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The raw path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The raw query, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// The bytes that are forwarded.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// Whether different servers may take this path for different resources: dot segments, empty
    /// segments, backslashes, encoded slashes, dots and control bytes. Such a target is passed on
    /// untouched and never cached, nor matched by a rule that caches.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        is_ambiguous(self.path().as_bytes())
    }
}

fn is_ambiguous(path: &[u8]) -> bool {
    if memchr::memchr3(b'%', b'.', b'\\', path).is_none() && memchr::memmem::find(path, b"//").is_none() {
        return false;
    }
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || has_doubtful_byte(segment) || is_dot_segment(segment) {
            return true;
        }
    }
    false
}

/// A backslash, or an escape of `/`, `\`, `%`, a delimiter or a control byte.
fn has_doubtful_byte(segment: &[u8]) -> bool {
    segment.contains(&b'\\')
        || segment.windows(3).filter(|w| w.starts_with(b"%")).any(|w| match decode_hex(w) {
            Some(byte) => byte.is_ascii_control() || b"/\\%?#;&".contains(&byte),
            None => true,
        })
        || segment.iter().rev().take(2).any(|&b| b == b'%')
}

/// `.` or `..`, each dot plain or encoded, with or without `;parameters`.
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|&b| b == b';').next().unwrap_or_default();
    let mut rest = name;
    let mut dots = 0;
    while !rest.is_empty() && dots < 3 {
        rest = match rest {
            [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => tail,
            _ => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

fn decode_hex(escape: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match escape {
        [_, high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.path_and_query)
    }
}

fn path(raw: &str) -> Result<PathAndQuery, TargetError> {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b);
    // Some clients leave these bare, and every server takes them; the ones that end a target or
    // that servers read in different ways are refused.
    let tolerated = |b: u8| b"\"<>\\^`{|}".contains(&b) || b >= 0x80;
    if !raw.bytes().all(|b| allowed(b) || tolerated(b)) {
        return Err(TargetError::Byte);
    }
    PathAndQuery::try_from(raw).map_err(|_| TargetError::Byte)
}

/// `http://authority/path`: the authority and the rest. The scheme stated does not matter: which
/// one it was is known from the connection.
fn absolute_form(raw: &str) -> Result<(&str, &str), TargetError> {
    let (scheme, rest) = raw.split_once("://").ok_or(TargetError::Form)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(TargetError::Form);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Ok(rest.split_at(end))
}

fn single_host(headers: &HeaderMap, scheme: Scheme, required: bool) -> Result<Option<String>, TargetError> {
    let mut lines = headers.get_all(HOST).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err(TargetError::HostCount);
    }
    match first {
        None if required => Err(TargetError::HostCount),
        None => Ok(None),
        Some(value) => normalise_authority(value.as_bytes(), scheme).map(Some).ok_or(TargetError::HostSyntax),
    }
}

/// `host[:port]` in one spelling: lower case, one trailing dot and the scheme's own port dropped.
/// `None` for anything else (RFC 3986 §3.2.2: no userinfo, no empty host).
#[must_use]
pub fn normalise_authority(raw: &[u8], scheme: Scheme) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    let (host, port) = split_port(text)?;
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok()?)
        }
        Some(_) => return None,
    };
    let mut authority = host.to_ascii_lowercase();
    if let Some(port) = port.filter(|&port| port != scheme.default_port()) {
        authority.push_str(&format!(":{port}"));
    }
    Some(authority)
}

/// Host (checked, without a trailing dot) and port digits.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        let host = text.get(..address.len() + 2)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let labels = |host: &str| host.split('.').all(|label| !label.is_empty());
    let bytes = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(bytes) && labels(host)).then_some((host, port))
}
