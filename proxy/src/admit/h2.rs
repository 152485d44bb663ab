//! The head of a request of HTTP/2: held to what a head of HTTP/1 is held to, because that is what the app
//! behind will read (RFC 9113 §8).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};

use super::{
    Framing, Head, HeadLimits, Notable, Refusal, Scheme, Target,
    head::ConnectionOptions,
    head::{TOO_LARGE, TOO_LONG, TOO_MANY, check_method, expects_continue},
};

/// RFC 9113 §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header
/// fields." `TE` may say `trailers` and nothing else.
static CONNECTION_SPECIFIC: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

impl Head {
    /// Reads a head that came in frames: `parts` as they were unpacked, `ends` if no body follows.
    ///
    /// `:scheme` is not believed: as with HTTP/1, it is the connection that says whether TLS came before. A
    /// `#` in `:path` is gone, with what follows it, before it comes here: so rule, key and app agree.
    ///
    /// # Errors
    /// Whatever RFC 9113 §8 calls malformed, or what is beyond the limits.
    pub fn from_h2(parts: Parts, ends: bool, scheme: Scheme, limits: &HeadLimits) -> Result<Self, Refusal> {
        let Parts { method, uri, mut headers, .. } = parts;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        check_method(&method, path.as_bytes())?;
        check_fields(&headers)?;
        join_cookies(&mut headers);
        check_size(&method, &uri, &headers, limits)?;
        if !path.starts_with('/') && path != "*" {
            return Err(Refusal::bad("the path of a request begins with a slash"));
        }
        state_host(&mut headers, &uri, scheme)?;
        let notable = Notable::of(&headers);
        let framing = framing(&headers, ends)?;
        let target = Target::parse(&Bytes::copy_from_slice(path.as_bytes()), &headers, scheme, true)?;
        let connection = ConnectionOptions {
            expects_continue: expects_continue(&headers, Version::HTTP_2)?,
            keep_alive: true,
            wants_upgrade: false,
            hides_fields: false,
        };
        Ok(Self { method, target, version: Version::HTTP_2, headers, notable, framing, connection })
    }
}

/// Counted as the lines of HTTP/1 that say the same.
fn check_size(method: &Method, uri: &Uri, headers: &HeaderMap, limits: &HeadLimits) -> Result<(), Refusal> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    if path.len() > limits.target {
        return Err(TOO_LONG);
    }
    if headers.len() > limits.fields {
        return Err(TOO_MANY);
    }
    let host = uri.authority().map_or(0, |authority| "host: \r\n".len() + authority.as_str().len());
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    let fields: usize = headers.iter().map(line).sum();
    let first = method.as_str().len() + path.len() + "  HTTP/1.1\r\n".len();
    let size = first + host + fields + "\r\n".len();
    if size > limits.bytes { Err(TOO_LARGE) } else { Ok(()) }
}

/// RFC 9113 §8.2: the names of HTTP/1 connections have no place, and values begin and end with what is visible.
fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(name))
        || headers.get_all(TE).iter().any(|value| value != "trailers")
    {
        return Err(Refusal::bad("HTTP/2 has no fields that are about a connection"));
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_blank(bytes.first()) || is_blank(bytes.last())
    };
    match headers.values().any(padded) {
        true => Err(Refusal::bad("a field value begins or ends with white space")),
        false => Ok(()),
    }
}

/// RFC 9113 §8.3.1: `:authority` is what `Host` is in HTTP/1. Where both are sent, they must name the same.
fn state_host(headers: &mut HeaderMap, uri: &Uri, scheme: Scheme) -> Result<(), Refusal> {
    const DIFFERENT: Refusal = Refusal::bad(":authority and the Host field name different authorities");
    const MALFORMED: Refusal = Refusal::bad(":authority is not a host with an optional port");
    let Some(authority) = uri.authority() else { return Ok(()) };
    let named = HeaderValue::from_str(authority.as_str()).map_err(|_| MALFORMED)?;
    let normal = super::target::normalise_field(&named, scheme).ok_or(MALFORMED)?;
    let same = |host: &HeaderValue| super::target::normalise_field(host, scheme).as_ref() == Some(&normal);
    if headers.get_all(HOST).iter().any(|host| !same(host)) {
        return Err(DIFFERENT);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, named);
    }
    Ok(())
}

/// RFC 9113 §8.2.3: cookies that came as several lines "MUST be concatenated into a single octet string using
/// the two-octet delimiter of 0x3b, 0x20" before they leave HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// RFC 9113 §8.1.1: the frames say where the body ends, and a `Content-Length` must agree.
fn framing(headers: &HeaderMap, ends: bool) -> Result<Framing, Refusal> {
    match (Framing::of(headers, Version::HTTP_2)?, ends) {
        (Framing::Length(1..), true) => Err(Refusal::bad("a request without a body states a length")),
        (Framing::None, false) => Ok(Framing::Chunked),
        (framing, _) => Ok(framing),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8, target: 64 };

    fn read(uri: &str, fields: &[(&str, &str)], ends: bool) -> Result<Head, u16> {
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Head::from_h2(parts, ends, Scheme::Http, &LIMITS).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn section_8_2_3_what_http_1_has_in_one_line_is_one_line() {
        let head =
            read("http://a:80/p?q", &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")], true).unwrap();
        assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert_eq!((head.target.authority(), head.target.path()), ("a", "/p"));
        assert_eq!((head.version, head.headers[HOST].as_bytes()), (Version::HTTP_2, &b"a:80"[..]));
    }

    #[test]
    fn section_8_3_1_authority_and_host_are_one() {
        assert_eq!(read("http://A/", &[("host", "a:80")], true).unwrap().target.authority(), "a");
        assert_eq!(read("/", &[("host", "a")], true).unwrap().target.authority(), "a");
        for (uri, fields) in [
            ("/", &[][..]),
            ("http://a/", &[("host", "b")]),
            ("http://a/", &[("host", "a"), ("host", "b")]),
            ("http://a/", &[("host", "a"), ("host", "a")]),
            ("http://u@a/", &[]),
        ] {
            assert_eq!(read(uri, fields, true).err(), Some(400), "{uri} {fields:?}");
        }
    }

    #[test]
    fn section_8_1_1_the_frames_say_where_a_body_ends() {
        let framed = |fields, ends| read("http://a/", fields, ends).map(|head| head.framing);
        assert_eq!(framed(&[], true), Ok(Framing::None));
        assert_eq!(framed(&[], false), Ok(Framing::Chunked));
        assert_eq!(framed(&[("content-length", "5")], false), Ok(Framing::Length(5)));
        assert_eq!(framed(&[("content-length", "0")], true), Ok(Framing::Length(0)));
        assert_eq!(framed(&[("content-length", "5")], true), Err(400));
        assert_eq!(framed(&[("content-length", "5"), ("content-length", "5")], false), Err(400));
    }

    #[test]
    fn sections_8_2_1_and_8_2_2_fields_are_not_repaired() {
        for field in [
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("x", " 1"),
            ("x", "1\t"),
        ] {
            assert_eq!(read("http://a/", &[field], true).err(), Some(400), "{field:?}");
        }
        assert!(read("http://a/", &[("te", "trailers"), ("x", "")], true).is_ok());
    }

    #[test]
    fn limits_answer_with_their_own_status() {
        let long = format!("http://a/{}", "a".repeat(64));
        assert_eq!(read(&long, &[], true).err(), Some(414));
        assert_eq!(read("http://a/", &[("x", "1"); 9], true).err(), Some(431));
        assert!(read("http://a/", &[("cookie", "a=1"); 180], true).is_ok(), "in HTTP/1 that is one field");
        assert_eq!(read("http://a/", &[("cookie", "a=1"); 240], true).err(), Some(431));
        assert_eq!(read("http://a/", &[("x", &"a".repeat(1000))], true).err(), Some(431));
    }
}
