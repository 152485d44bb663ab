//! The limit on connections: who has to go for another, who is refused, and what the system bounds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use sidecache::places::PlaceStats;
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{
    echo::Echo,
    rig::{OK, Rig, request},
    scale::Scale,
    sidecar::{Sidecar, eventually},
    spawned::Spawned,
    usage::{descriptors, memory},
    wire::{Wire, soon},
};

async fn ask(client: &mut Wire, path: &str) {
    client.send(request(&format!("GET {path} HTTP/1.1"), &[], "")).await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text()), (200, format!("GET {path}")));
}

/// Reads the answer that a connection gets which was refused, and that it is closed.
async fn is_refused(client: &mut Wire) {
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.field("proxy-status"), Some("sidecache; error=connection_limit_reached"));
    client.is_closed().await;
}

#[tokio::test]
async fn the_connection_idle_longest_is_closed_for_the_next() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "limits: { connections: 2 }");
    let (mut first, mut second) = (sidecar.connect().await, sidecar.connect().await);
    for (client, path) in [(&mut first, "/1"), (&mut second, "/2")] {
        ask(client, path).await;
    }
    // Now the second has waited longer.
    ask(&mut first, "/3").await;
    let mut third = sidecar.connect().await;
    ask(&mut third, "/4").await;
    second.is_closed().await;
    ask(&mut first, "/5").await;
    assert_eq!(sidecar.places.stats(), PlaceStats { held: 2, closed: 1, ..PlaceStats::default() });
}

#[tokio::test]
async fn one_that_never_sends_a_request_is_idle_too() {
    let origin = Echo::start().await;
    let sidecar = Sidecar::start(origin.address, "limits: { connections: 3 }");
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(sidecar.connect().await);
    }
    let mut client = sidecar.connect().await;
    for path in ["/1", "/2"] {
        ask(&mut client, path).await;
    }
    for silent in &mut silent[..98] {
        silent.is_closed().await;
    }
    silent[98].is_silent().await;
}

#[tokio::test]
async fn where_all_are_at_work_the_next_is_refused_at_once() {
    let rig = Rig::new("limits: { connections: 2 }").await;
    let (mut waits, mut origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    let (_waits_too, _origin, _) = rig.send(&request("GET / HTTP/1.1", &[], "")).await;
    for _ in 0..3 {
        is_refused(&mut rig.sidecar.connect().await).await;
        let mut asks = rig.sidecar.connect().await;
        // It may be closed by now.
        asks.try_send(request("GET / HTTP/1.1", &[], "").as_bytes()).await;
        is_refused(&mut asks).await;
    }
    origin.send(OK).await;
    assert_eq!(waits.response().await.text(), "ok");
    // Idle by now.
    let mut next = rig.sidecar.connect().await;
    waits.is_closed().await;
    next.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(origin.head().await.asked(), "GET /");
    let stats = rig.sidecar.places.stats();
    assert_eq!((stats.held, stats.closed, stats.refused), (2, 1, 6));
}

#[tokio::test]
async fn a_unix_socket_has_the_same_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let listen = format!("listen: [127.0.0.1:0, 'unix:{}']", path.display());
    let rig = Rig::new(&format!("{listen}\nlimits: {{ connections: 1 }}")).await;
    let mut busy = Wire::unix(&path).await;
    busy.send(request("GET / HTTP/1.1", &[], "")).await;
    let _called = rig.called().await;
    is_refused(&mut Wire::unix(&path).await).await;
}

#[tokio::test]
async fn what_only_the_system_still_holds_of_an_answer_is_bounded_too() {
    let rig = Rig::new("timeouts: { body: 1s, idle: 1h }").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Wire::new(socket.connect(rig.sidecar.address).await.unwrap());
    client.send(request("GET / HTTP/1.1", &[], "")).await;
    let mut origin = rig.called().await;
    origin.head().await;
    let body = "x".repeat(128 * 1024);
    origin.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    let seen = rig.sidecar.observed("the end of the exchange", |seen| !seen.is_empty()).await;
    assert!(seen[0].complete, "all of it is the system's by now");
    // Far sooner than the hour that a kept connection may be idle.
    eventually("the end of the connection", || rig.sidecar.places.stats().held == 0).await;
    drop(client);
}

/// Its file: where the app is, and these lines.
fn file(upstream: SocketAddr, rest: &str) -> String {
    format!("upstream: http://{upstream}\nroutes: []\n{rest}")
}

#[tokio::test]
async fn with_few_files_fewer_connections_are_held_and_all_are_served() {
    let origin = Echo::start().await;
    let sidecar = Spawned::start_with_few_files(&file(origin.address, ""), 256).await;
    let said = |what: &str| sidecar.messages().iter().filter(|line| line.contains(what)).count();
    assert_eq!(said("too few files for limits.connections"), 1, "{:?}", sidecar.messages());
    let mut clients = Vec::new();
    for n in 0..400 {
        let mut client = Wire::tcp(sidecar.address).await;
        ask(&mut client, &format!("/{n}")).await;
        clients.push(client);
    }
    assert!(descriptors(sidecar.pid()).unwrap() <= 256);
    assert_eq!(said("could not be accepted"), 0, "{:?}", sidecar.messages());
    assert_eq!(said("an idle connection was closed for another"), 1, "once for all of them");
    let page = sidecar.admin_text("/metrics");
    for line in [
        "sidecache_client_connections 64",
        "sidecache_client_connections_lost_total{how=\"closed-idle\"} 336",
        "sidecache_client_connections_lost_total{how=\"refused\"} 0",
        "sidecache_client_connections_lost_total{how=\"abuse\"} 0",
    ] {
        assert!(page.lines().any(|have| have == line), "{line} not in\n{page}");
    }
}

/// The lowest number that no open file of the process has.
fn lowest_free(pid: rustix::process::Pid) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let open: Vec<u64> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..).find(|number| !open.contains(number)).unwrap()
}

#[tokio::test]
async fn without_a_descriptor_a_connection_waits_and_the_processor_rests() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Spawned::start(&file(origin.local_addr().unwrap(), "")).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut client = Wire::tcp(sidecar.address).await;
        client.send(request("GET / HTTP/1.1", &["Connection: close"], "")).await;
        let (called, _) = soon("the call", origin.accept()).await.unwrap();
        busy.push((client, Wire::new(called)));
    }
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit { current: Some(lowest_free(sidecar.pid())), ..before };
    prlimit(Some(sidecar.pid()), Resource::Nofile, most).unwrap();
    let since = Instant::now();
    let mut waits = Wire::tcp(sidecar.address).await;
    waits.send(request("GET / HTTP/1.1", &[], "")).await;
    let said = || sidecar.messages().iter().filter(|line| line.contains("could not be accepted")).count();
    eventually("the log says so", || said() == 1).await;
    waits.is_silent().await;
    // One is answered, and closed: there is room again.
    let (client, called) = &mut busy[0];
    called.head().await;
    called.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    client.is_closed().await;
    // Over the connection that is free now.
    called.head().await;
    called.send(OK).await;
    assert_eq!(waits.response().await.text(), "ok");
    let tries = since.elapsed().as_millis() / 50 + 2;
    prlimit(Some(sidecar.pid()), Resource::Nofile, before).unwrap();
    let page = sidecar.admin_text("/metrics");
    let failed = "sidecache_client_connections_lost_total{how=\"not-accepted\"} ";
    let failed = page.lines().find_map(|line| line.strip_prefix(failed)).unwrap();
    let failed: u128 = failed.parse().unwrap();
    assert!((1..=tries).contains(&failed), "{failed} of {tries}");
    assert_eq!(said(), 1);
}

#[tokio::test]
async fn idle_connections_are_held_by_the_thousand_for_little_memory() {
    let count = Scale::asked_for().pick(500, 10_000);
    let ours = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: ours.maximum, ..ours }).unwrap();
    let origin = Echo::start().await;
    let limits = format!("limits: {{ connections: {} }}", count + 1);
    let sidecar = Spawned::start(&file(origin.address, &limits)).await;
    ask(&mut Wire::tcp(sidecar.address).await, "/first").await;
    let resident = || memory(sidecar.pid(), "VmRSS:").unwrap();
    let (empty, mut clients) = (resident(), Vec::new());
    for _ in 0..count {
        clients.push(Wire::tcp(sidecar.address).await);
    }
    let held = format!("sidecache_client_connections {count}");
    eventually("all are held", || sidecar.admin_text("/metrics").lines().any(|line| line == held)).await;
    let silent = resident();
    for client in &mut clients {
        ask(client, "/").await;
    }
    let kept = resident();
    let each = |now: u64| now.saturating_sub(empty) / count;
    println!(
        "{count} idle connections: {} bytes each before a request, {} after one",
        each(silent),
        each(kept)
    );
    assert!(each(kept) < 32 * 1024, "{} bytes each", each(kept));
    // The next one is served as ever.
    let begun = Instant::now();
    ask(&mut Wire::tcp(sidecar.address).await, "/last").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let lost = sidecar.admin_text("/metrics");
    let lost = lost.lines().filter(|line| line.starts_with("sidecache_client_connections_lost"));
    assert!(lost.clone().count() >= 3 && lost.clone().all(|line| line.ends_with(" 0")));
}
