//! A WebSocket (RFC 6455) through the tunnel, frame by frame.

use crate::{
    app::{App, script},
    support::{process::Process, wire::Wire},
};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// RFC 6455 §1.3, with the answer that it gives.
const OPEN: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's frame: masked (§5.3).
fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![128 | kind];
    let length = data.len() as u64;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => frame.push(128 | length),
        (_, Ok(length)) => {
            frame.push(128 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(128 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's frame: its kind and its data.
async fn read(wire: &mut Wire) -> (u8, Vec<u8>) {
    let head = wire.bytes(2).await;
    assert_eq!(head[0] & 128, 128, "one frame is one message here");
    let length = match head[1] {
        126 => u16::from_be_bytes(wire.bytes(2).await.try_into().unwrap()).into(),
        127 => usize::try_from(u64::from_be_bytes(wire.bytes(8).await.try_into().unwrap())).unwrap(),
        length => usize::from(length),
    };
    (head[0] & 15, wire.bytes(length).await)
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&[&script("websocket_echo.py")], folder.path()).await;
    // A rule that caches is no obstacle.
    let yaml = format!("{}\nroutes: [{{ match: /**, cache: 1m }}]", app.upstream());
    let sidecar = Process::ready(&yaml, &[]).await;
    let mut socket = sidecar.connect().await;
    socket.send(OPEN).await;
    let answer = socket.head().await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.field("upgrade"), Some("websocket"));

    for length in [0, 5, 125, 126, 65_535, 65_536, 1 << 20] {
        let data: Vec<u8> = (0..251).cycle().take(length).collect();
        socket.send(frame(BINARY, &data)).await;
        assert_eq!(read(&mut socket).await, (BINARY, data), "{length} bytes");
    }
    socket.send([frame(TEXT, b"one"), frame(PING, b"two"), frame(TEXT, b"three")].concat()).await;
    assert_eq!(read(&mut socket).await, (TEXT, b"one".to_vec()));
    assert_eq!(read(&mut socket).await, (PONG, b"two".to_vec()));
    assert_eq!(read(&mut socket).await, (TEXT, b"three".to_vec()));
    socket.send(frame(CLOSE, &[3, 232])).await;
    assert_eq!(read(&mut socket).await, (CLOSE, vec![3, 232]));
    socket.is_closed().await;
}

#[tokio::test]
async fn an_app_that_refuses_the_upgrade_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&[&script("websocket_echo.py")], folder.path()).await;
    let sidecar = Process::ready(&format!("{}\nroutes: []", app.upstream()), &[]).await;
    let other = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: something\r\n\r\n";
    let answer = sidecar.ask(other).await;
    assert_eq!((answer.status(), answer.field("upgrade")), (426, None));
}
