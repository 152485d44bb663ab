//! The relay that the tests of the fleet rely on does to connections what it says, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use support::{
    redis::{RedisServer, eventually},
    relay::{Class, Ending, Flow, Relay, SEARCHED, Seen, Target, Way, Which},
    wire::soon,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// A target that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn rig() -> Relay {
    Relay::to(Target::Tcp(echo().await)).await
}

async fn connect(relay: &Relay) -> TcpStream {
    soon("a connection", TcpStream::connect(relay.address())).await.unwrap()
}

/// Sends this and gets it back.
async fn echoes(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    comes(client, text).await;
}

async fn comes(client: &mut TcpStream, text: &str) {
    let mut back = vec![0; text.len()];
    soon("the echo", client.read_exact(&mut back)).await.unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), text);
}

/// A connection that tracks, and one that does not.
async fn of_each_class(relay: &Relay) -> (TcpStream, TcpStream) {
    let (mut tracking, mut data) = (connect(relay).await, connect(relay).await);
    echoes(&mut tracking, "HELLO 3 CLIENT SETINFO client tracking on bcast ").await;
    echoes(&mut data, "GET a ").await;
    (tracking, data)
}

fn connection(relay: &Relay, class: Class) -> Seen {
    let all = relay.connections();
    all.into_iter().find(|seen| seen.class == class).unwrap_or_else(|| panic!("no {class:?}"))
}

/// How a connection ended.
async fn end(client: &mut TcpStream) -> Result<usize, ErrorKind> {
    let mut rest = Vec::new();
    soon("the end", client.read_to_end(&mut rest)).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn passes_on_what_comes_and_the_end_of_it() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    let large = "x".repeat(3_000_000);
    let (mut from, mut to) = client.split();
    let send = async {
        to.write_all(large.as_bytes()).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut back = String::new();
    let (_, read) = soon("all of it", async { tokio::join!(send, from.read_to_string(&mut back)) }).await;
    assert_eq!(read.unwrap(), large.len());
    assert!(back == large);
    drop(client);
    eventually("the relay forgets it", async || relay.connections().is_empty()).await;
}

#[tokio::test]
async fn leads_to_a_real_redis_on_a_unix_socket() {
    let server = RedisServer::start();
    let relay = Relay::to(Target::Unix(server.socket())).await;
    let mut client = connect(&relay).await;
    client.write_all(b"HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX a:\r\n").await.unwrap();
    let tracks = |seen: &Seen| seen.class == Class::Tracking && seen.answers.1 > 0;
    eventually("it tracks", async || relay.connections().iter().any(tracks)).await;
    client.write_all(b"SET a:1 1\r\n").await.unwrap();
    let mut heard = Vec::new();
    while !heard.windows(10).any(|part| part == b"invalidate") {
        let mut more = [0; 4096];
        let count = soon("a push", client.read(&mut more)).await.unwrap();
        assert!(count > 0, "{}", heard.escape_ascii());
        heard.extend_from_slice(&more[..count]);
    }
}

#[tokio::test]
async fn a_class_suffers_alone() {
    let relay = rig().await;
    let (mut tracking, mut data) = of_each_class(&relay).await;
    relay.set(Which::Each(Class::Tracking), Way::Answers, Flow::Held);
    tracking.write_all(b"held").await.unwrap();
    let is_there = async || {
        let (came, passed) = connection(&relay, Class::Tracking).answers;
        came == passed + 4
    };
    eventually("the answer is in the relay", is_there).await;
    echoes(&mut data, "passes").await;
    assert!(is_there().await, "nothing of it may have passed");
    relay.heal();
    comes(&mut tracking, "held").await;
}

#[tokio::test]
async fn what_writes_is_for_data_too() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    echoes(&mut client, "GET a -- makes obsolete what is stored of a resource, and says so to all.").await;
    assert_eq!(relay.connections()[0].class, Class::Writing);
    for (class, passes) in [(Class::Tracking, true), (Class::Writing, false), (Class::Data, false)] {
        relay.set(Which::Each(class), Way::Asks, Flow::Held);
        client.write_all(b"x").await.unwrap();
        let came = async || relay.connections()[0].asks.0 > relay.connections()[0].answers.0;
        if !passes {
            eventually("it came", came).await;
            assert_eq!(connection(&relay, Class::Writing).asks.1, relay.connections()[0].answers.0);
            relay.set(Which::Each(class), Way::Asks, Flow::Free);
        }
        comes(&mut client, "x").await;
    }
}

#[tokio::test]
async fn what_tracks_says_so_at_its_beginning_in_pieces_and_in_any_case() {
    let relay = rig().await;
    let late = format!("{} TRACKING", "x".repeat(SEARCHED));
    for (pieces, class) in [
        (&["HELLO 3 client trac", "king on"][..], Class::Tracking),
        (&["GET a ", "TRACKIN", " G"], Class::Data),
        (&[late.as_str()], Class::Data),
    ] {
        let mut client = connect(&relay).await;
        for piece in pieces {
            echoes(&mut client, piece).await;
        }
        let seen = relay.connections().pop().unwrap();
        assert_eq!(seen.class, class, "{pieces:?}");
    }
}

#[tokio::test]
async fn what_is_held_passes_in_its_order_when_released() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    eventually("it is taken", async || relay.connections().len() == 1).await;
    relay.set(Which::One(1), Way::Asks, Flow::Held);
    for part in ["one ", "two ", "three"] {
        let before = relay.connections()[0].asks.0;
        client.write_all(part.as_bytes()).await.unwrap();
        eventually("it came", async || relay.connections()[0].asks.0 > before).await;
    }
    assert_eq!(relay.connections()[0].asks, (13, 0));
    relay.set(Which::One(1), Way::Asks, Flow::Free);
    comes(&mut client, "one two three").await;
}

#[tokio::test]
async fn a_delay_is_of_one_direction_and_shortens_when_told_so() {
    const DELAY: Duration = Duration::from_millis(60);
    let relay = rig().await;
    let mut client = connect(&relay).await;
    relay.set(Which::All, Way::Asks, Flow::Delayed(DELAY));
    let begun = Instant::now();
    echoes(&mut client, "late").await;
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());

    relay.set(Which::All, Way::Asks, Flow::Delayed(Duration::from_secs(3600)));
    client.write_all(b"later").await.unwrap();
    eventually("it came", async || relay.connections()[0].asks == (9, 4)).await;
    relay.heal();
    comes(&mut client, "later").await;
}

#[tokio::test]
async fn what_is_lost_stays_lost_and_its_connection_does_not_survive() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    echoes(&mut client, "heard").await;
    relay.set(Which::Each(Class::Data), Way::Answers, Flow::Lost);
    client.write_all(b"unheard").await.unwrap();
    eventually("the answer came", async || relay.connections()[0].answers == (12, 5)).await;
    let silence = timeout(Duration::from_millis(30), client.read(&mut [0; 1])).await;
    assert!(silence.is_err(), "{silence:?}");
    relay.heal();
    assert_eq!(end(&mut client).await, Err(ErrorKind::ConnectionReset));
    echoes(&mut connect(&relay).await, "a new one is whole").await;
}

#[tokio::test]
async fn a_silence_that_lost_nothing_is_survived() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    echoes(&mut client, "before").await;
    relay.set(Which::All, Way::Answers, Flow::Lost);
    relay.set(Which::All, Way::Asks, Flow::Lost);
    relay.heal();
    echoes(&mut client, "after").await;
}

#[tokio::test]
async fn a_cut_is_an_end_or_an_error_and_new_connections_are_taken() {
    for (ending, expected) in [(Ending::Fin, Ok(0)), (Ending::Reset, Err(ErrorKind::ConnectionReset))] {
        let relay = rig().await;
        let (mut tracking, mut data) = of_each_class(&relay).await;
        assert_eq!(relay.cut(Which::Each(Class::Tracking), ending), 1);
        assert_eq!(end(&mut tracking).await, expected);
        echoes(&mut data, "goes on").await;
        drop(tracking);
        eventually("it is forgotten", async || relay.connections().len() == 1).await;
        of_each_class(&relay).await;
    }
}

#[tokio::test]
async fn a_class_that_is_refused_cannot_come_back_until_it_heals() {
    let relay = rig().await;
    let (mut tracking, mut data) = of_each_class(&relay).await;
    relay.refuse(Which::Each(Class::Tracking));
    assert_eq!(end(&mut tracking).await, Err(ErrorKind::ConnectionReset));
    let mut again = connect(&relay).await;
    echoes(&mut again, "HELLO 3 ").await;
    again.write_all(b"CLIENT TRACKING ON").await.unwrap();
    assert_eq!(end(&mut again).await, Err(ErrorKind::ConnectionReset));
    echoes(&mut data, "goes on").await;
    relay.heal();
    of_each_class(&relay).await;
    echoes(&mut data, "goes on").await;
}

#[tokio::test]
async fn refusing_all_resets_the_old_and_the_new() {
    let relay = rig().await;
    let mut old = connect(&relay).await;
    echoes(&mut old, "before").await;
    relay.refuse(Which::All);
    assert_eq!(end(&mut old).await, Err(ErrorKind::ConnectionReset));
    let mut new = connect(&relay).await;
    assert_eq!(end(&mut new).await, Err(ErrorKind::ConnectionReset));
    relay.heal();
    echoes(&mut connect(&relay).await, "after").await;
}

#[tokio::test]
async fn who_is_swallowed_hears_nothing_until_it_heals() {
    let relay = rig().await;
    let mut old = connect(&relay).await;
    echoes(&mut old, "before").await;
    for _ in 0..2 {
        relay.swallow().await;
        let silence = timeout(Duration::from_millis(300), TcpStream::connect(relay.address())).await;
        assert!(silence.is_err(), "{silence:?}");
        echoes(&mut old, "goes on").await;
        relay.heal();
        echoes(&mut connect(&relay).await, "after").await;
    }
}

#[tokio::test]
async fn its_connections_end_with_it() {
    let relay = rig().await;
    let mut client = connect(&relay).await;
    echoes(&mut client, "before").await;
    let address = relay.address();
    drop(relay);
    assert_eq!(end(&mut client).await.unwrap_or_default(), 0);
    let refused = async || TcpStream::connect(address).await.is_err();
    eventually("its port is closed", refused).await;
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_reset() {
    let relay = Relay::to(Target::Unix("/nowhere/redis.sock".into())).await;
    assert_eq!(end(&mut connect(&relay).await).await, Err(ErrorKind::ConnectionReset));
}
