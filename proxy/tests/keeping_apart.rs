//! What must not be taken for something else: a cut answer for a whole one, another sidecar for this
//! one, a client that left for one that was answered, an old configuration for the one in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{io, net::SocketAddr};

use bytes::Bytes;
use sidecache::{
    admit::{Head, HeadLimits, Scheme},
    app::Live,
    forward,
    headers::Peer,
    identity::Identity,
    interim::Interims,
    key::{QueryPolicy, ResourceKey},
    message::Request,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    origin::{Gate, Origin, Step, chunk, chunked_head},
    rig::{Rig, request},
    sidecar::{Sidecar, config, live},
    story::{STORES, Story, everything},
    wire::soon,
};

#[tokio::test]
async fn a_cut_answer_reaches_an_http_1_0_client_as_a_reset() {
    for cache in ["off", "10s"] {
        let cut = Gate::shut();
        let gate = cut.clone();
        let origin = Origin::start(move |_| {
            vec![chunked_head(""), chunk("part"), Step::Wait(gate.clone()), Step::Close]
        });
        let origin = origin.await;
        let sidecar = Sidecar::start(origin.address, &everything(cache));
        let mut client = TcpStream::connect(sidecar.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\npart") {
            assert_ne!(soon("the first part", client.read_buf(&mut read)).await.unwrap(), 0);
        }
        cut.open();
        let end = soon("the end", client.read_to_end(&mut read)).await;
        assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "{cache}");
    }
}

/// What sends everything to `upstream`, under this name.
fn named(upstream: SocketAddr, pseudonym: &str) -> Live {
    let config = config(&format!("upstream: http://{upstream}"));
    Live { pseudonym: pseudonym.into(), ..live(&config) }
}

#[tokio::test]
async fn two_sidecars_in_a_row_are_no_loop_and_a_circle_of_two_is() {
    let origin = Origin::saying("").await;
    let inner = Sidecar::start(origin.address, "");
    inner.app.swap(named(origin.address, "sidecache-inner"));
    let outer = Sidecar::start(inner.address, "");
    outer.app.swap(named(inner.address, "sidecache-outer"));
    let answer = outer.get("/a").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "answer 1"));
    assert_eq!(origin.last().field("via"), Some("1.1 sidecache-outer, 1.1 sidecache-inner"));

    inner.app.swap(named(outer.address, "sidecache-inner"));
    let looped = outer.get("/a").await;
    assert_eq!(looped.status(), 508);
    assert_eq!(looped.all("proxy-status"), ["sidecache; error=proxy_loop_detected"]);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_told_of() {
    for cache in ["off", "10s"] {
        let rig = Rig::new(&everything(cache)).await;
        let (client, mut origin, _) = rig.send(&request("GET /a HTTP/1.1", &[], "")).await;
        drop(client);
        origin.is_closed().await;
        let seen = rig.sidecar.observed("the exchange", |all| !all.is_empty()).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        let one = (seen[0].asked.as_str(), seen[0].status, seen[0].outcome, seen[0].complete);
        assert_eq!(one, ("GET /a", 499, "client-gone", false), "{cache}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_the_answer_is_told_of() {
    for (cache, outcome) in [("off", "bypass"), ("10s", "uri-miss")] {
        let rig = Rig::new(&everything(cache)).await;
        let (mut client, mut origin, _) = rig.send(&request("GET /a HTTP/1.1", &[], "")).await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
        client.head().await;
        assert_eq!(client.bytes(4).await, b"part");
        drop(client);
        let seen = rig.sidecar.observed("the exchange", |all| !all.is_empty()).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        let one = (seen[0].status, seen[0].outcome, seen[0].body_bytes, seen[0].complete);
        assert_eq!(one, (200, outcome, 4, false), "{cache}");
    }
}

#[tokio::test]
async fn an_edit_reaches_the_next_request_of_a_kept_connection() {
    for on in STORES {
        let story = Story::cached(on, Origin::saying("").await, "10s").await;
        let mut kept = story.browser().await;
        assert_eq!(kept.ask("GET /a", &[]).await.fine(), "fwd=uri-miss; stored");
        story.stores(1).await;
        assert!(kept.ask("GET /a", &[]).await.is_hit());
        story.edit(&everything("off"));
        assert_eq!(kept.ask("GET /a", &[]).await.fine(), "fwd=bypass; detail=rule-off");
        story.edit(&everything("10s"));
        assert!(kept.ask("GET /a", &[]).await.is_hit());
    }
}

/// Every path of five of these pieces.
fn paths() -> impl Iterator<Item = String> {
    const PIECES: [&str; 10] = ["s", "/", "a", "..", ".", "%2f", "%2E", "?", ";", "%73"];
    (0..100_000_usize).map(|number| {
        let piece = |place: u32| PIECES[number / 10_usize.pow(place) % 10];
        format!("/{}", (0..5).map(piece).collect::<String>())
    })
}

/// Whether some server would find another resource under it than stands there.
fn leads_elsewhere(path: &str) -> bool {
    let decoded = path.to_ascii_lowercase().replace("%2f", "/").replace("%2e", ".");
    let climbs = decoded.split('/').any(|segment| matches!(segment, "." | ".."));
    climbs || decoded.contains("//") || path.contains("%2f")
}

#[tokio::test]
async fn rule_key_and_forwarded_target_are_of_the_same_bytes() {
    let yaml = "upstream: http://127.0.0.1:1\nroutes: [{ match: /s/**, cache: 10s }]\n";
    let live = live(&config(yaml));
    let (mut read, mut cached) = (0, 0);
    for raw in paths() {
        let bytes = Bytes::from(format!("GET {raw} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let limits = HeadLimits { bytes: 1024, fields: 8, target: 256 };
        let Ok(head) = Head::parse(&bytes, Scheme::Http, &limits) else { continue };
        let request = Request {
            head,
            peer: Peer::Local,
            identity: Identity::default(),
            expectation: None,
            interims: Interims::default(),
        };
        let Head { method, target, headers, .. } = &request.head;
        read += 1;
        assert_eq!(forward::passed(&request, &live, ()).uri(), raw.as_str());
        assert_eq!(ResourceKey::new(target, &QueryPolicy::All).readable(), raw.as_bytes());
        if live.rules.find(method, target, headers).is_some() {
            let path = raw.split('?').next().unwrap();
            assert!(path.starts_with("/s/") && !leads_elsewhere(path), "{raw}");
            cached += 1;
        }
    }
    assert!(read > 90_000 && cached > 100, "{read} were read, {cached} of them are for the cache");
}
