//! Station 10, store: relays a body to those who wait for it, and commits it when it is whole.
//!
//! A fill belongs to the proxy, not to the client that caused it: it runs to its end though all
//! have left, since what it brings is small enough to be kept. Only a body that reached a proven
//! clean end is stored.

mod claim;
mod judge;
mod learnt;
mod overheard;
mod part;

use std::{mem, pin::pin, slice, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{sync::oneshot, time::Instant};

use self::claim::Sought;
pub use self::{
    claim::{Purpose, Right, Seek, longest_wait},
    judge::selects,
};
use crate::{
    app::{App, Live},
    arrivals::Expected,
    flight::{Flight, Phase, Shared},
    headers::{ensure_valid_date, remove_hop_by_hop},
    key::ResourceKey,
    message::{RequestBody, StreamBody},
    policy::{
        freshening::freshen,
        freshness::{ExchangeTimes, Lot},
        request::Admission,
        rule::CacheRule,
        statuses::is_server_error,
        storable::Storable,
    },
    purges::{Begun, Known},
    spool::SpoolWriter,
    status::Detail,
    store::{Marker, Purged, Store},
    stored::Stored,
    tags::Tag,
    upstream::{FetchError, Fetched, Framing},
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
    /// What a purge of that rule names.
    pub rule_tag: Tag,
    /// What is filled.
    pub key: ResourceKey,
    /// Who waits.
    pub flight: Arc<Flight>,
    /// What is stored already.
    pub before: Before,
    /// How it seeks the right to store what it brings.
    pub seek: Seek,
    /// That right.
    pub right: Right,
}

/// What is stored already of what is being filled.
#[derive(Debug, Default)]
pub struct Before {
    /// The stored response whose conditions the request carries: a 304 renews it; a 206 completes a part.
    pub renews: Option<Arc<Stored>>,
    /// What was known of purges before that was found.
    pub known: Known,
    /// Whether anything is stored whose place the answer takes.
    pub supersedes: bool,
    /// Whether a stored response stands in for a server error (RFC 5861 §4).
    pub spares: bool,
    /// For how long the store may be asked what other requests got, if any did.
    pub siblings: Option<Duration>,
}

/// An answer, of whatever origin its body is.
pub type Answer = Fetched<StreamBody>;

/// How long a body may take to come. One that takes longer may have no end; it belongs to the one
/// who asked for it, and ends with that client.
const LONGEST: Duration = Duration::from_secs(300);

/// What a fetch brought.
struct Got {
    answer: Answer,
    /// The status by which a stored part became whole.
    completed_by: Option<StatusCode>,
    /// Another variant, which a 304 says is the answer to this request too.
    sibling: Option<Arc<Stored>>,
}

impl Got {
    fn plain(fetched: Fetched) -> Self {
        Self { answer: fetched.streamed(), completed_by: None, sibling: None }
    }
}

/// An answer that is being stored.
struct Storing {
    shared: Arc<Shared>,
    begun: Begun,
    keep: Duration,
}

impl Fill {
    /// Fetches, tells those who wait, and stores what may be stored. What may not be shared goes to `leader`.
    pub async fn run(mut self, leader: oneshot::Sender<Answer>) {
        let flight = Arc::clone(&self.flight);
        let app = Arc::clone(&self.app);
        let sought = tokio::select! {
            biased;
            sought = self.seek_right() => sought,
            () = app.flights.unwanted(&flight) => return,
        };
        match sought {
            Sought::Fetch(right) => self.right = right,
            Sought::Elsewhere => return self.end(Phase::Elsewhere),
        }
        self.before.siblings = self.before.siblings.map(|_| self.seek.left);
        let begun = self.begin();
        let request = mem::take(&mut self.request);
        // The right that nobody here has a use for any more goes to one of those who wait elsewhere.
        let Some(fetched) = self.fetched(request, begun).await else { return };
        self.has_asked();
        let failed = fetched.as_ref().map_or(true, |got| is_server_error(got.answer.head.status));
        if self.is_common() {
            self.app.flights.note_failure(&self.key, self.fingerprint, failed);
        }
        match fetched {
            Err(error) => self.end(Phase::Failed(Arc::new(error))),
            Ok(got) if self.before.spares && failed => {
                self.end(Phase::Failed(Arc::new(FetchError::ServerError(got.answer.head.status))));
            }
            Ok(got) => {
                self.before.renews = got.sibling.or(self.before.renews.take());
                self.settle(got.answer, got.completed_by, begun, leader).await;
            }
        }
    }

    /// The fetch begins. What it may renew was there before: any purge since it was looked for may cover it.
    fn begin(&self) -> Begun {
        let begun = self.app.begin();
        match self.before.renews {
            Some(_) => Begun { known: self.before.known, ..begun },
            None => begun,
        }
    }

    /// What the origin answers. A purge meanwhile that covers it, by the tags that it will have in any
    /// case, lets others fetch it anew at once. Nothing, where nobody waits for it any more.
    async fn fetched(
        &mut self,
        request: http::Request<RequestBody>,
        begun: Begun,
    ) -> Option<Result<Got, FetchError>> {
        let (mut right, tags) = (mem::take(&mut self.right), self.own_tags());
        let fetched = {
            let mut fetch = pin!(self.fetch(request, begun));
            let mut unwanted = pin!(self.app.flights.unwanted(&self.flight));
            let mut covered = pin!(self.app.purges.covered(begun, &tags));
            loop {
                tokio::select! {
                    biased;
                    fetched = &mut fetch => break Some(fetched),
                    () = &mut unwanted => break None,
                    () = &mut covered, if right.lacking().is_none() => right.give_up(),
                }
            }
        };
        self.right = right;
        fetched
    }

    /// Stores an answer that is here already, and made obsolete what was stored before it. That hides any other purge
    /// that came while it was fetched; nor was the lease there for one to break.
    pub async fn adopt(
        mut self,
        fetched: Fetched,
        mut begun: Begun,
        own: Purged,
        leader: oneshot::Sender<Answer>,
    ) {
        let (asked, Seek { variant, left, .. }) = (Instant::now(), &self.seek);
        self.right = Right::try_once(&self.app, &self.key, variant, *left).await;
        let left = left.saturating_sub(asked.elapsed());
        let other = self.app.store.latest_purge_beside(own, &self.key, left).await;
        let known = begun.known;
        if other.is_ok_and(|other| other <= known.epoch()) && !self.app.purges.missed(known) {
            begun.known = known.and(own.epoch);
        } else {
            self.right.give_up();
        }
        self.settle(fetched.streamed(), None, begun, leader).await;
    }

    /// Stores an answer and shares it, or hands it to the one who asked.
    async fn settle(
        mut self,
        answer: Answer,
        completed_by: Option<StatusCode>,
        begun: Begun,
        leader: oneshot::Sender<Answer>,
    ) {
        let exchange = self.exchanged(begun);
        let (answer, renewed_by) = match self.before.renews.take() {
            Some(stored) if stored.part.is_none() && answer.head.status == StatusCode::NOT_MODIFIED => {
                (renewed(&stored, answer, exchange), Some(StatusCode::NOT_MODIFIED))
            }
            _ => (answer, completed_by),
        };
        let admitted = self.admitted(&answer, exchange);
        if !matches!(&admitted, Ok((_, Storable { fresh: true, .. }))) && self.tells_of_others(&answer) {
            self.right.ends_with(Some(Marker::Unshared));
        }
        match admitted {
            Ok((mut shared, Storable { keep, .. })) => {
                if self.app.purges.cover(self.key.wide_hash(), begun.known.epoch(), &shared.tags) {
                    self.right.give_up();
                }
                (shared.renewed_by, shared.unstored) = (renewed_by, self.right.lacking());
                if matches!(shared.unstored, Some(Detail::StoreRefused | Detail::StoreDown)) {
                    self.app.store.not_written();
                }
                self.relay(Storing { shared: Arc::new(shared), begun, keep }, answer.body).await;
            }
            Err(detail) => {
                let status = answer.head.status;
                // A leader that has gone has no use for it, and it closes its connection.
                let _ = leader.send(answer);
                self.end(Phase::Alone(detail));
                self.forget_superseded(status).await;
            }
        }
    }

    /// When what has come now was asked for, and what it draws.
    pub(crate) fn exchanged(&self, begun: Begun) -> ExchangeTimes {
        let response_time = self.app.clock.now();
        let lot = Lot::draw(self.key.as_bytes(), response_time);
        ExchangeTimes { request_time: begun.at, response_time, lot }
    }

    /// What its answer says, or that there is none, may be so for others too.
    fn is_common(&self) -> bool {
        !self.admission.has_credentials() && !self.admission.wants_less()
    }

    /// RFC 9111 §4.3.3: a full answer takes the place of what was stored. Where it may not be stored
    /// itself, nothing is; but a refusal (403, 406, 429) is for the one who asked.
    async fn forget_superseded(&mut self, status: StatusCode) {
        let replaces = status.is_success()
            || status.is_redirection() && status != StatusCode::NOT_MODIFIED
            || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        if !self.before.supersedes || !replaces || !self.is_common() {
            return;
        }
        let forgotten = match mem::take(&mut self.right) {
            Right::Lease(lease) => self.app.store.forget(&self.key, lease).await,
            // Nobody has a lease. Though Redis is full it takes that.
            Right::Without(Detail::StoreRefused) => self.app.store.remove(slice::from_ref(&self.key)).await,
            // Nobody has one here. It is told when it can be; had it been slow only, another may have one.
            Right::Without(Detail::StoreDown) if self.app.store.is_cut_off(&self.key) => {
                self.app.store.remove(slice::from_ref(&self.key)).await
            }
            // Who fetches it now decides.
            Right::Without(_) => Ok(()),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a superseded response could not be removed");
        }
    }

    /// Passes the body on as it comes, and stores it when it is whole.
    async fn relay(&mut self, storing: Storing, mut body: StreamBody) {
        let Storing { shared, begun, keep } = storing;
        let spool = SpoolWriter::new(&shared.body);
        let app = Arc::clone(&self.app);
        let expect = || app.arrivals.expect(&self.key, self.fingerprint, begun, Arc::clone(&shared));
        // What will not be stored does not answer as if it were.
        let expected = self.right.lacking().is_none().then(expect);
        let mut covered = pin!(app.purges.covered(begun, &shared.tags));
        self.flight.tell(Phase::Shared(Arc::clone(&shared)));
        let mut trailers = HeaderMap::new();
        let started = Instant::now();
        loop {
            let frame = tokio::select! {
                biased;
                () = &mut covered, if self.right.lacking().is_none() => {
                    self.right.give_up();
                    continue;
                }
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { break };
            self.right.goes_on();
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
                self.right.ends_with(Some(Marker::Unshared));
                return spool.overflow(body);
            }
        }
        spool.finish(trailers);
        if self.commit(expected.as_ref().and_then(Expected::entry), keep).await {
            self.app.flights.land(&self.flight, &self.key);
        }
        // Last: who no longer finds it among the arrivals finds that it has landed.
        drop(expected);
    }

    /// Stores what has come, if it may. Whether it is stored.
    async fn commit(&mut self, entry: Option<Arc<Stored>>, keep: Duration) -> bool {
        let Right::Lease(lease) = mem::take(&mut self.right) else { return false };
        let entry = match entry {
            Some(part) if part.part.is_some() => self.grown(part).await,
            other => other,
        };
        let Some(entry) = entry else { return false };
        if self.app.purges.cover(self.key.wide_hash(), entry.epoch, &entry.tags) {
            return false;
        }
        let committed = self.app.store.commit(&self.key, entry, keep, lease).await;
        if let Err(error) = &committed {
            tracing::debug!(%error, "a response was not stored");
        }
        committed.is_ok()
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
