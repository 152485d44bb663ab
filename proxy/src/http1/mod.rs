//! HTTP/1.x on a client's connection (RFC 9112).
//!
//! The proxy reads and writes its clients' HTTP/1 itself. A general server library hides what a
//! gateway must refuse (which framing fields were sent, a bare LF, the spelling of a chunk size),
//! cannot write interim responses, and builds a map of fields where a hit has them ready as bytes.
//!
//! One connection is one task: it reads a head, lets the story answer it, and writes the answer,
//! while it goes on reading: the request's body, or the sign that the client has gone.

mod chunked;
mod inbound;
mod outbound;
mod tunnel;

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, Version, header::TE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncRead, time::timeout};

pub use self::outbound::Socket;
use self::{
    inbound::{Inbound, NoHead, PREFACE},
    outbound::{Outbound, ReplyFraming, SendError},
};
pub use crate::connection::Connection;
use crate::{
    admit::{self, Head, HeadLimits, Notable, Scheme},
    app::Live,
    connection::{Account, LAST_CHANCE, Pace, Upload, Watchdog, body_channel},
    error::Failure,
    handler,
    headers::has_token,
    http2::{self, Joined},
    message::{Reply, Request, RequestBody, RequestBodyError},
};

/// Bytes that are read and dropped after an answer that came before the request's end.
const LINGER_BYTES: usize = 256 * 1024;
/// How long they are waited for.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// How one exchange leaves the connection.
enum After {
    /// Another request may follow.
    KeepAlive,
    /// It must be closed; the client may still be sending.
    Close,
    /// The client has gone.
    Cut,
    /// The client must be told that its answer is not whole.
    Reset,
    /// It is one of HTTP/2, of which the preface has begun.
    Http2,
    /// It is a tunnel now, to this end.
    Tunnel(OnUpgrade),
}

/// Serves one connection until it ends.
pub async fn serve<R, W>(read: R, write: W, connection: Connection)
where
    R: AsyncRead + Unpin,
    W: Socket,
{
    let mut draining = connection.draining.clone();
    let mut drained = pin!(async move { draining.wait_for(|draining| *draining).await.is_ok() });
    let mut client = Client {
        inbound: Inbound::new(read),
        outbound: Outbound::new(write),
        reads: Watchdog::default(),
        writes: Watchdog::default(),
        connection,
    };
    let mut live = client.connection.app.live();
    while client.wait(&live, drained.as_mut()).await {
        // An edit may have come while the connection was idle.
        live = client.connection.app.live();
        let after = client.next(&live).await;
        match after {
            After::KeepAlive => {}
            After::Close => return client.close().await,
            After::Cut => return,
            After::Reset => return client.outbound.reset(),
            After::Http2 => return client.http2().await,
            After::Tunnel(origin) => return client.tunnel(origin, live.timeouts.idle).await,
        }
    }
    if !client.connection.place.is_asked_for() {
        client.finish().await;
    }
}

/// A client's connection: its two halves, and a timer for each.
struct Client<R, W> {
    inbound: Inbound<R>,
    outbound: Outbound<W>,
    reads: Watchdog,
    writes: Watchdog,
    connection: Connection,
}

impl<R, W> Client<R, W>
where
    R: AsyncRead + Unpin,
    W: Socket,
{
    /// Waits for the next request to begin. `false`: none will.
    async fn wait(&mut self, live: &Live, drained: impl Future<Output = bool>) -> bool {
        let Self { inbound, reads, connection, .. } = self;
        let begun = async {
            tokio::select! {
                biased;
                begun = inbound.ready() => begun,
                // Not before the first look has found nothing: a client that goes on at once is never idle.
                () = connection.place.asked_for() => false,
                _ = drained => timeout(LAST_CHANCE, inbound.ready()).await.unwrap_or(false),
            }
        };
        matches!(reads.limit(live.timeouts.idle, begun).await, Ok(true)) && connection.place.begin()
    }

    /// One request and its answer.
    async fn next(&mut self, live: &Arc<Live>) -> After {
        let limits = HeadLimits::of(&live.limits);
        let bytes = match self.inbound.head(&limits, &mut self.reads, live.timeouts.header).await {
            Ok(bytes) => bytes,
            Err(none) => return self.unread(none, live).await,
        };
        let head = match Head::parse(&bytes, self.connection.scheme, &limits) {
            Ok(head) => head,
            Err(refusal) => return self.unread(NoHead::of(&bytes, refusal), live).await,
        };
        if head.framing.is_longer_than(live.limits.request_body) {
            let head_only = head.method == Method::HEAD;
            return self.refuse(&RequestBodyError::TooLarge.into(), head_only, live).await;
        }
        let request = self.connection.request(head, live);
        self.exchange(&request, live, limits).await
    }

    /// What follows where there is no request.
    async fn unread(&mut self, none: NoHead, live: &Live) -> After {
        match none {
            NoHead::Finished => After::Cut,
            NoHead::Preface(_) if self.may_be_http2() => After::Http2,
            NoHead::Refused(refused) | NoHead::Preface(refused) => {
                self.refuse(&refused.refusal.into(), refused.head_only, live).await
            }
        }
    }

    /// Whether the preface of HTTP/2 is one here: as the first of a connection, and not over TLS, where the
    /// version was agreed upon before (RFC 9113 §3.2).
    fn may_be_http2(&self) -> bool {
        self.outbound.is_untouched() && self.connection.scheme == Scheme::Http
    }

    /// Answers what must not be forwarded; nothing after it on this connection can be trusted.
    async fn refuse(&mut self, failure: &Failure, head_only: bool, live: &Live) -> After {
        let framing = ReplyFraming {
            version: Version::HTTP_11,
            head_only,
            keep_alive: false,
            trailers: false,
            pace: Pace::steady(live.timeouts.body),
        };
        let Self { outbound, writes, connection, .. } = self;
        let mut account = Account::open(connection, None, outbound.sent());
        let mut writer = Writer { outbound, watchdog: writes, connection };
        writer.send(&mut account, &mut failure.reply(), framing).await
    }

    /// Lets the story answer, while the body is read and the client watched.
    async fn exchange(&mut self, request: &Request, live: &Arc<Live>, limits: HeadLimits) -> After {
        let Self { inbound, outbound, reads, writes, connection } = self;
        let framing = request.head.framing;
        let read_to_end =
            AtomicBool::new(matches!(framing, admit::Framing::None | admit::Framing::Length(0)));
        let mut writer = Writer { outbound, watchdog: writes, connection };
        if !framing.has_body() {
            let answer = pin!(writer.answer(request, RequestBody::None, live, &read_to_end));
            return unless_gone(answer, inbound.gone(limits.bytes)).await;
        }
        let (body, sender) = body_channel(request);
        let answer = pin!(writer.answer(request, body, live, &read_to_end));
        let upload = Upload {
            sender,
            word: request.word(),
            most: live.limits.request_body,
            patience: reads.patience(Pace::steady(live.timeouts.body)),
            whole: &read_to_end,
        };
        let pump = async {
            upload.run(inbound.body(framing, limits)).await;
            if read_to_end.load(Ordering::Relaxed) {
                return inbound.gone(limits.bytes).await;
            }
            // The story has been told why, or has lost interest; its answer ends the exchange.
            pending::<()>().await;
        };
        unless_gone(answer, pump).await
    }

    /// Says that nothing more will come. Over TLS that is a message, which a client that reads nothing holds up.
    async fn finish(&mut self) {
        let _ = timeout(LINGER_TIME, self.outbound.finish()).await;
    }

    /// Says that nothing more will come, and lets the client finish its sentence (RFC 9112 §9.6).
    async fn close(mut self) {
        self.finish().await;
        // Whatever the client still sends is of no interest, nor whether it was all.
        let _ = timeout(LINGER_TIME, self.inbound.drain(LINGER_BYTES)).await;
    }

    /// Goes on in HTTP/2, as the client knew that it could (RFC 9113 §3.3).
    async fn http2(self) {
        let (read, ahead) = self.inbound.into_parts();
        let begun = [PREFACE, &*ahead].concat();
        let io = Joined::new(begun.into(), read, self.outbound.into_inner());
        // It is large, and few connections come here.
        Box::pin(http2::serve(io, self.connection)).await;
    }

    async fn tunnel(self, origin: OnUpgrade, idle: Duration) {
        let (read, ahead) = self.inbound.into_parts();
        let joined = match origin.await {
            Ok(origin) => {
                tunnel::join(read, self.outbound.into_inner(), ahead, TokioIo::new(origin), idle).await
            }
            Err(error) => Err(std::io::Error::other(error)),
        };
        if let Err(error) = joined {
            tracing::debug!(%error, "a tunnel has failed");
        }
    }
}

/// What `answer` leaves, unless the client goes first: then nobody is left to answer.
///
/// The answer comes pinned: it is some kilobytes large, and would be copied on its way in here.
async fn unless_gone(answer: Pin<&mut impl Future<Output = After>>, gone: impl Future<Output = ()>) -> After {
    tokio::select! {
        biased;
        after = answer => after,
        () = gone => After::Cut,
    }
}

/// The side of an exchange that writes.
struct Writer<'c, W> {
    outbound: &'c mut Outbound<W>,
    watchdog: &'c mut Watchdog,
    connection: &'c Connection,
}

impl<'c, W: Socket> Writer<'c, W> {
    async fn answer(
        &mut self,
        request: &Request,
        body: RequestBody,
        live: &Arc<Live>,
        read_to_end: &AtomicBool,
    ) -> After {
        let mut account = Account::open(self.connection, Some(request), self.outbound.sent());
        let handling = pin!(handler::handle(&self.connection.app, live, request, body));
        let pace = Pace::steady(live.timeouts.body);
        let Ok(mut reply) = self.await_reply(handling, request, pace).await else {
            return After::Cut;
        };
        let options = &request.head.connection;
        let framing = ReplyFraming {
            version: request.head.version,
            head_only: request.head.method == Method::HEAD,
            keep_alive: options.keep_alive
                && read_to_end.load(Ordering::Relaxed)
                && !*self.connection.draining.borrow(),
            trailers: request.head.notable.has(Notable::TE)
                && has_token(&request.head.headers, &TE, "trailers"),
            pace,
        };
        self.send(&mut account, &mut reply, framing).await
    }

    /// Waits for the answer, and tells the client meanwhile what comes before it.
    async fn await_reply(
        &mut self,
        mut handling: Pin<&mut impl Future<Output = Reply>>,
        request: &Request,
        pace: Pace,
    ) -> Result<Reply, SendError> {
        let reply = loop {
            let interim = tokio::select! {
                biased;
                reply = &mut handling => break reply,
                interim = request.interims.next() => interim,
            };
            self.outbound.send_interim(&interim, &mut self.watchdog.patience(pace)).await?;
        };
        // What came together with the answer.
        while let Some(interim) = request.interims.take() {
            self.outbound.send_interim(&interim, &mut self.watchdog.patience(pace)).await?;
        }
        Ok(reply)
    }

    async fn send(&mut self, account: &mut Account<'_>, reply: &mut Reply, framing: ReplyFraming) -> After {
        account.answered(reply);
        let tunnel = reply.tunnel.take();
        let sent = self.outbound.send(reply, framing, self.watchdog).await;
        match sent {
            Ok(_) => account.completed(),
            Err(SendError::Body(ref error)) => {
                tracing::warn!(%error, "the connection is closed, so that the client can tell");
            }
            Err(_) => {}
        }
        match (sent, tunnel) {
            (Ok(_), Some(origin)) => After::Tunnel(origin),
            (Ok(true), None) => After::KeepAlive,
            (Ok(false), None) => After::Close,
            (Err(SendError::Body(_)), _) => After::Reset,
            (Err(_), _) => After::Cut,
        }
    }
}
