//! What goes to the client: heads and bodies, written as they come.

use std::{
    future::poll_fn,
    io::{self, IoSlice, Write},
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode, Version};
use http_body_util::BodyExt;
use socket2::SockRef;
use thiserror::Error;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{tcp, unix},
};

use crate::{
    connection::{Elapsed, Pace, Patience, Watchdog},
    interim::Interim,
    message::{BoxError, Reply, ReplyBody, StreamBody},
    reply::{announced_length, has_no_body, put_fields, put_lines, put_number, states_no_length},
};

/// The writing half of a client's socket.
pub trait Socket: AsyncWrite + Unpin {
    /// Makes the close that follows a reset: to a client that reads up to the close, an orderly one
    /// would say that the answer is whole.
    fn reset(self);
}

impl Socket for tcp::OwnedWriteHalf {
    fn reset(self) {
        // A socket on which this fails is gone already.
        let _ = SockRef::from(self.as_ref()).set_linger(Some(Duration::ZERO));
        // Dropped otherwise, this half would say first that the answer ends here.
        self.forget();
    }
}

/// A unix socket knows no reset: whatever speaks over one should frame its bodies.
impl Socket for unix::OwnedWriteHalf {
    fn reset(self) {}
}

/// The writing half of a connection.
pub(super) struct Outbound<W> {
    io: W,
    /// The head being written; kept, so that a connection allocates it once.
    head: Vec<u8>,
    /// Bytes of bodies sent: shared with the account that is told of them.
    sent: Arc<AtomicU64>,
}

/// How an answer is framed, as far as the request decides it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyFraming {
    /// Of the request.
    pub(super) version: Version,
    /// The request is a `HEAD`.
    pub(super) head_only: bool,
    /// Another answer may follow on this connection.
    pub(super) keep_alive: bool,
    /// The client takes trailers (`TE: trailers`).
    pub(super) trailers: bool,
    /// How slowly the client may take it.
    pub(super) pace: Pace,
}

/// Why an answer was not sent to its end.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("the client does not take its answer")]
    Stalled,
    #[error("the client is gone: {0}")]
    Client(#[from] io::Error),
    #[error("the answer is cut short: {0}")]
    Body(BoxError),
}

impl From<Elapsed> for SendError {
    fn from(_: Elapsed) -> Self {
        Self::Stalled
    }
}

/// How the end of a body is marked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Length,
    Chunked,
    Close,
}

impl<W: Socket> Outbound<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, head: Vec::new(), sent: Arc::default() }
    }

    /// Sends one answer, of which it takes the body. `true`: to its end, and the connection can go on.
    pub(super) async fn send(
        &mut self,
        reply: &mut Reply,
        framing: ReplyFraming,
        watchdog: &mut Watchdog,
    ) -> Result<bool, SendError> {
        let bodiless = framing.head_only || has_no_body(reply.status);
        let length = announced_length(&reply.body);
        let end = match (&reply.body, length) {
            _ if bodiless => End::Length,
            (ReplyBody::Stream(_), None) if framing.version == Version::HTTP_11 => End::Chunked,
            (ReplyBody::Stream(_), None) => End::Close,
            _ => End::Length,
        };
        let keep_alive = framing.keep_alive && end != End::Close;
        self.put_head(reply, framing, keep_alive);
        self.put_framing(reply, bodiless, end, length);
        let mut patience = watchdog.patience(framing.pace);
        match mem::replace(&mut reply.body, ReplyBody::None) {
            ReplyBody::Stream(body) if !bodiless => {
                self.stream(body, end, framing.trailers, &mut patience).await?;
            }
            ReplyBody::Whole(body) if !bodiless => {
                self.count(body.len());
                self.write_with_head(body, &mut patience).await?;
            }
            _ => self.write_with_head(Bytes::new(), &mut patience).await?,
        }
        Ok(keep_alive)
    }

    /// Whether nothing has been sent yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.head.capacity() == 0
    }

    /// Bytes of bodies sent, so far.
    pub(super) fn sent(&self) -> &Arc<AtomicU64> {
        &self.sent
    }

    /// Only this end writes: no need of an atomic addition.
    fn count(&self, bytes: usize) {
        self.sent.store(self.sent.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    /// Sends what comes before the answer (RFC 9110 §15.2): only to a client of HTTP/1.1, which is
    /// given up when it does not take it.
    pub(super) async fn send_interim(
        &mut self,
        interim: &Interim,
        patience: &mut Patience<'_>,
    ) -> Result<(), SendError> {
        put_status_line(&mut self.head, interim.status);
        self.head.extend_from_slice(interim.lines.as_bytes());
        self.head.extend_from_slice(b"\r\n");
        self.write_with_head(Bytes::new(), patience).await
    }

    /// Says that nothing more will come.
    pub(super) async fn finish(&mut self) {
        // The client may be gone already, which is what is wanted.
        let _ = self.io.shutdown().await;
    }

    /// Closes so that the client can tell that its answer is not whole.
    pub(super) fn reset(self) {
        self.io.reset();
    }

    pub(super) fn into_inner(self) -> W {
        self.io
    }

    /// Status line and fields, all but those that frame the body.
    fn put_head(&mut self, reply: &Reply, framing: ReplyFraming, keep_alive: bool) {
        let head = &mut self.head;
        head.clear();
        put_status_line(head, reply.status);
        put_fields(head, reply);
        match (reply.status, keep_alive, framing.version) {
            (StatusCode::SWITCHING_PROTOCOLS, ..) | (_, true, Version::HTTP_11) => {}
            (_, true, _) => head.extend_from_slice(b"connection: keep-alive\r\n"),
            (_, false, _) => head.extend_from_slice(b"connection: close\r\n"),
        }
    }

    fn put_framing(&mut self, reply: &Reply, bodiless: bool, end: End, length: Option<u64>) {
        match (end, length) {
            (End::Length, Some(length)) if !states_no_length(reply, bodiless) => {
                put_number(&mut self.head, b"content-length: ", length);
            }
            (End::Chunked, _) => self.head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            _ => {}
        }
        self.head.extend_from_slice(b"\r\n");
    }

    /// The head, with the body's first frame if that is there already; then each frame at once.
    async fn stream(
        &mut self,
        mut body: StreamBody,
        end: End,
        trailers_wanted: bool,
        patience: &mut Patience<'_>,
    ) -> Result<(), SendError> {
        let first = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => Poll::Ready(None),
        });
        let mut frame = match first.await {
            Some(frame) => frame,
            None => {
                self.write_with_head(Bytes::new(), patience).await?;
                body.frame().await
            }
        };
        let mut trailers = HeaderMap::new();
        while let Some(next) = frame {
            match next.map_err(SendError::Body)?.into_data() {
                Ok(data) => self.write_data(data, end, patience).await?,
                Err(other) => trailers = other.into_trailers().unwrap_or_default(),
            }
            frame = body.frame().await;
        }
        if end == End::Chunked {
            self.put_last_chunk(&trailers, trailers_wanted);
        }
        self.write_with_head(Bytes::new(), patience).await
    }

    async fn write_data(
        &mut self,
        data: Bytes,
        end: End,
        patience: &mut Patience<'_>,
    ) -> Result<(), SendError> {
        if data.is_empty() {
            return Ok(()); // An empty chunk would be the last one.
        }
        self.count(data.len());
        if end != End::Chunked {
            return self.write_with_head(data, patience).await;
        }
        let _ = write!(self.head, "{:x}\r\n", data.len());
        self.write_with_head(data.chain(Bytes::from_static(b"\r\n")), patience).await
    }

    /// RFC 9112 §7.1.2; trailers only for a client that takes them (RFC 9110 §6.5.1).
    fn put_last_chunk(&mut self, trailers: &HeaderMap, wanted: bool) {
        self.head.extend_from_slice(b"0\r\n");
        if wanted {
            put_lines(&mut self.head, trailers);
        }
        self.head.extend_from_slice(b"\r\n");
    }

    /// Writes the pending head and `rest` together.
    async fn write_with_head(
        &mut self,
        rest: impl Buf,
        patience: &mut Patience<'_>,
    ) -> Result<(), SendError> {
        let Self { io, head, .. } = self;
        let mut all = head.as_slice().chain(rest);
        while all.has_remaining() {
            let written = patience.wait(write_some(io, &mut all)).await??;
            patience.moved(written);
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
        }
        head.clear();
        Ok(())
    }
}

async fn write_some(io: &mut (impl AsyncWrite + Unpin), buffer: &mut impl Buf) -> io::Result<usize> {
    let written = poll_fn(|cx| {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = buffer.chunks_vectored(&mut slices);
        Pin::new(&mut *io).poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
    })
    .await?;
    buffer.advance(written);
    Ok(written)
}

fn put_status_line(head: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let _ =
        write!(head, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    use super::*;
    use crate::{
        headers::Lines,
        message::Fields,
        status::{Outcome, Own},
    };

    impl Socket for DuplexStream {
        fn reset(self) {}
    }

    fn hint(link: &str) -> Interim {
        let lines = Lines::checked(Bytes::from(format!("link: {link}\r\n"))).unwrap();
        Interim { status: StatusCode::EARLY_HINTS, lines }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_interim_response_is_given_up() {
        let pace = Pace::steady(Duration::from_secs(30));
        let (ours, mut client) = duplex(64);
        let (mut outbound, mut watchdog) = (Outbound::new(ours), Watchdog::default());
        outbound.send_interim(&hint("</a>"), &mut watchdog.patience(pace)).await.unwrap();
        let mut got = [0; 64];
        let count = client.read(&mut got).await.unwrap();
        assert_eq!(&got[..count], b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        let large = hint(&"x".repeat(100));
        let sent = outbound.send_interim(&large, &mut watchdog.patience(pace)).await;
        assert!(matches!(sent, Err(SendError::Stalled)), "{sent:?}");
    }

    /// What becomes of an answer of 64 KiB to a client that takes `bytes` in each second.
    async fn sent_to_one_who_takes(bytes: usize) -> Result<bool, SendError> {
        let (ours, mut client) = duplex(64);
        let taking = tokio::spawn(async move {
            let mut got = vec![0; bytes];
            while client.read_exact(&mut got).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let mut reply = Reply {
            status: StatusCode::OK,
            fields: Fields::Map(HeaderMap::new()),
            age: None,
            outcome: Outcome::Own(Own::Answered),
            body: ReplyBody::Whole(vec![b'x'; 64 * 1024].into()),
            rule: None,
            spared: Duration::ZERO,
            failed: None,
            tunnel: None,
        };
        let framing = ReplyFraming {
            version: Version::HTTP_11,
            head_only: false,
            keep_alive: true,
            trailers: false,
            pace: Pace::steady(Duration::from_secs(30)),
        };
        let sent = Outbound::new(ours).send(&mut reply, framing, &mut Watchdog::default()).await;
        taking.await.unwrap();
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_an_answer_in_crumbs_is_given_up() {
        let begun = Instant::now();
        let sent = sent_to_one_who_takes(100).await;
        assert!(matches!(sent, Err(SendError::Stalled)), "{sent:?}");
        assert!(begun.elapsed() < Duration::from_secs(35), "{:?}", begun.elapsed());
        let sent = sent_to_one_who_takes(200).await;
        assert!(matches!(sent, Ok(true)), "{sent:?}");
        assert!(begun.elapsed() > Duration::from_secs(300), "{:?}", begun.elapsed());
    }
}
