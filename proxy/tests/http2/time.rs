//! Who is slow, and how a connection ends.

use crate::{
    frames::{Client, DATA, END_HEADERS, ENHANCE_YOUR_CALM, Ended, HEADERS, block, frame, get},
    friend::{Friend, request, whole},
    support::{
        rig::{OK, Rig},
        wire::soon,
    },
};

const CANCEL: u32 = 8;
const HEAD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];

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
    assert_eq!(settings.get(3), Some(&crate::frames::SETTINGS));
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
    for window in [0, 1] {
        let mut client = Client::with_settings(&rig.sidecar, &[(INITIAL_WINDOW_SIZE, window)]).await;
        assert!(client.send(&get(1, "/p")).await);
        let mut origin = rig.called().await;
        origin.head().await;
        origin.send(OK).await;
        loop {
            let frame = client.next().await.expect("the connection stays");
            if frame.kind == crate::frames::RST_STREAM {
                assert_eq!(frame.payload, CANCEL.to_be_bytes());
                break;
            }
        }
    }
    let seen = rig.sidecar.observed("both", |seen| seen.len() == 2).await;
    assert!(seen.iter().all(|exchange| !exchange.complete), "{seen:?}");
}

#[tokio::test]
async fn a_body_that_stops_or_trickles_is_answered_408() {
    let rig = Rig::new("timeouts: { body: 300ms }").await;
    let mut client = Client::connect(&rig.sidecar).await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
    assert!(client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await);
    let mut origin = rig.called().await;
    origin.head().await;
    let trickle = async {
        loop {
            client.send(&frame(DATA, 0, 1, b"x")).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = origin.rest() => {}
        () = trickle => {}
    }
    assert_eq!(client.ended(1).await, Ended::Other);
    let seen = rig.sidecar.observed("it", |seen| seen.len() == 1).await;
    assert_eq!(seen[0].status, 408);
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
