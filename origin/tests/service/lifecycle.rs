//! Starting, stopping and starting again.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{get, reply, request, send};
use crate::running::Start;

#[tokio::test]
async fn a_healthy_service_says_so() {
    let origin = Start::default().anew().await;
    let reply = get(origin.address, "/healthz").await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "status": "ok" })));
}

#[tokio::test]
async fn the_database_has_a_write_ahead_log() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("products.db");
    let origin = Start::default().with(&file).await;
    let other = Connection::open(&file).unwrap();
    let mode: String = other.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    drop(other);

    origin.stop().closed().await;
    let left: Vec<_> = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["products.db"], "a clean end leaves one file");
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_does_not_seed_again() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("products.db");
    let origin = Start::default().with(&file).await;
    assert_eq!(request(origin.address, "DELETE /products/1", "", "").await.status, 204);
    let draft = json!({ "name": "Brass Bell", "description": "", "price": "1" });
    assert_eq!(send(origin.address, "POST /products", &draft).await.status, 201);
    let before = get(origin.address, "/products").await;
    origin.stop().closed().await;

    let origin = Start { products: 500, ..Start::default() }.with(&file).await;
    assert_eq!(get(origin.address, "/products").await.body, before.body);
}

#[tokio::test]
async fn a_running_request_is_finished_before_the_end() {
    let mut origin = Start { delay: Duration::from_millis(500), ..Start::default() }.anew().await;
    let address = origin.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /products HTTP/1.1\r\nHost: origin\r\n\r\n").await.unwrap();
    origin.arrivals.recv().await.unwrap();

    let stopping = origin.stop();
    let reply = reply(&mut stream, false).await;
    assert_eq!((reply.status, reply.json().as_array().unwrap().len()), (200, 10));
    stopping.closed().await;
    assert!(TcpStream::connect(address).await.is_err(), "it still accepts");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let mut origin = Start::default().anew().await;
    let mut stream = TcpStream::connect(origin.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: origin\r\n\r\n").await.unwrap();
    origin.arrivals.recv().await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    origin.stop().closed().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_left_behind() {
    let start = Start { drain_limit: Duration::from_millis(100), ..Start::default() };
    let mut origin = start.anew().await;
    let mut stream = TcpStream::connect(origin.address).await.unwrap();
    let head = "POST /products HTTP/1.1\r\nHost: origin\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    origin.arrivals.recv().await.unwrap();
    origin.stop().drained().await;
}
