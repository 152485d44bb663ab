//! The request target and the authority it is for: parsed once, used for rule, key and forwarding.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::HOST, uri::PathAndQuery};
use thiserror::Error;

use super::{Forwarded, Refusal, path::RawPath};

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
    authority: HeaderValue,
    /// Absent where nobody trusted says anything.
    forwarded: Option<Box<Forwarded>>,
    pub(super) path: RawPath,
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
        raw: &Bytes,
        headers: &HeaderMap,
        scheme: Scheme,
        host_required: bool,
    ) -> Result<Self, TargetError> {
        let host = single_host(headers, scheme, host_required)?;
        if raw.starts_with(b"/") || raw == "*" {
            let authority = host.unwrap_or_else(|| HeaderValue::from_static(""));
            return Ok(Self { scheme, authority, forwarded: None, path: RawPath::read(raw.clone())? });
        }
        let (stated, rest) = absolute_form(raw)?;
        let stated = HeaderValue::from_maybe_shared(stated).map_err(|_| TargetError::Byte)?;
        let authority = normalise_field(&stated, scheme).ok_or(TargetError::Form)?;
        if host.is_some_and(|host| host != authority) {
            return Err(TargetError::HostMismatch);
        }
        let rest = if rest.starts_with(b"/") { rest } else { [b"/", rest.as_ref()].concat().into() };
        Ok(Self { scheme, authority, forwarded: None, path: RawPath::read(rest)? })
    }

    /// Believes a trusted proxy about how it was asked: that reaches the origin, so what it selects must not be
    /// shared with others.
    pub fn trust(&mut self, headers: &HeaderMap) {
        let forwarded = Forwarded::of(headers, &self.authority, self.scheme);
        self.forwarded = (forwarded != Forwarded::NOTHING).then(|| Box::new(forwarded));
    }

    /// How a trusted proxy was asked, where it says so.
    #[must_use]
    pub fn forwarded(&self) -> &Forwarded {
        self.forwarded.as_deref().unwrap_or(const { &Forwarded::NOTHING })
    }

    /// The scheme under which we were asked.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme under which the client asked: what a trusted proxy says, where it says one, or else ours.
    #[must_use]
    pub fn asked_scheme(&self) -> Scheme {
        let said = self.forwarded().scheme.as_ref().map(HeaderValue::as_bytes);
        match said {
            Some(said) if said.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => self.scheme,
        }
    }

    /// The host, and the port where it is not the scheme's own: lower case, no trailing dot.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// The same, as the `Host` that the origin gets.
    #[must_use]
    pub fn host_field(&self) -> &HeaderValue {
        &self.authority
    }

    /// The raw path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.text().path()
    }

    /// The raw query, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path.text().query()
    }

    /// The bytes that are forwarded.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        self.path.text()
    }

    /// Whether different servers may take this path for different resources: dot segments, empty
    /// segments, backslashes, encoded slashes, dots and control bytes. Such a target is passed on
    /// untouched and never cached, nor matched by a rule that caches.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.path.is_ambiguous()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path.text())
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        Self::bad(match error {
            TargetError::Form => "the request target is neither a path nor an http URL",
            TargetError::Byte => "the request target has a byte that must be percent-encoded",
            TargetError::HostCount => "the request needs exactly one Host field",
            TargetError::HostSyntax => "the Host field is not a host with an optional port",
            TargetError::HostMismatch => "the request target and the Host field name different authorities",
        })
    }
}

/// `http://authority/path`: the authority and the rest. The scheme stated does not matter: which
/// one it was is known from the connection.
pub(super) fn absolute_form(raw: &Bytes) -> Result<(Bytes, Bytes), TargetError> {
    let colon = memchr::memmem::find(raw, b"://").ok_or(TargetError::Form)?;
    let (scheme, rest) = (raw.slice(..colon), raw.slice(colon + 3..));
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(TargetError::Form);
    }
    let end = memchr::memchr2(b'/', b'?', &rest).unwrap_or(rest.len());
    Ok((rest.slice(..end), rest.slice(end..)))
}

fn single_host(
    headers: &HeaderMap,
    scheme: Scheme,
    required: bool,
) -> Result<Option<HeaderValue>, TargetError> {
    let mut lines = headers.get_all(HOST).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err(TargetError::HostCount);
    }
    match first {
        None if required => Err(TargetError::HostCount),
        None => Ok(None),
        Some(value) => normalise_field(value, scheme).map(Some).ok_or(TargetError::HostSyntax),
    }
}

/// `host[:port]` in one spelling: lower case, one trailing dot and the scheme's own port dropped.
/// `None` for anything else (RFC 3986 §3.2.2: no userinfo, no empty host).
pub(super) fn normalise_field(raw: &HeaderValue, scheme: Scheme) -> Option<HeaderValue> {
    if is_plain_name(raw.as_bytes()) {
        return Some(raw.clone());
    }
    let text = raw.to_str().ok()?;
    let (host, port) = split_port(text)?;
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok()?).filter(|&port| port != scheme.default_port())
        }
        Some(_) => return None,
    };
    match port {
        None => HeaderValue::from_str(&host.to_ascii_lowercase()).ok(),
        Some(port) => HeaderValue::from_str(&format!("{}:{port}", host.to_ascii_lowercase())).ok(),
    }
}

/// Whether this is a normalised host already, as nearly every client sends it: lower case, dots
/// between labels, at most a port of which no scheme is the owner. One pass, no copy.
fn is_plain_name(raw: &[u8]) -> bool {
    let (host, port) = match memchr::memchr(b':', raw) {
        Some(colon) => raw.split_at(colon),
        None => (raw, &b""[..]),
    };
    let mut before = b'.';
    let labels = host.iter().all(|&byte| {
        let fits = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        (fits || byte == b'.' && before != b'.') && {
            before = byte;
            true
        }
    });
    let plain_port = match port {
        [] => true,
        // Four digits or five, of which the first is no zero: above 443 and, by its length, maybe too large.
        [b':', first @ b'1'..=b'9', rest @ ..] => {
            rest.len() >= 3
                && (rest.len() == 3 || rest.len() == 4 && *first < b'6')
                && rest.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    labels && before != b'.' && host.len() <= 255 && plain_port
}

/// The same for what does not come in a field: an address in the file.
#[must_use]
pub fn normalise_authority(raw: &[u8], scheme: Scheme) -> Option<String> {
    let field = HeaderValue::from_bytes(raw).ok()?;
    Some(normalise_field(&field, scheme)?.to_str().ok()?.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str, host: Option<&str>) -> Result<Target, TargetError> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.append(HOST, host.parse().unwrap());
        }
        Target::parse(&Bytes::from(raw.to_owned()), &headers, Scheme::Http, true)
    }

    #[test]
    fn section_3_2_takes_a_path_or_a_url_that_agrees_with_host() {
        let cases = [
            ("/p?x", "a", "http://a/p?x"),
            ("http://a/p", "A.:80", "http://a/p"),
            ("http://a", "a", "http://a/"),
            ("http://a?x", "a", "http://a/?x"),
            ("/", "[::1]:8080", "http://[::1]:8080/"),
        ];
        for (raw, host, wanted) in cases {
            assert_eq!(format!("{:?}", parse(raw, Some(host)).unwrap()), wanted, "{raw}");
        }
    }

    #[test]
    fn section_3_2_refuses_anything_else() {
        let cases = [
            ("admin", TargetError::Form),
            ("ftp://a/", TargetError::Form),
            ("http://u@a/", TargetError::Form),
            ("/a#b", TargetError::Byte),
            ("/a\x7f", TargetError::Byte),
            ("http://b/", TargetError::HostMismatch),
        ];
        for (raw, wanted) in cases {
            assert_eq!(parse(raw, Some("a")), Err(wanted), "{raw}");
        }
        assert_eq!(parse("/", None), Err(TargetError::HostCount));
    }

    #[test]
    fn host_is_a_host_with_an_optional_port() {
        for (good, normal) in [
            ("a", "a"),
            ("A.b", "a.b"),
            ("a.", "a"),
            ("a:80", "a"),
            ("a:", "a"),
            ("a:08080", "a:8080"),
            ("a_b-c.1:8080", "a_b-c.1:8080"),
            ("a:59999", "a:59999"),
            ("a:65535", "a:65535"),
            ("a:443", "a:443"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:9000", "[::1]:9000"),
            ("a~", "a~"),
        ] {
            assert_eq!(parse("/", Some(good)).unwrap().authority(), normal, "{good}");
        }
        let bad = [
            "", "a b", "a,b", "a/..", "[::1", "::1", "a:80:90", "a:x", "a:99999", "a:65536", "a:8080x",
            "a:+8080", "u@a", "a#b", ".a", "a..b", ".",
        ];
        for host in bad {
            assert_eq!(parse("/", Some(host)), Err(TargetError::HostSyntax), "{host}");
        }
    }
}
