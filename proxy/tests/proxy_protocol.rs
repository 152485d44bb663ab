//! The PROXY protocol: whom a trusted proxy speaks for, and who is not asked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    papers::Papers,
    rig::{OK, Rig, message},
    sidecar::eventually,
    wire::Wire,
};

const TRUSTED: &str = "proxy_protocol: true\ntrusted_proxies: [127.0.0.0/8, 192.0.2.99]\n";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n";

/// Version 2 with this command and family.
fn binary(command: u8, family: u8, announced: &[u8]) -> Vec<u8> {
    let length = u16::try_from(announced.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, announced].concat()
}

/// Answers at the origin; gives the `X-Forwarded-For` that came there.
async fn forwarded_for(client: &mut Wire, origin: &mut Wire) -> Option<String> {
    let asked = origin.head().await;
    origin.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    asked.field("x-forwarded-for").map(str::to_owned)
}

#[tokio::test]
async fn the_client_is_who_the_header_names() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4];
    let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 20]].concat();
    let told = [&v4[..], &[4, 0, 1, 0]].concat();
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)).into_bytes();
    for (header, expected) in [
        (LINE.to_vec(), Some("192.0.2.1")),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), Some("2001:db8::1")),
        (binary(0x21, 0x11, &v4), Some("192.0.2.1")),
        (binary(0x21, 0x11, &told), Some("192.0.2.1")),
        (binary(0x21, 0x21, &v6), Some("2001:db8::1")),
        // A proxy of ours: what it was told counts.
        (b"PROXY TCP4 192.0.2.99 192.0.2.2 1 2\r\n".to_vec(), Some("198.51.100.9, 192.0.2.99")),
        // The sender itself, which is trusted.
        (binary(0x20, 0x00, &[]), Some("198.51.100.9, 127.0.0.1")),
        // Somebody of whom nothing is known: what he says of others does not count.
        (longest, None),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x12, &v4), None),
        (binary(0x21, 0x31, &[0; 216]), None),
    ] {
        let shown = header.escape_ascii().to_string();
        let all = [&header[..], ASKED].concat();
        // In one write, with the header apart, and byte by byte.
        for pieces in [vec![&all[..]], vec![&header[..], ASKED], all.chunks(1).collect()] {
            let rig = Rig::new(TRUSTED).await;
            let mut client = rig.sidecar.connect().await;
            for piece in pieces {
                client.send(piece).await;
            }
            let mut origin = rig.called().await;
            assert_eq!(forwarded_for(&mut client, &mut origin).await.as_deref(), expected, "{shown}");
            // For all that follows on the connection.
            client.send(ASKED).await;
            assert_eq!(forwarded_for(&mut client, &mut origin).await.as_deref(), expected, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_has_to_send_one() {
    let rig = Rig::new(TRUSTED).await;
    let bad: [&[u8]; 6] = [
        ASKED,
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c123456789012",
        &[b'P'; 4096],
    ];
    for (count, bytes) in (1..).zip(bad) {
        let mut client = rig.sidecar.connect().await;
        client.try_send(bytes).await;
        client.is_closed().await;
        let told = || rig.sidecar.places.stats().headers == count;
        eventually("it is counted", told).await;
    }
    // One header is one header: a second one is not HTTP.
    let mut client = rig.sidecar.connect().await;
    client.send([LINE, LINE, b"\r\n"].concat()).await;
    assert_eq!(client.response().await.status(), 400);
}

#[tokio::test]
async fn a_header_has_as_long_as_a_head() {
    let rig = Rig::new(&format!("{TRUSTED}timeouts: {{ header: 300ms }}")).await;
    let (mut silent, mut slow) = (rig.sidecar.connect().await, rig.sidecar.connect().await);
    slow.send(&LINE[..20]).await;
    silent.is_closed().await;
    slow.is_closed().await;
    // Who leaves without a word, as a health check does, is no failure.
    drop(rig.sidecar.connect().await);
    eventually("all are gone", || rig.sidecar.places.stats().held == 0).await;
    assert_eq!(rig.sidecar.places.stats().headers, 2);
}

#[tokio::test]
async fn who_has_not_begun_holds_up_no_drain() {
    let rig = Rig::new(&format!("{TRUSTED}timeouts: {{ header: 15s }}")).await;
    let (_silent, mut slow) = (rig.sidecar.connect().await, rig.sidecar.connect().await);
    slow.send(&LINE[..20]).await;
    eventually("both are there", || rig.sidecar.places.stats().held == 2).await;
    let begun = Instant::now();
    assert!(rig.sidecar.ended().await);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_has_not_begun_makes_room() {
    let rig = Rig::new(&format!("{TRUSTED}limits: {{ connections: 1 }}")).await;
    let mut silent = rig.sidecar.connect().await;
    let mut client = rig.sidecar.connect().await;
    silent.is_closed().await;
    client.send([LINE, ASKED].concat()).await;
    let mut origin = rig.called().await;
    assert_eq!(forwarded_for(&mut client, &mut origin).await.as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn from_anybody_else_it_is_never_read() {
    for rest in ["proxy_protocol: true\ntrusted_proxies: [192.0.2.0/24]", "trusted_proxies: [127.0.0.1]"] {
        let rig = Rig::new(rest).await;
        for header in [LINE.to_vec(), binary(0x21, 0x11, &[0; 12])] {
            let mut client = rig.sidecar.connect().await;
            client.send([&header[..], ASKED].concat()).await;
            assert_eq!(client.response().await.status(), 400, "{rest}");
        }
        let mut client = rig.sidecar.connect().await;
        client.send(ASKED).await;
        let mut origin = rig.called().await;
        assert!(forwarded_for(&mut client, &mut origin).await.unwrap().ends_with("127.0.0.1"), "{rest}");
    }
}

#[tokio::test]
async fn it_comes_before_tls() {
    let papers = Papers::new();
    papers.issue("a", &["a.test"]);
    let rig = Rig::new(&format!("listen: 'tls://127.0.0.1:0'\ntls: {}\n{TRUSTED}", papers.pair("a"))).await;
    let sidecar = &rig.sidecar;
    let mut tcp = TcpStream::connect(sidecar.address).await.unwrap();
    tcp.write_all(LINE).await.unwrap();
    let mut client = Wire::new(papers.shake_hands(tcp, "a.test", &[]).await.unwrap());
    client.send(message("GET / HTTP/1.1", &["Host: a.test"], "")).await;
    let asked = rig.called().await.head().await;
    assert_eq!(asked.field("x-forwarded-for"), Some("192.0.2.1"));
    assert_eq!(asked.field("x-forwarded-proto"), Some("https"));
    // A handshake is no header.
    assert!(papers.try_connect(sidecar.address, "a.test", &[]).await.is_err());
    assert_eq!(sidecar.places.stats().headers, 1);
}

#[tokio::test]
async fn over_a_unix_socket_it_names_a_client_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let rig = Rig::new(&format!("listen: 'unix:{}'\nproxy_protocol: true", path.display())).await;
    let mut client = Wire::unix(&path).await;
    client.send([LINE, ASKED].concat()).await;
    let mut origin = rig.called().await;
    assert_eq!(forwarded_for(&mut client, &mut origin).await.as_deref(), Some("192.0.2.1"));
    let mut bare = Wire::unix(&path).await;
    bare.send(ASKED).await;
    bare.is_closed().await;
    eventually("it is counted", || rig.sidecar.places.stats().headers == 1).await;
}
