//! The seam of messages: what the edge hands to the story of a request, and what it gets back.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use crate::{
    admit::Head,
    headers::{Lines, Peer},
    identity::{Identity, RequestId, Trace},
    interim::{Interim, InterimSink, Interims},
    status::Outcome,
};

/// How long an origin that has the head may take to ask for the body. Some never ask, and the client
/// would wait for nothing.
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// A request that was admitted, and who sent it. Its body comes apart.
#[derive(Debug)]
pub struct Request {
    /// What it says.
    pub head: Head,
    /// Who sent it.
    pub peer: Peer,
    /// What it is called in logs and traces.
    pub identity: Identity,
    /// What the client waits for before it sends its body, if it waits.
    pub expectation: Option<Arc<Expectation>>,
    /// What the origin says before its answer.
    pub interims: Interims,
}

impl Request {
    /// Its id: the sender's, where that is trusted and gave one, else ours.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        self.identity.request_id(&self.head.headers)
    }

    /// The trace that it is part of, if it is part of one.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.identity.trace(&self.head.headers)
    }

    /// Where interim responses for the client go, if it takes any: "Since HTTP/1.0 did not define any
    /// 1xx status codes, a server MUST NOT send a 1xx response to an HTTP/1.0 client" (RFC 9110 §15.2).
    #[must_use]
    pub fn interim_sink(&self) -> Option<InterimSink> {
        (self.head.version >= Version::HTTP_11).then(|| self.interims.sink())
    }

    /// The word to send the body, if the client waits for that.
    #[must_use]
    pub fn word(&self) -> Option<Word> {
        let expectation = self.expectation.clone()?;
        Some(Word { expectation, client: self.interims.sink() })
    }
}

#[cfg(test)]
impl Request {
    /// One that a local client sent, of which no more is known than its head.
    pub(crate) fn of(head: Head) -> Self {
        let (identity, interims) = (Identity::default(), Interims::default());
        Self { head, peer: Peer::Local, identity, expectation: None, interims }
    }
}

/// `100 Continue`, still to be said.
#[derive(Debug)]
pub struct Word {
    expectation: Arc<Expectation>,
    client: InterimSink,
}

impl Word {
    /// Says it when somebody asks for the body, and the origin wants it.
    pub async fn say(&self) {
        self.expectation.asked.notified().await;
        let _ = timeout(CONTINUE_AFTER, self.expectation.granted.notified()).await;
        // There is room, or the client reads nothing of what it was told before.
        let _ = self.client.offer(Interim::go_on());
    }
}

/// `Expect: 100-continue` (RFC 9110 §10.1.1): the client is told to go on when the origin says so.
#[derive(Debug, Default)]
pub struct Expectation {
    /// Told when somebody first asks for the body: the origin has the head.
    pub asked: Notify,
    /// Told when the origin wants the body.
    pub granted: Arc<Notify>,
}

/// The body of a request.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// There is none.
    #[default]
    None,
    /// One that arrives while the request is handled.
    Streamed(StreamedBody),
}

impl RequestBody {
    /// Whether the request has a body, an empty one included.
    #[must_use]
    pub fn is_some(&self) -> bool {
        matches!(self, Self::Streamed(_))
    }
}

/// What the connection says of a body: its next frame, that it has come to its end (`None`), or why it does not.
pub type BodyFrame = Result<Option<Frame<Bytes>>, RequestBodyError>;

/// The receiving end of a body that the connection reads, one frame ahead at most.
#[derive(Debug)]
pub struct StreamedBody {
    /// Frames in order, then the end. It is said: a sender that is merely gone has left the body unfinished.
    pub frames: mpsc::Receiver<BodyFrame>,
    /// Bytes still to come, where the length was announced or the end has come.
    pub left: Option<u64>,
    /// Told when somebody first asks for the body.
    pub expectation: Option<Arc<Expectation>>,
}

impl StreamedBody {
    /// What was `told` by the sender, nothing if that is gone.
    fn take(&mut self, told: Option<BodyFrame>) -> Option<Result<Frame<Bytes>, RequestBodyError>> {
        match told {
            Some(Ok(Some(frame))) => {
                if frame.is_trailers() {
                    self.left = Some(0);
                } else if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Some(Ok(frame))
            }
            Some(Ok(None)) => {
                self.left = Some(0);
                None
            }
            Some(Err(error)) => Some(Err(error)),
            None => (self.left != Some(0)).then_some(Err(RequestBodyError::Closed)),
        }
    }
}

/// Why a request's body did not come to its end. Always the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestBodyError {
    /// Its chunks are malformed.
    #[error("the request body is malformed: {0}")]
    Malformed(&'static str),
    /// It is larger than `limits.request_body`.
    #[error("the request body is larger than limits.request_body")]
    TooLarge,
    /// Less than 4 KiB came in `timeouts.body`.
    #[error("the request body stopped coming")]
    Timeout,
    /// The client closed the connection, or the exchange was over before the body was.
    #[error("the client closed the connection within its request")]
    Closed,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<RequestBodyError> {
        let Self::Streamed(body) = self.get_mut() else { return Poll::Ready(None) };
        if let Some(expectation) = body.expectation.take() {
            expectation.asked.notify_one();
        }
        let told = std::task::ready!(body.frames.poll_recv(cx));
        Poll::Ready(body.take(told))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::None | Self::Streamed(StreamedBody { left: Some(0), .. }))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Streamed(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// Any error of a streamed body.
pub type BoxError = Box<dyn Error + Send + Sync>;
/// What a body answers who asks for its next frame.
pub type PollFrame<E = BoxError> = Poll<Option<Result<Frame<Bytes>, E>>>;
/// A body of unknown make.
pub type StreamBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end fields, without those that frame the body.
    pub fields: Fields,
    /// `Age`, where a store answered.
    pub age: Option<Duration>,
    /// Its body.
    pub body: ReplyBody,
    /// What became of the request.
    pub outcome: Outcome,
    /// The name of the rule that matched.
    pub rule: Option<Arc<str>>,
    /// What a hit spared the origin: the time that it took to the head of what is served, when it was last asked for
    /// that. Zero, where it was asked now.
    pub spared: Duration,
    /// Why it is an error of the proxy's own, if it is.
    pub failed: Option<Box<Failed>>,
    /// After a 101: the origin's end of the tunnel.
    pub tunnel: Option<OnUpgrade>,
}

/// Why a request got an error of the proxy's own: for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The word in `Proxy-Status` (RFC 9209 §2.3).
    pub error: &'static str,
    /// In full.
    pub cause: String,
}

/// The fields of an answer.
#[derive(Clone, Debug)]
pub enum Fields {
    /// One by one.
    Map(HeaderMap),
    /// Those of a stored response, ready for the wire.
    Lines(Lines),
}

impl Fields {
    /// Removes all lines of these names.
    pub fn remove(&mut self, names: &[HeaderName]) {
        match self {
            Self::Map(fields) => names.iter().for_each(|name| {
                fields.remove(name);
            }),
            Self::Lines(lines) => *lines = lines.without(names),
        }
    }
}

/// The body of an answer.
pub enum ReplyBody {
    /// None; the fields say how long it would be, if they say anything.
    None,
    /// All of it.
    Whole(Bytes),
    /// As it comes; an error means that the answer is cut short, and must look so to the client.
    Stream(StreamBody),
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}
