//! The byte stream under a connection, with what must live exactly as long as it does.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{INFORMATIONAL, pool::Permit, sender::Protocol};

/// A connected stream: TCP, TLS or unix.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that counts as one of the pool's connections until it is closed: while an exchange runs, while it
/// is idle, and while it is a tunnel.
pub(super) struct Socket {
    stream: Box<dyn Stream>,
    activity: Arc<Activity>,
    broken: bool,
    _permit: Permit,
}

impl Socket {
    pub(super) fn new(stream: Box<dyn Stream>, activity: Arc<Activity>, permit: Permit) -> Self {
        Self { stream, activity, broken: false, _permit: permit }
    }

    /// An origin may answer early (413, 401) and close while we still send. The failed write must not hide
    /// the answer that already lies in our receive buffer, so it is held back: reading finds the answer, or
    /// the same end of the connection.
    fn hold_back<T>(&mut self, result: io::Result<T>) -> Poll<io::Result<T>> {
        match result {
            Err(error) if is_peer_gone(&error) => {
                self.broken = true;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn written(&mut self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        if result.is_ok() {
            self.activity.wrote_bytes();
        }
        self.hold_back(result)
    }
}

fn is_peer_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.too_many_informational() {
            return Poll::Ready(Err(io::Error::other("too many 1xx answers")));
        }
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.activity.answering.store(true, Relaxed);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.hold_back(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What moved on a connection, seen from the side that waits for it.
#[derive(Debug)]
pub(super) struct Activity {
    born: Instant,
    /// Whether all bytes that are sent are those of a request. Over HTTP/2 some are about the connection.
    bytes_are_the_requests: bool,
    /// Microseconds from `born` to the last write: an atomic holds no `Instant`.
    written: AtomicU64,
    answering: AtomicBool,
    informational: AtomicUsize,
}

impl Activity {
    pub(super) fn of(protocol: Protocol) -> Self {
        Self {
            born: Instant::now(),
            bytes_are_the_requests: protocol == Protocol::Http1,
            written: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            informational: AtomicUsize::new(0),
        }
    }

    /// When the connection was made.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    /// A new exchange begins.
    pub(super) fn begin(&self) {
        self.wrote();
        self.answering.store(false, Relaxed);
        self.informational.store(0, Relaxed);
    }

    fn wrote_bytes(&self) {
        if self.bytes_are_the_requests {
            self.wrote();
        }
    }

    /// The origin has made room for a piece of the request's body.
    pub(super) fn took_piece(&self) {
        if !self.bytes_are_the_requests {
            self.wrote();
        }
    }

    fn wrote(&self) {
        let elapsed = self.born.elapsed().as_micros();
        self.written.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Relaxed);
    }

    /// When the origin last took bytes of the request.
    pub(super) fn last_write(&self) -> Instant {
        self.born + Duration::from_micros(self.written.load(Relaxed))
    }

    /// Whether the origin sent any byte in this exchange.
    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Relaxed)
    }

    /// A 1xx answer came.
    pub(super) fn informational(&self) {
        self.informational.fetch_add(1, Relaxed);
    }

    /// Whether more of them came than anybody can mean.
    pub(super) fn too_many_informational(&self) -> bool {
        self.informational.load(Relaxed) > INFORMATIONAL
    }
}
