//! A TLS session over a TCP connection, and its two halves.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server};

use crate::http1::Socket;

/// A session whose handshake is done.
pub struct TlsStream {
    session: server::TlsStream<Wire>,
    wire: Wire,
}

/// Its reading half.
pub type TlsReader = ReadHalf<server::TlsStream<Wire>>;

/// Its writing half. What it says to have written has left the session: nobody flushes it later.
pub struct TlsWriter {
    session: WriteHalf<server::TlsStream<Wire>>,
    /// Bytes that the session has taken, and not all of them the socket.
    taken: Option<usize>,
    wire: Wire,
}

/// The socket below, within reach of both halves: a reset is made on it alone.
#[derive(Clone)]
pub struct Wire(Arc<TcpStream>);

impl TlsStream {
    pub(super) async fn accept(acceptor: &TlsAcceptor, socket: TcpStream) -> io::Result<Self> {
        let wire = Wire(Arc::new(socket));
        let session = acceptor.accept(wire.clone()).await?;
        Ok(Self { session, wire })
    }

    /// What was chosen by ALPN.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.session.get_ref().1.alpn_protocol()
    }

    /// Its halves.
    #[must_use]
    pub fn into_split(self) -> (TlsReader, TlsWriter) {
        let (read, session) = tokio::io::split(self.session);
        (read, TlsWriter { session, taken: None, wire: self.wire })
    }
}

impl Socket for TlsWriter {
    /// Without the alert that closes a session in order (RFC 8446 §6.1): a client that looks for it, or for
    /// the reset, sees that something is missing.
    fn reset(self) {
        // A socket on which this fails is gone already.
        let _ = SockRef::from(&*self.wire.0).set_linger(Some(Duration::ZERO));
    }
}

impl TlsWriter {
    /// Hands bytes to the session, and waits until the socket has them.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(
            Pin<&mut WriteHalf<server::TlsStream<Wire>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let taken = match self.taken {
            // Called again with the same bytes.
            Some(taken) => taken,
            None => ready!(write(Pin::new(&mut self.session), cx))?,
        };
        self.taken = Some(taken);
        ready!(Pin::new(&mut self.session).poll_flush(cx))?;
        self.taken = None;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncWrite for TlsWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_through(cx, |session, cx| session.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_through(cx, |session, cx| session.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.session.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is held back here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}
