//! Whether the origin got what the client meant.

use sidecache_fuzz::strict::{Field, Message};

use super::{origin::Got, sidecar::Answer};

/// Fields of a connection, which end at the proxy.
const HOPS: [&str; 5] =
    ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "upgrade"];

/// Fields that the proxy writes anew, or may take out or change.
const REWRITTEN: [&str; 21] = [
    "host",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "expect",
    "max-forwards",
    "accept-encoding",
    "upgrade",
    "cookie",
    "proxy",
    "x-request-id",
    "traceparent",
    "tracestate",
];

/// Fields of which `Connection` cannot rid a request: they are no matter of a connection.
const ALWAYS: [&str; 14] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "cache-control",
    "set-cookie",
    "vary",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "te",
    "age",
];

/// Where the rule that caches is.
const CACHED: &[u8] = b"/cached/";

/// Fails unless each answer of the origin's is to the request that it is given for.
pub fn compare(meant: &[Message], answers: &[Answer], got: &Got) {
    assert!(got.bad.is_empty(), "the origin got what it cannot read: {:?}", got.bad);
    assert!(got.cut <= 1, "{} requests were cut", got.cut);
    let mut answered = vec![false; got.requests.len()];
    for (at, answer) in answers.iter().enumerate() {
        let Some(number) = answer.number else { continue };
        let request =
            number.checked_sub(1).and_then(|at| got.requests.get(at)).expect("the origin numbers them");
        let meant = meant.get(at).unwrap_or_else(|| panic!("forwarded what is no request: {request:?}"));
        if std::mem::replace(&mut answered[number - 1], true) {
            reused(meant, request);
        } else {
            same(meant, request);
        }
    }
    let unasked = answered.iter().position(|answered| !answered);
    // A client that is refused and leaves may leave one answer behind.
    if let Some(at) = unasked {
        panic!("the origin got a request more: {:?}", got.requests[at]);
    }
}

/// An answer that others got before: only to the same question.
fn reused(meant: &Message, request: &Message) {
    assert!(matches!(&*meant.method, "GET" | "HEAD"), "{} was answered from the store", meant.method);
    assert!(target(meant).starts_with(CACHED), "stored without a rule");
    assert_eq!(target(meant), request.target, "answered from the store for another target");
    assert_eq!(meant.body, b"", "a request with a body was answered from the store");
}

fn same(meant: &Message, request: &Message) {
    let context = || format!("\nmeant {meant:?}\n  got {request:?}");
    assert_eq!(meant.method, request.method, "{}", context());
    assert_eq!(target(meant), request.target, "{}", context());
    assert_eq!(meant.body, request.body, "{}", context());
    assert_eq!(request.minor, 1, "{}", context());
    let (before, after) = (meant.framings(), request.framings());
    assert!(after <= 1 && (after == 1 || meant.body.is_empty()), "{before} framings, {after}: {}", context());
    hosts(meant, request);
    let listed = listed(meant);
    let ends_here = |name: &str| HOPS.contains(&name) || listed.iter().any(|listed| listed == name);
    let upgrade = |name: &str| name == "upgrade" && listed.iter().any(|listed| listed == "upgrade");
    for (name, _) in &request.fields {
        assert!(
            !ends_here(name) || upgrade(name) || ALWAYS.contains(&&**name),
            "{name} went on: {}",
            context()
        );
        let rewritten = REWRITTEN.contains(&&**name);
        assert!(rewritten || request.values(name) == meant.values(name), "{name} changed: {}", context());
    }
    // What fills the store leaves out what others have no part in.
    let fills = matches!(&*meant.method, "GET" | "HEAD") && request.target.starts_with(CACHED);
    for (name, _) in meant.fields.iter().filter(|_| !fills) {
        let may_go = REWRITTEN.contains(&&**name)
            || ends_here(name) && !ALWAYS.contains(&&**name)
            || name.contains(|sign: char| !sign.is_ascii_alphanumeric() && sign != '-');
        assert!(may_go || request.values(name) == meant.values(name), "{name} was lost: {}", context());
    }
    let sent = |trailer: &Field| meant.trailers.contains(trailer);
    assert!(request.trailers.iter().all(sent), "a trailer of nobody: {}", context());
}

/// Exactly one `Host`, and the one that was named.
fn hosts(meant: &Message, request: &Message) {
    let [host] = request.values("host")[..] else { panic!("not one host: {request:?}") };
    let named = authority(meant).or_else(|| meant.values("host").first().map(|host| host.to_vec()));
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        assert!(plain(host) == plain(&named), "another host: {meant:?} {request:?}");
    }
}

/// A host in one spelling: in lower case, without the port that goes without saying and the dot at its end.
fn plain(host: &[u8]) -> String {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.trim_start_matches('0')),
        _ => (&*host, ""),
    };
    let port = if port == "80" { "" } else { port };
    format!("{}:{port}", name.trim_end_matches('.'))
}

/// The names in `Connection`.
fn listed(meant: &Message) -> Vec<String> {
    let lines = meant.values("connection");
    let names = lines.iter().flat_map(|line| line.split(|&b| b == b','));
    names.map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase()).collect()
}

/// The authority of an absolute target, and what follows it.
fn absolute(meant: &Message) -> Option<(&[u8], &[u8])> {
    let target = &meant.target[..];
    if target.starts_with(b"/") {
        return None;
    }
    let after = target.windows(3).position(|three| three == b"://")? + 3;
    let end = target[after..].iter().position(|b| matches!(b, b'/' | b'?'));
    Some(target[after..].split_at(end.unwrap_or(target.len() - after)))
}

fn authority(meant: &Message) -> Option<Vec<u8>> {
    absolute(meant).map(|(authority, _)| authority.to_vec())
}

/// The target as an origin gets it (RFC 9112 §3.2.1, §3.2.4).
fn target(meant: &Message) -> Vec<u8> {
    match absolute(meant) {
        None => meant.target.clone(),
        Some((_, b"")) if meant.method == "OPTIONS" => b"*".to_vec(),
        Some((_, rest)) if rest.starts_with(b"/") => rest.to_vec(),
        Some((_, rest)) => [b"/", rest].concat(),
    }
}
