//! A sidecar between a client and an origin that are both played by the test.

use tokio::net::TcpListener;

use super::{
    sidecar::Sidecar,
    wire::{Message, Wire, soon},
};

/// What most origins say.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The sidecar, and the port on which the test waits for its calls.
pub struct Rig {
    pub sidecar: Sidecar,
    origin: TcpListener,
}

impl Rig {
    /// With these lines in the sidecar's file.
    pub async fn new(rest: &str) -> Self {
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Sidecar::start(origin.local_addr().unwrap(), rest);
        Self { sidecar, origin }
    }

    /// The next connection of the sidecar to the origin.
    pub async fn called(&self) -> Wire {
        Wire::new(soon("a call at the origin", self.origin.accept()).await.unwrap().0)
    }

    /// Sends a request over a new connection. Both ends, and what of it the origin got: its head.
    pub async fn send(&self, request: &str) -> (Wire, Wire, Message) {
        let mut client = self.sidecar.connect().await;
        client.send(request).await;
        let mut origin = self.called().await;
        let head = origin.head().await;
        (client, origin, head)
    }

    /// A whole exchange over new connections: what the origin got, and what the client.
    pub async fn exchange(&self, request: &str, answer: &str) -> (Message, Message) {
        let (mut client, mut origin, mut got) = self.send(request).await;
        let ends = got.request_ends();
        origin.body(&mut got, ends).await;
        origin.send(answer).await;
        origin.finish().await;
        let method = request.split(' ').next().unwrap_or_default();
        (got, client.response_to(method).await)
    }
}

/// The head of a request with these lines beside `Host: a`, and its body.
pub fn request(line: &str, fields: &[&str], body: &str) -> String {
    message(line, &[&["Host: a"], fields].concat(), body)
}

/// A message with these lines.
pub fn message(start: &str, fields: &[&str], body: &str) -> String {
    let fields: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{start}\r\n{fields}\r\n{body}")
}
