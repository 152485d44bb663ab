//! Heads that must not be forwarded (RFC 9113 §8).

use crate::{
    frames::{Client, DATA, END_HEADERS, END_STREAM, Ended, HEADERS, PROTOCOL_ERROR, block, frame, get},
    friend::{Friend, request, whole},
    support::{echo::Echo, sidecar::Sidecar, wire::soon},
};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/p");
const HOST: (&str, &str) = (":authority", "a");
const WHOLE: [(&str, &str); 4] = [METHOD, SCHEME, HOST, PATH];

/// A whole head and something more.
fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&WHOLE, more].concat()
}

/// Heads without a body, each wrong in its own way.
fn malformed() -> Vec<Vec<(&'static str, &'static str)>> {
    let instead = |path| vec![METHOD, SCHEME, HOST, (":path", path)];
    let of = |host| vec![METHOD, SCHEME, PATH, (":authority", host)];
    vec![
        // §8.3: pseudo-header fields
        vec![SCHEME, HOST, PATH],
        vec![METHOD, HOST, PATH],
        vec![METHOD, SCHEME, HOST],
        vec![METHOD, SCHEME, PATH],
        vec![METHOD, METHOD, SCHEME, HOST, PATH],
        vec![METHOD, SCHEME, HOST, PATH, PATH],
        vec![METHOD, SCHEME, HOST, HOST, PATH],
        vec![METHOD, SCHEME, ("x", "1"), HOST, PATH],
        with(&[(":status", "200")]),
        with(&[(":unknown", "1")]),
        with(&[(":protocol", "websocket")]),
        vec![(":method", "G@T"), SCHEME, HOST, PATH],
        vec![(":method", "GET / HTTP/1.1\r\nx: 1\r\n"), SCHEME, HOST, PATH],
        vec![METHOD, (":scheme", "a b"), HOST, PATH],
        // §8.3.1: the target
        instead(""),
        instead("p"),
        instead("*"),
        instead("http://b/p"),
        instead("//b@c /p"),
        instead("/a b"),
        instead("/a\r\nX: 1"),
        instead("/a HTTP/1.1\r\nHost: b\r\n\r\n"),
        instead("/\u{e4}\u{0}"),
        // the authority
        of("user@a"),
        of("a:port"),
        of("a:99999"),
        of("a/p"),
        of("a b"),
        of(""),
        with(&[("host", "b")]),
        with(&[("host", "a"), ("host", "a")]),
        vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")],
        // §8.2.2: fields of a connection
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("te", "gzip")]),
        // §8.2.1: names and values
        with(&[("X-Upper", "1")]),
        with(&[("x y", "1")]),
        with(&[("x:", "1")]),
        with(&[("x\r\ny", "1")]),
        with(&[("", "1")]),
        with(&[("x", "a\r\ny: 1")]),
        with(&[("x", "a\nb")]),
        with(&[("x", "a\0b")]),
        with(&[("x", " a")]),
        with(&[("x", "a\t")]),
        // §8.1.1: lengths
        with(&[("content-length", "5")]),
        with(&[("content-length", "+0")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
        with(&[("content-length", "0"), ("content-length", "1")]),
        with(&[("content-length", "18446744073709551616")]),
    ]
}

#[tokio::test]
async fn section_8_1_1_what_is_malformed_reaches_nobody_and_harms_no_other_request() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "routes: [{ match: /**, cache: 60s }]");
    let mut failed = Vec::new();
    for fields in malformed() {
        let mut client = Client::connect(&sidecar).await;
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields));
        assert!(client.send(&head).await);
        let ended = client.ended(1).await;
        let next = match ended {
            Ended::GoAway(PROTOCOL_ERROR) => Ended::Fine,
            _ if client.send(&get(3, "/next")).await => client.ended(3).await,
            _ => Ended::Closed,
        };
        let refused =
            matches!(ended, Ended::Bad | Ended::Reset(PROTOCOL_ERROR) | Ended::GoAway(PROTOCOL_ERROR));
        if !refused || next != Ended::Fine {
            failed.push(format!("{fields:?}: {ended:?}, then {next:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(echo.requests().iter().all(|request| request.asked() == "GET /next"), "{:?}", echo.requests());
    assert!(!echo.heard(b"/p"));
}

#[tokio::test]
async fn section_8_1_1_a_body_of_another_length_than_stated_never_ends_at_the_origin() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    for (stated, sent) in [("5", "four"), ("3", "four"), ("0", "four")] {
        let mut client = Client::connect(&sidecar).await;
        let fields = [(":method", "POST"), SCHEME, HOST, PATH, ("content-length", stated)];
        let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        let body = frame(DATA, END_STREAM, 1, sent.as_bytes());
        assert!(client.send(&[head, body].concat()).await);
        let ended = client.ended(1).await;
        assert!(matches!(ended, Ended::Reset(PROTOCOL_ERROR) | Ended::Bad), "{stated}: {ended:?}");
        assert!(client.send(&get(3, "/next")).await);
        assert_eq!(client.ended(3).await, Ended::Fine);
    }
    echo.is_quiet().await;
    assert!(echo.requests().iter().all(|request| request.asked() == "GET /next"), "{:?}", echo.requests());
}

#[tokio::test]
async fn what_must_not_be_forwarded_gets_the_same_answers_as_in_http_1() {
    let echo = Echo::start().await;
    let limits =
        "limits: { header_bytes: 1KiB, headers: 5, uri_bytes: 100B, request_body: 4B }\nhosts: [a, b]";
    let sidecar = Sidecar::start(echo.address, limits);
    let mut client = Friend::connect(&sidecar).await;
    let long = format!("/{}", "a".repeat(100));
    let large = "a".repeat(1000);
    let few: [(&str, &str); 6] =
        [("x-1", "1"), ("x-2", "2"), ("x-3", "3"), ("x-4", "4"), ("x-5", "5"), ("x-6", "6")];
    let cases = [
        (405, request("TRACE", "/", &[])),
        (414, request("GET", &long, &[])),
        (431, request("GET", "/", &[("x", &large)])),
        (431, request("GET", "/", &few)),
        (413, request("POST", "/", &[("content-length", "5")])),
        (417, request("POST", "/", &[("expect", "200-ok")])),
        (508, request("GET", "/", &[("via", "1.1 sidecache")])),
    ];
    for (status, request) in cases {
        let what = format!("{request:?}");
        let answer = client.ask(request).await;
        match answer {
            Ok(answer) => assert_eq!(answer.status(), status, "{what}"),
            // The library of this test sends no body shorter than it says.
            Err(error) => assert_eq!(status, 413, "{what}: {error}"),
        }
    }
    let other = http::Request::get("http://c/").body(()).unwrap();
    assert_eq!(client.ask(other).await.unwrap().status(), 421);
    let connect = http::Request::connect("a:80").body(()).unwrap();
    assert_eq!(client.ask(connect).await.unwrap().status(), 405);
    let long = client.post(request("POST", "/", &[]), b"five!").await;
    assert_eq!(
        (long.status(), long.field("proxy-status")),
        (413, Some("sidecache; error=http_request_error"))
    );
    let stated = client.post(request("POST", "/", &[("content-length", "5")]), b"five!").await;
    assert_eq!(stated.status(), 413);
    assert_eq!(echo.requests(), []);
}

#[tokio::test]
async fn a_head_that_is_refused_gets_no_body() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "limits: { uri_bytes: 100B, request_body: 4B }");
    let mut client = Friend::connect(&sidecar).await;
    let long = format!("/{}", "a".repeat(100));
    let answer = client.ask(request("HEAD", &long, &[])).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (414, ""));
    let large = client.begin(request("HEAD", "/", &[("content-length", "5")])).await.0;
    let answer = whole(soon("an answer", large).await.unwrap()).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (413, ""));
    assert_ne!(answer.field("content-length"), Some("0"), "that of a GET");
}

/// §8.2.3: browsers send each cookie as a field of its own, and HTTP/1 has one line for all of them.
#[tokio::test]
async fn section_8_2_3_crumbs_of_a_cookie_are_one_field() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "limits: { header_bytes: 2KiB, headers: 5 }");
    let mut client = Friend::connect(&sidecar).await;
    let crumbs = |count| [("cookie", "a=1")].repeat(count);
    assert_eq!(client.ask(request("GET", "/", &crumbs(180))).await.unwrap().status(), 200);
    assert_eq!(echo.requests()[0].all("cookie"), [["a=1"; 180].join("; ")]);
    assert_eq!(client.ask(request("GET", "/", &crumbs(500))).await.unwrap().status(), 431, "2.5 KB");
}
