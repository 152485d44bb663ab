//! A small HTTP client that shows exactly what was sent.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(field, _)| field == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} was sent twice");
        value
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A request on a connection of its own. `head` is what stands between the request line and the
/// empty line, without `Host`, `Connection` and `Content-Length`.
pub(crate) async fn request(address: SocketAddr, line: &str, head: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{head}{length}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    reply(&mut stream, line.starts_with("HEAD ")).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, &format!("GET {path}"), "", "").await
}

pub(crate) async fn send(address: SocketAddr, line: &str, json: &Value) -> Reply {
    request(address, line, "Content-Type: application/json\r\n", &json.to_string()).await
}

/// Reads a response until the server closes, and checks that it is whole.
pub(crate) async fn reply(stream: &mut TcpStream, to_head: bool) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("no end of the head");
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let reply = Reply { status, headers, body };
    if status != 204 {
        let length: usize = reply.header("content-length").expect("no length").parse().unwrap();
        assert_eq!(reply.body.len(), if to_head { 0 } else { length }, "the body is not whole");
    }
    reply
}
