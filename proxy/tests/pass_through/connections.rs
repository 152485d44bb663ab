//! Connections: kept, closed, limited, and given up when nobody is left to answer.

use crate::support::{
    echo::Echo,
    rig::{OK, Rig, message, request},
    sidecar::{Sidecar, eventually},
    wire::Ends,
};

#[tokio::test]
async fn both_sides_keep_their_connection() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("GET /1 HTTP/1.1", &[], "")).await;
    origin.send(OK).await;
    assert_eq!(client.response().await.field("connection"), None);
    for path in ["/2", "/3"] {
        client.send(request(&format!("GET {path} HTTP/1.1"), &[], "")).await;
        assert_eq!(origin.head().await.asked(), format!("GET {path}"), "over the same connection");
        origin.send(OK).await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn an_answered_post_keeps_the_connection_however_its_body_came() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) =
        rig.send(&request("POST / HTTP/1.1", &["Content-Length: 5"], "hello")).await;
    assert_eq!(origin.bytes(5).await, b"hello");
    origin.send(OK).await;
    assert_eq!(client.response().await.field("connection"), None);
    for (fields, body) in [
        (["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
        (["Content-Length: 0"], ""),
        (["Transfer-Encoding: chunked"], "0\r\n\r\n"),
        (["Content-Length: 5"], "hello"),
    ] {
        client.send(request("POST / HTTP/1.1", &fields, body)).await;
        origin.request().await;
        origin.send(OK).await;
        assert_eq!(client.response().await.field("connection"), None, "{fields:?}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    let mut client = sidecar.connect().await;
    let all: String = (0..20).map(|n| request(&format!("GET /{n} HTTP/1.1"), &[], "")).collect();
    client.send(all).await;
    for n in 0..20 {
        assert_eq!(client.response().await.text(), format!("GET /{n}"));
    }
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    let mut client = sidecar.connect().await;
    client.send(request("GET / HTTP/1.1", &["Connection: Close"], "")).await;
    assert_eq!(client.response().await.field("connection"), Some("close"));
    client.is_closed().await;
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_in_its_own_terms() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "");
    let mut client = sidecar.connect().await;
    client.send("GET /1 HTTP/1.0\r\n\r\n").await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("GET /1", Some("close")));
    client.is_closed().await;
    assert_eq!(origin.requests()[0].all("host"), [origin.address.to_string()], "the origin's own name");

    let mut client = sidecar.connect().await;
    for path in ["/1", "/2"] {
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.text(), format!("GET {path}"));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn an_http_1_0_client_takes_a_body_of_unknown_length_up_to_the_close() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) =
        rig.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
    origin.send(message("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], "2\r\nok\r\n0\r\n\r\n")).await;
    let mut answer = client.head().await;
    assert_eq!(answer.response_ends("GET"), Ends::Close);
    assert_eq!(answer.field("connection"), Some("close"));
    client.body(&mut answer, Ends::Close).await;
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exchange_at_the_origin() {
    // Before the answer.
    let rig = Rig::new("").await;
    let (client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    drop(client);
    origin.is_closed().await;
    // Within the answer.
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
    client.head().await;
    drop(client);
    origin.is_closed().await;
    // Within its own body.
    let (client, mut origin, _) =
        rig.send(&request("POST / HTTP/1.1", &["Transfer-Encoding: chunked"], "4\r\npart\r\n")).await;
    assert_eq!(origin.chunk().await, b"part");
    drop(client);
    origin.is_closed().await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_request_ends_both_connections() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) =
        rig.send(&request("POST / HTTP/1.1", &["Content-Length: 1000"], "part")).await;
    origin.send(message("HTTP/1.1 413 Content Too Large", &["Content-Length: 2"], "no")).await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "no"));
    assert_eq!(answer.field("connection"), Some("close"));
    client.is_closed().await;
    drop(client);
    assert_eq!(origin.rest().await, b"part");
}

#[tokio::test]
async fn a_drain_answers_what_runs_and_says_that_it_was_the_last() {
    let mut rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    rig.sidecar.stop();
    origin.send(OK).await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", Some("close")));
    client.is_closed().await;
    assert!(rig.sidecar.ended().await);
}

/// Who asks again and again does not fill the app's connections with what nobody waits for.
#[tokio::test]
async fn only_so_many_writes_go_on_without_their_clients() {
    let rig = Rig::new("").await;
    let alone = &rig.sidecar.app.writes_alone;
    let all = alone.try_acquire_many(u32::try_from(alone.available_permits()).unwrap()).unwrap();
    let (client, mut origin, _) = rig.send(&request("DELETE / HTTP/1.1", &[], "")).await;
    drop(client);
    origin.is_closed().await;
    drop(all);
    let (client, mut origin, _) = rig.send(&request("DELETE / HTTP/1.1", &[], "")).await;
    drop(client);
    rig.sidecar.observed("both", |seen| seen.len() == 2).await;
    origin.is_silent().await;
}

#[tokio::test]
async fn a_drain_waits_for_a_write_whose_client_has_left() {
    let (client, mut origin, sidecar) = {
        let rig = Rig::new("").await;
        let (client, origin, _) = rig.send(&request("DELETE / HTTP/1.1", &[], "")).await;
        (client, origin, rig.sidecar)
    };
    drop(client);
    let seen = sidecar.observed("the end of the exchange", |seen| !seen.is_empty()).await;
    assert_eq!((seen[0].outcome, seen[0].status, seen[0].complete), ("client-gone", 499, false));
    let ended = tokio::spawn(sidecar.ended());
    origin.is_silent().await;
    assert!(!ended.is_finished(), "the app has it still");
    origin.send(OK).await;
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn a_write_that_the_app_does_not_have_ends_with_its_client() {
    let rig = Rig::new("limits: { upstream_connections: 1 }").await;
    let upstream = &rig.sidecar.app.live().upstream;
    let (_client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    let mut waiting = rig.sidecar.connect().await;
    waiting.send(request("DELETE / HTTP/1.1", &[], "")).await;
    eventually("it waits for a connection", || upstream.stats().waiting == 1).await;
    drop(waiting);
    eventually("it waits no longer", || upstream.stats().waiting == 0).await;
    origin.send(OK).await;
    rig.sidecar.observed("both", |seen| seen.len() == 2).await;
    origin.is_silent().await;
}

#[tokio::test]
async fn a_write_that_came_in_part_ends_with_its_client() {
    let rig = Rig::new("").await;
    let part = request("POST / HTTP/1.1", &["Content-Length: 10"], "half");
    let (client, mut origin, _) = rig.send(&part).await;
    assert_eq!(origin.bytes(4).await, b"half");
    drop(client);
    origin.is_closed().await;
}

#[tokio::test]
async fn an_upload_that_is_not_sent_to_its_end_never_ends_well_formed_at_the_origin() {
    let rig = Rig::new("").await;
    let upload = request("POST / HTTP/1.1", &["Transfer-Encoding: chunked"], "5\r\nhello\r\n");
    let (mut client, mut origin, _) = rig.send(&upload).await;
    assert_eq!(origin.chunk().await, b"hello");
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    client.is_closed().await;
    assert_eq!(origin.rest().await, b"", "no last chunk, and no other request behind it");
}
