//! The head of a request: found in the bytes, read, and refused if it is not exactly HTTP/1.x.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, EXPECT, UPGRADE},
};

use super::{Framing, Notable, Refusal, Scheme, Target, path::RawPath, target::absolute_form};
use crate::{headers::has_token, limits::Limits};

/// What a head may measure.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of request line and fields together.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
    /// Bytes of the request target.
    pub target: usize,
}

impl HeadLimits {
    /// As `limits:` of the file has them.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self { bytes: limits.header_bytes, fields: limits.headers, target: limits.uri_bytes }
    }
}

/// What the bytes received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A whole head of so many bytes, the empty line included.
    Whole(usize),
    /// The beginning of one, scanned up to here.
    Partial(usize),
}

/// Looks for the end of a head, from where the last scan stopped.
///
/// # Errors
/// A line that ends in LF without CR (RFC 9112 §2.2 lets a server take it; one that does not would
/// see another request), and more bytes than `limits.bytes`.
pub fn scan(bytes: &[u8], from: usize, limits: &HeadLimits) -> Result<Scan, Refusal> {
    let mut line = from;
    while let Some(length) = memchr::memchr(b'\n', bytes.get(line..).unwrap_or_default()) {
        let end = line + length;
        if end == 0 || bytes.get(end - 1) != Some(&b'\r') {
            return Err(Refusal::bad("a line ends without CR"));
        }
        if length == 1 && line > 0 {
            return if end < limits.bytes { Ok(Scan::Whole(end + 1)) } else { Err(TOO_LARGE) };
        }
        line = end + 1;
    }
    if bytes.len() > limits.bytes { Err(TOO_LARGE) } else { Ok(Scan::Partial(line)) }
}

/// What a client is told that begins with TLS where HTTP is spoken.
pub const UNASKED_TLS: Refusal = Refusal::bad(
    "the client speaks TLS to a listener that does not: let it ask http://, or listen on tls://",
);

/// Whether a connection begins with a handshake of TLS (RFC 8446 §5.1: the type of a record, and its version, of
/// which the first byte is the same in all).
#[must_use]
pub fn begins_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

pub(super) const TOO_LARGE: Refusal = Refusal::with(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request head is larger than limits.header_bytes",
);
pub(super) const TOO_MANY: Refusal = Refusal::with(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request has more fields than limits.headers",
);
pub(super) const TOO_LONG: Refusal =
    Refusal::with(StatusCode::URI_TOO_LONG, "the request target is longer than limits.uri_bytes");
const OTHER_VERSION: Refusal = Refusal::with(
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here",
);
const OTHER_EXPECTATION: Refusal =
    Refusal::with(StatusCode::EXPECTATION_FAILED, "the only expectation that can be met is 100-continue");
const OTHER_METHOD: Refusal =
    Refusal::with(StatusCode::METHOD_NOT_ALLOWED, "CONNECT and TRACE are not served here");

/// A request that may be forwarded.
#[derive(Debug)]
pub struct Head {
    /// Any token; case-sensitive.
    pub method: Method,
    /// What is asked for, and of whom.
    pub target: Target,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All fields as received.
    pub headers: HeaderMap,
    /// Which of them matter here.
    pub notable: Notable,
    /// Where the body ends.
    pub framing: Framing,
    /// What is said of this connection and the next messages on it.
    pub connection: ConnectionOptions,
}

/// What a request asks of its own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option, asked or not")]
pub struct ConnectionOptions {
    /// The client waits for `100 Continue` (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Another request may follow (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The client asks for another protocol (RFC 9110 §7.8).
    pub wants_upgrade: bool,
    /// `Connection` names fields of the request, which go no further (RFC 9110 §7.6.1).
    pub hides_fields: bool,
}

impl Head {
    /// Reads a whole head. Names and values share its bytes.
    ///
    /// # Errors
    /// Whatever is not exactly what RFC 9112 §§2–6 describe, or beyond the limits.
    pub fn parse(bytes: &Bytes, scheme: Scheme, limits: &HeadLimits) -> Result<Self, Refusal> {
        let (first, fields) = split_line(bytes, 0).ok_or(Refusal::bad("the request is empty"))?;
        let (method, target, version) = request_line(&bytes.slice(..first), limits)?;
        check_method(&method, &target)?;
        let (headers, notable) = read_fields(bytes, fields, limits.fields)?;
        let framing = match notable.has(Notable::FRAMING) {
            true => Framing::of(&headers, version)?,
            false => Framing::None,
        };
        let asks_the_server = asks_the_server(&method, &target);
        let mut target = Target::parse(&target, &headers, scheme, version == Version::HTTP_11)?;
        if asks_the_server {
            target.path = RawPath::asterisk();
        }
        let connection = ConnectionOptions::of(&headers, notable, version)?;
        Ok(Self { method, target, version, headers, notable, framing, connection })
    }
}

/// Where the line that starts at `start` ends, and where the next one starts.
fn split_line(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let length = memchr::memchr(b'\n', bytes.get(start..)?)?;
    let end = start + length;
    Some((end.checked_sub(1)?, end + 1))
}

/// RFC 9112 §3: exactly one space between the three parts.
fn request_line(line: &Bytes, limits: &HeadLimits) -> Result<(Method, Bytes, Version), Refusal> {
    const MALFORMED: Refusal = Refusal::bad("the request line is not: method, target, version");
    let method_end = memchr::memchr(b' ', line).ok_or(MALFORMED)?;
    let version_at = memchr::memrchr(b' ', line).filter(|&at| at > method_end).ok_or(MALFORMED)?;
    let target = line.slice(method_end + 1..version_at);
    let version = match line.get(version_at + 1..) {
        Some(b"HTTP/1.1") => Version::HTTP_11,
        Some(b"HTTP/1.0") => Version::HTTP_10,
        Some(other) if other.starts_with(b"HTTP/") => return Err(OTHER_VERSION),
        _ => return Err(MALFORMED),
    };
    if target.len() > limits.target {
        return Err(TOO_LONG);
    }
    let method = line.get(..method_end).and_then(|name| Method::from_bytes(name).ok()).ok_or(MALFORMED)?;
    Ok((method, target, version))
}

/// RFC 9112 §5: no space before the colon, no folded lines, no control bytes.
fn read_fields(bytes: &Bytes, mut start: usize, most: usize) -> Result<(HeaderMap, Notable), Refusal> {
    let mut headers = HeaderMap::new();
    let mut notable = Notable::default();
    let mut count = 0;
    while let Some((end, next)) = split_line(bytes, start).filter(|(end, _)| *end > start) {
        count += 1;
        if count > most {
            return Err(TOO_MANY);
        }
        let line = bytes.get(start..end).unwrap_or_default();
        let colon = memchr::memchr(b':', line).ok_or(Refusal::bad("a field line has no colon"))?;
        let name = line.get(..colon).and_then(|name| HeaderName::from_bytes(name).ok());
        let name = name.ok_or(Refusal::bad("a field name has a byte that is not allowed"))?;
        let value = without_space(line.get(colon + 1..).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value))
            .map_err(|_| Refusal::bad("a field value has a control character"))?;
        notable.note(&name);
        headers.append(name, value);
        start = next;
    }
    Ok((headers, notable))
}

/// Without the optional white space around it (RFC 9110 §5.6.3): blanks and tabs, and no other bytes.
fn without_space(value: &[u8]) -> &[u8] {
    let counts = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(counts).unwrap_or(value.len());
    let end = value.iter().rposition(counts).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// The trailer section of a chunked body, with its empty line (RFC 9112 §7.1.2).
///
/// # Errors
/// As for the fields of a head.
pub fn read_trailers(section: &Bytes, limits: &HeadLimits) -> Result<HeaderMap, Refusal> {
    read_fields(section, 0, limits.fields).map(|(trailers, _)| trailers)
}

/// RFC 9112 §3.2.4: an `OPTIONS` for a host without a path or a query is about the server, and is forwarded
/// with `*`.
fn asks_the_server(method: &Method, raw: &Bytes) -> bool {
    let names_a_host_alone = || absolute_form(raw).is_ok_and(|(_, rest)| rest.is_empty());
    method == Method::OPTIONS && !raw.starts_with(b"/") && names_a_host_alone()
}

/// A gateway has no use for `CONNECT`, and `TRACE` would show what trusted proxies added.
pub(super) fn check_method(method: &Method, target: &[u8]) -> Result<(), Refusal> {
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(OTHER_METHOD);
    }
    if target == b"*" && method != Method::OPTIONS {
        return Err(Refusal::bad("only OPTIONS can ask for *"));
    }
    Ok(())
}

impl ConnectionOptions {
    fn of(headers: &HeaderMap, notable: Notable, version: Version) -> Result<Self, Refusal> {
        let expects_continue = notable.has(Notable::EXPECT) && expects_continue(headers, version)?;
        if !notable.has(Notable::CONNECTION) {
            let keep_alive = version == Version::HTTP_11;
            return Ok(Self { expects_continue, keep_alive, wants_upgrade: false, hides_fields: false });
        }
        let said = |token| has_token(headers, &CONNECTION, token);
        Ok(Self {
            expects_continue,
            keep_alive: !said("close") && (version == Version::HTTP_11 || said("keep-alive")),
            wants_upgrade: version == Version::HTTP_11 && said("upgrade") && asks_for_another(headers),
            hides_fields: hides_fields(headers),
        })
    }
}

/// Whether `Upgrade` asks for anything that a tunnel may carry. `h2c` is not of that kind (RFC 9113 §3.1 has done
/// away with it): requests would pass in it that nobody here has read.
fn asks_for_another(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && !has_token(headers, &UPGRADE, "h2c")
}

/// Whether `Connection` names anything but what is about connections.
fn hides_fields(headers: &HeaderMap) -> bool {
    const KNOWN: [&str; 6] = ["", "close", "keep-alive", "upgrade", "te", "http2-settings"];
    let lines = headers.get_all(CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    options.any(|option| !KNOWN.iter().any(|known| option.eq_ignore_ascii_case(known.as_bytes())))
}

/// RFC 9110 §10.1.1: an expectation other than `100-continue` cannot be met.
pub(super) fn expects_continue(headers: &HeaderMap, version: Version) -> Result<bool, Refusal> {
    let mut expected = headers.get_all(EXPECT).iter();
    match (expected.next(), expected.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(version >= Version::HTTP_11)
        }
        _ => Err(OTHER_EXPECTATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8, target: 64 };

    fn read(text: &str) -> Result<Head, u16> {
        let bytes = Bytes::from(text.to_owned());
        let whole = match scan(&bytes, 0, &LIMITS).map_err(|r| r.status.as_u16())? {
            Scan::Whole(length) => length,
            Scan::Partial(_) => panic!("incomplete: {text:?}"),
        };
        assert_eq!(whole, text.len());
        Head::parse(&bytes, Scheme::Http, &LIMITS).map_err(|refusal| refusal.status.as_u16())
    }

    fn request(fields: &str) -> Result<Head, u16> {
        read(&format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = read("GET /p?q HTTP/1.1\r\nHost:\ta \r\nX: 1\r\nx: 2\r\nEmpty:\r\n\r\n").unwrap();
        assert_eq!((head.method, head.version), (Method::GET, Version::HTTP_11));
        assert_eq!(head.headers.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.headers.get("host").unwrap(), "a");
        let plain = ConnectionOptions {
            expects_continue: false,
            keep_alive: true,
            wants_upgrade: false,
            hides_fields: false,
        };
        assert_eq!(head.connection, plain);
    }

    #[test]
    fn section_3_2_4_options_for_a_host_alone_is_about_the_server() {
        let asked = |line: &str| {
            let head = read(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
            head.target.path_and_query().to_string()
        };
        assert_eq!(asked("OPTIONS http://a"), "*");
        assert_eq!(asked("OPTIONS http://a/"), "/");
        assert_eq!(asked("OPTIONS http://a?q"), "/?q");
        assert_eq!(asked("OPTIONS /://a"), "/://a");
        assert_eq!(asked("GET http://a"), "/");
    }

    #[test]
    fn section_6_3_framing_is_one_length_or_chunked() {
        assert_eq!(request("Content-Length: 2\r\n").unwrap().framing, Framing::Length(2));
        assert_eq!(request("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::Chunked);
        let lengths = [
            "+2",
            "0x2",
            "1_0",
            "-1",
            "-0",
            "",
            "1 0",
            "2, 2",
            "18446744073709551616",
            "9223372036854775808",
        ];
        for bad in lengths {
            assert_eq!(request(&format!("Content-Length: {bad}\r\n")).err(), Some(400), "{bad}");
        }
        let codings = [
            "chunked, identity",
            "gzip, chunked",
            ",chunked",
            "xchunked",
            "chunked;a=b",
            "\"chunked\"",
            "identity",
            "",
        ];
        for bad in codings {
            assert_eq!(request(&format!("Transfer-Encoding: {bad}\r\n")).err(), Some(501), "{bad}");
        }
        for both in [
            "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked\0\r\n",
        ] {
            assert_eq!(request(both).err(), Some(400), "{both}");
        }
        assert_eq!(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").err(), Some(400));
    }

    #[test]
    fn section_5_lines_are_not_repaired() {
        for bad in [
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "X\r\n",
            ": v\r\n",
            "X[: v\r\n",
            "X\x7f: v\r\n",
            "X: a\0b\r\n",
            "X: a\rY: b\r\n",
            "X: a\x07\r\n",
            "X: \x0ca\r\n",
            "X: a\x0c\r\n",
            "X: a\r\r\n",
            "Host: b\r\n",
        ] {
            assert_eq!(request(bad).err(), Some(400), "{bad:?}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\n Host: a\r\n\r\n").err(), Some(400));
        assert!(scan(b"GET / HTTP/1.1\nHost: a\n\n", 0, &LIMITS).is_err());
        assert!(scan(b"GET / HTTP/1.1\r\nHost: a\n\r\n", 0, &LIMITS).is_err());
    }

    #[test]
    fn section_3_request_lines_are_not_repaired() {
        let cases = [
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.2", 505),
            ("GET / HTTP/2.0", 505),
            ("GET /", 400),
            ("GET", 400),
            ("GET admin HTTP/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("GET /a#b HTTP/1.1", 400),
            ("GET /a b HTTP/1.1", 400),
            ("G@T / HTTP/1.1", 400),
            (" GET / HTTP/1.1", 400),
            ("CONNECT a:80 HTTP/1.1", 405),
            ("TRACE / HTTP/1.1", 405),
        ];
        for (line, status) in cases {
            assert_eq!(read(&format!("{line}\r\nHost: a\r\n\r\n")).err(), Some(status), "{line}");
        }
        assert_eq!(read("gET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().method.as_str(), "gET");
    }

    #[test]
    fn limits_answer_with_their_own_status() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(64));
        assert_eq!(read(&long).err(), Some(414));
        assert_eq!(request(&"X: 1\r\n".repeat(8)).err(), Some(431));
        assert_eq!(scan(&[b'a'; 1025], 0, &LIMITS).unwrap_err().status.as_u16(), 431);
    }

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let mut from = 0;
        for length in 0..text.len() - 4 {
            match scan(&text[..length], from, &LIMITS).unwrap() {
                Scan::Partial(next) => from = next,
                Scan::Whole(_) => panic!("too early at {length}"),
            }
        }
        assert_eq!(scan(text, from, &LIMITS), Ok(Scan::Whole(text.len() - 4)));
    }

    #[test]
    fn section_10_1_1_and_9_3_options_of_the_connection() {
        let options = |fields: &str| request(fields).unwrap().connection;
        assert!(options("Expect: 100-Continue\r\n").expects_continue);
        assert_eq!(request("Expect: y 100-continue\r\n").err(), Some(417));
        assert!(!options("Connection: x, Close\r\n").keep_alive);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").unwrap().connection.keep_alive);
        assert!(read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().connection.keep_alive);
        assert!(options("Connection: Upgrade\r\nUpgrade: websocket\r\n").wants_upgrade);
        assert!(!options("Upgrade: websocket\r\n").wants_upgrade);
        assert!(!options("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, H2C\r\n").wants_upgrade);
    }
}
