//! `Expect: 100-continue` (RFC 9110 §10.1.1): the client is told to go on when the origin wants its
//! body, and only then.

use crate::support::{
    rig::{OK, Rig, message, request},
    sidecar::Sidecar,
    wire::Wire,
};

const FIELDS: [&str; 2] = ["Expect: 100-continue", "Content-Length: 5"];

async fn assert_told_to_go_on(client: &mut Wire) {
    let interim = client.head().await;
    assert_eq!((interim.status(), interim.fields.len()), (100, 0));
}

#[tokio::test]
async fn the_origin_asks_for_the_body() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, head) = rig.send(&request("POST / HTTP/1.1", &FIELDS, "")).await;
    assert_eq!(head.field("expect"), Some("100-continue"));
    client.is_silent().await;
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_told_to_go_on(&mut client).await;
    client.send("hello").await;
    assert_eq!(origin.bytes(5).await, b"hello");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    client.send(request("GET /next HTTP/1.1", &[], "")).await;
    assert_eq!(origin.head().await.asked(), "GET /next");
}

#[tokio::test]
async fn the_origin_refuses_before_the_body() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &FIELDS, "")).await;
    origin.send(message("HTTP/1.1 401 Unauthorized", &["Content-Length: 2"], "no")).await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"), "and no 100 before it");
    assert_eq!(answer.field("connection"), Some("close"), "the body may still come");
    client.is_closed().await;
    origin.is_closed().await;
}

#[tokio::test]
async fn an_origin_that_ignores_the_expectation_gets_the_body_all_the_same() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &FIELDS, "")).await;
    assert_told_to_go_on(&mut client).await;
    client.send("hello").await;
    assert_eq!(origin.bytes(5).await, b"hello");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn a_client_that_does_not_wait_is_not_made_to() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &FIELDS, "hello")).await;
    assert_eq!(origin.bytes(5).await, b"hello");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn nobody_is_told_to_go_on_where_no_origin_listens() {
    let sidecar = Sidecar::start(crate::sockets::nobody().await, "");
    let answer = sidecar.ask(&request("POST / HTTP/1.1", &FIELDS, "")).await;
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn section_10_1_1_the_time_of_who_waits_to_be_told_is_not_the_clients() {
    let rig = Rig::new("limits: { upstream_connections: 1 }\ntimeouts: { body: 300ms }").await;
    let (mut busy, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    let mut client = rig.sidecar.connect().await;
    client.send(request("POST / HTTP/1.1", &FIELDS, "")).await;
    // It waits for the only connection, longer than a client that is asked for its body may take.
    for _ in 0..20 {
        client.is_silent().await;
    }
    origin.send(OK).await;
    assert_eq!(busy.response().await.text(), "ok");
    assert_eq!(origin.head().await.asked(), "POST /");
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_told_to_go_on(&mut client).await;
    client.send("hel").await;
    assert_eq!(origin.bytes(3).await, b"hel");
    // From here on it is waited for.
    assert_eq!(client.response().await.status(), 408);
}
