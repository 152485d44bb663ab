//! Who is slow, and how a connection ends.

use std::future::poll_fn;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::{
    frames::{
        Client, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Ended, HEADERS, PREFACE, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, block, frame, get, request as asked,
    },
    friend::{Friend, request, whole},
    support::{
        rig::{OK, Rig},
        wire::{Wire, soon},
    },
};

const CANCEL: u32 = 8;
const HEAD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_told_so() {
    let rig = Rig::new("timeouts: { idle: 200ms }").await;
    let mut silent = Client::connect(&rig.sidecar).await;
    assert_eq!(silent.goodbye().await, Some(0));
    let mut wire = rig.sidecar.connect().await;
    wire.send("PRI * HTTP/2.0\r\n\r\n").await;
    let rig = Rig::new("timeouts: { header: 200ms }").await;
    let mut half = rig.sidecar.connect().await;
    half.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    let settings = half.rest().await;
    assert_eq!(settings.get(3), Some(&SETTINGS));
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_ends_the_connection() {
    let rig = Rig::new("timeouts: { header: 300ms }").await;
    let begun = frame(HEADERS, 0, 1, &block(&HEAD));
    let cut = frame(HEADERS, END_HEADERS, 1, &block(&HEAD));
    for bytes in [&begun[..], &cut[..20]] {
        let mut client = Client::connect(&rig.sidecar).await;
        assert!(client.send(bytes).await);
        assert_eq!(client.goodbye().await, Some(ENHANCE_YOUR_CALM));
    }
}

#[tokio::test]
async fn a_client_that_makes_no_room_for_its_answer_is_given_up() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    // That it says to call a procedure changes nothing for an answer that is no such call's.
    let call = [&HEAD[..], &CALL].concat();
    for (window, fields) in [(0, &HEAD[..]), (1, &HEAD), (1, &call)] {
        let mut client = Client::with_settings(&rig.sidecar, &[(INITIAL_WINDOW_SIZE, window)]).await;
        assert!(client.send(&asked(1, fields)).await);
        let mut origin = rig.called().await;
        origin.head().await;
        origin.send(OK).await;
        loop {
            let frame = client.next().await.expect("the connection stays");
            if frame.kind == RST_STREAM {
                assert_eq!(frame.payload, CANCEL.to_be_bytes());
                break;
            }
        }
    }
    let seen = rig.sidecar.observed("all", |seen| seen.len() == 3).await;
    assert!(seen.iter().all(|exchange| !exchange.complete), "{seen:?}");
}

#[tokio::test]
async fn a_body_that_stops_or_trickles_is_answered_408() {
    is_answered_408(&POST).await;
    // To an app that speaks HTTP/1 there are no such calls.
    is_answered_408(&[&POST[..], &CALL].concat()).await;
}

async fn is_answered_408(fields: &[(&str, &str)]) {
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    let mut client = Client::connect(&rig.sidecar).await;
    assert!(client.send(&frame(HEADERS, END_HEADERS, 1, &block(fields))).await);
    let mut origin = rig.called().await;
    origin.head().await;
    let trickle = async {
        loop {
            client.send(&frame(DATA, 0, 1, b"x")).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let end = async {
        tokio::select! {
            _ = origin.rest() => {}
            () = trickle => {}
        }
    };
    soon("the end of the body", end).await;
    assert_eq!(client.ended(1).await, Ended::Other);
    let seen = rig.sidecar.observed("it", |seen| seen.len() == 1).await;
    assert_eq!(seen[0].status, 408);
}

/// A client that was told to wait is not waited for.
#[tokio::test]
async fn section_10_1_1_the_time_of_who_waits_to_be_told_is_not_the_clients() {
    let rig = Rig::new("limits: { upstream_connections: 1 }\ntimeouts: { body: 300ms }").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let first = client.start(request("GET", "/", &[])).await;
    let mut origin = rig.called().await;
    origin.head().await;
    let (answer, mut body) = client.begin(request("POST", "/", &[("expect", "100-continue")])).await;
    let mut answer = std::pin::pin!(answer);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(700), answer.as_mut()).await;
    assert!(waited.is_err(), "it waits for the only connection: {waited:?}");
    origin.send(OK).await;
    assert_eq!(whole(soon("an answer", first).await.unwrap()).await.unwrap().text(), "ok");
    assert_eq!(origin.head().await.asked(), "POST /");
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(origin.chunk().await, b"hello");
    origin.send(OK).await;
    assert_eq!(soon("an answer", answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_takes_no_more() {
    let mut rig = Rig::new("").await;
    let mut idle = Client::connect(&rig.sidecar).await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let answer = client.start(request("GET", "/", &[])).await;
    let mut origin = rig.called().await;
    origin.head().await;
    rig.sidecar.stop();
    assert_eq!(idle.goodbye().await, Some(0));
    origin.send(OK).await;
    assert_eq!(whole(soon("an answer", answer).await.unwrap()).await.unwrap().text(), "ok");
    soon("the end of the connection", client.moving).await.unwrap().unwrap();
    assert!(rig.sidecar.ended().await, "nothing was cut off");
}

/// All answers wait in memory, and go as the client takes them: slowly, but without a pause.
#[tokio::test]
async fn who_takes_its_answers_slowly_gets_all_of_them() {
    const COUNT: u32 = 120;
    const LENGTH: usize = 30 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let rest = "timeouts: { body: 400ms }\nroutes: [{ match: /hit, cache: 60s }]";
    let rig = Rig::new(&format!("listen: 'unix:{}'\n{rest}", path.display())).await;
    let mut first = Wire::unix(&path).await;
    first.send("GET /hit HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut called = rig.called().await;
    called.head().await;
    called.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{}", "x".repeat(LENGTH))).await;
    assert_eq!(first.response().await.status(), 200);

    let mut client = soon("a connection", UnixStream::connect(&path)).await.unwrap();
    let room = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    let gets: Vec<u8> = (0..COUNT).flat_map(|round| get(2 * round + 1, "/hit")).collect();
    let asked = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &room, &gets].concat();
    soon("room to write", client.write_all(&asked)).await.unwrap();
    let (mut taken, mut piece) = (Vec::new(), vec![0; 32 * 1024]);
    while ends(&taken) < COUNT {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let count = soon("more", client.read(&mut piece)).await.unwrap();
        assert!(count > 0, "closed after {} answers", ends(&taken));
        taken.extend_from_slice(&piece[..count]);
    }
}

/// How many answers have come to their end.
fn ends(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while let [high, middle, low, kind, flags, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        count += u32::from(rest.len() >= length && *kind == DATA && flags & END_STREAM != 0);
        bytes = rest.get(length..).unwrap_or_default();
    }
    count
}

/// Bodies that nobody reads yet must not stop that of another request.
#[tokio::test]
async fn uploads_that_wait_for_the_app_do_not_stop_others() {
    const WINDOW: usize = 64 * 1024;
    let rig = Rig::new("limits: { upstream_connections: 1 }\ntimeouts: { body: 400ms }").await;
    let mut client = Friend::connect(&rig.sidecar).await;
    let _first = client.start(request("GET", "/", &[])).await;
    let _origin = rig.called().await;
    let mut waiting = Vec::new();
    for _ in 0..24 {
        let (answer, mut body) = client.begin(request("POST", "/", &[])).await;
        body.reserve_capacity(WINDOW);
        while body.capacity() < WINDOW {
            soon("room", poll_fn(|cx| body.poll_capacity(cx))).await.unwrap().unwrap();
        }
        body.send_data(vec![0; WINDOW].into(), false).unwrap();
        waiting.push((answer, body));
    }
    let (answer, mut body) = client.begin(request("POST", "/", &[])).await;
    body.send_data("small".into(), true).unwrap();
    let answered = tokio::time::timeout(std::time::Duration::from_millis(1200), answer).await;
    assert!(answered.is_err(), "it waits for the app: {answered:?}");
}
