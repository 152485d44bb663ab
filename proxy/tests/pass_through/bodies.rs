//! Bodies in both directions, as they come, and how their ends are marked.

use crate::support::{
    echo::Echo,
    rig::{OK, Rig, message, request},
    sidecar::Sidecar,
};

#[tokio::test]
async fn every_method_is_passed_on_with_and_without_a_body() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    let known =
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "PURGE", "QUERY"];
    for method in known.into_iter().chain(["get", "x!#$%&'*+-.^_`|~1"]) {
        let answer = sidecar.ask(&request(&format!("{method} /a?b HTTP/1.1"), &[], "")).await;
        assert_eq!((answer.status(), answer.text()), (200, format!("{method} /a?b")));
        let with_body = request(&format!("{method} /a HTTP/1.1"), &["Content-Length: 3"], "xyz");
        assert_eq!(sidecar.ask(&with_body).await.text(), format!("{method} /a"));
        assert_eq!(origin.requests().last().unwrap().body, b"xyz", "{method}");
    }
    assert_eq!(sidecar.ask(&request("HEAD /a HTTP/1.1", &[], "")).await.status(), 200);
}

#[tokio::test]
async fn the_target_is_passed_on_byte_for_byte() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    for target in
        ["/%6fk", "/x%3fcb=1", "/a/../b", "//a", "/a;b=c", "/a?", "/?a=1&a=2&&=", "/a%00", "/a|b^{}\""]
    {
        assert_eq!(sidecar.get(target).await.text(), format!("GET {target}"));
    }
}

#[tokio::test]
async fn the_client_gets_the_first_bytes_while_the_origin_holds_the_rest() {
    for (framing, first, rest) in [
        ("Content-Length: 10", "first", "-rest"),
        ("Transfer-Encoding: chunked", "5\r\nfirst\r\n", "5\r\n-rest\r\n0\r\n\r\n"),
        ("Connection: close", "first", "-rest"),
    ] {
        let rig = Rig::new("").await;
        let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
        origin.send(message("HTTP/1.1 200 OK", &[framing], "")).await;
        let mut head = client.head().await;
        origin.send(first).await;
        let chunked = head.field("transfer-encoding").is_some();
        assert_eq!(chunked, !framing.starts_with("Content-Length"), "{framing}");
        let start = if chunked { client.chunk().await } else { client.bytes(5).await };
        assert_eq!(start, b"first", "{framing}");
        origin.send(rest).await;
        origin.finish().await;
        let ends = head.response_ends("GET");
        if chunked {
            client.body(&mut head, ends).await;
            assert_eq!(head.body, b"-rest", "{framing}");
        } else {
            assert_eq!(client.bytes(5).await, b"-rest", "{framing}");
        }
    }
}

#[tokio::test]
async fn the_origin_gets_the_first_bytes_while_the_client_holds_the_rest() {
    let rig = Rig::new("").await;
    let by_length = request("POST / HTTP/1.1", &["Content-Length: 10"], "first");
    let (mut client, mut origin, head) = rig.send(&by_length).await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), (Some("10"), None));
    assert_eq!(origin.bytes(5).await, b"first");
    client.send("-rest").await;
    assert_eq!(origin.bytes(5).await, b"-rest");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");

    client.send(request("POST / HTTP/1.1", &["Transfer-Encoding: chunked"], "5\r\nfirst\r\n")).await;
    let mut head = origin.head().await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), (None, Some("chunked")));
    assert_eq!(origin.chunk().await, b"first");
    client.send("5\r\n-rest\r\n0\r\n\r\n").await;
    let ends = head.request_ends();
    origin.body(&mut head, ends).await;
    assert_eq!(head.body, b"-rest");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}

/// Of two sockets' buffers and the proxy's own; what the kernel allows is far below it.
const MOST_IN_BUFFERS: usize = 64 << 20;

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_origin_back() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    let length = 4 * MOST_IN_BUFFERS;
    origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
    let taken = origin.send_while_taken(&[b'x'; 65536], MOST_IN_BUFFERS).await;
    assert!(taken < MOST_IN_BUFFERS, "{taken} bytes were taken, though nobody read them");
    client.head().await;
    assert_eq!(client.bytes(taken).await.len(), taken);
}

#[tokio::test]
async fn an_origin_that_does_not_read_holds_the_client_back() {
    let rig = Rig::new("").await;
    let length = format!("Content-Length: {}", 4 * MOST_IN_BUFFERS);
    let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &[&length], "")).await;
    let taken = client.send_while_taken(&[b'x'; 65536], MOST_IN_BUFFERS).await;
    assert!(taken < MOST_IN_BUFFERS, "{taken} bytes were taken, though nobody read them");
    assert_eq!(origin.bytes(taken).await.len(), taken);
}

#[tokio::test]
async fn an_empty_body_stays_one() {
    let rig = Rig::new("").await;
    let (got, _) = rig.exchange(&request("POST / HTTP/1.1", &["Content-Length: 0"], ""), OK).await;
    assert_eq!(got.field("content-length"), Some("0"));
    let empty = request("POST / HTTP/1.1", &["Transfer-Encoding: chunked"], "0\r\n\r\n");
    let (got, _) = Rig::new("").await.exchange(&empty, OK).await;
    assert!(got.body.is_empty() && got.trailers.is_empty());
}

#[tokio::test]
async fn section_8_6_who_switches_protocols_states_no_body() {
    for stated in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let asked = request("GET / HTTP/1.1", &["Connection: upgrade", "Upgrade: x"], "");
        let (mut client, mut origin, _) = Rig::new("").await.send(&asked).await;
        let fields = ["Connection: upgrade", "Upgrade: x", stated];
        origin.send(message("HTTP/1.1 101 Switching Protocols", &fields, "hello, and more")).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.field("upgrade")), (101, Some("x")));
        assert_eq!((head.field("content-length"), head.field("transfer-encoding")), (None, None), "{stated}");
        assert_eq!(client.bytes(15).await, b"hello, and more");
    }
}

#[tokio::test]
async fn answers_without_a_body_say_of_it_what_the_origin_said() {
    for (line, answer, length) in [
        ("HEAD / HTTP/1.1", message("HTTP/1.1 200 OK", &["Content-Length: 5"], ""), Some("5")),
        ("HEAD / HTTP/1.1", message("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], ""), None),
        ("HEAD / HTTP/1.1", message("HTTP/1.1 200 OK", &[], ""), None),
        ("GET / HTTP/1.1", message("HTTP/1.1 304 Not Modified", &["Content-Length: 5"], ""), Some("5")),
        ("GET / HTTP/1.1", message("HTTP/1.1 304 Not Modified", &[], ""), None),
        ("GET / HTTP/1.1", message("HTTP/1.1 204 No Content", &[], ""), None),
        // RFC 9110 §8.6: no Content-Length in a 204.
        ("GET / HTTP/1.1", message("HTTP/1.1 204 No Content", &["Content-Length: 0"], ""), None),
        ("GET / HTTP/1.1", message("HTTP/1.1 200 OK", &["Content-Length: 0"], ""), Some("0")),
    ] {
        let rig = Rig::new("").await;
        let asked = request(line, &["If-None-Match: \"a\""], "");
        let (mut client, mut origin, _) = rig.send(&asked).await;
        origin.send(&answer).await;
        let head = client.head().await;
        assert_eq!(head.field("content-length"), length, "{line}: {answer:?}");
        assert_eq!(head.field("transfer-encoding"), None, "{line}: {answer:?}");
        // The next answer comes right behind it, over both connections.
        client.send(request("GET /next HTTP/1.1", &[], "")).await;
        assert_eq!(origin.head().await.asked(), "GET /next", "{answer:?}");
        origin.send(OK).await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn a_status_of_the_origins_own_is_passed_on() {
    for status in [299, 418, 599] {
        let answer = message(&format!("HTTP/1.1 {status} Whatever"), &["Content-Length: 0"], "");
        let (_, got) = Rig::new("").await.exchange(&request("GET / HTTP/1.1", &[], ""), &answer).await;
        assert_eq!(got.status(), status);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_looks_cut_to_the_client() {
    for (framing, part) in [("Content-Length: 10", "part"), ("Transfer-Encoding: chunked", "4\r\npart\r\n")] {
        let rig = Rig::new("").await;
        let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
        origin.send(message("HTTP/1.1 200 OK", &[framing], part)).await;
        origin.finish().await;
        drop(origin);
        client.head().await;
        assert_eq!(client.rest().await, part.as_bytes(), "no last chunk, no more bytes");
        let seen = rig.sidecar.observed("the exchange", |seen| !seen.is_empty()).await;
        assert!(!seen[0].complete);
    }
}
