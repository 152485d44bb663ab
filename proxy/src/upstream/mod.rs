//! Station 8, fetch: sends a request to the origin over a pooled connection.
//!
//! The story is [`Upstream::send`]: a connection from the pool or a new one, one exchange on it, and a second
//! one where that can do no harm. The connection then belongs to the body of the answer, which gives it back
//! only when both sides said all they had to.

mod body;
mod connect;
mod connection;
mod error;
mod fetched;
mod framing;
mod http2;
mod outgoing;
mod pool;
mod resolve;
mod sender;
mod settings;
mod socket;
mod span;
mod tls;
mod trailers;
mod upload;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, TRANSFER_ENCODING, UPGRADE},
    response,
};
use http_body::Body;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    address::UpstreamUrl,
    admit::Scheme,
    headers::{is_grpc, media_type},
    histogram::Histogram,
    interim::{Interim, InterimSink},
    message::BoxError,
};

use self::{
    body::Held,
    connect::Route,
    connection::{Connection, Failure},
    outgoing::Outgoing,
    pool::{Grant, Pool, Want},
    resolve::Resolver,
    sender::{Incoming, Protocol},
    span::Span,
    tls::Tls,
};
pub use self::{
    body::UpstreamBody,
    error::{FetchError, SetupError},
    fetched::{Fetched, Timing},
    framing::{Framing, FramingError},
    outgoing::without_body,
    pool::Stats,
    resolve::{Lookup, LookupFuture},
    settings::{MAX_AGE, MAX_IDLE, Settings},
    tls::Roots,
    trailers::may_follow_request,
};

/// Bytes of the head of an answer, and of each connection's read and write buffers.
pub const HEAD_BYTES: usize = 128 * 1024;

/// Interim answers (1xx) to one request; more are an attack or a loop.
pub const INFORMATIONAL: usize = 16;

/// An extension of a request that says `Expect: 100-continue`: told when the origin answers that it
/// wants the body.
#[derive(Clone, Debug)]
pub struct OnContinue(pub Arc<Notify>);

/// An extension of a request: so it is once a connection has the request, since the origin may act on it from then on.
#[derive(Clone, Debug, Default)]
pub struct OnItsWay(Arc<AtomicBool>);

impl OnItsWay {
    /// Whether it is.
    #[must_use]
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An extension of a request whose client takes interim responses: what the origin sends of them, but
/// for 100 and 101, goes there.
#[derive(Clone, Debug)]
pub struct OnInterim {
    /// To the client.
    pub sink: InterimSink,
    /// Fields that the client does not get.
    pub withheld: &'static [HeaderName],
}

impl OnInterim {
    fn pass_on(&self, status: StatusCode, headers: &HeaderMap) {
        if !self.sink.offer(Interim::of(status, headers, self.withheld)) {
            tracing::debug!(%status, "an interim response is dropped: the client is too slow for it");
        }
    }
}

/// The origin, as clients of it see it. Dropped, it closes its idle connections; running exchanges end in
/// their own time.
pub struct Upstream {
    settings: Settings,
    route: Route,
    pool: Arc<Pool>,
    times: Arc<Times>,
    sweeper: JoinHandle<()>,
}

/// How long the origin takes.
#[derive(Debug, Default)]
pub struct Times {
    /// From a request to the head of its answer: the wait for a connection, and a second attempt, included.
    pub head: Histogram,
    /// From a request to the end of its answer, of those that came to it.
    pub whole: Histogram,
}

impl Upstream {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Outside a tokio runtime, and for an https origin when TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        Self::with_lookup(settings, resolve::system())
    }

    /// The same with a resolver of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_lookup(settings: Settings, lookup: Lookup) -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let settings = settings.bounded();
        let route = match &settings.origin {
            UpstreamUrl::Unix(path) => Route::Unix(path.clone()),
            UpstreamUrl::Tcp { protocol, host, port } => {
                let resolver = Resolver::new(host, *port, lookup);
                match protocol.scheme() {
                    Scheme::Http => Route::Tcp(resolver),
                    Scheme::Https => {
                        let alpn = Protocol::of(&settings.origin).alpn();
                        Route::Tls(resolver, Tls::new(host, settings.roots.clone(), alpn)?)
                    }
                }
            }
        };
        let resolver = route.resolver().cloned();
        let pool = Pool::new(settings.bounds(), resolver.clone());
        let sweeper = runtime.spawn(sweep(Arc::clone(&pool), resolver, settings.max_idle / 4));
        Ok(Self { settings, route, pool, times: Arc::default(), sweeper })
    }

    /// Sends `request` and returns the answer when its head is here, the bodies of both still moving.
    ///
    /// The request comes ready: target in origin-form, `Host` set, hop-by-hop fields removed but for
    /// `Connection: upgrade` and `Upgrade`. Framing fields are set here. Dropping the future at any point, or
    /// the body before its end, closes the connection and frees its place.
    ///
    /// A request that an idle connection turns out to be too dead for goes out once more, on a new connection:
    /// whatever it is if no byte of it was sent, and a GET, HEAD, OPTIONS or TRACE without body if it was
    /// sent and no byte came back (RFC 9110 §9.2.2, RFC 9112 §9.3.1). So does one of any method, if it has no
    /// body, of which the origin says that it has not begun with it (RFC 9113 §8.7).
    ///
    /// # Errors
    /// [`FetchError`], also later from the body.
    pub async fn send<B>(&self, mut request: Request<B>) -> Result<Fetched, FetchError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (span, began) = (Span::begin(&mut request), Instant::now());
        let answer = match self.attempt(outgoing::prepare(request), Want::Any, began).await {
            Err(Ended::Stale(request, _)) => self.attempt(*request, Want::New, began).await,
            answer => answer,
        };
        let answer = answer.map_err(Ended::into_error).inspect(|_| self.times.head.note(began.elapsed()));
        if let Some(span) = span {
            span.end(&answer);
        }
        answer
    }

    /// One exchange on one connection, which is closed unless a [`Fetched`] holds it.
    async fn attempt(
        &self,
        request: Request<Outgoing>,
        want: Want,
        began: Instant,
    ) -> Result<Fetched, Ended> {
        let asked = Asked {
            method: request.method().clone(),
            upgrade: request.headers().contains_key(UPGRADE),
            began,
            conditional: CONDITIONS.iter().any(|name| request.headers().contains_key(name)),
        };
        let (mut connection, mut timing) = self.connection(want).await.map_err(Ended::Failed)?;
        let may_end_unseen = timing.reused && outgoing::is_safe(request.method());
        let may_go_again = may_end_unseen || connection.tells_what_it_declines();
        let copy = (may_go_again && request.body().is_end_stream()).then(|| without_body(&request));
        let start = Instant::now();
        let answer = connection.exchange(request, self.settings.first_byte).await;
        timing.first_byte = start.elapsed();
        match answer {
            Ok(answer) => self.fetched(&asked, connection, answer, timing).map_err(Ended::Failed),
            Err(Failure::Unsent(request, error)) if timing.reused => Err(Ended::Stale(request, error)),
            Err(failure) => {
                let goes_again = match failure {
                    Failure::Declined(_) => true,
                    Failure::Unanswered(_) => may_end_unseen,
                    Failure::Unsent(..) | Failure::Final(_) => false,
                };
                Err(match copy.filter(|_| goes_again) {
                    Some(copy) => Ended::Stale(Box::new(copy), failure.into_error()),
                    None => Ended::Failed(failure.into_error()),
                })
            }
        }
    }

    /// A connection from the pool, or a new one.
    async fn connection(&self, want: Want) -> Result<(Connection, Timing), FetchError> {
        let start = Instant::now();
        let grant = self.pool.acquire(want).await?;
        let queued = start.elapsed();
        match grant {
            Grant::Reused(connection) => {
                Ok((connection, Timing { queued, reused: true, ..Timing::default() }))
            }
            Grant::New(permit) => {
                let (stream, peer) = self.route.connect(self.settings.connect).await?;
                let connection =
                    Connection::start(stream, peer, permit, Protocol::of(&self.settings.origin)).await?;
                self.pool.connected();
                let connecting = start.elapsed().saturating_sub(queued);
                Ok((connection, Timing { queued, connecting, ..Timing::default() }))
            }
        }
    }

    /// The head is here: says how the body ends, and hands the connection to it.
    fn fetched(
        &self,
        asked: &Asked,
        connection: Connection,
        mut answer: Response<Incoming>,
        timing: Timing,
    ) -> Result<Fetched, FetchError> {
        let upgrade = hyper::upgrade::on(&mut answer);
        let (head, incoming) = answer.into_parts();
        let ends = Framing::of(&asked.method, &head)?;
        if head.status == StatusCode::NOT_MODIFIED && !asked.conditional {
            return Err(FetchError::UnaskedNotModified);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !asked.upgrade {
                return Err(FetchError::UnaskedUpgrade);
            }
            connection.into_tunnel();
            let body = UpstreamBody::without_connection(incoming);
            return Ok(Fetched { head, body, upgraded: Some(upgrade), ends, timing });
        }
        // To an origin that once answered in HTTP/1.0, hyper would send no chunked body at all.
        // What states a body where there is none (RFC 9110 §8.6, RFC 9112 §6.1) may send one all the same, in front
        // of the next answer.
        let states_body = head.headers.contains_key(TRANSFER_ENCODING)
            || head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        let belies = head.status == StatusCode::NO_CONTENT && states_body;
        let reusable = ends.proves_end() && head.version >= Version::HTTP_11 && !belies;
        let (pool, times) = (Arc::clone(&self.pool), Arc::clone(&self.times));
        let held = Held { connection, pool, reusable, times, began: asked.began };
        let body = UpstreamBody::new(incoming, &head.headers, ends, self.silence_limit(&head), held);
        Ok(Fetched { head, body, upgraded: None, ends, timing })
    }

    /// An event stream, and a call whose answers come one by one, may be quiet for as long as an idle client
    /// connection.
    fn silence_limit(&self, head: &response::Parts) -> Duration {
        if media_type(&head.headers).eq_ignore_ascii_case(b"text/event-stream") || is_grpc(&head.headers) {
            self.settings.idle.max(self.settings.between_bytes)
        } else {
            self.settings.between_bytes
        }
    }

    /// Whether the origin is spoken to in HTTP/2.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        matches!(Protocol::of(&self.settings.origin), Protocol::Http2(_))
    }

    /// The origin's own name, for a request that states none.
    #[must_use]
    pub fn host(&self) -> HeaderValue {
        self.settings.origin.host_field()
    }

    /// How long the origin takes.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// What is open, idle and waiting now, and what was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, stats) = (&self.settings.origin, self.stats());
        f.debug_struct("Upstream").field("origin", origin).field("stats", &stats).finish_non_exhaustive()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.pool.close();
    }
}

/// The conditions that a 304 can answer (RFC 9110 §13.1).
static CONDITIONS: [HeaderName; 2] = [IF_NONE_MATCH, IF_MODIFIED_SINCE];

/// What of the request the answer is read by.
struct Asked {
    method: http::Method,
    upgrade: bool,
    /// When it was.
    began: Instant,
    /// It has a condition that a 304 can answer.
    conditional: bool,
}

/// Why an attempt gave no answer.
enum Ended {
    /// The connection had been idle for too long; the request may go out once more, on a new one.
    Stale(Box<Request<Outgoing>>, FetchError),
    /// There is nothing more to try.
    Failed(FetchError),
}

impl Ended {
    fn into_error(self) -> FetchError {
        match self {
            Self::Stale(_, error) | Self::Failed(error) => error,
        }
    }
}

/// Closes what was idle for too long, and asks for the origin's addresses while there is anything idle, so
/// that a move is noticed though no new connection is needed.
async fn sweep(pool: Arc<Pool>, resolver: Option<Arc<Resolver>>, every: Duration) {
    loop {
        sleep(every.max(Duration::from_millis(10))).await;
        if let Some(resolver) = &resolver
            && pool.stats().idle > 0
            && let Err(error) = resolver.addresses().await
        {
            tracing::debug!(%error, "no address known for the origin");
        }
        pool.sweep();
    }
}
