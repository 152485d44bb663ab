//! A client of HTTP/2 that sends what it is told, frame by frame, right or wrong.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    sidecar::Sidecar,
    wire::{PATIENCE, soon},
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a request ended, as far as this client understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Answered with 200.
    Fine,
    /// Answered with 400.
    Bad,
    /// Answered with another status.
    Other,
    Reset(u32),
    GoAway(u32),
    /// Without a word.
    Closed,
}

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of fields, each spelled out (RFC 7541 §6.2.2), so that nothing is understood that is not there.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [integer(text.len()), text.as_bytes().to_vec()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// RFC 7541 §5.1, with a prefix of seven bits.
pub(crate) fn integer(number: usize) -> Vec<u8> {
    if number < 127 {
        return vec![u8::try_from(number).unwrap()];
    }
    let mut bytes = vec![127];
    let mut rest = number - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A whole request without a body.
pub(crate) fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// One that nobody can object to.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

/// The connection.
pub(crate) struct Client {
    io: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// One that has begun as it should.
    pub(crate) async fn connect(sidecar: &Sidecar) -> Self {
        Self::with_settings(sidecar, &[]).await
    }

    /// The same with settings of its own.
    pub(crate) async fn with_settings(sidecar: &Sidecar, settings: &[(u16, u32)]) -> Self {
        let io = soon("a connection", TcpStream::connect(sidecar.address)).await.unwrap();
        io.set_nodelay(true).unwrap();
        let mut client = Self { io, unread: Vec::new() };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        assert!(client.send(PREFACE).await);
        assert!(client.send(&frame(SETTINGS, 0, 0, &payload)).await);
        client
    }

    /// Whether it was taken. The server may have closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        soon("room to write", self.io.write_all(bytes)).await.is_ok()
    }

    /// The next frame; nothing if the connection ends instead.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut piece = vec![0; 64 * 1024];
            match soon("a frame", self.io.read(&mut piece)).await {
                Ok(count @ 1..) => self.unread.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let header = self.unread.get(..9)?;
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
        self.unread.get(..9 + length)?;
        let payload = self.unread.drain(..9 + length).skip(9).collect();
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads until a request has ended, or the connection.
    pub(crate) async fn ended(&mut self, stream: u32) -> Ended {
        let mut status = None;
        loop {
            let Some(frame) = self.next().await else { return Ended::Closed };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
            match frame.kind {
                GOAWAY => return Ended::GoAway(code(4)),
                RST_STREAM if frame.stream == stream => {
                    return status.unwrap_or(Ended::Reset(code(0)));
                }
                HEADERS if frame.stream == stream => {
                    // The first of the fields, from the static table (RFC 7541 appendix A).
                    status = status.or(match frame.payload.iter().find(|byte| **byte & 0xe0 != 0x20) {
                        Some(0x88) => Some(Ended::Fine),
                        Some(0x8c) => Some(Ended::Bad),
                        _ => Some(Ended::Other),
                    });
                }
                _ => {}
            }
            if let Some(status) = status
                && frame.stream == stream
                && matches!(frame.kind, HEADERS | DATA)
                && frame.flags & END_STREAM != 0
            {
                return status;
            }
        }
    }

    /// Reads until the connection ends, and says with which words, if with any.
    pub(crate) async fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }

    /// Sends a flood, until the server takes no more of it, while what comes is dropped. What the server said in the
    /// end, if it could be heard.
    pub(crate) async fn flood(mut self, mut piece: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
        let (mut read, mut write) = self.io.into_split();
        let writing = async {
            for round in 0.. {
                if write.write_all(&piece(round)).await.is_err() {
                    return;
                }
            }
        };
        let unread = &mut self.unread;
        let reading = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = read.read(&mut bytes).await {
                unread.extend_from_slice(&bytes[..count]);
            }
        };
        let both = async {
            tokio::select! {
                () = reading => {}
                () = async { writing.await; std::future::pending().await } => {}
            }
        };
        tokio::time::timeout(PATIENCE, both).await.expect("the server bears it");
        last_words(&self.unread)
    }
}

/// The code of the last GOAWAY among frames.
fn last_words(mut bytes: &[u8]) -> Option<u32> {
    let mut code = None;
    while let [high, middle, low, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let Some(payload) = rest.get(..length) else { break };
        if *kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = &rest[length..];
    }
    code
}
