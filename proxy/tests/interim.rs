//! Interim responses (RFC 9110 §15.2, RFC 8297): what the origin says before its answer reaches the
//! client whose request it got, in order, and nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

#[path = "http2/friend.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod friend;

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use friend::{Friend, whole};
use http::{Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use support::{
    rig::{OK, Rig, message, request},
    sidecar::{Sidecar, eventually},
    wire::{Message, Wire},
};

const CACHED: &str = "routes: [{ match: /**, cache: 60s }]";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

fn get(path: &str) -> String {
    request(&format!("GET {path} HTTP/1.1"), &[], "")
}

/// A 103 that can be told from others.
fn hint(link: &str) -> String {
    message("HTTP/1.1 103 Early Hints", &[&format!("Link: {link}")], "")
}

fn is_hint(head: &Message) -> bool {
    head.start == "HTTP/1.1 103 Early Hints"
        && head.fields == [("link".into(), "</a.css>; rel=preload".into())]
}

/// The next head is that hint.
async fn assert_hinted(client: &mut Wire) {
    let head = client.head().await;
    assert!(is_hint(&head), "{head:?}");
}

#[tokio::test]
async fn section_15_2_a_103_comes_before_its_answer_wherever_the_request_goes() {
    for (rest, line) in [("", "GET / HTTP/1.1"), ("", "HEAD / HTTP/1.1"), (CACHED, "GET / HTTP/1.1")] {
        let rig = Rig::new(rest).await;
        let (mut client, mut origin, _) = rig.send(&request(line, &[], "")).await;
        origin.send(HINT).await;
        assert_hinted(&mut client).await;
        client.is_silent().await;
        origin.send("HTTP/1.1 200 OK\r\nX-Answer: 1\r\nContent-Length: 0\r\n\r\n").await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.field("x-answer")), (200, Some("1")), "{rest} {line}");
        assert_eq!(answer.field("link"), None, "they are not merged");
    }
}

#[tokio::test]
async fn section_15_2_all_of_them_come_in_their_order_however_they_were_sent() {
    for rest in ["", CACHED] {
        let rig = Rig::new(rest).await;
        let (mut client, mut origin, _) = rig.send(&get("/")).await;
        let sent = [
            "HTTP/1.1 102 Processing\r\n\r\n",
            &hint("</1>"),
            "HTTP/1.1 103 Anything\r\nLink: </2>\r\nLink: </3>\r\n\r\n",
            "HTTP/1.1 199 Something New\r\nX: y\r\n\r\n",
            OK,
        ];
        origin.send(sent.concat()).await;
        let mut heads = Vec::new();
        for _ in 0..4 {
            let head = client.head().await;
            heads.push((head.status(), head.fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>()));
        }
        let fields = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            (102, fields(&[])),
            (103, fields(&["</1>"])),
            (103, fields(&["</2>", "</3>"])),
            (199, fields(&["y"])),
        ];
        assert_eq!(heads, expected);
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn what_is_for_one_connection_or_for_sidecaches_alone_is_removed() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    let fields = [
        "Connection: close, x-hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=1",
        "Sidecache-Cache-Control: max-age=60",
        "Content-Length: 5",
        "Link: </a.css>; rel=preload",
    ];
    origin.send(message("HTTP/1.1 103 Early Hints", &fields, "")).await;
    assert_hinted(&mut client).await;
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    client.send(get("/next")).await;
    assert_eq!(origin.head().await.asked(), "GET /next", "over the same connection");
}

#[tokio::test]
async fn a_hit_has_neither_the_103_of_its_fill_nor_its_fields() {
    let rig = Rig::new(CACHED).await;
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    origin.send(format!("{HINT}{OK}")).await;
    assert_hinted(&mut client).await;
    assert_eq!(client.response().await.field("cache-status"), Some("sidecache; fwd=uri-miss; stored"));
    eventually("it is stored", || rig.sidecar.stored() == 1).await;
    client.send(get("/")).await;
    let hit = client.response().await;
    assert_eq!((hit.status(), hit.field("link")), (200, None));
    assert_eq!(hit.field("cache-status"), Some("sidecache; hit; ttl=60"));
}

#[tokio::test]
async fn pipelined_requests_each_have_their_own() {
    let rig = Rig::new("routes: [{ match: /stored, cache: 60s }]").await;
    let (mut client, mut origin, _) = rig.send(&get("/stored")).await;
    origin.send(OK).await;
    client.response().await;
    eventually("it is stored", || rig.sidecar.stored() == 1).await;

    client.send(["/1", "/stored", "/2", "/3"].map(get).concat()).await;
    for number in 1..=3 {
        assert_eq!(origin.head().await.asked(), format!("GET /{number}"));
        let said = message("HTTP/1.1 200 OK", &["Content-Length: 1"], &number.to_string());
        origin.send(format!("{}{}{said}", hint(&format!("</{number}>")), hint("</last>"))).await;
    }
    for number in 1..=3 {
        assert_eq!(client.head().await.field("link"), Some(format!("</{number}>").as_str()));
        assert_eq!(client.head().await.field("link"), Some("</last>"));
        assert_eq!(client.response().await.text(), number.to_string());
        if number == 1 {
            let hit = client.response().await;
            assert_eq!((hit.text().as_str(), hit.field("age")), ("ok", Some("0")));
        }
    }
}

#[tokio::test]
async fn section_15_2_a_client_of_http_1_0_gets_none() {
    for rest in ["", CACHED] {
        let rig = Rig::new(rest).await;
        let (mut client, mut origin, _) = rig.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        origin.send(format!("{HINT}{OK}")).await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        client.is_closed().await;
    }
}

#[tokio::test]
async fn sixteen_are_passed_on_and_more_are_an_error() {
    for (count, status) in [(16, 200), (17, 502), (100, 502)] {
        let rig = Rig::new("").await;
        let (mut client, mut origin, _) = rig.send(&get("/")).await;
        origin.send(format!("{}{OK}", HINT.repeat(count))).await;
        for _ in 0..16 {
            assert_hinted(&mut client).await;
        }
        assert_eq!(client.response().await.status(), status, "after {count}");
    }
}

#[tokio::test]
async fn who_waits_for_another_ones_fetch_gets_its_answer_only() {
    let rig = Rig::new(CACHED).await;
    let (mut leader, mut origin, _) = rig.send(&get("/")).await;
    let mut follower = rig.sidecar.connect().await;
    follower.send(get("/")).await;
    eventually("both wait", || rig.sidecar.app.flights.waiting() == 2).await;
    origin.send(HINT).await;
    assert_hinted(&mut leader).await;
    follower.is_silent().await;
    origin.send(OK).await;
    assert_eq!(leader.response().await.text(), "ok");
    let answer = follower.response().await;
    assert_eq!((answer.status(), answer.text().as_str(), answer.field("link")), (200, "ok", None));
}

#[tokio::test]
async fn a_refresh_in_the_background_tells_nobody() {
    let rig = Rig::new("routes: [{ match: /**, cache: origin }]").await;
    let stored = "Cache-Control: max-age=10, stale-while-revalidate=60";
    let ok = message("HTTP/1.1 200 OK", &[stored, "Content-Length: 2"], "ok");
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    origin.send(&ok).await;
    client.response().await;
    eventually("it is stored", || rig.sidecar.stored() == 1).await;

    rig.sidecar.clock.advance(Duration::from_secs(20));
    client.send(get("/")).await;
    assert_eq!(client.response().await.field("age"), Some("20"));
    origin.head().await;
    origin.send(HINT).await;
    client.is_silent().await;
    origin.send(&ok).await;
    eventually("it is refreshed", || rig.sidecar.app.flights.under_way() == 0).await;
    client.send(get("/")).await;
    let hit = client.response().await;
    assert_eq!((hit.status(), hit.field("age")), (200, Some("0")));
}

#[tokio::test]
async fn one_who_waits_for_a_validation_is_told() {
    let rig = Rig::new("routes: [{ match: /**, cache: origin }]").await;
    let fields = ["Cache-Control: max-age=10", "ETag: \"1\""];
    let ok = message("HTTP/1.1 200 OK", &[&fields[..], &["Content-Length: 2"]].concat(), "ok");
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    origin.send(ok).await;
    client.response().await;
    eventually("it is stored", || rig.sidecar.stored() == 1).await;

    rig.sidecar.clock.advance(Duration::from_secs(20));
    client.send(get("/")).await;
    assert_eq!(origin.head().await.field("if-none-match"), Some("\"1\""));
    origin.send(format!("{HINT}{}", message("HTTP/1.1 304 Not Modified", &fields, ""))).await;
    assert_hinted(&mut client).await;
    let renewed = client.response().await;
    assert_eq!((renewed.text().as_str(), renewed.field("link")), ("ok", None));
}

#[tokio::test]
async fn a_cookie_that_the_rule_strips_does_not_come_before_the_answer_either() {
    let cookie = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=1\r\nLink: </a.css>; rel=preload\r\n\r\n";
    for (set_cookie, expected) in [("strip", None), ("bypass", Some("a=1"))] {
        let rule = format!("routes: [{{ match: /**, cache: {{ ttl: 60s, set_cookie: {set_cookie} }} }}]");
        let rig = Rig::new(&rule).await;
        let (mut client, mut origin, _) = rig.send(&get("/")).await;
        origin.send(format!("{cookie}{OK}")).await;
        let interim = client.head().await;
        assert_eq!((interim.status(), interim.field("set-cookie")), (103, expected));
        assert_eq!(interim.all("link").len(), 1);
        assert_eq!(client.response().await.status(), 200);
    }
}

#[tokio::test]
async fn section_10_1_1_hints_come_beside_the_word_to_send_the_body() {
    let rig = Rig::new("").await;
    let fields = ["Expect: 100-continue", "Content-Length: 5"];
    let (mut client, mut origin, _) = rig.send(&request("POST / HTTP/1.1", &fields, "")).await;
    origin.send(HINT).await;
    assert_hinted(&mut client).await;
    client.is_silent().await;
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    let word = client.head().await;
    assert_eq!((word.start.as_str(), word.fields.len()), ("HTTP/1.1 100 Continue", 0));
    origin.send(HINT).await;
    assert_hinted(&mut client).await;
    client.send("hello").await;
    assert_eq!(origin.bytes(5).await, b"hello");
    origin.send(format!("{HINT}{OK}")).await;
    assert_hinted(&mut client).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn a_100_that_nobody_waits_for_is_not_passed_on() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    origin.send(format!("HTTP/1.1 100 Continue\r\n\r\n{HINT}{OK}")).await;
    assert_hinted(&mut client).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn an_origin_that_promises_and_dies_is_an_error_after_the_hint() {
    let rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    origin.send(HINT).await;
    origin.finish().await;
    assert_hinted(&mut client).await;
    assert_eq!(client.response().await.status(), 502);
}

#[tokio::test]
async fn a_client_that_leaves_after_a_hint_has_gone_without_an_answer() {
    for rest in ["", CACHED] {
        let rig = Rig::new(rest).await;
        let (mut client, mut origin, _) = rig.send(&get("/")).await;
        origin.send(HINT).await;
        assert_hinted(&mut client).await;
        drop(client);
        origin.is_closed().await;
        let seen = rig.sidecar.observed("the end of the exchange", |seen| !seen.is_empty()).await;
        assert_eq!((seen[0].outcome, seen[0].status, seen[0].complete), ("client-gone", 499, false));
    }
}

#[tokio::test]
async fn a_drain_still_passes_them_on() {
    let mut rig = Rig::new("").await;
    let (mut client, mut origin, _) = rig.send(&get("/")).await;
    rig.sidecar.stop();
    origin.send(format!("{HINT}{OK}")).await;
    assert_hinted(&mut client).await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", Some("close")));
    client.is_closed().await;
    assert!(rig.sidecar.ended().await);
}

#[tokio::test]
async fn an_upgrade_may_have_them_too() {
    let rig = Rig::new("").await;
    let fields = ["Connection: upgrade", "Upgrade: echo"];
    let (mut client, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &fields, "")).await;
    origin.send(format!("{HINT}{}", message("HTTP/1.1 101 Switching Protocols", &fields, "hello"))).await;
    assert_hinted(&mut client).await;
    let switched = client.head().await;
    assert_eq!((switched.status(), switched.field("upgrade")), (101, Some("echo")));
    assert_eq!(client.bytes(5).await, b"hello");
}

/// An app in HTTP/2: a hint, word to go on if that is waited for, and the answer.
async fn serve(stream: TcpStream) {
    let mut frames = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = frames.accept().await {
        tokio::spawn(async move {
            let link = ("link", "</a.css>; rel=preload");
            let interim =
                |status| Response::builder().status(status).header(link.0, link.1).body(()).unwrap();
            respond.send_informational(interim(StatusCode::EARLY_HINTS)).unwrap();
            let expects = request.headers().contains_key("expect");
            if expects {
                respond.send_informational(interim(StatusCode::CONTINUE)).unwrap();
            }
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data.unwrap().len()).unwrap();
            }
            let head = Response::builder().header("x-expects", u16::from(expects)).body(()).unwrap();
            respond.send_response(head, false).unwrap().send_data(Bytes::from("ok"), true).unwrap();
        });
    }
}

async fn app_in_http_2(rest: &str) -> Sidecar {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Sidecar::from_file(&format!("upstream: h2c://{}\n{rest}", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    sidecar
}

#[tokio::test]
async fn section_15_2_those_of_an_app_in_http_2_reach_clients_of_either_version() {
    for rest in ["", CACHED] {
        let sidecar = app_in_http_2(rest).await;
        let mut old = sidecar.connect().await;
        old.send(get("/1")).await;
        assert_hinted(&mut old).await;
        assert_eq!(old.response().await.text(), "ok");
        let mut client = Friend::connect(&sidecar).await;
        let mut answer = client.start(friend::request("GET", "/2", &[])).await;
        let hint = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(hint.status(), StatusCode::EARLY_HINTS);
        assert_eq!(hint.headers()["link"], "</a.css>; rel=preload");
        assert_eq!(whole(answer.await.unwrap()).await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn section_10_1_1_an_app_in_http_2_is_told_of_the_expectation_and_says_when_to_go_on() {
    let sidecar = app_in_http_2("").await;
    let mut client = sidecar.connect().await;
    client.send(request("POST / HTTP/1.1", &["Expect: 100-continue", "Content-Length: 2"], "")).await;
    assert_hinted(&mut client).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hi").await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("x-expects")), ("ok", Some("1")));
}
