//! One end of a connection, moved by hand: bytes out as a test says, messages in as they were sent.

use std::{future::Future, io, net::SocketAddr, path::Path, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// What no step of a test takes unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test rather than hang.
pub async fn soon<F: Future>(what: &str, step: F) -> F::Output {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// Anything with two directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One end of a connection.
pub struct Wire {
    io: Pin<Box<dyn Duplex>>,
    unread: Vec<u8>,
}

/// The head of a message, and its body as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// In their order, with the names as sent.
    pub fields: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// After a chunked body.
    pub trailers: Vec<(String, String)>,
}

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Length(usize),
    Chunked,
    Close,
}

impl Message {
    fn parse(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Self { start, fields: lines.map(field).collect(), ..Self::default() }
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        let code = self.start.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("no status line: {:?}", self.start))
    }

    /// Method and target of a request.
    pub fn asked(&self) -> &str {
        self.start.rsplit_once(' ').map_or(&self.start, |(asked, _)| asked)
    }

    /// All values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that is there once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there more than once: {self:?}");
        all.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn stated_end(&self) -> Option<Ends> {
        match (self.field("transfer-encoding"), self.field("content-length")) {
            (Some("chunked"), None) => Some(Ends::Chunked),
            (None, Some(length)) => Some(Ends::Length(length.parse().expect("a length"))),
            (None, None) => None,
            both => panic!("framed by {both:?}"),
        }
    }

    /// Where the body of a request ends.
    pub fn request_ends(&self) -> Ends {
        self.stated_end().unwrap_or(Ends::Length(0))
    }

    /// Where the body of the response to a request with this method ends (RFC 9112 §6.3).
    pub fn response_ends(&self, method: &str) -> Ends {
        let bodiless = method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304);
        if bodiless { Ends::Length(0) } else { self.stated_end().unwrap_or(Ends::Close) }
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_owned(), value.trim().to_owned())
}

impl Wire {
    pub fn new(io: impl Duplex + 'static) -> Self {
        Self { io: Box::pin(io), unread: Vec::new() }
    }

    /// A connection of which every write is sent at once.
    pub async fn tcp(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("a listener");
        stream.set_nodelay(true).expect("an open socket");
        Self::new(stream)
    }

    pub async fn unix(path: &Path) -> Self {
        Self::new(soon("a connection", UnixStream::connect(path)).await.expect("a listener"))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes.as_ref()).await, "the connection is closed");
    }

    /// The same to a peer that may have closed. Whether it took the bytes.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        let sent = soon("room to write", self.io.write_all(bytes)).await.is_ok();
        sent && soon("a flush", self.io.flush()).await.is_ok()
    }

    /// Reads so many bytes at most, and forgets them; none once the connection is closed.
    pub async fn bytes_at_most(&mut self, most: usize) {
        let mut piece = vec![0; most];
        let _ = soon("some bytes", self.io.read(&mut piece)).await;
    }

    /// Writes as much as is taken at once, so that the peer can be seen not to read.
    pub async fn send_while_taken(&mut self, bytes: &[u8], most: usize) -> usize {
        let mut taken = 0;
        while taken < most {
            match timeout(Duration::from_millis(200), self.io.write(bytes)).await {
                Ok(written) => taken += written.expect("an open connection"),
                Err(_) => return taken,
            }
        }
        taken
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = soon("the end", self.io.shutdown()).await;
    }

    async fn fill(&mut self, what: &str) -> io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let count = soon(what, self.io.read(&mut piece)).await?;
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// The next head, with its body unread; nothing if the connection is closed or reset instead.
    pub async fn next_head(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(Message::parse(&self.unread.drain(..end + 4).collect::<Vec<_>>()));
            }
            if !matches!(self.fill("a head").await, Ok(1..)) {
                return None;
            }
        }
    }

    pub async fn head(&mut self) -> Message {
        self.next_head().await.expect("closed, but a message should come")
    }

    /// The next `count` bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let more = self.fill("more bytes").await.expect("more bytes, not a reset");
            assert!(more > 0, "closed within a body; unread: {:?}", self.unread.escape_ascii().to_string());
        }
        self.unread.drain(..count).collect()
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.bytes(1).await);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// The next chunk; an empty one is the last.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = self.line().await;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        let data = self.bytes(size).await;
        if size > 0 {
            assert_eq!(self.bytes(2).await, b"\r\n");
        }
        data
    }

    /// Reads the body of a message whose head was read.
    pub async fn body(&mut self, message: &mut Message, ends: Ends) {
        match ends {
            Ends::Length(length) => message.body = self.bytes(length).await,
            Ends::Close => message.body = self.rest().await,
            Ends::Chunked => {
                loop {
                    let chunk = self.chunk().await;
                    if chunk.is_empty() {
                        break;
                    }
                    message.body.extend(chunk);
                }
                loop {
                    let line = self.line().await;
                    if line.is_empty() {
                        break;
                    }
                    message.trailers.push(field(&line));
                }
            }
        }
    }

    /// A whole request.
    pub async fn request(&mut self) -> Message {
        let mut request = self.head().await;
        let ends = request.request_ends();
        self.body(&mut request, ends).await;
        request
    }

    /// A whole response to a request with this method.
    pub async fn response_to(&mut self, method: &str) -> Message {
        let mut response = self.head().await;
        let ends = response.response_ends(method);
        self.body(&mut response, ends).await;
        response
    }

    /// A whole response to a `GET`.
    pub async fn response(&mut self) -> Message {
        self.response_to("GET").await
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while matches!(self.fill("the end of the connection").await, Ok(1..)) {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the peer has closed the connection, having sent nothing more.
    pub async fn is_closed(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "unexpected: {:?}", rest.escape_ascii().to_string());
    }

    /// Nothing came so far, nor within a moment. Cannot fail without reason, however slow all is.
    pub async fn is_silent(&mut self) {
        let came = timeout(Duration::from_millis(30), self.io.read(&mut [0; 1])).await;
        assert!(self.unread.is_empty() && came.is_err(), "something came: {came:?}");
    }
}
