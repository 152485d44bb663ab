//! A client of HTTP/2 that does as it should.

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::support::{sidecar::Sidecar, wire::soon};

/// A connection, and the task that moves its frames.
pub(crate) struct Friend {
    send: SendRequest<Bytes>,
    pub(crate) moving: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request to `http://a`.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://a{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

impl Friend {
    pub(crate) async fn connect(sidecar: &Sidecar) -> Self {
        Self::with(sidecar, &h2::client::Builder::new()).await
    }

    pub(crate) async fn with(sidecar: &Sidecar, settings: &h2::client::Builder) -> Self {
        let io = soon("a connection", TcpStream::connect(sidecar.address)).await.unwrap();
        let (send, connection) = soon("a handshake", settings.handshake(io)).await.unwrap();
        Self { send, moving: tokio::spawn(connection) }
    }

    /// Sends a request without a body.
    pub(crate) async fn start(&mut self, request: Request<()>) -> ResponseFuture {
        self.begin_with(request, true).await.0
    }

    /// Begins a request.
    pub(crate) async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin_with(request, false).await
    }

    async fn begin_with(&mut self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = soon("room for a request", self.send.clone().ready()).await.unwrap();
        send.send_request(request, ends).unwrap()
    }

    /// One without a body, and its answer.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let answer = self.start(request).await;
        whole(soon("an answer", answer).await?).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request(Method::GET.as_str(), path, &[])).await.unwrap()
    }

    /// One with a body.
    pub(crate) async fn post(&mut self, request: Request<()>, body: &'static [u8]) -> Answer {
        let (answer, mut stream) = self.begin(request).await;
        stream.send_data(Bytes::from_static(body), true).unwrap();
        whole(soon("an answer", answer).await.unwrap()).await.unwrap()
    }
}

/// Reads an answer to its end.
pub(crate) async fn whole(answer: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = soon("more of an answer", stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = soon("the trailers", stream.trailers()).await?;
    Ok(Answer { head: Response::from_parts(head, ()), body, trailers })
}

/// Why a stream was reset.
pub(crate) fn reason(error: &h2::Error) -> Option<Reason> {
    error.reason().filter(|_| error.is_reset())
}
