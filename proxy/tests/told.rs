//! What a running sidecar tells of itself: its admin listener, its log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    process::{Process, free_port},
    wire::{Wire, soon},
};

/// What the admin listener answers.
async fn asked(port: u16, path: &str) -> Value {
    let mut wire = Wire::tcp(([127, 0, 0, 1], port).into()).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")).await;
    serde_json::from_str(&wire.response().await.text()).unwrap()
}

/// Replaces a part of the file, and waits until that acts.
async fn edit(sidecar: &Process, from: &str, to: &str) {
    let before = sidecar.logged("the configuration is in force").len();
    let text = std::fs::read_to_string(sidecar.file()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(sidecar.file(), text.replace(from, to)).unwrap();
    sidecar.wait_for_log("the configuration is in force", before + 1).await;
}

#[tokio::test]
async fn what_takes_a_restart_is_told_until_the_file_is_as_it_was() {
    let port = free_port();
    let yaml = format!(
        "upstream: http://127.0.0.1:1\nadmin: 127.0.0.1:{port}\nlimits: {{ connections: 7 }}\nroutes: []"
    );
    let sidecar = Process::ready(&yaml, &[]).await;
    let needs_restart = async || asked(port, "/config").await["needs_restart"].clone();
    let told = json!(["`limits.connections` changed from 7 to 8: this takes a restart"]);
    assert_eq!(needs_restart().await, json!([]));
    edit(&sidecar, "connections: 7", "connections: 8").await;
    assert_eq!(needs_restart().await, told);
    edit(&sidecar, "routes: []", "routes: [{ match: /a, cache: off }]").await;
    assert_eq!(needs_restart().await, told, "still so, although this edit did not change it");
    edit(&sidecar, "connections: 8", "connections: 7").await;
    assert_eq!(needs_restart().await, json!([]));
}

#[tokio::test]
async fn why_it_is_not_ready() {
    let (admin, app) = (free_port(), free_port());
    let yaml = format!("upstream: http://127.0.0.1:{app}\nadmin: 127.0.0.1:{admin}\nroutes: []");
    let mut sidecar = Process::start(&yaml, &["sleep", "1000"]);
    sidecar.wait_for_log("the app is started", 1).await;
    let answer = asked(admin, "/readyz").await;
    assert_eq!(answer["reasons"], json!(["the app has not answered yet"]));

    // Whoever answers there is the app.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", app)).await.unwrap();
    soon("the sidecar's attempt", listener.accept()).await.unwrap();
    sidecar.wait_for_log("ready", 1).await;
    sidecar.address = sidecar.logged("ready")[0]["listening"].as_str().unwrap().parse().unwrap();
    assert_eq!(asked(admin, "/readyz").await["status"], "ready");

    let mut client = sidecar.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _running = soon("the request", listener.accept()).await.unwrap();
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_log("stopping", 1).await;
    let answer = asked(admin, "/readyz").await;
    assert_eq!(answer["reasons"], json!(["stopping: no new requests are taken"]));
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(128 + 9), "the app does not outlive the test");
}

#[tokio::test]
async fn where_it_listens_sockets_among_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let yaml = format!("listen: unix:{}\nupstream: http://127.0.0.1:1\nroutes: []", socket.display());
    let mut sidecar = Process::start(&yaml, &[]);
    sidecar.wait_for_log("ready", 1).await;
    assert_eq!(sidecar.logged("ready")[0]["listening"], format!("unix:{}", socket.display()));
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_socket_that_may_be_in_use_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // Somebody's, though of another kind: connecting fails, but is not refused.
    let _others = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let yaml = format!("listen: unix:{}\nupstream: http://127.0.0.1:1\nroutes: []", path.display());
    assert_eq!(Process::start(&yaml, &[]).ended().await.code(), Some(1));
    assert!(path.exists());
}
