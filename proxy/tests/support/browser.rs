//! A client that says what it wants and tells what it got.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What no step of a test takes unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as the client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
    /// Whether it came to its end.
    pub whole: bool,
}

impl Answer {
    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        fields.map(|field| field.1.as_str()).collect()
    }

    /// The value of a field that comes once, or empty.
    pub fn field(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} comes more than once: {all:?}");
        all.first().copied().unwrap_or_default()
    }

    /// What the sidecar says of it in `Cache-Status`, without its name.
    pub fn says(&self) -> &str {
        let last = self.all("cache-status").last().copied().unwrap_or_default();
        last.strip_prefix("sidecache; ").unwrap_or(last)
    }

    /// The same, after making sure that it is a whole 200.
    pub fn fine(&self) -> &str {
        assert_eq!((self.status, self.whole), (200, true), "{self:?}");
        self.says()
    }

    pub fn is_hit(&self) -> bool {
        self.fine().starts_with("hit; ")
    }
}

/// One connection.
pub struct Browser {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Browser {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    /// The same to a sidecar that may be gone.
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, text: &str) {
        self.try_send(text).await.unwrap();
    }

    /// The same to a sidecar that may be gone.
    pub async fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, line: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(&request(line, fields, "")).await;
        self.answer(line).await
    }

    /// Reads the answer to the request of this line.
    pub async fn answer(&mut self, line: &str) -> Answer {
        self.try_answer(line).await.expect("an answer")
    }

    /// The same, or nothing if the connection is closed or hangs instead.
    pub async fn try_answer(&mut self, line: &str) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(line)).await.expect("an answer in time")
    }

    async fn read_answer(&mut self, line: &str) -> Option<Answer> {
        let mut answer = self.head().await?;
        let bodiless = line.starts_with("HEAD ") || matches!(answer.status, 100..=199 | 204 | 304);
        let body = match (answer.field("content-length").parse().ok(), answer.field("transfer-encoding")) {
            _ if bodiless => Ok(Vec::new()),
            (Some(length), _) => self.bytes(length).await,
            (None, "chunked") => self.chunks().await,
            (None, _) => Ok(self.rest().await),
        };
        answer.whole = body.is_ok();
        answer.body = String::from_utf8(body.unwrap_or_else(|part| part)).unwrap();
        Some(answer)
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Answer { status, fields, body: String::new(), whole: false })
    }

    /// The next `count` bytes, or as many as came.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Vec<u8>> {
        while self.unread.len() < count {
            if self.fill().await.is_none() {
                return Err(std::mem::take(&mut self.unread));
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.chunk_size().await else { return Err(body) };
            match self.bytes(size + 2).await {
                Ok(data) => body.extend_from_slice(&data[..size]),
                Err(part) => {
                    body.extend(part);
                    return Err(body);
                }
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn chunk_size(&mut self) -> Option<usize> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).ok();
            }
            self.fill().await?;
        }
    }

    /// Everything up to the close of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.unread)
    }

    async fn fill(&mut self) -> Option<()> {
        let mut more = [0; 16 * 1024];
        match self.stream.read(&mut more).await {
            Ok(count @ 1..) => {
                self.unread.extend_from_slice(&more[..count]);
                Some(())
            }
            _ => None,
        }
    }
}

/// A request of HTTP/1.1; `host: shop` unless the fields name one.
pub fn request(line: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\n");
    if !fields.iter().any(|field| field.0 == "host") {
        text.push_str("host: shop\r\n");
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}
