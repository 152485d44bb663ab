//! What the proxy answers itself: problem documents (RFC 9457) with `Proxy-Status` (RFC 9209).

use crate::{
    sockets::nobody,
    support::{
        echo::Echo,
        rig::{Rig, request},
        sidecar::Sidecar,
        wire::Message,
    },
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// It is such an answer, with this status and this error.
fn assert_own(answer: &Message, status: u16, error: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.field("proxy-status"), Some(format!("sidecache; error={error}").as_str()));
    assert_eq!((answer.field("cache-status"), answer.field("age")), (None, None));
    assert!(answer.field("date").is_some());
    assert_eq!(answer.field("retry-after").is_some(), status == 503);
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

#[tokio::test]
async fn what_must_not_be_forwarded() {
    let origin = Echo::start().await;
    let limits = "limits: { header_bytes: 1KiB, headers: 5, uri_bytes: 100B }\nhosts: [a, b]";
    let sidecar = Sidecar::start(origin.address, limits);
    let (long_target, many) = (format!("/{}", "x".repeat(100)), "X: 1\r\n".repeat(5));
    for (status, sent) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned()),
        (405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (414, format!("GET {long_target} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (417, request("PUT / HTTP/1.1", &["Expect: magic", "Content-Length: 2"], "ab")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (431, request("GET / HTTP/1.1", &[&format!("X: {}", "x".repeat(1024))], "")),
        (501, request("PUT / HTTP/1.1", &["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n")),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        let mut client = sidecar.connect().await;
        client.send(&sent).await;
        let answer = client.response().await;
        assert_own(&answer, status, "http_request_error");
        assert_eq!(answer.field("connection"), Some("close"), "{sent:?}");
        client.is_closed().await;
    }
    assert!(origin.requests().is_empty());
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a\r\n{}\r\n", "x".repeat(99), "X: 1\r\n".repeat(4));
    assert_eq!(sidecar.ask(&fits).await.status(), 200);
}

/// Without a line end in it, it would be waited for as a head that is slow.
#[tokio::test]
async fn who_speaks_tls_where_it_is_not_spoken_is_told_at_once() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    for hello in [&[0x16, 3, 1, 2, 0, 1, 0, 1][..], b"\x16\x03\x03\x00\x05\x01\nab"] {
        let mut client = sidecar.connect().await;
        client.send(hello).await;
        let answer = client.response().await;
        assert_own(&answer, 400, "http_request_error");
        assert!(answer.text().contains("speaks TLS"), "{answer:?}");
        client.is_closed().await;
    }
}

#[tokio::test]
async fn section_9_3_2_a_head_that_is_refused_gets_no_body() {
    let origin = Echo::start().await;
    let limits =
        "limits: { header_bytes: 1KiB, uri_bytes: 100B, request_body: 4B }\ntimeouts: { header: 200ms }";
    let sidecar = Sidecar::start(origin.address, limits);
    for (status, sent) in [
        (400, "HEAD / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "HEAD / HTTP/1.1\nHost: a\r\n\r\n".to_owned()),
        (408, "HEAD / HTTP/1.1\r\nHost: a\r\n".to_owned()),
        (413, request("HEAD / HTTP/1.1", &["Content-Length: 5"], "")),
        (414, request(&format!("HEAD /{} HTTP/1.1", "x".repeat(100)), &[], "")),
        (431, format!("HEAD / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1024))),
        (505, request("HEAD / HTTP/2.0", &[], "")),
    ] {
        let mut client = sidecar.connect().await;
        client.send(&sent).await;
        let answer = client.response_to("HEAD").await;
        assert_eq!((answer.status(), answer.field("connection")), (status, Some("close")), "{sent:?}");
        assert_ne!(answer.field("content-length"), Some("0"), "that of a GET");
        client.is_closed().await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_served() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "hosts: [a, b]");
    let mut client = sidecar.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: c\r\n\r\n").await;
    assert_own(&client.response().await, 421, "http_request_error");
    assert!(origin.requests().is_empty());
    client.send("GET / HTTP/1.1\r\nHost: B:80\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn a_request_that_went_round_in_a_circle() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    let answer = sidecar.ask(&request("GET / HTTP/1.1", &["Via: 1.1 other, 1.1 sidecache"], "")).await;
    assert_own(&answer, 508, "proxy_loop_detected");
    assert!(origin.requests().is_empty());

    let folder = tempfile::TempDir::new().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let circle = |listen: &std::path::Path, upstream: &std::path::Path| {
        let (listen, upstream) = (listen.display(), upstream.display());
        Sidecar::from_file(&format!("listen: [127.0.0.1:0, \"unix:{listen}\"]\nupstream: unix:{upstream}"))
    };
    let (first, _second) = (circle(&a, &b), circle(&b, &a));
    let answer = first.ask(GET).await;
    assert_eq!(
        (answer.status(), answer.field("proxy-status")),
        (508, Some("sidecache; error=proxy_loop_detected"))
    );
}

#[tokio::test]
async fn a_body_that_is_larger_than_allowed() {
    let rig = Rig::new("limits: { request_body: 10B }").await;
    let mut client = rig.sidecar.connect().await;
    client.send(request("POST / HTTP/1.1", &["Content-Length: 11"], "")).await;
    assert_own(&client.response().await, 413, "http_request_error");
    client.is_closed().await;

    let (mut client, mut origin, _) = rig
        .send(&request("POST /first HTTP/1.1", &["Transfer-Encoding: chunked"], "a\r\n0123456789\r\n"))
        .await;
    assert_eq!(origin.chunk().await, b"0123456789");
    client.send("1\r\nx\r\n").await;
    assert_own(&client.response().await, 413, "http_request_error");
    client.is_closed().await;
    origin.is_closed().await;

    let fits = request("POST / HTTP/1.1", &["Content-Length: 10"], "0123456789");
    assert_eq!(rig.exchange(&fits, "HTTP/1.1 204 No Content\r\n\r\n").await.1.status(), 204);
}

#[tokio::test]
async fn a_body_that_is_malformed_or_stops() {
    let head = ["Transfer-Encoding: chunked"];
    for (rest_of_file, status, rest) in [("", 400, "x\r\n"), ("timeouts: { body: 100ms }", 408, "")] {
        let rig = Rig::new(rest_of_file).await;
        let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &head, "1\r\nx\r\n")).await;
        assert_eq!(origin.chunk().await, b"x");
        client.send(rest).await;
        assert_own(&client.response().await, status, "http_request_error");
        client.is_closed().await;
        origin.is_closed().await;
    }
}

#[tokio::test]
async fn an_origin_that_is_not_there() {
    let sidecar = Sidecar::start(nobody().await, "");
    let mut client = sidecar.connect().await;
    client.send(GET).await;
    assert_own(&client.response().await, 502, "connection_refused");
    client.send(GET).await;
    assert_own(&client.response().await, 502, "connection_refused");
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.response_to("HEAD").await;
    assert_eq!((head.status(), head.body.len()), (502, 0));
    let sidecar = Sidecar::from_file("upstream: http://name.invalid");
    assert_own(&sidecar.ask(GET).await, 502, "dns_error");
}

#[tokio::test]
async fn an_origin_whose_answer_is_none() {
    for (answer, error) in [
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection_terminated"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "http_protocol_error",
        ),
    ] {
        let rig = Rig::new("").await;
        let (mut client, mut origin, _) = rig.send(GET).await;
        origin.send(answer).await;
        origin.finish().await;
        assert_own(&client.response().await, 502, error);
    }
}

#[tokio::test]
async fn an_origin_that_does_not_answer() {
    let rig = Rig::new("timeouts: { first_byte: 100ms }").await;
    let (mut client, mut origin, _) = rig.send(GET).await;
    assert_own(&client.response().await, 504, "http_response_timeout");
    origin.is_closed().await;
}

#[tokio::test]
async fn an_origin_that_is_busy() {
    let rig = Rig::new("limits: { upstream_connections: 1, upstream_queue: 0 }").await;
    let (_client, _origin, _) = rig.send(GET).await;
    assert_own(&rig.sidecar.ask(GET).await, 503, "connection_limit_reached");

    let limits = "limits: { upstream_connections: 1, upstream_queue: 1 }\ntimeouts: { first_byte: 1s }";
    let rig = Rig::new(limits).await;
    let (_client, mut origin, _) = rig.send(GET).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
    assert_own(&rig.sidecar.ask(GET).await, 503, "connection_limit_reached");
}
