//! One request of a connection, and its answer.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Method, Version, header::TE, response::Response};
use http_body::{Body, Frame};
use thiserror::Error;

use crate::{
    admit::{Head, HeadLimits},
    app::Live,
    connection::{Account, Connection, Elapsed, Frames, Pace, Patience, Upload, Watchdog, body_channel},
    error::Failure,
    handler,
    headers::is_grpc,
    interim::Interim,
    limits::Timeouts,
    message::{BoxError, Fields, Reply, ReplyBody, Request, RequestBody, RequestBodyError, StreamBody},
    reply::{fields, has_no_body},
};

/// The codes of streams that the library resets for what came on them. A client that takes its request back has no use
/// for them.
const FAULTS: [Reason; 5] = [
    Reason::PROTOCOL_ERROR,
    Reason::FLOW_CONTROL_ERROR,
    Reason::STREAM_CLOSED,
    Reason::FRAME_SIZE_ERROR,
    Reason::COMPRESSION_ERROR,
];

/// Answers one request. Dropped, it resets the stream.
pub(super) async fn serve(
    connection: Arc<Connection>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let live = connection.app.live();
    let limits = HeadLimits::of(&live.limits);
    let (parts, body) = request.into_parts();
    let head_only = parts.method == Method::HEAD;
    let head = Head::from_h2(parts, body.is_end_stream(), connection.scheme, &limits);
    let writer = Writer { connection: &connection, respond, sent: Arc::default() };
    let Some(_under_way) = connection.place.request() else {
        return writer.refuse(&Failure::crowded(), head_only, &live.timeouts).await;
    };
    match head {
        Ok(head) if head.framing.is_longer_than(live.limits.request_body) => {
            writer.refuse(&RequestBodyError::TooLarge.into(), head_only, &live.timeouts).await;
        }
        Ok(head) => writer.exchange(head, body, &live, limits).await,
        Err(refusal) => writer.refuse(&refusal.into(), head_only, &live.timeouts).await,
    }
}

/// Whether it calls a procedure of an app that can be called so.
fn is_call(head: &Head, live: &Live) -> bool {
    live.upstream.speaks_http2()
        && head.method == Method::POST
        && head.headers.get(TE).is_some_and(|value| value == "trailers")
        && is_grpc(&head.headers)
}

/// Only what the app sends as it has it: no store does.
fn answers_a_call(reply: &Reply) -> bool {
    match (&reply.fields, &reply.body) {
        (Fields::Map(fields), ReplyBody::Stream(_)) => is_grpc(fields),
        _ => false,
    }
}

/// Some calls stay open for long, with little to say: as long as a quiet event stream may.
fn pace(is_call: bool, timeouts: &Timeouts) -> Pace {
    match is_call {
        true => Pace::leisurely(timeouts.idle.max(timeouts.body)),
        false => Pace::steady(timeouts.body),
    }
}

/// The side of an exchange that writes.
struct Writer<'c> {
    connection: &'c Connection,
    respond: SendResponse<Bytes>,
    /// Bytes of the body, shared with the account that is told of them.
    sent: Arc<AtomicU64>,
}

/// Why an answer was not sent to its end.
#[derive(Debug, Error)]
enum Cut {
    #[error("the client does not take its answer")]
    Stalled(#[from] Elapsed),
    #[error("the client is gone")]
    Gone,
    #[error("the client is gone: {0}")]
    Client(#[from] h2::Error),
    #[error("the answer is cut short: {0}")]
    Body(BoxError),
}

impl Writer<'_> {
    /// Answers what must not be forwarded.
    async fn refuse(self, failure: &Failure, head_only: bool, timeouts: &Timeouts) {
        let account = Account::open(self.connection, None, &self.sent);
        self.send(account, failure.reply(), head_only, Pace::steady(timeouts.body)).await;
    }

    /// Lets the story answer, while the body is read and the client watched.
    async fn exchange(self, head: Head, body: RecvStream, live: &Arc<Live>, limits: HeadLimits) {
        let call = is_call(&head, live);
        let request = self.connection.request(head, live);
        if !request.head.framing.has_body() {
            return self.answer(&request, RequestBody::None, live, call).await;
        }
        let (streamed, sender) = body_channel(&request);
        let (mut watchdog, whole) = (Watchdog::default(), AtomicBool::new(false));
        let upload = Upload {
            sender,
            word: request.word(),
            most: live.limits.request_body,
            patience: watchdog.patience(pace(call, &live.timeouts)),
            whole: &whole,
        };
        let pump = async {
            upload.run(InboundBody { stream: body, limits }).await;
            // The story has been told why, or has all of it; its answer ends the exchange.
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.answer(&request, streamed, live, call) => {}
            () = pump => {}
        }
    }

    async fn answer(mut self, request: &Request, body: RequestBody, live: &Arc<Live>, call: bool) {
        let mut account = Account::open(self.connection, Some(request), &self.sent);
        let handling = pin!(handler::handle(&self.connection.app, live, request, body));
        match self.await_reply(handling, request).await {
            Ok(reply) => {
                let head_only = request.head.method == Method::HEAD;
                let pace = pace(call && answers_a_call(&reply), &live.timeouts);
                self.send(account, reply, head_only, pace).await;
            }
            Err(Ok(reason)) if FAULTS.contains(&reason) => account.refused(reason.description()),
            Err(_) => {}
        }
    }

    /// Waits for the answer, and tells the client meanwhile what comes before it.
    ///
    /// # Errors
    /// With which code the stream is reset: by the client, which takes the request back, or by the library.
    async fn await_reply(
        &mut self,
        mut handling: Pin<&mut impl Future<Output = Reply>>,
        request: &Request,
    ) -> Result<Reply, Result<Reason, h2::Error>> {
        let reply = loop {
            let interim = tokio::select! {
                biased;
                reply = &mut handling => break reply,
                reset = poll_fn(|cx| self.respond.poll_reset(cx)) => return Err(reset),
                interim = request.interims.next() => interim,
            };
            self.send_interim(&interim);
        };
        // What came together with the answer.
        while let Some(interim) = request.interims.take() {
            self.send_interim(&interim);
        }
        Ok(reply)
    }

    /// Few of them are let through to here, and they are small: they wait in memory for a slow client.
    fn send_interim(&mut self, interim: &Interim) {
        let mut head = Response::new(());
        *head.status_mut() = interim.status;
        *head.headers_mut() = interim.lines.to_map();
        if let Err(error) = self.respond.send_informational(head) {
            tracing::debug!(%error, "an interim response is dropped");
        }
    }

    async fn send(mut self, mut account: Account<'_>, mut reply: Reply, head_only: bool, pace: Pace) {
        account.answered(&mut reply);
        match self.write(reply, head_only, pace).await {
            Ok(()) => account.completed(),
            Err(Cut::Body(error)) => {
                tracing::warn!(%error, "the stream is reset, so that the client can tell");
                self.respond.send_reset(Reason::INTERNAL_ERROR);
            }
            Err(cut) => {
                tracing::debug!(%cut, "an answer is given up");
                self.respond.send_reset(Reason::CANCEL);
            }
        }
    }

    async fn write(&mut self, reply: Reply, head_only: bool, pace: Pace) -> Result<(), Cut> {
        let bodiless = head_only || has_no_body(reply.status);
        let mut head = Response::new(());
        *head.version_mut() = Version::HTTP_2;
        *head.status_mut() = reply.status;
        *head.headers_mut() = fields(&reply, bodiless);
        let body = match reply.body {
            ReplyBody::None => None,
            ReplyBody::Whole(body) if body.is_empty() => None,
            // Some clients of a procedure tell by the end of the head that it has failed.
            ReplyBody::Stream(body) if body.is_end_stream() => None,
            body => Some(body).filter(|_| !bodiless),
        };
        let stream = self.respond.send_response(head, body.is_none())?;
        let mut watchdog = Watchdog::default();
        let mut outbound = Outbound { stream, patience: watchdog.patience(pace), sent: &self.sent };
        match body {
            None | Some(ReplyBody::None) => Ok(()),
            Some(ReplyBody::Whole(body)) => outbound.put(body, true).await,
            Some(ReplyBody::Stream(body)) => outbound.stream(body).await,
        }
    }
}

/// A body on its way to the client.
struct Outbound<'s> {
    stream: SendStream<Bytes>,
    patience: Patience<'s>,
    sent: &'s AtomicU64,
}

impl Outbound<'_> {
    /// Each frame as it comes, and the trailers.
    async fn stream(&mut self, mut body: StreamBody) -> Result<(), Cut> {
        while let Some(frame) = self.next_frame(&mut body).await? {
            match frame.into_data() {
                Ok(data) => self.put(data, false).await?,
                Err(other) => {
                    return Ok(self.stream.send_trailers(other.into_trailers().unwrap_or_default())?);
                }
            }
        }
        Ok(self.stream.send_data(Bytes::new(), true)?)
    }

    /// Waits for the origin, unless the client goes first.
    async fn next_frame(&mut self, body: &mut StreamBody) -> Result<Option<Frame<Bytes>>, Cut> {
        poll_fn(|cx| {
            if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                return Poll::Ready(frame.transpose().map_err(Cut::Body));
            }
            self.stream.poll_reset(cx).map(|_| Err(Cut::Gone))
        })
        .await
    }

    /// As the client makes room for it.
    async fn put(&mut self, mut data: Bytes, end: bool) -> Result<(), Cut> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let room = self.patience.wait(room(&mut self.stream)).await??;
            let piece = data.split_to(room.min(data.len()));
            self.patience.moved(piece.len());
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.stream.send_data(piece, end && data.is_empty())?;
        }
        Ok(())
    }
}

/// How much of what was asked for may be sent now.
async fn room(stream: &mut SendStream<Bytes>) -> Result<usize, Cut> {
    loop {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            None => return Err(Cut::Gone),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(0)) => {} // a window that has become smaller
            Some(Ok(room)) => return Ok(room),
        }
    }
}

/// A request's body on its way in.
struct InboundBody {
    stream: RecvStream,
    limits: HeadLimits,
}

impl Frames for InboundBody {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, RequestBodyError> {
        let Self { stream, limits } = self;
        while let Some(data) = stream.data().await {
            let data = data.map_err(|error| broken(&error))?;
            // Room for as much again: the story asks for no more than it can pass on.
            stream.flow_control().release_capacity(data.len()).map_err(|error| broken(&error))?;
            if !data.is_empty() {
                return Ok(Some(Frame::data(data)));
            }
        }
        match stream.trailers().await.map_err(|error| broken(&error))? {
            Some(trailers) if trailers.len() > limits.fields => {
                Err(RequestBodyError::Malformed("it has more trailers than limits.headers"))
            }
            trailers => Ok(trailers.map(Frame::trailers)),
        }
    }

    fn has_ended(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// The library has found what is not HTTP/2, or the client has left.
fn broken(error: &h2::Error) -> RequestBodyError {
    match error.is_library() {
        true => RequestBodyError::Malformed("its frames are not those of HTTP/2"),
        false => RequestBodyError::Closed,
    }
}
