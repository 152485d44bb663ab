//! An origin that does exactly what a test says, byte by byte, and the requests to it.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use sidecache::{
    address::{Protocol, UpstreamUrl},
    limits::{Limits, Timeouts},
    upstream::{FetchError, Fetched, Settings, Stats, Upstream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

/// What no step of a test takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test rather than hang.
pub(crate) async fn soon<F: Future>(step: F) -> F::Output {
    timeout(PATIENCE, step).await.expect("a step of the test hangs")
}

/// Waits for a state another task brings about.
pub(crate) async fn until(upstream: &Upstream, state: impl Fn(Stats) -> bool) {
    let reached = async {
        while !state(upstream.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("never reached; now {:?}", upstream.stats()));
}

/// A listening origin.
pub(crate) struct Script {
    listener: TcpListener,
}

impl Script {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn origin(&self) -> UpstreamUrl {
        UpstreamUrl::Tcp { protocol: Protocol::Http, host: "127.0.0.1".into(), port: self.address().port() }
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(self.origin())
    }

    pub(crate) fn upstream(&self) -> Upstream {
        Upstream::new(self.settings()).unwrap()
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Peer {
        Peer::new(soon(self.listener.accept()).await.unwrap().0)
    }

    /// The next connection, its first request read and answered.
    pub(crate) async fn answer(&self, answer: &str) -> Peer {
        let mut peer = self.accept().await;
        peer.head().await;
        peer.send(answer).await;
        peer
    }

    /// Whether a connection waits to be accepted.
    pub(crate) async fn is_called(&self) -> bool {
        timeout(Duration::from_millis(50), self.listener.accept()).await.is_ok()
    }
}

pub(crate) fn settings(origin: UpstreamUrl) -> Settings {
    Settings::new(origin, &Limits::default(), &Timeouts::default())
}

pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The origin's end of one connection.
pub(crate) struct Peer {
    pub(crate) wire: Pin<Box<dyn Wire>>,
    unread: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::pin(wire), unread: Vec::new() }
    }

    /// The head of the next request; what follows it stays unread.
    pub(crate) async fn head(&mut self) -> String {
        self.next_head().await.expect("closed, but a request should come")
    }

    /// The same, or nothing if the connection is closed instead.
    pub(crate) async fn next_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// The next `count` bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill().await > 0, "closed within a body");
        }
        self.unread.drain(..count).collect()
    }

    async fn fill(&mut self) -> usize {
        let mut chunk = vec![0; 64 * 1024];
        let count = soon(self.wire.read(&mut chunk)).await.unwrap_or(0);
        self.unread.extend_from_slice(&chunk[..count]);
        count
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        soon(self.wire.write_all(bytes.as_bytes())).await.unwrap();
        soon(self.wire.flush()).await.unwrap();
    }

    /// Everything up to the close of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the proxy closed the connection, having sent nothing more.
    pub(crate) async fn is_closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "unexpected {:?}", String::from_utf8_lossy(&rest));
    }
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "origin");
    request.body(Full::from(body)).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, "")
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn fetch(upstream: &Upstream, request: Request<Full<Bytes>>) -> Result<String, FetchError> {
    read(soon(upstream.send(request)).await?).await
}

/// Reads an answer to its end.
pub(crate) async fn read(fetched: Fetched) -> Result<String, FetchError> {
    let body = soon(fetched.body.collect()).await?.to_bytes();
    Ok(format!("{} {}", fetched.head.status.as_u16(), String::from_utf8_lossy(&body)))
}

/// Which Proxy-Status and status an error becomes.
pub(crate) fn kind<T>(result: Result<T, FetchError>) -> (&'static str, u16) {
    let error = result.map(|_| ()).expect_err("the fetch should fail");
    (error.proxy_status_error(), error.status().as_u16())
}
