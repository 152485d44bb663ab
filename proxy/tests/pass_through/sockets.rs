//! Unix sockets on both sides.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};

use crate::support::{
    rig::{OK, Rig, request},
    sidecar::Sidecar,
    wire::{Wire, soon},
};

/// An address on which nobody listens: it was free a moment ago.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_origin_is_reached_over_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let sidecar = Sidecar::from_file(&format!("upstream: unix:{}", path.display()));
    let mut client = sidecar.connect().await;
    client.send(request("GET /a HTTP/1.1", &[], "")).await;
    let mut origin = Wire::new(soon("a call", listener.accept()).await.unwrap().0);
    let got = origin.head().await;
    assert_eq!((got.asked(), got.field("host")), ("GET /a", Some("a")));
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn clients_come_over_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sidecar.sock");
    let rig = Rig::new(&format!("listen: unix:{}", path.display())).await;
    let mut client = Wire::unix(&path).await;
    client.send(request("GET /a HTTP/1.1", &["X-Forwarded-For: 1.2.3.4"], "")).await;
    let mut origin = rig.called().await;
    let got = origin.head().await;
    assert_eq!(got.field("x-forwarded-for"), None, "such a client has no address");
    assert_eq!(got.field("forwarded"), Some("for=unknown;host=\"a\";proto=http"));
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    drop((client, origin));
    assert!(rig.sidecar.ended().await);
    assert!(!path.exists(), "the socket goes with the listener");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sidecar.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _rig = Rig::new(&format!("listen: unix:{}", path.display())).await;
    Wire::unix(&path).await;
    let listen = sidecache::address::Listen::parse(&format!("unix:{}", path.display())).unwrap();
    let error = sidecache::server::Server::bind(&[listen]).err().expect("it is in use");
    assert!(error.to_string().contains("sidecar.sock"), "{error}");
}
