//! An origin that writes down every request as it came over the wire, and answers each with its
//! own request line, so that an answer in the wrong place is seen; or byte for byte as it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::sidecar::eventually;

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Every byte.
    pub raw: Vec<u8>,
    /// The requests that came to their end.
    pub requests: Vec<Request>,
    /// Whether it is over.
    pub closed: bool,
}

/// A request that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Request line and fields, with their line ends.
    pub head: String,
    /// With its framing.
    pub body: Vec<u8>,
}

impl Request {
    /// Method and target.
    pub fn asked(&self) -> &str {
        let line = self.head.split("\r\n").next().unwrap_or_default();
        line.rsplit_once(' ').map_or(line, |(asked, _)| asked)
    }

    /// All lines of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// What is answered at some paths: one answer after the other, and the last one from then on.
///
/// In an answer `{asked}` is the request line, `{head}` all of the request's head, `{n}` the number of
/// the request at this path, `{length}` the bytes behind the answer's own head; at `{pause}` the origin
/// waits for [`PAUSE`], and at `{close}` it ends the connection.
pub type Script = HashMap<String, Vec<Vec<u8>>>;

/// Long enough for what is pipelined behind to come first, if it ever would.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening origin. Dropped with the test's runtime.
pub struct Echo {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Heard>>>,
}

impl Echo {
    pub async fn start() -> Self {
        Self::scripted(Script::new()).await
    }

    /// One that answers as it is told where it is told something.
    pub async fn scripted(script: Script) -> Self {
        let script = Arc::new((script, Mutex::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = {
                    let mut all = all.lock().unwrap();
                    all.push(Heard::default());
                    all.len() - 1
                };
                tokio::spawn(hear(stream, index, Arc::clone(&all), Arc::clone(&script)));
            }
        });
        Self { address, connections }
    }

    /// The requests that came to their end, connection by connection.
    pub fn requests(&self) -> Vec<Request> {
        let connections = self.connections.lock().unwrap();
        connections.iter().flat_map(|heard| heard.requests.clone()).collect()
    }

    /// How many connections it took so far.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Whether these bytes came over any connection.
    pub fn heard(&self, bytes: &[u8]) -> bool {
        let connections = self.connections.lock().unwrap();
        connections.iter().any(|heard| heard.raw.windows(bytes.len()).any(|window| window == bytes))
    }

    /// Waits until no request is under way that has not come to its end.
    pub async fn is_quiet(&self) {
        let quiet = || {
            let connections = self.connections.lock().unwrap();
            connections.iter().all(|heard| heard.closed || unfinished(&heard.raw, 0).is_none())
        };
        eventually("the end of every request at the origin", quiet).await;
    }

    /// Forgets what it heard so far.
    pub fn forget(&self) {
        for heard in self.connections.lock().unwrap().iter_mut() {
            *heard = Heard { closed: heard.closed, ..Heard::default() };
        }
    }
}

/// What is left after the whole requests, if anything.
fn unfinished(raw: &[u8], from: usize) -> Option<&[u8]> {
    let rest = &raw[from..];
    match whole_request(rest) {
        Some((head, body)) => unfinished(raw, from + head + body),
        None => (!rest.is_empty()).then_some(rest),
    }
}

/// Lengths of the head and the framed body at the front of `bytes`, once all of it is there.
fn whole_request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let field = |name: &str| {
        text.split("\r\n").find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned))
    };
    let body = match (field("transfer-encoding:"), field("content-length:")) {
        (Some(_), Some(_)) => panic!("two framings reached the origin: {text}"),
        (Some(coding), None) => {
            assert_eq!(coding, "chunked");
            chunked(&bytes[head..])?
        }
        (None, Some(length)) => length.parse().expect("a length"),
        (None, None) => 0,
    };
    (bytes.len() >= head + body).then_some((head, body))
}

/// The length of a chunked body, once all of it is there.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        at += line + 2;
        if size == 0 {
            let trailers = &bytes[at..];
            let end = if trailers.starts_with(b"\r\n") { 2 } else { find(trailers, b"\r\n\r\n")? + 4 };
            return Some(at + end);
        }
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// What is said, and how often each path was asked for.
type Told = (Script, Mutex<HashMap<String, usize>>);

/// Answers one connection until its end.
async fn hear(mut stream: TcpStream, index: usize, all: Arc<Mutex<Vec<Heard>>>, told: Arc<Told>) {
    let mut pending = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    'open: while let Ok(count @ 1..) = stream.read(&mut piece).await {
        all.lock().unwrap()[index].raw.extend_from_slice(&piece[..count]);
        pending.extend_from_slice(&piece[..count]);
        while let Some((head, body)) = whole_request(&pending) {
            let bytes: Vec<_> = pending.drain(..head + body).collect();
            let request = Request {
                head: String::from_utf8_lossy(&bytes[..head]).into_owned(),
                body: bytes[head..].to_vec(),
            };
            let answer = answer(&request, &told);
            all.lock().unwrap()[index].requests.push(request);
            if !say(&mut stream, &answer).await {
                break 'open;
            }
        }
    }
    drop(stream);
    all.lock().unwrap()[index].closed = true;
}

/// Whether the connection is to go on.
async fn say(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let Some(at) = find(answer, b"{pause}") else {
        let end = find(answer, b"{close}");
        return stream.write_all(&answer[..end.unwrap_or(answer.len())]).await.is_ok() && end.is_none();
    };
    if stream.write_all(&answer[..at]).await.is_err() {
        return false;
    }
    tokio::time::sleep(PAUSE).await;
    Box::pin(say(stream, &answer[at + b"{pause}".len()..])).await
}

/// What the script says, or else the request line, as the body.
fn answer(request: &Request, (script, asked_before): &Told) -> Vec<u8> {
    let asked = request.asked();
    let path = asked.split_once(' ').map_or(asked, |(_, path)| path);
    if let Some(answers) = script.get(path) {
        let mut asked_before = asked_before.lock().unwrap();
        let number = asked_before.entry(path.to_owned()).or_default();
        *number += 1;
        return filled_in(&answers[(*number).min(answers.len()) - 1], request, *number);
    }
    let length = asked.len();
    let body = if asked.starts_with("HEAD ") { "" } else { asked };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// An answer of a script, with what is told of the request.
fn filled_in(answer: &[u8], request: &Request, number: usize) -> Vec<u8> {
    let answer = replaced(answer, "{asked}", request.asked());
    let answer = replaced(&answer, "{head}", &request.head);
    let answer = replaced(&answer, "{n}", &number.to_string());
    let body = find(&answer, b"\r\n\r\n").map_or(0, |end| answer.len() - end - 4);
    replaced(&answer, "{length}", &body.to_string())
}

fn replaced(bytes: &[u8], what: &str, with: &str) -> Vec<u8> {
    match find(bytes, what.as_bytes()) {
        Some(at) => [&bytes[..at], with.as_bytes(), &bytes[at + what.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
