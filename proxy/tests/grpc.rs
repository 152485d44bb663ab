//! Apps that speak HTTP/2, and calls of procedures, which need all of it: trailers, and both bodies at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

#[path = "http2/friend.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod friend;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use friend::{Friend, reason, request, whole};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, StatusCode};
use support::{
    sidecar::{Sidecar, eventually},
    wire::soon,
};
use tokio::net::{TcpListener, TcpStream};

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// An app in HTTP/2 that sends each message back as it comes, and says at the end how it went.
struct App {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request<()>>>>,
    connections: Arc<Mutex<usize>>,
    /// Whether each upload to `/early` came to its end.
    uploads: Arc<Mutex<Vec<bool>>>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
            uploads: Arc::default(),
        };
        let (asked, connections) = (Arc::clone(&app.asked), Arc::clone(&app.connections));
        let uploads = Arc::clone(&app.uploads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(serve(stream, Arc::clone(&asked), Arc::clone(&uploads)));
            }
        });
        app
    }

    fn sidecar(&self, rest: &str) -> Sidecar {
        Sidecar::from_file(&format!("upstream: h2c://{}\n{rest}", self.address))
    }
}

async fn serve(stream: TcpStream, asked: Arc<Mutex<Vec<Request<()>>>>, uploads: Arc<Mutex<Vec<bool>>>) {
    let mut frames = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = frames.accept().await {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        asked.lock().unwrap().push(request.clone());
        match request.uri().path() {
            "/early" => drop(tokio::spawn(answer_early(body, respond, Arc::clone(&uploads)))),
            _ => drop(tokio::spawn(answer(request, body, respond))),
        }
    }
}

/// Answers first, and reads then.
async fn answer_early(
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    uploads: Arc<Mutex<Vec<bool>>>,
) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data("early".into(), true).unwrap();
    let ends = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    uploads.lock().unwrap().push(ends.is_none());
}

async fn answer(request: Request<()>, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let head =
        |status: StatusCode| Response::builder().status(status).header("content-type", "application/grpc");
    match request.uri().path() {
        "/fails" => {
            let head = head(StatusCode::OK).header("grpc-status", "5").body(()).unwrap();
            respond.send_response(head, true).unwrap();
        }
        "/silent" => std::future::pending().await,
        "/cut" => {
            let mut stream = respond.send_response(head(StatusCode::OK).body(()).unwrap(), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            body.data().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "/plain" => {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("plain".into(), true).unwrap();
        }
        _ => {
            let mut stream = respond.send_response(head(StatusCode::OK).body(()).unwrap(), false).unwrap();
            while let Some(Ok(message)) = body.data().await {
                body.flow_control().release_capacity(message.len()).unwrap();
                stream.send_data(message, false).unwrap();
            }
            let mut end = HeaderMap::new();
            end.insert("grpc-status", "0".parse().unwrap());
            let trailers = body.trailers().await.unwrap();
            let sum = trailers.and_then(|trailers| trailers.get("x-sum").cloned());
            end.extend(sum.map(|sum| (http::HeaderName::from_static("x-sum"), sum)));
            stream.send_trailers(end).unwrap();
        }
    }
}

#[tokio::test]
async fn a_call_passes_with_its_trailers() {
    let app = App::start().await;
    let sidecar = app.sidecar("routes: [{ match: /**, cache: 60s }]");
    let mut client = Friend::connect(&sidecar).await;
    for _ in 0..2 {
        let answer = client.post(request("POST", "/shop.Cart/Add", &CALL), b"\0\0\0\0\x02hi").await;
        assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
        assert_eq!(answer.field("content-type"), Some("application/grpc"));
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
    let asked = app.asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "no call is answered from the store");
    assert_eq!(asked[0].uri().to_string(), "http://a/shop.Cart/Add");
    assert_eq!(asked[0].headers()["te"], "trailers");
    let of_http_1 = ["host", "connection", "transfer-encoding"];
    assert!(of_http_1.iter().all(|name| !asked[0].headers().contains_key(*name)), "{:?}", asked[0]);
    assert_eq!(*app.connections.lock().unwrap(), 1, "one connection serves one after the other");
}

#[tokio::test]
async fn messages_go_to_and_fro_while_both_bodies_are_open() {
    let app = App::start().await;
    let sidecar = app.sidecar("timeouts: { body: 300ms, between_bytes: 300ms, idle: 20s }");
    let mut client = Friend::connect(&sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/chat", &CALL)).await;
    let mut answer = soon("the head", answer).await.unwrap();
    for message in ["one", "two", "three"] {
        // Longer than a body may pause that is no call.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        stream.send_data(Bytes::from(message), false).unwrap();
        let came = soon("its echo", answer.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(came, message);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let end = whole(answer).await.unwrap();
    assert_eq!((end.body.len(), end.trailers.unwrap()["grpc-status"].to_str().unwrap()), (0, "0"));
}

#[tokio::test]
async fn a_call_that_fails_ends_with_its_head_and_one_that_is_cut_is_cut() {
    let app = App::start().await;
    let sidecar = app.sidecar("");
    let mut client = Friend::connect(&sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/fails", &CALL)).await;
    stream.send_data("x".into(), true).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    assert!(answer.body().is_end_stream(), "nothing comes behind it");
    assert_eq!(answer.headers()["grpc-status"], "5");
    let (answer, mut stream) = client.begin(request("POST", "/cut", &CALL)).await;
    let mut answer = soon("an answer", answer).await.unwrap();
    assert_eq!(soon("half of it", answer.body_mut().data()).await.unwrap().unwrap(), "half");
    stream.send_data("now".into(), false).unwrap();
    let cut = whole(answer).await.unwrap_err();
    assert_eq!(reason(&cut), Some(Reason::INTERNAL_ERROR));
}

/// Unlike a write of another kind, which the app may have done: what is called knows what that means.
#[tokio::test]
async fn a_call_without_an_answer_yet_is_taken_back_too() {
    let app = App::start().await;
    let sidecar = app.sidecar("");
    let mut client = Friend::connect(&sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/silent", &CALL)).await;
    stream.send_data("all".into(), true).unwrap();
    eventually("it is called", || !app.asked.lock().unwrap().is_empty()).await;
    drop((answer, stream));
    let upstream = Arc::clone(&sidecar.app.live().upstream);
    eventually("its connection is closed", || upstream.stats().open == 0).await;
}

#[tokio::test]
async fn a_call_that_is_taken_back_is_taken_back_at_the_app() {
    let app = App::start().await;
    let sidecar = app.sidecar("");
    let mut client = Friend::connect(&sidecar).await;
    let (answer, stream) = client.begin(request("POST", "/chat", &CALL)).await;
    let answer = soon("the head", answer).await.unwrap();
    drop((answer, stream));
    let upstream = Arc::clone(&sidecar.app.live().upstream);
    eventually("its connection is closed", || upstream.stats().open == 0).await;
}

#[tokio::test]
async fn clients_of_http_1_are_answered_and_what_they_get_is_stored() {
    let app = App::start().await;
    let sidecar = app.sidecar("routes: [{ match: /plain, cache: 60s }]");
    let miss = sidecar.get("/plain").await;
    assert_eq!((miss.status(), miss.text().as_str()), (200, "plain"));
    eventually("it is stored", || sidecar.stored() == 1).await;
    assert_eq!(sidecar.get("/plain").await.field("cache-status"), Some("sidecache; hit; ttl=60"));
    let posted = sidecar
        .ask("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert_eq!((posted.status(), posted.text().as_str()), (200, "hi"));
    assert_eq!(app.asked.lock().unwrap().len(), 2);
    assert_eq!(app.asked.lock().unwrap()[1].headers()["content-length"], "2");
}

#[tokio::test]
async fn an_app_that_speaks_http_1_alone_is_told_of_as_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Sidecar::from_file(&format!("upstream: h2c://{}\n", listener.local_addr().unwrap()));
    let answering = async {
        let mut wire = support::wire::Wire::new(listener.accept().await.unwrap().0);
        wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        wire.rest().await
    };
    let (answer, _) = tokio::join!(sidecar.get("/"), answering);
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn an_upload_that_is_not_sent_to_its_end_never_ends_well_formed_at_the_app() {
    let app = App::start().await;
    let sidecar = app.sidecar("");
    let mut old = sidecar.connect().await;
    old.send("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    assert_eq!(old.response().await.text(), "early");
    eventually("its upload is cut", || *app.uploads.lock().unwrap() == [false]).await;
    let mut client = Friend::connect(&sidecar).await;
    let (answer, mut stream) = client.begin(request("POST", "/early", &[])).await;
    stream.send_data("half".into(), false).unwrap();
    assert_eq!(whole(soon("an answer", answer).await.unwrap()).await.unwrap().text(), "early");
    eventually("its upload is cut", || *app.uploads.lock().unwrap() == [false, false]).await;
    client.post(request("POST", "/early", &[]), b"all").await;
    eventually("its upload is whole", || *app.uploads.lock().unwrap() == [false, false, true]).await;
}
