//! What the frames of HTTP/2 can be abused for (RFC 9113 §10.5), each beside a client that does as it should.

use crate::{
    frames::{
        COMPRESSION_ERROR, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Ended,
        FLOW_CONTROL_ERROR, HEADERS, PING, PREFACE, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, block, frame, get, integer,
    },
    friend::Friend,
    support::{
        echo::Echo,
        rig::Rig,
        sidecar::{Sidecar, eventually},
        wire::Wire,
    },
};

/// The head of a request that has a body.
fn post(stream: u32) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

/// The number of the next stream.
fn stream(round: u32) -> u32 {
    2 * round + 1
}

/// Sends a flood. It must end, with a word why if that could be heard, and nobody else may notice.
async fn ends(piece: impl FnMut(u32) -> Vec<u8>) {
    let rig = Rig::new("routes: [{ match: /hit, cache: 60s }]").await;
    let mut friend = Friend::connect(&rig.sidecar).await;
    let prime = async {
        let mut origin = rig.called().await;
        origin.head().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        origin
    };
    let (primed, _origin) = tokio::join!(friend.get("/hit"), prime);
    assert_eq!(primed.text(), "ok");
    let said = Client::connect(&rig.sidecar).await.flood(piece).await;
    // The reset of a connection that is still being written to may overtake the goodbye.
    let reasons = [ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR];
    assert!(said.is_none_or(|said| reasons.contains(&said)), "{said:?}");
    assert_eq!(friend.get("/hit").await.status(), 200);
    eventually("it is counted", || rig.sidecar.places.stats().abuses == 1).await;
}

#[tokio::test]
async fn a_rapid_reset_ends() {
    ends(|round| {
        [get(stream(round), "/x"), frame(RST_STREAM, 0, stream(round), &8_u32.to_be_bytes())].concat()
    })
    .await;
}

/// Slower than the library notices: each request is taken up before it is taken back.
#[tokio::test]
async fn a_rapid_reset_of_what_has_been_accepted_ends() {
    taken_back(|stream| get(stream, "/x")).await;
}

#[tokio::test]
async fn trailers_are_no_request_that_would_be_wanted() {
    taken_back(|stream| {
        let trailers = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&[("x-sum", "1")]));
        [post(stream), trailers].concat()
    })
    .await;
}

async fn taken_back(request: impl Fn(u32) -> Vec<u8>) {
    let rig = Rig::new("").await;
    let mut client = Client::connect(&rig.sidecar).await;
    let mut origins: Vec<Wire> = Vec::new();
    for round in 0..1000 {
        if !client.send(&request(stream(round))).await {
            break;
        }
        let accepted = tokio::time::timeout(std::time::Duration::from_millis(500), rig.called()).await;
        let Ok(origin) = accepted else { break };
        origins.push(origin);
        if !client.send(&frame(RST_STREAM, 0, stream(round), &8_u32.to_be_bytes())).await {
            break;
        }
    }
    assert!((100..=102).contains(&origins.len()), "{} requests", origins.len());
    assert!(client.goodbye().await.is_none_or(|code| code == ENHANCE_YOUR_CALM));
    eventually("it is counted", || rig.sidecar.places.stats().abuses == 1).await;
}

#[tokio::test]
async fn resets_that_the_server_is_made_to_send_end() {
    let zero = 0_u32.to_be_bytes();
    ends(|round| [post(stream(round)), frame(WINDOW_UPDATE, 0, stream(round), &zero)].concat()).await;
    let most = 0x7fff_ffff_u32.to_be_bytes();
    ends(|round| [post(stream(round)), frame(WINDOW_UPDATE, 0, stream(round), &most)].concat()).await;
}

#[tokio::test]
async fn a_head_without_an_end_ends() {
    for piece in [&b""[..], &[0x00, 1, b'x', 1, b'y'], &[0x88; 1000]] {
        let begin = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
        ends(|round| match round {
            0 => begin.clone(),
            _ => frame(CONTINUATION, 0, 1, piece),
        })
        .await;
    }
}

/// The client has not gone: it is sent away.
#[tokio::test]
async fn requests_that_end_with_their_connection_are_accounted_as_refused() {
    let rig = Rig::new("").await;
    let mut client = Client::connect(&rig.sidecar).await;
    assert!(client.send(&get(1, "/x")).await);
    let _origin = rig.called().await;
    client.flood(|_| frame(PING, 0, 0, &[0; 8])).await;
    let seen = rig.sidecar.observed("it", |seen| !seen.is_empty()).await;
    assert_eq!((seen[0].asked.as_str(), seen[0].status, seen[0].outcome), ("GET /x", 400, "refused"));
    assert!(!seen[0].complete);
    // One whose stream alone is reset, by the library.
    let mut client = Client::connect(&rig.sidecar).await;
    assert!(client.send(&post(1)).await);
    let _origin = rig.called().await;
    assert!(client.send(&frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes())).await);
    assert_eq!(client.ended(1).await, Ended::Reset(FLOW_CONTROL_ERROR));
    let seen = rig.sidecar.observed("the other", |seen| seen.len() == 2).await;
    assert_eq!((seen[1].asked.as_str(), seen[1].status, seen[1].outcome), ("POST /p", 400, "refused"));
    assert_eq!(rig.sidecar.places.stats().resets, 1);
    // One who leaves of its own accord has gone.
    assert!(client.send(&get(3, "/y")).await);
    let _origin = rig.called().await;
    drop(client);
    let seen = rig.sidecar.observed("the last", |seen| seen.len() == 3).await;
    assert_eq!((seen[2].status, seen[2].outcome), (499, "client-gone"));
}

#[tokio::test]
async fn frames_that_say_nothing_end() {
    ends(|_| frame(PING, 0, 0, &[0; 8])).await;
    ends(|_| frame(PING, 1, 0, &[0; 8])).await;
    ends(|_| frame(SETTINGS, 0, 0, &[])).await;
    ends(|_| frame(2, 0, 1, &[0, 0, 0, 3, 1])).await;
    ends(|_| frame(0xbb, 0, 0, b"unknown")).await;
    ends(|round| match round {
        0 => post(1),
        _ => frame(DATA, 0, 1, b""),
    })
    .await;
}

/// A field that takes a byte each time it is repeated, and kilobytes where it is unpacked (RFC 7541 §7.3).
#[tokio::test]
async fn a_head_that_is_small_on_the_wire_alone_is_refused() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    let value = "v".repeat(4000);
    let indexed = [vec![0x40, 1, b'x'], integer(value.len()), value.into_bytes()].concat();
    let whole = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p")]);
    for (count, bearable) in [(20, true), (10_000, false)] {
        let mut client = Client::connect(&sidecar).await;
        let bomb = [&whole[..], &indexed, &vec![0xbe; count]].concat();
        assert!(client.send(&frame(HEADERS, END_HEADERS | 1, 1, &bomb)).await);
        let ended = client.ended(1).await;
        match bearable {
            true => assert_eq!(ended, Ended::Other, "431"),
            false => assert!(matches!(ended, Ended::GoAway(_) | Ended::Closed), "{ended:?}"),
        }
    }
    assert_eq!(echo.requests(), []);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_others_answered() {
    let rig = Rig::new("limits: { streams: 3 }").await;
    let mut client = Client::connect(&rig.sidecar).await;
    let mut origins = Vec::new();
    for round in 0..3 {
        assert!(client.send(&get(stream(round), "/x")).await);
        origins.push(rig.called().await);
    }
    assert!(client.send(&get(stream(3), "/x")).await);
    assert_eq!(client.ended(stream(3)).await, Ended::Reset(REFUSED_STREAM));
    assert_eq!(rig.sidecar.places.stats().resets, 1);
    for (round, origin) in origins.iter_mut().enumerate() {
        origin.head().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.ended(stream(u32::try_from(round).unwrap())).await, Ended::Fine);
    }
}

/// Else a few connections could keep as much at work as `limits.connections` of HTTP/1, times `limits.streams`.
#[tokio::test]
async fn section_10_5_requests_over_all_connections_are_bounded() {
    let rig = Rig::new("limits: { connections: 3, streams: 2 }").await;
    let mut clients = [Client::connect(&rig.sidecar).await, Client::connect(&rig.sidecar).await];
    let mut origins = Vec::new();
    for (client, round) in [(0, 0), (0, 1), (1, 0)] {
        assert!(clients[client].send(&get(stream(round), "/x")).await);
        let mut origin = rig.called().await;
        origin.head().await;
        origins.push(origin);
    }
    assert!(clients[1].send(&get(stream(1), "/x")).await);
    assert_eq!(clients[1].ended(stream(1)).await, Ended::Other);
    let seen = rig.sidecar.observed("it", |seen| seen.len() == 1).await;
    assert_eq!((seen[0].status, seen[0].outcome), (503, "refused"));
    origins[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(clients[0].ended(stream(0)).await, Ended::Fine);
    rig.sidecar.observed("the end", |seen| seen.len() == 2).await;
    assert!(clients[1].send(&get(stream(2), "/x")).await);
    origins[0].head().await;
    origins[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(clients[1].ended(stream(2)).await, Ended::Fine);
}

#[tokio::test]
async fn what_is_not_http_2_ends_the_connection() {
    let echo = Echo::start().await;
    let sidecar = Sidecar::start(echo.address, "");
    let broken: [Vec<u8>; 7] = [
        get(2, "/"),
        frame(DATA, 0, 1, b"x"),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        [frame(HEADERS, 0, 1, &block(&[(":method", "GET")])), get(3, "/")].concat(),
        frame(SETTINGS, 0, 0, b"five!"),
        frame(PING, 0, 0, b"nine long"),
        [vec![0xff, 0xff, 0xff, HEADERS, END_HEADERS, 0, 0, 0, 1], vec![0; 1000]].concat(),
    ];
    for bytes in broken {
        let mut client = Client::connect(&sidecar).await;
        assert!(client.send(&bytes).await);
        let code = client.goodbye().await;
        assert!(code.is_none_or(|code| code != 0), "{bytes:?}: {code:?}");
    }
    let mut wire = sidecar.connect().await;
    wire.send([&PREFACE[..18], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
    let said = wire.rest().await;
    assert!(!said.windows(5).any(|five| five == b"HTTP/"), "{said:?}");
    assert_eq!(echo.requests(), []);
}
