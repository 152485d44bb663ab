//! Fields: which are for one connection only, and which must be written anew by a proxy.

mod rewriting;

use std::{net::IpAddr, time::SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, FORWARDED,
        HOST, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VARY, VIA,
    },
};
use ipnet::IpNet;

pub use self::rewriting::{has_rewriting, matters, remove_lookalikes, remove_rewriting, taken_for};
use crate::{
    admit::Target,
    policy::{facts::date, media::essence},
    sabotage::Omission,
};

/// The name of every sidecar in `Cache-Status` and `Proxy-Status`.
pub const PSEUDONYM: &str = "sidecache";

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Through whom a request came, as each of them tells.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How the client named the host, as a proxy in front tells.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// By which scheme the client asked, as a proxy in front tells.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// What a request is called in the logs of all that it passes.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which trace a request is part of (W3C Trace Context §3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What those who trace say to each other of it (§3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Fields that a sender cannot have dropped by naming them in `Connection`: losing one of these
/// would change what the message means, to whom it may go, or hide who sent it.
static NEVER_HOP_BY_HOP: [HeaderName; 12] = [
    HOST,
    CONTENT_LENGTH,
    AUTHORIZATION,
    COOKIE,
    CACHE_CONTROL,
    SET_COOKIE,
    VARY,
    VIA,
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// Fields that are for one connection only.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    TRAILER,
    UPGRADE,
];

/// RFC 9110 §7.6.1: removes the fields that are for this connection only: the known ones and those
/// that `Connection` lists.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed = if Omission::ListedFields.is_made() { Vec::new() } else { connection_options(headers) };
    for name in listed {
        if name != "age" && !NEVER_HOP_BY_HOP.contains(&name) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The same for a request, which asks for trailers as its client does: we pass them on (RFC 9110 §10.1.4). In an
/// answer `TE` means nothing.
pub fn remove_hop_by_hop_of_request(headers: &mut HeaderMap) {
    let takes_trailers = has_token(headers, &TE, "trailers");
    remove_hop_by_hop(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The names that `Connection` lists.
pub fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|&b| b == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok()).collect()
}

/// Whether a comma-separated list has this token, in any case.
#[must_use]
pub fn list_has(list: &[u8], token: &str) -> bool {
    list.split(|&b| b == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether any line of `name` has this token.
#[must_use]
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|line| list_has(line.as_bytes(), token))
}

/// RFC 9110 §8.3.1: the media type of a message, without its parameters; nothing if it states none.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> &[u8] {
    headers.get(CONTENT_TYPE).map_or(&b""[..], |stated| essence(stated.as_bytes()))
}

/// Whether a message is of a call of gRPC, in whatever coding.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"application/grpc";
    media_type(headers).get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME))
}

/// RFC 9110 §7.6.2: how often a request may still be forwarded, if it says so; the least, if it says so twice.
#[must_use]
pub fn max_forwards(headers: &HeaderMap) -> Option<u64> {
    let digits = |line: &&[u8]| !line.is_empty() && line.iter().all(u8::is_ascii_digit);
    let lines = headers.get_all(MAX_FORWARDS).iter().map(HeaderValue::as_bytes).filter(digits);
    let left = |line| std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    lines.map(left).min()
}

/// RFC 9110 §7.6.3: appends this proxy to `Via`, as one line.
pub fn append_via(headers: &mut HeaderMap, received: Version, pseudonym: &str) {
    let version = match received {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    append_to_list(headers, VIA, &format!("{version} {pseudonym}"));
}

/// Whether a `Via` member names this proxy: the request went round in a circle.
#[must_use]
pub fn has_passed_here(headers: &HeaderMap, pseudonym: &str) -> bool {
    let members = headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    members
        .filter_map(|member| member.trim_ascii().split(u8::is_ascii_whitespace).nth(1))
        .any(|by| by == pseudonym.as_bytes())
}

fn append_to_list(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(name, value);
    }
}

/// RFC 9110 §6.6.1: "a recipient with a clock that receives a response message without a Date header
/// field MUST record the time it was received and append a corresponding Date header field". One that is
/// there is left as it is, whatever it is: this is for what is only passed on.
pub fn ensure_date(headers: &mut HeaderMap, received: SystemTime) {
    if !headers.contains_key(DATE) {
        write_date(headers, received);
    }
}

/// RFC 9110 §6.6.1: "a recipient with a clock that receives a response with an invalid Date header field
/// value MAY replace that value with the time that response was received". For what may be stored, whose
/// age and `Expires` are counted from it.
pub fn ensure_valid_date(headers: &mut HeaderMap, received: SystemTime) {
    if date(headers).is_none() {
        write_date(headers, received);
    }
}

fn write_date(headers: &mut HeaderMap, received: SystemTime) {
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(received)) {
        headers.insert(DATE, date);
    }
}

/// Who sent a request, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Ip(IpAddr),
    /// Over a unix socket: a process of this machine; or somebody of whom a proxy knows no address.
    Local,
}

impl Peer {
    /// Whether it is one of the operator's own proxies.
    #[must_use]
    pub fn is_trusted(self, proxies: &[IpNet]) -> bool {
        match self {
            Self::Ip(address) => proxies.iter().any(|net| net.contains(&address)),
            Self::Local => false,
        }
    }
}

/// Writes `X-Forwarded-*` and `Forwarded` (RFC 7239) from what the proxy knows.
///
/// What came with the request is kept and added to only where the peer is one of the proxies that
/// the operator trusts: anybody can write these fields. One that speaks of its client in one of the two ways alone is
/// added to in that way alone: what we know ourselves is about that proxy, and an app that looks at the other would
/// take it for the client.
pub fn rebuild_forwarded(headers: &mut HeaderMap, target: &Target, peer: Peer, trusted: &[IpNet]) {
    let keep = peer.is_trusted(trusted);
    if !keep {
        for name in [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP] {
            headers.remove(name);
        }
    }
    let kept = |names: &[HeaderName]| names.iter().any(|name| headers.contains_key(name));
    let (by_x, by_rfc) = (kept(&[X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO]), kept(&[FORWARDED]));
    if by_x || !by_rfc {
        add_x_forwarded(headers, target, peer);
    }
    if by_rfc || !by_x {
        add_forwarded(headers, target, peer);
    }
}

fn add_x_forwarded(headers: &mut HeaderMap, target: &Target, peer: Peer) {
    if let Peer::Ip(address) = peer {
        append_to_list(headers, X_FORWARDED_FOR, &address.to_string());
    }
    let scheme = target.scheme().as_str();
    for (name, value) in [(X_FORWARDED_PROTO, scheme), (X_FORWARDED_HOST, target.authority())] {
        if !headers.contains_key(&name)
            && !value.is_empty()
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
}

/// RFC 7239 §4, §6: addresses of IPv6 and hosts with a port are quoted.
fn add_forwarded(headers: &mut HeaderMap, target: &Target, peer: Peer) {
    let node = match peer {
        Peer::Ip(IpAddr::V4(address)) => address.to_string(),
        Peer::Ip(IpAddr::V6(address)) => format!("\"[{address}]\""),
        Peer::Local => "unknown".to_owned(),
    };
    let host = match target.authority() {
        "" => String::new(),
        authority => format!(";host=\"{authority}\""),
    };
    append_to_list(headers, FORWARDED, &format!("for={node}{host};proto={}", target.scheme().as_str()));
}

/// What the names of the fields begin with that are for sidecaches alone (RFC 9213 §2.1).
const OWN: &str = "sidecache-";

/// Takes out the fields that are for sidecaches alone: no client gets them.
pub fn take_own(headers: &mut HeaderMap) -> HeaderMap {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(OWN)).cloned().collect();
    take(headers, &names)
}

/// Takes out the fields of these names, repeated lines in their order.
pub fn take(headers: &mut HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut taken = HeaderMap::new();
    for name in names {
        let values = headers.get_all(name).iter().cloned();
        taken.extend(values.map(|value| (name.clone(), value)));
        headers.remove(name);
    }
    taken
}

/// Fields as lines ready for the wire: `name: value` and CRLF each, without the empty last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Bytes);

impl Lines {
    /// All lines of `headers`, repeated ones in their order.
    #[must_use]
    pub fn from_map(headers: &HeaderMap) -> Self {
        let length = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut out = BytesMut::with_capacity(length);
        for (name, value) in headers {
            put_line(&mut out, name.as_str().as_bytes(), value.as_bytes());
        }
        Self(out.freeze())
    }

    /// Bytes from elsewhere, if they are nothing but well-formed lines: no CR, LF or NUL can get
    /// into a value.
    #[must_use]
    pub fn checked(bytes: Bytes) -> Option<Self> {
        let well_formed = LineIter(&bytes).try_fold(0, |length, (name, value)| {
            HeaderName::from_bytes(name).ok()?;
            HeaderValue::from_bytes(value).ok()?;
            Some(length + name.len() + value.len() + 4)
        });
        (well_formed? == bytes.len()).then_some(Self(bytes))
    }

    /// Whether one of them says something of a connection, or of where a message ends: no stored response has
    /// any of those.
    #[must_use]
    pub fn frame(&self) -> bool {
        let mut names = HOP_BY_HOP.iter().chain([&CONTENT_LENGTH]);
        !Omission::EntryFields.is_made()
            && names
                .any(|n| LineIter(&self.0).any(|(name, _)| name.eq_ignore_ascii_case(n.as_str().as_bytes())))
    }

    /// These lines, then those.
    #[must_use]
    pub fn followed_by(&self, others: &Self) -> Self {
        match others.0.is_empty() {
            true => self.clone(),
            false => Self([&*self.0, &*others.0].concat().into()),
        }
    }

    /// Those that are not of a field of these names.
    #[must_use]
    pub fn without(&self, names: &[HeaderName]) -> Self {
        let of_these = |name: &[u8]| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_str().as_bytes()));
        if !LineIter(&self.0).any(|(name, _)| of_these(name)) {
            return self.clone();
        }
        let mut out = BytesMut::with_capacity(self.0.len());
        for (name, value) in LineIter(&self.0).filter(|(name, _)| !of_these(name)) {
            put_line(&mut out, name, value);
        }
        Self(out.freeze())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same as a map.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in LineIter(&self.0) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        headers
    }
}

/// Appends one line.
pub fn put_line(out: &mut impl BufMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Name and value of each line; ends early at one that is malformed.
struct LineIter<'a>(&'a [u8]);

impl<'a> Iterator for LineIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = self.0.get(..end)?.strip_suffix(b"\r")?;
        self.0 = self.0.get(end + 1..)?;
        let colon = memchr::memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.strip_prefix(b" ")?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::SET_COOKIE;

    use super::*;
    use crate::admit::Scheme;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap()));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value): (_, HeaderValue)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn section_7_6_1_removes_what_is_for_one_connection() {
        let mut headers = map(&[
            ("connection", ", x-foo , close"),
            ("x-foo", "1"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
            ("proxy-authorization", "x"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        let mut requested = headers.clone();
        remove_hop_by_hop_of_request(&mut requested);
        assert_eq!(requested, map(&[("te", "trailers"), ("accept", "*/*")]));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn connection_cannot_drop_what_a_request_means() {
        let named = "host, content-length, authorization, cookie, age, via, x-forwarded-for, cache-control";
        let fields: Vec<_> = named.split(", ").map(|name| (name, "1")).collect();
        let mut headers = map(&fields);
        headers.insert(CONNECTION, named.parse().unwrap());
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&fields));
    }

    #[test]
    fn forwarded_fields_of_strangers_are_replaced_and_those_of_trusted_proxies_kept() {
        let target = |h: &HeaderMap| Target::parse(&Bytes::from_static(b"/"), h, Scheme::Http, true).unwrap();
        let sent = map(&[
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.2.3.4"),
        ]);
        let peer = Peer::Ip("10.0.0.1".parse().unwrap());
        let mut stranger = sent.clone();
        rebuild_forwarded(&mut stranger, &target(&sent), peer, &[]);
        assert_eq!(stranger.get("x-forwarded-for").unwrap(), "10.0.0.1");
        assert_eq!(stranger.get("x-forwarded-proto").unwrap(), "http");
        assert_eq!(stranger.get("forwarded").unwrap(), "for=10.0.0.1;host=\"a\";proto=http");
        let mut trusted = sent.clone();
        rebuild_forwarded(&mut trusted, &target(&sent), peer, &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(trusted.get("x-forwarded-for").unwrap(), "1.2.3.4, 10.0.0.1");
        assert_eq!(trusted.get("x-forwarded-proto").unwrap(), "https");
    }

    #[test]
    fn section_7_4_a_trusted_proxy_is_added_to_in_the_way_in_which_it_speaks() {
        let target = |h: &HeaderMap| Target::parse(&Bytes::from_static(b"/"), h, Scheme::Http, true).unwrap();
        let peer = Peer::Ip("10.0.0.1".parse().unwrap());
        let told = |fields: &[(&'static str, &str)]| {
            let mut headers = map(&[&[("host", "a")], fields].concat());
            let target = target(&headers);
            rebuild_forwarded(&mut headers, &target, peer, &["10.0.0.0/8".parse().unwrap()]);
            ["x-forwarded-proto", "forwarded"]
                .map(|name| headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
        };
        let said = |text: &str| Some(text.to_owned());
        let ours = "for=10.0.0.1;host=\"a\";proto=http";
        assert_eq!(told(&[]), [said("http"), said(ours)]);
        assert_eq!(told(&[("x-forwarded-proto", "https")]), [said("https"), None]);
        assert_eq!(told(&[("x-forwarded-for", "192.0.2.1")]), [said("http"), None]);
        let theirs = ("forwarded", "for=192.0.2.1;proto=https");
        let both = format!("{}, {ours}", theirs.1);
        assert_eq!(told(&[theirs]), [None, said(&both)]);
        assert_eq!(told(&[theirs, ("x-forwarded-proto", "https")]), [said("https"), said(&both)]);
    }

    #[test]
    fn section_6_6_1_a_missing_date_is_the_time_of_receipt() {
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let written = map(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        for write in [ensure_date, ensure_valid_date] {
            let mut none = HeaderMap::new();
            write(&mut none, received);
            assert_eq!(none, written);
            for valid in [
                "Mon, 07 Nov 1994 08:49:37 GMT",
                "Monday, 07-Nov-94 08:49:37 GMT",
                "mon nov  7 08:49:37 1994",
            ] {
                let sent = map(&[("date", valid)]);
                let mut kept = sent.clone();
                write(&mut kept, received);
                assert_eq!(kept, sent, "{valid}");
            }
        }
    }

    #[test]
    fn section_6_6_1_an_invalid_date_is_replaced_only_in_what_may_be_stored() {
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let valid = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for sent in [
            map(&[("date", "")]),
            map(&[("date", "0")]),
            map(&[("date", "Sun, 06 Nov 1994 08:49:37 +0000")]),
            map(&[valid, valid]),
            map(&[valid, ("date", "0")]),
        ] {
            let (mut passed, mut stored) = (sent.clone(), sent.clone());
            ensure_date(&mut passed, received);
            ensure_valid_date(&mut stored, received);
            assert_eq!(passed, sent);
            assert_eq!(stored, map(&[valid]), "{sent:?}");
        }
    }

    #[test]
    fn via_is_one_line_and_names_us_once_for_each_pass() {
        let mut headers = map(&[("via", "1.0 a"), ("via", "1.1 b (x)")]);
        assert!(!has_passed_here(&headers, "me"));
        append_via(&mut headers, Version::HTTP_11, "me");
        assert_eq!(headers.get_all(VIA).iter().collect::<Vec<_>>(), ["1.0 a, 1.1 b (x), 1.1 me"]);
        assert!(has_passed_here(&headers, "me"));
    }

    #[test]
    fn lines_without_some_names_are_the_others_in_order() {
        let lines = Lines::checked(Bytes::from_static(b"a: 1\r\nB: 2\r\nab: 3\r\na: 4\r\nc: \r\n")).unwrap();
        let without = |names: &[&'static str]| {
            let names: Vec<_> = names.iter().map(|name| HeaderName::from_static(name)).collect();
            lines.without(&names).as_bytes().clone()
        };
        assert_eq!(without(&["a", "b", "x"]), "ab: 3\r\nc: \r\n");
        assert_eq!(without(&["c"]), "a: 1\r\nB: 2\r\nab: 3\r\na: 4\r\n");
        assert_eq!(without(&["a", "ab", "b", "c"]), "");
        assert_eq!(without(&["x"]).as_ptr(), lines.as_bytes().as_ptr(), "nothing is copied in vain");
        assert_eq!(Lines::default().without(&[DATE]), Lines::default());
    }

    #[test]
    fn lines_are_what_the_map_was_and_refuse_anything_else() {
        let headers = map(&[("set-cookie", "a=1"), ("date", "x"), ("set-cookie", "b=2")]);
        let lines = Lines::from_map(&headers);
        assert_eq!(lines.to_map(), headers);
        assert_eq!(lines.to_map().get_all(SET_COOKIE).iter().count(), 2);
        assert!(lines.to_map().contains_key(DATE));
        assert!(Lines::checked(lines.as_bytes().clone()).is_some());
        for bad in [
            "a: b",
            "a: b\n",
            "a:b\r\n",
            "a: b\r\n\r\n",
            "a b: c\r\n",
            "a: b\rc: d\r\n",
            "a: \0\r\n",
            ": x\r\n",
        ] {
            assert!(Lines::checked(Bytes::from_static(bad.as_bytes())).is_none(), "{bad:?}");
        }
    }
}
