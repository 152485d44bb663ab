//! Exchanges with an origin in HTTP/2 (RFC 9113).
//!
//! The frames are read and written by the `h2` crate, as they are towards clients. A general client on top of it
//! would hide what the origin says before its answer.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{Request, Response};
use http_body::{Body, Frame};

use super::{
    HEAD_BYTES,
    connection::Told,
    outgoing::{Outgoing, for_http2},
    sender::{Fault, Incoming, NoAnswer, Tasks},
    socket::Socket,
};
use crate::{
    admit::Scheme,
    message::{BoxError, PollFrame},
};

/// Bytes of an answer that may be on their way. There is one answer at a time.
const WINDOW: u32 = 256 * 1024;

/// Sends requests over one connection.
pub(super) struct Requests {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    tasks: Tasks,
}

impl Requests {
    /// Begins to speak over `socket`; the bytes are moved by `tasks`.
    pub(super) async fn start(socket: Socket, scheme: Scheme, tasks: &Tasks) -> Result<Self, h2::Error> {
        let started = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .handshake(socket)
            .await;
        let (sender, connection) = started?;
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the origin ended");
            }
        });
        Ok(Self { sender, scheme, tasks: tasks.clone() })
    }

    /// Whether the connection is open and takes another request.
    pub(super) fn is_ready(&self) -> bool {
        let mut sender = self.sender.clone();
        matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    /// Sends a request and waits for the head of the answer; `told` hears what comes before that.
    pub(super) fn exchange(
        &self,
        request: Request<Outgoing>,
        told: Told,
    ) -> impl Future<Output = Result<Response<Incoming>, NoAnswer>> + use<> {
        let (sender, scheme, tasks) = (self.sender.clone(), self.scheme, self.tasks.clone());
        async move {
            let mut sender = match sender.ready().await {
                Ok(sender) => sender,
                Err(error) => {
                    return Err(NoAnswer { unsent: Some(Box::new(request)), fault: Fault::Http2(error) });
                }
            };
            let answered = answered(begin(&mut sender, request, scheme, &tasks), &told).await;
            let answer = answered.map_err(|error| NoAnswer { unsent: None, fault: Fault::Http2(error) })?;
            Ok(answer.map(|stream| Incoming::Http2(Received { stream, data_done: false })))
        }
    }
}

/// The head is sent; the body follows in a task of its own.
fn begin(
    sender: &mut SendRequest<Bytes>,
    mut request: Request<Outgoing>,
    scheme: Scheme,
    tasks: &Tasks,
) -> Result<ResponseFuture, h2::Error> {
    for_http2(&mut request, scheme);
    let (head, body) = request.into_parts();
    let is_empty = body.is_end_stream();
    let (answer, stream) = sender.send_request(Request::from_parts(head, ()), is_empty)?;
    if !is_empty {
        tasks.spawn(upload(body, stream));
    }
    Ok(answer)
}

async fn answered(
    begun: Result<ResponseFuture, h2::Error>,
    told: &Told,
) -> Result<Response<RecvStream>, h2::Error> {
    let mut answer = begun?;
    while let Some(interim) = poll_fn(|cx| answer.poll_informational(cx)).await {
        let interim = interim?;
        if told.informational(interim.status(), interim.headers()).is_break() {
            return Err(Reason::ENHANCE_YOUR_CALM.into());
        }
    }
    answer.await
}

/// Sends a body, unless the origin wants no more of it. One that fails never looks complete.
async fn upload(mut body: Outgoing, mut stream: SendStream<Bytes>) {
    if let Err(error) = send(&mut body, &mut stream).await {
        tracing::debug!(%error, "the body of a request is not sent to its end");
        stream.send_reset(Reason::CANCEL);
    }
}

async fn send(body: &mut Outgoing, stream: &mut SendStream<Bytes>) -> Result<(), BoxError> {
    while let Some(frame) = next_frame(body, stream).await? {
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                put(body, stream, data, is_last).await?;
                if is_last {
                    return Ok(());
                }
            }
            Err(other) => return Ok(stream.send_trailers(other.into_trailers().unwrap_or_default())?),
        }
    }
    Ok(stream.send_data(Bytes::new(), true)?)
}

/// Waits for the client, unless the origin takes its interest back first.
async fn next_frame(
    body: &mut Outgoing,
    stream: &mut SendStream<Bytes>,
) -> Result<Option<Frame<Bytes>>, BoxError> {
    poll_fn(|cx| {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            return Poll::Ready(frame.transpose());
        }
        let reason = ready!(stream.poll_reset(cx));
        Poll::Ready(Err(reason.map_or_else(BoxError::from, |reason| h2::Error::from(reason).into())))
    })
    .await
}

/// As the origin makes room for it.
async fn put(
    body: &mut Outgoing,
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            None => return Err(Reason::STREAM_CLOSED.into()),
            Some(room) => {
                let piece = data.split_to(room?.min(data.len()));
                if !piece.is_empty() {
                    stream.send_data(piece, is_last && data.is_empty())?;
                    body.moved();
                }
            }
        }
    }
    Ok(())
}

/// The body of an answer.
pub(super) struct Received {
    stream: RecvStream,
    data_done: bool,
}

impl Received {
    /// Its next frame; none only after the frame that ends the stream.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> PollFrame<h2::Error> {
        if !self.data_done {
            if let Some(data) = ready!(self.stream.poll_data(cx)) {
                return Poll::Ready(Some(data.map(|data| {
                    // Fails only where nothing more will come.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    Frame::data(data)
                })));
            }
            self.data_done = true;
        }
        self.stream.poll_trailers(cx).map(|trailers| trailers.map(|all| all.map(Frame::trailers)).transpose())
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
