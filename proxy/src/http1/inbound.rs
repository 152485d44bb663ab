//! What comes from the client: heads, bodies, and the sign that it has gone.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Frame;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

use super::chunked::{ChunkDecoder, Decoded};
use crate::{
    admit::{Framing, HeadLimits, Refusal, Scan, UNASKED_TLS, begins_tls, scan},
    connection::{Elapsed, Frames, Watchdog},
    message::RequestBodyError,
};

/// Bytes of one read. The buffer of an idle connection is no larger.
const READ_SIZE: usize = 4 * 1024;
/// Bytes of one read of a body.
const BODY_READ_SIZE: usize = 64 * 1024;
/// What looks like a head in the preface of HTTP/2. Four more bytes and an empty line belong to it.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// The reading half of a connection and what was read ahead.
pub(super) struct Inbound<R> {
    io: R,
    buffer: BytesMut,
}

/// Why there is no next request.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The client has closed, or been quiet for too long, between requests.
    Finished,
    /// What it sent is not to be forwarded, or does not get to the end of a head.
    Refused(Refused),
    /// The beginning of what every connection of HTTP/2 begins with (RFC 9113 §3.4): refused, unless it is the
    /// beginning of this one.
    Preface(Refused),
}

impl NoHead {
    pub(super) fn of(head: &[u8], refusal: Refusal) -> Self {
        let refused = Refused { refusal, head_only: head.starts_with(b"HEAD ") };
        if *head == *PREFACE { Self::Preface(refused) } else { Self::Refused(refused) }
    }
}

/// A request that is answered by saying why it goes no further.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// It is a `HEAD`, as far as can be told: its answer has no body (RFC 9110 §9.3.2).
    pub(super) head_only: bool,
}

const TOO_SLOW: Refusal = Refusal::with(StatusCode::REQUEST_TIMEOUT, "the request head stopped coming");

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// Waits for the first byte of a request. `false`: none will come.
    pub(super) async fn ready(&mut self) -> bool {
        !self.buffer.is_empty() || matches!(self.read(READ_SIZE).await, Ok(1..))
    }

    /// Reads the head that has begun, to its end and `timeout` long at most.
    ///
    /// What it says is read by who asks: that is large, and would be copied on its way out of here.
    pub(super) async fn head(
        &mut self,
        limits: &HeadLimits,
        watchdog: &mut Watchdog,
        timeout: Duration,
    ) -> Result<Bytes, NoHead> {
        let mut scanned = 0;
        let mut deadline = None;
        loop {
            // It may have no line end, for which to wait would be in vain.
            if begins_tls(&self.buffer) {
                return Err(NoHead::of(&self.buffer, UNASKED_TLS));
            }
            let seen = scan(&self.buffer, scanned, limits);
            match seen.map_err(|refusal| NoHead::of(&self.buffer, refusal))? {
                Scan::Whole(length) => return Ok(self.buffer.split_to(length).freeze()),
                Scan::Partial(next) => scanned = next,
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout);
            match watchdog.until(deadline, self.read(READ_SIZE)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Err(NoHead::Finished),
                Err(Elapsed) => return Err(NoHead::of(&self.buffer, TOO_SLOW)),
            }
        }
    }

    /// The body of the request whose head was read last.
    pub(super) fn body(&mut self, framing: Framing, trailers: HeadLimits) -> InboundBody<'_, R> {
        InboundBody { inbound: self, decoder: Decoder::new(framing), trailers }
    }

    /// Returns when the client has gone. What it sends meanwhile waits in the buffer, up to `most`.
    pub(super) async fn gone(&mut self, most: usize) {
        while self.buffer.len() < most {
            if !matches!(self.read(READ_SIZE).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Reads and drops what still comes, so that closing does not destroy the answer on its way
    /// (RFC 9112 §9.6).
    pub(super) async fn drain(&mut self, most: usize) {
        let mut seen = 0;
        while seen < most {
            self.buffer.clear();
            match self.read(BODY_READ_SIZE).await {
                Ok(length @ 1..) => seen += length,
                _ => return,
            }
        }
    }

    /// The half itself, and what was read ahead.
    pub(super) fn into_parts(self) -> (R, Bytes) {
        (self.io, self.buffer.freeze())
    }

    async fn read(&mut self, size: usize) -> io::Result<usize> {
        self.buffer.reserve(size);
        self.io.read_buf(&mut self.buffer).await
    }
}

/// A request's body on its way in.
pub(super) struct InboundBody<'i, R> {
    inbound: &'i mut Inbound<R>,
    decoder: Decoder,
    trailers: HeadLimits,
}

impl<R: AsyncRead + Unpin> Frames for InboundBody<'_, R> {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, RequestBodyError> {
        let Self { inbound, decoder, trailers } = self;
        loop {
            match decoder.decode(&mut inbound.buffer, trailers).map_err(RequestBodyError::Malformed)? {
                Decoded::Data(data) => return Ok(Some(Frame::data(data))),
                Decoded::End(fields) if fields.is_empty() => return Ok(None),
                Decoded::End(fields) => {
                    *decoder = Decoder::Ended;
                    return Ok(Some(Frame::trailers(fields)));
                }
                Decoded::More => {
                    if !matches!(inbound.read(BODY_READ_SIZE).await, Ok(1..)) {
                        return Err(RequestBodyError::Closed);
                    }
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.decoder.has_ended()
    }
}

/// Finds the end of a body.
enum Decoder {
    Length(u64),
    Chunked(ChunkDecoder),
    Ended,
}

impl Decoder {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Ended,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkDecoder::Size),
        }
    }

    /// Whether nothing more belongs to the body.
    fn has_ended(&self) -> bool {
        matches!(self, Self::Ended | Self::Length(0))
    }

    fn decode(&mut self, buffer: &mut BytesMut, limits: &HeadLimits) -> Result<Decoded, &'static str> {
        match self {
            Self::Chunked(decoder) => decoder.decode(buffer, limits),
            Self::Length(0) | Self::Ended => Ok(Decoded::End(http::HeaderMap::new())),
            Self::Length(_) if buffer.is_empty() => Ok(Decoded::More),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= length as u64;
                Ok(Decoded::Data(buffer.split_to(length).freeze()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tokio::{
        io::{AsyncWriteExt, duplex},
        sync::mpsc,
        time::sleep,
    };

    use super::*;
    use crate::connection::{Pace, Upload};

    const LENGTH: u64 = 16 * 1024;

    /// What is told of a body of 16 KiB, of which `bytes` come in each second, while the frames are wanted
    /// `pause` apart.
    async fn pumped(bytes: usize, pause: Duration) -> Result<u64, RequestBodyError> {
        let (mut client, ours) = duplex(64 * 1024);
        let sending = async move {
            for _ in 0..LENGTH.div_ceil(bytes as u64) {
                sleep(Duration::from_secs(1)).await;
                if client.write_all(&vec![b'x'; bytes]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let limits = HeadLimits { bytes: 1024, fields: 10, target: 100 };
        let (sender, mut frames) = mpsc::channel(1);
        let whole = AtomicBool::new(false);
        let (mut inbound, mut watchdog) = (Inbound::new(ours), Watchdog::default());
        let patience = watchdog.patience(Pace::steady(Duration::from_secs(30)));
        let upload = Upload { sender, word: None, most: None, patience, whole: &whole };
        let pumping = upload.run(inbound.body(Framing::Length(LENGTH), limits));
        let taking = async {
            let mut came = 0;
            while let Some(frame) = frames.recv().await.transpose()?.flatten() {
                came += frame.data_ref().map_or(0, |data| data.len() as u64);
                sleep(pause).await;
            }
            Ok(came)
        };
        tokio::select! {
            (_, told) = async { tokio::join!(pumping, taking) } => told,
            () = sending => unreachable!("it never ends"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_in_crumbs_is_given_up() {
        let begun = Instant::now();
        assert_eq!(pumped(100, Duration::ZERO).await, Err(RequestBodyError::Timeout));
        assert!(begun.elapsed() < Duration::from_secs(35), "{:?}", begun.elapsed());
        assert_eq!(pumped(200, Duration::ZERO).await, Ok(LENGTH));
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_takes_its_time_is_not_the_clients_fault() {
        assert_eq!(pumped(2048, Duration::from_secs(100)).await, Ok(LENGTH));
    }
}
