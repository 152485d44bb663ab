//! A connection whose frames are counted on their way.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{meter::Meter, resets::Resets};

/// The meter, for who reads it.
#[derive(Clone, Debug)]
pub(super) struct Reading(Arc<Mutex<Meter>>);

impl Reading {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Meter::new(Instant::now()))))
    }

    /// Only the task of the connection asks: nobody waits for it.
    pub(super) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection.
pub(super) struct Metered<T> {
    io: T,
    reading: Reading,
    resets: Resets,
    /// Of all connections.
    reset: Arc<AtomicU64>,
}

impl<T> Metered<T> {
    /// Streams that are reset because of what came on them are added to `reset`.
    pub(super) fn new(io: T, reading: Reading, reset: Arc<AtomicU64>) -> Self {
        Self { io, reading, resets: Resets::default(), reset }
    }

    /// So many bytes of these have gone out.
    fn wrote(&mut self, slices: &[io::IoSlice<'_>], written: usize) {
        self.reading.meter().wrote(written, Instant::now());
        let mut left = written;
        for slice in slices {
            let sent = slice.get(..left.min(slice.len())).unwrap_or_default();
            left -= sent.len();
            let resets = self.resets.in_these(sent);
            if resets > 0 {
                self.reset.fetch_add(resets, Ordering::Relaxed);
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.reading.meter().read(buffer.filled().get(before..).unwrap_or_default(), Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.wrote(&[io::IoSlice::new(bytes)], written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.wrote(slices, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
