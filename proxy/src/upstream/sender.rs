//! The version of HTTP that a connection to the origin speaks, and the tasks that move its bytes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Context,
};

use futures_util::{FutureExt, future::Either};
use http::{Request, Response};
use http_body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{
    HEAD_BYTES,
    connection::Told,
    error::FetchError,
    http2::{Received, Requests},
    outgoing::Outgoing,
    socket::Socket,
};
use crate::{address::UpstreamUrl, admit::Scheme, message::PollFrame};

/// What is spoken to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// With what is said of the scheme, which HTTP/1 does not.
    Http2(Scheme),
}

impl Protocol {
    /// The one that the URL names: nothing is tried out, nor agreed upon.
    pub(super) fn of(origin: &UpstreamUrl) -> Self {
        match origin {
            UpstreamUrl::Tcp { protocol, .. } if protocol.is_http2() => Self::Http2(protocol.scheme()),
            UpstreamUrl::Tcp { .. } | UpstreamUrl::Unix(_) => Self::Http1,
        }
    }

    /// Its name in the handshake of TLS (RFC 7301).
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2(_) => b"h2",
        }
    }
}

/// Takes requests for a connection.
pub(super) enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    Http2(Requests),
}

/// Why there is no answer.
pub(super) struct NoAnswer {
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Box<Request<Outgoing>>>,
    pub(super) fault: Fault,
}

/// What a library says of it.
pub(super) enum Fault {
    Http1(hyper::Error),
    Http2(h2::Error),
}

impl Sender {
    /// Begins to speak over `socket`; the bytes are moved by `tasks`.
    pub(super) async fn start(socket: Socket, protocol: Protocol, tasks: &Tasks) -> Result<Self, FetchError> {
        match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                let started = builder.max_buf_size(HEAD_BYTES).handshake(TokioIo::new(socket)).await;
                let (sender, connection) = started.map_err(|error| FetchError::Terminated(error.into()))?;
                tasks.spawn(async move {
                    if let Err(error) = connection.with_upgrades().await {
                        tracing::debug!(%error, "connection to the origin ended");
                    }
                });
                Ok(Self::Http1(sender))
            }
            Protocol::Http2(scheme) => {
                let started = Requests::start(socket, scheme, tasks).await;
                Ok(Self::Http2(started.map_err(|error| FetchError::Terminated(error.into()))?))
            }
        }
    }

    /// Sends a request, if the connection still takes one, and waits for the head of the answer; `told` hears
    /// what comes before that.
    pub(super) fn exchange(
        &mut self,
        mut request: Request<Outgoing>,
        told: Told,
    ) -> impl Future<Output = Result<Response<Incoming>, NoAnswer>> + use<> {
        match self {
            Self::Http1(sender) => {
                hyper::ext::on_informational(&mut request, move |interim| {
                    // The socket looks whether they are too many.
                    let _ = told.informational(interim.status(), interim.headers());
                });
                Either::Left(sender.try_send_request(request).map(|answer| match answer {
                    Ok(answer) => Ok(answer.map(Incoming::Http1)),
                    Err(mut failed) => Err(NoAnswer {
                        unsent: failed.take_message().map(Box::new),
                        fault: Fault::Http1(failed.into_error()),
                    }),
                }))
            }
            Self::Http2(requests) => Either::Right(requests.exchange(request, told)),
        }
    }

    /// Whether it is open and takes another request.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready() && !sender.is_closed(),
            Self::Http2(requests) => requests.is_ready(),
        }
    }

    /// Waits until it does, or never will. Whether it does.
    pub(super) async fn ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            // It takes one at any time.
            Self::Http2(requests) => requests.is_ready(),
        }
    }
}

/// The body of an answer, as it comes.
pub(super) enum Incoming {
    Http1(hyper::body::Incoming),
    Http2(Received),
}

impl Incoming {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> PollFrame {
        match self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => body.poll_frame(cx).map_err(Into::into),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }
}

/// The tasks of one connection.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl Tasks {
    /// Begins one more.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Ends all of them, which closes the connection.
    pub(super) fn abort(&self) {
        for task in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}
