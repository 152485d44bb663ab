//! Waits that have a limit.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{
    rig::{OK, Rig, message, request},
    wire::{Ends, soon},
};

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end() {
    let rig = Rig::new("timeouts: { header: 100ms }").await;
    let mut client = rig.sidecar.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")));
    client.is_closed().await;
}

#[tokio::test]
async fn a_kept_connection_without_a_request() {
    let rig = Rig::new("timeouts: { idle: 500ms }").await;
    rig.sidecar.connect().await.is_closed().await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send(OK).await;
    assert_eq!(client.response().await.status(), 200);
    client.is_closed().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer() {
    let rig = Rig::new("timeouts: { body: 100ms }").await;
    let (_client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
    while origin.try_send(&[b'x'; 65536]).await {}
    let seen = rig.sidecar.observed("the end of the exchange", |seen| !seen.is_empty()).await;
    assert!(!seen[0].complete);
}

/// Else a megabyte would be with the system at once, in memory that nobody bounds, and count as taken.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_system_holds_of_an_answer_that_is_not_taken_is_bounded() {
    const LENGTH: usize = 1024 * 1024;
    let rig = Rig::new("timeouts: { body: 300ms }\nroutes: [{ match: /, cache: 60s }]").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
    origin.send(vec![b'x'; LENGTH]).await;
    assert_eq!(client.response().await.body.len(), LENGTH);
    let mut idle = rig.sidecar.connect().await;
    idle.send(request("GET / HTTP/1.1", &[], "")).await;
    let seen = rig.sidecar.observed("the end of the other exchange", |seen| seen.len() == 2).await;
    assert_eq!((seen[1].outcome, seen[1].complete), ("hit", false));
}

#[tokio::test]
async fn a_client_that_takes_its_answer_in_crumbs() {
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
    let crumbs = async {
        while rig.sidecar.seen.all().is_empty() {
            client.bytes_at_most(32).await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    let feeding = async { while origin.try_send(&[b'x'; 65536]).await {} };
    soon("the end of the exchange", async { tokio::join!(crumbs, feeding) }).await;
    assert!(!rig.sidecar.seen.all()[0].complete);
}

#[tokio::test]
async fn a_request_body_that_comes_in_crumbs() {
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    let head = request("POST / HTTP/1.1", &["Content-Length: 1000000"], "");
    let (mut client, mut origin, _) = rig.send(&head).await;
    while rig.sidecar.seen.all().is_empty() {
        client.try_send(b"x").await;
        sleep(Duration::from_millis(10)).await;
    }
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")));
    assert!(origin.rest().await.len() < 4096);
}

#[tokio::test]
async fn what_the_origin_takes_its_time_for_is_not_the_clients_fault() {
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    let sent = request("POST / HTTP/1.1", &["Transfer-Encoding: chunked"], "1\r\na\r\n");
    let (mut client, mut origin, _) = rig.send(&sent).await;
    assert_eq!(origin.chunk().await, b"a");
    client.send("0\r\n\r\n").await;
    origin.send(message("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], "")).await;
    assert_eq!(client.head().await.status(), 200);
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await; // Longer in all than the client may be waited for.
        origin.send("1\r\nb\r\n").await;
        assert_eq!(client.chunk().await, b"b");
    }
    origin.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test]
async fn an_answer_that_stops() {
    let rig = Rig::new("timeouts: { between_bytes: 100ms }").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send(message("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], "4\r\npart\r\n")).await;
    client.head().await;
    assert_eq!(client.rest().await, b"4\r\npart\r\n", "and no last chunk");
    origin.is_closed().await;
}

#[tokio::test]
async fn an_event_stream_that_is_quiet_goes_on() {
    let rig = Rig::new("timeouts: { between_bytes: 50ms }").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send(message("HTTP/1.1 200 OK", &["Content-Type: text/event-stream; charset=utf-8"], "")).await;
    let head = client.head().await;
    assert_eq!(head.response_ends("GET"), Ends::Chunked);
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        client.is_silent().await; // Longer in all than an answer may be quiet.
        client.is_silent().await;
        origin.send(event).await;
        assert_eq!(client.chunk().await, event.as_bytes());
    }
}

#[tokio::test]
async fn a_tunnel_ends_when_both_ends_are_quiet_for_too_long() {
    let rig = Rig::new("timeouts: { idle: 1s }").await;
    let upgrade = request("GET / HTTP/1.1", &["Connection: upgrade", "Upgrade: x"], "early");
    let (mut client, mut origin, head) = rig.send(&upgrade).await;
    assert_eq!((head.field("connection"), head.field("upgrade")), (Some("upgrade"), Some("x")));
    let agreed = message("HTTP/1.1 101 Switching Protocols", &["Connection: upgrade", "Upgrade: x"], "hi");
    origin.send(agreed).await;
    let answer = client.head().await;
    assert_eq!((answer.status(), answer.field("upgrade")), (101, Some("x")));
    assert_eq!(client.bytes(2).await, b"hi");
    assert_eq!(origin.bytes(5).await, b"early");
    client.send("ping").await;
    assert_eq!(origin.bytes(4).await, b"ping");
    origin.send("pong").await;
    assert_eq!(client.bytes(4).await, b"pong");
    client.is_closed().await;
    origin.is_closed().await;
}
