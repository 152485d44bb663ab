//! Requests and answers as they should be.

use std::future::poll_fn;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;

use crate::{
    frames::PREFACE,
    friend::{Friend, reason, request, whole},
    support::{
        echo::Echo,
        rig::{OK, Rig},
        sidecar::{Sidecar, eventually},
        wire::{Message, Wire, soon},
    },
};

const CACHED: &str = "routes: [{ match: /**, cache: 60s }]";

/// Begins a request without a body on a connection of its own; the origin gets it.
async fn sent(rig: &Rig, request: http::Request<()>) -> (Friend, h2::client::ResponseFuture, Wire, Message) {
    let mut client = Friend::connect(&rig.sidecar).await;
    let answer = client.start(request).await;
    let mut origin = rig.called().await;
    let head = origin.head().await;
    (client, answer, origin, head)
}

#[tokio::test]
async fn both_versions_share_what_is_stored() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, CACHED);
    let mut client = Friend::connect(&sidecar).await;
    let miss = client.get("/new").await;
    assert_eq!((miss.status(), miss.text()), (200, "GET /new"));
    assert_eq!(miss.field("cache-status"), Some("sidecache; fwd=uri-miss; stored"));
    eventually("it is stored", || sidecar.stored() == 1).await;
    let old = sidecar.get("/new").await;
    assert_eq!(
        (old.field("cache-status"), old.text().as_str()),
        (Some("sidecache; hit; ttl=60"), "GET /new")
    );

    sidecar.get("/old").await;
    eventually("it is stored", || sidecar.stored() == 2).await;
    let hit = client.get("/old").await;
    assert_eq!((hit.text(), hit.field("cache-status")), ("GET /old", Some("sidecache; hit; ttl=60")));
    assert_eq!((hit.field("age"), hit.field("content-length")), (Some("0"), Some("8")));
    assert_eq!(echo.requests().len(), 2);
    let seen = sidecar.observed("all of them", |seen| seen.len() == 4).await;
    assert!(seen.iter().all(|exchange| exchange.complete && exchange.body_bytes == 8), "{seen:?}");
}

#[tokio::test]
async fn section_3_4_the_preface_is_understood_however_it_is_cut_and_as_the_first_words_only() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    for size in [1, 5, 18, 20, 24] {
        let mut wire = sidecar.connect().await;
        for piece in PREFACE.chunks(size) {
            wire.send(piece).await;
            tokio::task::yield_now().await;
        }
        let settings = wire.bytes(9).await;
        assert_eq!(settings[3], crate::frames::SETTINGS, "{size}");
    }
    let mut wire = sidecar.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.response().await.status(), 200);
    wire.send(PREFACE).await;
    assert_eq!(wire.response().await.status(), 505);
    wire.is_closed().await;
    let mut wire = sidecar.connect().await;
    wire.send("PRI * HTTP/2.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.response().await.status(), 505);
}

#[tokio::test]
async fn section_8_what_the_app_gets_is_a_request_of_http_1() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    let mut client = Friend::connect(&sidecar).await;
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-mine", "1")];
    assert_eq!(client.ask(request("GET", "/p?q=1", &fields)).await.unwrap().text(), "GET /p?q=1");
    let got = &echo.requests()[0];
    assert_eq!(got.head.split("\r\n").next(), Some("GET /p?q=1 HTTP/1.1"));
    assert_eq!((got.all("host"), got.all("cookie")), (vec!["a"], vec!["a=1; b=2"]));
    assert_eq!((got.all("via"), got.all("x-mine")), (vec!["2 sidecache"], vec!["1"]));
    assert_eq!(got.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!((got.all("te"), got.all("connection")), (vec!["trailers"], vec!["te"]));
}

#[tokio::test]
async fn heads_and_conditions_are_answered_without_a_body() {
    let rig = Rig::new(CACHED).await;
    let (mut client, answer, mut origin, _) = sent(&rig, request("GET", "/", &[])).await;
    origin.send("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(whole(soon("an answer", answer).await.unwrap()).await.unwrap().text(), "ok");
    eventually("it is stored", || rig.sidecar.stored() == 1).await;
    let head = client.ask(request("HEAD", "/", &[])).await.unwrap();
    assert_eq!((head.status(), head.text(), head.field("content-length")), (200, "", Some("2")));
    let unchanged = client.ask(request("GET", "/", &[("if-none-match", "\"1\"")])).await.unwrap();
    assert_eq!((unchanged.status(), unchanged.text()), (304, ""));
    assert_eq!(unchanged.field("content-length"), None);
    let part = client.ask(request("GET", "/", &[("range", "bytes=1-")])).await.unwrap();
    assert_eq!((part.status(), part.text(), part.field("content-range")), (206, "k", Some("bytes 1-1/2")));
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways_as_they_come() {
    let rig = Rig::new("").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/", &[("trailer", "x-sum")])).await;
    let mut origin = rig.called().await;
    let head = origin.head().await;
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    for piece in ["one", "two"] {
        stream.send_data(Bytes::from(piece), false).unwrap();
        assert_eq!(origin.chunk().await, piece.as_bytes());
    }
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n3\r\nyes\r\n").await;
    let mut answer = soon("an answer", answer).await.unwrap();
    let came = soon("a frame", answer.body_mut().data()).await.unwrap().unwrap();
    assert_eq!(came, "yes", "before the request has ended");
    let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "6".parse().unwrap())]);
    stream.send_trailers(sum).unwrap();
    let mut request = head;
    let ends = request.request_ends();
    origin.body(&mut request, ends).await;
    assert_eq!(request.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    origin.send("0\r\nx-end: 1\r\n\r\n").await;
    let rest = whole(answer).await.unwrap();
    assert_eq!((rest.text(), rest.trailers.as_ref().unwrap()["x-end"].to_str().unwrap()), ("", "1"));
}

#[tokio::test]
async fn large_bodies_pass_through_small_windows() {
    let rig = Rig::new("").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/", &[("content-length", "3000000")])).await;
    let body = Bytes::from(vec![b'x'; 3_000_000]);
    stream.send_data(body.clone(), true).unwrap();
    let mut origin = rig.called().await;
    let mut got = origin.head().await;
    let ends = got.request_ends();
    origin.body(&mut got, ends).await;
    assert!(got.body == body, "{} bytes came", got.body.len());
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n";
    let send = async {
        origin.send(head).await;
        origin.send(&body).await;
    };
    let receive = async { whole(soon("an answer", answer).await.unwrap()).await.unwrap() };
    let ((), got) = tokio::join!(send, receive);
    assert!(got.body == body, "{} bytes came", got.body.len());
}

#[tokio::test]
async fn section_15_2_interim_responses_come_before_the_answer() {
    let rig = Rig::new("").await;
    let (_client, mut answer, mut origin, _) = sent(&rig, request("GET", "/", &[])).await;
    origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: close\r\n\r\n").await;
    let hint = soon("a hint", poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!((hint.status().as_u16(), hint.headers().len()), (103, 1));
    assert_eq!(hint.headers()["link"], "</a.css>");
    origin.send(OK).await;
    let answer = whole(soon("an answer", answer).await.unwrap()).await.unwrap();
    assert_eq!((answer.text(), answer.field("link")), ("ok", None));
}

#[tokio::test]
async fn section_10_1_1_who_waits_is_told_to_go_on() {
    let rig = Rig::new("").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let fields = [("expect", "100-continue"), ("content-length", "2")];
    let (mut answer, mut stream) = client.begin(request("POST", "/", &fields)).await;
    let mut origin = rig.called().await;
    assert_eq!(origin.head().await.field("expect"), Some("100-continue"));
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    let word = soon("the word", poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(word.status().as_u16(), 100);
    stream.send_data("hi".into(), true).unwrap();
    assert_eq!(origin.bytes(2).await, b"hi");
    origin.send(OK).await;
    assert_eq!(whole(soon("an answer", answer).await.unwrap()).await.unwrap().text(), "ok");
}

#[tokio::test]
async fn an_answer_that_is_cut_looks_so_and_the_connection_goes_on() {
    let rig = Rig::new("").await;
    let (mut client, answer, mut origin, _) = sent(&rig, request("GET", "/", &[])).await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    drop(origin);
    let cut = whole(soon("an answer", answer).await.unwrap()).await.unwrap_err();
    assert_eq!(reason(&cut), Some(Reason::INTERNAL_ERROR));
    let answer = client.start(request("GET", "/next", &[])).await;
    let mut origin = rig.called().await;
    origin.head().await;
    origin.send(OK).await;
    assert_eq!(whole(soon("an answer", answer).await.unwrap()).await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_taken_back_at_the_origin() {
    let rig = Rig::new("").await;
    let (_client, answer, mut origin, _) = sent(&rig, request("GET", "/slow", &[])).await;
    drop(answer);
    origin.is_closed().await;
    let seen = rig.sidecar.observed("it", |seen| seen.len() == 1).await;
    assert_eq!((seen[0].asked.as_str(), seen[0].outcome, seen[0].status), ("GET /slow", "client-gone", 499));
}

#[tokio::test]
async fn a_write_that_is_taken_back_in_its_midst_is_taken_back_at_the_origin() {
    let rig = Rig::new("").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/", &[("content-length", "8")])).await;
    stream.send_data("half".into(), false).unwrap();
    let mut origin = rig.called().await;
    origin.head().await;
    assert_eq!(origin.bytes(4).await, b"half");
    drop((answer, stream));
    origin.is_closed().await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_ended_is_whole() {
    let rig = Rig::new("").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/", &[])).await;
    stream.send_data("some".into(), false).unwrap();
    let mut origin = rig.called().await;
    origin.head().await;
    origin.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = whole(soon("an answer", answer).await.unwrap()).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (413, "no"));
    let stopped = soon("a reset", poll_fn(|cx| stream.poll_reset(cx))).await.unwrap();
    assert_eq!(stopped, Reason::NO_ERROR, "RFC 9113 §8.1: the rest is not wanted");
    client.moving.abort();
}

#[tokio::test]
async fn many_requests_at_once_get_each_its_own_answer() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    let mut client = Friend::connect(&sidecar).await;
    let mut waiting = Vec::new();
    for number in 0..100 {
        let answer = client.start(request("GET", &format!("/{number}"), &[])).await;
        waiting.push(answer);
    }
    for (number, answer) in waiting.into_iter().enumerate() {
        let answer = whole(soon("an answer", answer).await.unwrap()).await.unwrap();
        assert_eq!(answer.text(), format!("GET /{number}"));
    }
}
