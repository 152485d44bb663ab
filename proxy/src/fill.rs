//! Station 10, store: relays a body to those who wait for it, and commits it when it is whole.
//!
//! A fill belongs to the proxy, not to the client that caused it: it runs to its end though all
//! have left, since what it brings is small enough to be kept. Only a body that reached a proven
//! clean end is stored.

use std::{
    mem, slice,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use http_body_util::{BodyExt, Full};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    app::{App, Live},
    flight::{Flight, Phase, Shared},
    headers::{Lines, ensure_valid_date, remove_hop_by_hop, take, take_own},
    key::{KeyPolicy, ResourceKey, VariantKey},
    message::{RequestBody, StreamBody},
    policy::{
        facts::ResponseFacts,
        freshening::freshen,
        freshness::ExchangeTimes,
        request::Admission,
        rule::{CacheRule, Credentials, SetCookie},
        storable::{self, Storable},
        vary,
    },
    spool::{Spool, SpoolWriter},
    status::Detail,
    store::Store,
    stored::Stored,
    upstream::{FetchError, Fetched, Framing, UpstreamBody},
};

/// All that a fill needs to run by itself.
pub struct Fill {
    /// Where its result goes.
    pub app: Arc<App>,
    /// What the file said when it began.
    pub live: Arc<Live>,
    /// The request for the origin.
    pub request: http::Request<RequestBody>,
    /// The fields of the client's request, which select the variant.
    pub asked: HeaderMap,
    /// What the policy lets the client's request do.
    pub admission: Admission,
    /// What the rule says.
    pub rule: Arc<CacheRule>,
    /// Its fingerprint.
    pub fingerprint: u64,
    /// What is filled.
    pub key: ResourceKey,
    /// Who waits.
    pub flight: Arc<Flight>,
    /// What is stored already.
    pub before: Before,
}

/// What is stored already of what is being filled.
#[derive(Debug, Default)]
pub struct Before {
    /// The stored response whose conditions the request carries: a 304 renews it.
    pub renews: Option<Arc<Stored>>,
    /// Whether anything is stored whose place the answer takes.
    pub supersedes: bool,
    /// Whether a stored response stands in for a server error (RFC 5861 §4).
    pub spares: bool,
}

/// An answer, of whatever origin its body is.
pub type Answer = Fetched<StreamBody>;

/// How long a body may take to come. One that takes longer may have no end; it belongs to the one
/// who asked for it, and ends with that client.
const LONGEST: Duration = Duration::from_secs(300);

/// When a fetch began.
#[derive(Clone, Copy)]
struct Begun {
    /// The resource's, as it was then.
    generation: u64,
    at: SystemTime,
}

/// An answer that is being stored.
struct Storing {
    shared: Arc<Shared>,
    begun: Begun,
    keep: Duration,
}

impl Fill {
    /// Fetches, tells those who wait, and stores what may be stored. An answer that may not be
    /// shared goes to `leader`.
    pub async fn run(mut self, leader: oneshot::Sender<Answer>) {
        let begun = Begun { generation: self.app.generations.of(&self.key), at: self.app.clock.now() };
        let request = mem::take(&mut self.request);
        let fetched = tokio::select! {
            biased;
            fetched = self.live.upstream.send(request) => fetched,
            () = self.app.flights.unwanted(&self.flight) => return,
        };
        match fetched {
            Err(error) => self.end(Phase::Failed(Arc::new(error))),
            Ok(fetched) if self.before.spares && is_server_error(fetched.head.status) => {
                self.end(Phase::Failed(Arc::new(FetchError::ServerError(fetched.head.status))));
            }
            Ok(fetched) => self.settle(fetched.map_body(boxed), begun, leader).await,
        }
    }

    /// Stores an answer and shares it, or hands it to the one who asked.
    async fn settle(mut self, answer: Answer, begun: Begun, leader: oneshot::Sender<Answer>) {
        let exchange = ExchangeTimes { request_time: begun.at, response_time: self.app.clock.now() };
        let (answer, renewed_by) = match self.before.renews.take() {
            Some(stored) if answer.head.status == StatusCode::NOT_MODIFIED => {
                (renewed(&stored, answer, exchange), Some(StatusCode::NOT_MODIFIED))
            }
            _ => (answer, None),
        };
        match self.admitted(&answer, exchange) {
            Ok((mut shared, keep)) => {
                shared.renewed_by = renewed_by;
                self.relay(Storing { shared: Arc::new(shared), begun, keep }, answer.body).await;
            }
            Err(detail) => {
                self.forget_superseded(answer.head.status).await;
                // A leader that has gone has no use for it, and it closes its connection.
                let _ = leader.send(answer);
                self.end(Phase::Alone(detail));
            }
        }
    }

    /// RFC 9111 §4.3.3: a full answer takes the place of what was stored. Where it may not be stored
    /// itself, nothing is.
    async fn forget_superseded(&self, status: StatusCode) {
        let says_nothing = status == StatusCode::NOT_MODIFIED || is_server_error(status);
        if !self.before.supersedes || says_nothing || self.admission.has_credentials() {
            return;
        }
        if let Err(error) = self.app.store.remove(slice::from_ref(&self.key)).await {
            tracing::warn!(%error, "a superseded response could not be removed");
        }
    }

    /// Whether the answer may be stored, by its head; remembered, so that nobody waits for the next
    /// one in vain.
    fn admitted(&self, answer: &Answer, exchange: ExchangeTimes) -> Result<(Shared, Duration), Detail> {
        let admitted = self.admit(answer, exchange);
        // What a request with credentials or conditions gets says nothing of what others get.
        if !self.admission.has_credentials() && answer.head.status != StatusCode::NOT_MODIFIED {
            let shared = matches!(&admitted, Ok((_, Storable { fresh: true, .. })));
            self.app.flights.note(&self.key, self.fingerprint, shared);
        }
        admitted.map(|(shared, storable)| (shared, storable.keep))
    }

    /// Each condition in turn, and what is then stored and shared.
    fn admit(&self, answer: &Answer, exchange: ExchangeTimes) -> Result<(Shared, Storable), Detail> {
        let mut headers = answer.head.headers.clone();
        remove_hop_by_hop(&mut headers);
        ensure_valid_date(&mut headers, exchange.response_time);
        let facts = ResponseFacts::of(answer.head.status, &headers);
        if is_event_stream(&headers) {
            return Err(Detail::EventStream);
        }
        let nominated = self.selecting(vary::nominated(&headers)?);
        let storable = storable::check(&self.admission, &facts, exchange, &self.rule)?;
        let length = provable_length(answer.ends, self.rule.max_body)?;
        headers.remove(CONTENT_LENGTH); // Stated anew with each answer, as is the age.
        headers.remove(AGE);
        if self.rule.set_cookie == SetCookie::Strip {
            headers.remove(SET_COOKIE);
        }
        let hidden = Lines::from_map(&take_own(&mut headers));
        let withheld = Lines::from_map(&take(&mut headers, &facts.control(&self.rule).withheld));
        let variant = VariantKey::new(&self.asked, &self.rule.key, &nominated);
        let body = Arc::new(Spool::new(length));
        let lines = Lines::from_map(&headers);
        let shared =
            Shared { lines, hidden, withheld, renewed_by: None, facts, exchange, nominated, variant, body };
        Ok((shared, storable))
    }

    /// The nominated fields that the origin was sent. Credentials that the rule keeps from it select
    /// nothing, whatever it says.
    fn selecting(&self, nominated: Box<[HeaderName]>) -> Box<[HeaderName]> {
        if self.rule.credentials != Credentials::Ignore {
            return nominated;
        }
        nominated.into_iter().filter(|name| *name != COOKIE && *name != AUTHORIZATION).collect()
    }

    /// Passes the body on as it comes, and stores it when it is whole.
    async fn relay(&self, storing: Storing, mut body: StreamBody) {
        let spool = SpoolWriter::new(&storing.shared.body);
        self.flight.tell(Phase::Shared(Arc::clone(&storing.shared)));
        let mut trailers = HeaderMap::new();
        let started = Instant::now();
        while let Some(frame) = body.frame().await {
            let bytes = match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => spool.push(data),
                Ok(Err(other)) => {
                    trailers = other.into_trailers().unwrap_or_default();
                    continue;
                }
                Err(error) => {
                    // Without the query: tokens travel there.
                    let path = self.key.readable().split(|&b| b == b'?').next().unwrap_or_default();
                    let path = path.escape_ascii();
                    return tracing::warn!(%error, %path, "a response was cut short and is not stored");
                }
            };
            if bytes > self.rule.max_body || started.elapsed() > LONGEST {
                self.app.flights.close(&self.flight);
                return spool.overflow(body);
            }
        }
        spool.finish(trailers);
        if self.commit(storing).await {
            self.app.flights.land(&self.flight, &self.key);
        }
    }

    /// Stores the whole response, unless its resource has been made obsolete meanwhile. Whether it
    /// is stored.
    async fn commit(&self, storing: Storing) -> bool {
        let Storing { shared, begun: Begun { generation, .. }, keep } = storing;
        let entry = Stored {
            key: Bytes::copy_from_slice(self.key.as_bytes()),
            variant: shared.variant.clone(),
            nominated: shared.nominated.clone(),
            fingerprint: self.fingerprint,
            request_time: shared.exchange.request_time,
            response_time: shared.exchange.response_time,
            lines: shared.lines.clone(),
            hidden: shared.hidden.clone(),
            facts: shared.facts.clone(),
            body: shared.body.collect(),
        };
        if self.app.generations.of(&self.key) != generation {
            return false;
        }
        let committed = self.app.store.commit(&self.key, Arc::new(entry), keep).await;
        if let Err(error) = &committed {
            tracing::debug!(%error, "a response was not stored");
        }
        if self.app.generations.of(&self.key) == generation {
            return committed.is_ok();
        }
        // What became obsolete while it was being written may have been removed before it was there.
        if let Err(error) = self.app.store.remove(slice::from_ref(&self.key)).await {
            tracing::warn!(%error, "an obsolete response could not be removed");
        }
        false
    }

    /// Tells those who wait that there is nothing to share; those who come now start anew.
    fn end(&self, phase: Phase) {
        self.app.flights.close(&self.flight);
        self.flight.tell(phase);
    }
}

impl Drop for Fill {
    /// However it ends, nobody can join it any more and nobody waits for it.
    fn drop(&mut self) {
        self.app.flights.close(&self.flight);
        self.flight.abandon();
    }
}

fn boxed(body: UpstreamBody) -> StreamBody {
    Box::pin(body.map_err(Into::into))
}

/// A stored response as the origin's 304 leaves it (RFC 9111 §4.3.4).
fn renewed(stored: &Stored, told: Answer, exchange: ExchangeTimes) -> Answer {
    let mut fields = told.head.headers;
    remove_hop_by_hop(&mut fields);
    ensure_valid_date(&mut fields, exchange.response_time);
    let mut head = http::Response::new(()).into_parts().0;
    head.status = stored.facts.status;
    head.headers = stored.fields();
    freshen(&mut head.headers, &fields);
    Fetched {
        head,
        body: Box::pin(Full::new(stored.body.clone()).map_err(Into::into)),
        upgraded: None,
        ends: Framing::Length(stored.body.len() as u64),
        timing: told.timing,
    }
}

/// RFC 5861 §4: "an error is any situation that would result in a 500, 502, 503, or 504".
fn is_server_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Such a body ends when somebody has had enough of it.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let essence = media_type.split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// The announced length, if the body's end can be proven and it is not too long to keep.
fn provable_length(ends: Framing, most: u64) -> Result<Option<u64>, Detail> {
    match ends {
        Framing::Close => Err(Detail::NoLength),
        Framing::Length(length) if length > most => Err(Detail::TooLarge),
        Framing::Length(length) => Ok(Some(length)),
        Framing::Empty => Ok(Some(0)),
        Framing::Chunked => Ok(None),
    }
}

/// What a request selects by, after its own fields.
#[must_use]
pub fn selects(shared: &Shared, asked: &HeaderMap, keyed: &KeyPolicy) -> bool {
    VariantKey::new(asked, keyed, &shared.nominated) == shared.variant
}
