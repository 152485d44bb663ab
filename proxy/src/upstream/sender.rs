//! The version of HTTP that a connection to the origin speaks, and the tasks that move its bytes.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::Either;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{HEAD_BYTES, OnContinue, error::FetchError, outgoing, outgoing::Outgoing, socket::Socket};
use crate::{address::UpstreamUrl, admit::Scheme};

/// Bytes of an answer that may be on their way over HTTP/2. There is one answer at a time.
const WINDOW: u32 = 256 * 1024;

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
    Http2(http2::SendRequest<Outgoing>, Scheme),
}

impl Sender {
    /// Begins to speak over `socket`; the bytes are moved by `tasks`.
    pub(super) async fn start(socket: Socket, protocol: Protocol, tasks: &Tasks) -> Result<Self, FetchError> {
        let socket = TokioIo::new(socket);
        match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                let started = builder.max_buf_size(HEAD_BYTES).handshake(socket).await;
                let (sender, connection) = started.map_err(FetchError::Terminated)?;
                tasks.execute(async move { report(connection.with_upgrades().await) });
                Ok(Self::Http1(sender))
            }
            Protocol::Http2(scheme) => {
                let mut builder = http2::Builder::new(tasks.clone());
                builder
                    .initial_stream_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
                let started = builder.handshake(socket).await;
                let (sender, connection) = started.map_err(FetchError::Terminated)?;
                tasks.execute(async move { report(connection.await) });
                Ok(Self::Http2(sender, scheme))
            }
        }
    }

    /// Sends a request, if the connection still takes one.
    pub(super) fn try_send(
        &mut self,
        mut request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> + use<> {
        match self {
            Self::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Self::Http2(sender, scheme) => {
                if let Some(OnContinue(client)) = request.extensions().get() {
                    // Nobody would tell: the library keeps the origin's word for itself.
                    client.notify_one();
                }
                outgoing::for_http2(&mut request, *scheme);
                Either::Right(sender.try_send_request(request))
            }
        }
    }

    /// Whether it is open and takes another request.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready() && !sender.is_closed(),
            Self::Http2(sender, _) => sender.is_ready() && !sender.is_closed(),
        }
    }

    /// Waits until it does.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender, _) => sender.ready().await,
        }
    }
}

fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection to the origin ended");
    }
}

/// The tasks of one connection.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl Tasks {
    /// Ends all of them, which closes the connection.
    pub(super) fn abort(&self) {
        for task in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task).abort_handle());
    }
}
