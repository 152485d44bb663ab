//! Station 10, store: relays a body to those who wait for it, and commits it when it is whole.
//!
//! A fill belongs to the proxy, not to the client that caused it: it runs to its end though all
//! have left, since what it brings is small enough to be kept. Only a body that reached a proven
//! clean end is stored.

use std::{mem, slice, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    app::{App, Live},
    flight::{Flight, Phase, Shared},
    headers::{Lines, ensure_date, remove_hop_by_hop},
    key::{KeyPolicy, ResourceKey, VariantKey},
    message::RequestBody,
    policy::{
        facts::ResponseFacts,
        freshness::ExchangeTimes,
        request::Admission,
        rule::{CacheRule, Credentials, SetCookie},
        storable, vary,
    },
    spool::{Spool, SpoolWriter},
    status::Detail,
    store::Store,
    stored::Stored,
    upstream::{Fetched, Framing, UpstreamBody},
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
}

/// How long a body may take to come. One that takes longer may have no end; it belongs to the one
/// who asked for it, and ends with that client.
const LONGEST: Duration = Duration::from_secs(300);

/// An answer that is being stored.
struct Storing {
    shared: Arc<Shared>,
    /// Of the resource, when its fetch began.
    generation: u64,
    keep: Duration,
}

impl Fill {
    /// Fetches, tells those who wait, and stores what may be stored. An answer that may not be
    /// shared goes to `leader`.
    pub async fn run(mut self, leader: oneshot::Sender<Fetched>) {
        let generation = self.app.generations.of(&self.key);
        let request_time = self.app.clock.now();
        let request = mem::take(&mut self.request);
        let fetched = tokio::select! {
            biased;
            fetched = self.live.upstream.send(request) => fetched,
            () = self.app.flights.unwanted(&self.flight) => return,
        };
        let exchange = ExchangeTimes { request_time, response_time: self.app.clock.now() };
        match fetched {
            Err(error) => self.end(Phase::Failed(Arc::new(error))),
            Ok(fetched) => match self.admitted(&fetched, exchange) {
                Ok((shared, keep)) => self.relay(Storing { shared, generation, keep }, fetched.body).await,
                Err(detail) => {
                    // A leader that has gone has no use for it, and it closes its connection.
                    let _ = leader.send(fetched);
                    self.end(Phase::Alone(detail));
                }
            },
        }
    }

    /// Whether the answer may be stored, by its head; remembered, so that nobody waits for the next
    /// one in vain.
    fn admitted(
        &self,
        fetched: &Fetched,
        exchange: ExchangeTimes,
    ) -> Result<(Arc<Shared>, Duration), Detail> {
        let admitted = self.admit(fetched, exchange);
        // What a request with credentials or conditions gets says nothing of what others get.
        if !self.admission.has_credentials() && fetched.head.status != StatusCode::NOT_MODIFIED {
            self.app.flights.note(&self.key, self.fingerprint, admitted.is_ok());
        }
        admitted
    }

    /// Each condition in turn, and what is then stored and shared.
    fn admit(&self, fetched: &Fetched, exchange: ExchangeTimes) -> Result<(Arc<Shared>, Duration), Detail> {
        let mut headers = fetched.head.headers.clone();
        remove_hop_by_hop(&mut headers);
        ensure_date(&mut headers, exchange.response_time);
        let facts = ResponseFacts::of(fetched.head.status, &headers);
        if is_event_stream(&headers) {
            return Err(Detail::EventStream);
        }
        let nominated = self.selecting(vary::nominated(&headers)?);
        let keep = storable::check(&self.admission, &facts, exchange, &self.rule)?;
        let length = provable_length(fetched.ends, self.rule.max_body)?;
        headers.remove(CONTENT_LENGTH); // Stated anew with each answer, as is the age.
        headers.remove(AGE);
        if self.rule.set_cookie == SetCookie::Strip {
            headers.remove(SET_COOKIE);
        }
        let variant = VariantKey::new(&self.asked, &self.rule.key, &nominated);
        let body = Arc::new(Spool::new(length));
        let lines = Lines::from_map(&headers);
        Ok((Arc::new(Shared { lines, facts, exchange, nominated, variant, body }), keep))
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
    async fn relay(&self, storing: Storing, mut body: UpstreamBody) {
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
                return spool.overflow(Box::pin(body.map_err(Into::into)));
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
        let Storing { shared, generation, keep } = storing;
        let entry = Stored {
            key: Bytes::copy_from_slice(self.key.as_bytes()),
            variant: shared.variant.clone(),
            nominated: shared.nominated.clone(),
            fingerprint: self.fingerprint,
            request_time: shared.exchange.request_time,
            response_time: shared.exchange.response_time,
            lines: shared.lines.clone(),
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
