//! SIGTERM: what runs is finished, and nobody waits longer than was said.

use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    process::Process,
    rig::OK,
    wire::{Wire, soon},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A running request: the process, the client's end and the origin's.
async fn running(rest: &str) -> (Process, Wire, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let sidecar = Process::ready(&format!("upstream: http://{upstream}\nroutes: []\n{rest}"), &[]).await;
    let mut client = sidecar.connect().await;
    client.send(GET).await;
    let mut origin = Wire::new(soon("a call", listener.accept()).await.unwrap().0);
    origin.head().await;
    (sidecar, client, origin)
}

#[tokio::test]
async fn a_running_request_is_finished_and_no_new_one_taken() {
    let (mut sidecar, mut client, mut origin) = running("").await;
    sidecar.signal(Signal::TERM);
    let refused = async { while TcpStream::connect(sidecar.address).await.is_ok() {} };
    soon("the end of accepting", refused).await;
    origin.send(OK).await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", Some("close")));
    client.is_closed().await;
    assert_eq!(sidecar.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_sidecar_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut sidecar, mut client, mut origin) = running("timeouts: { drain: 1h }").await;
        origin.send(OK).await;
        client.response().await;
        sidecar.signal(signal);
        client.is_closed().await;
        assert_eq!(sidecar.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut sidecar, mut client, _origin) = running("timeouts: { drain: 1h }").await;
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_log("stopping", 1).await;
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.ended().await.code(), Some(1));
    client.is_closed().await;
}

#[tokio::test]
async fn the_grace_has_an_end() {
    let (mut sidecar, mut client, _origin) = running("timeouts: { drain: 100ms }").await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(1));
    assert_eq!(sidecar.logged("some requests were cut off").len(), 1);
    client.is_closed().await;
}
