//! The way of a request that the store could not answer: it waits for somebody's fetch, or starts one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, StatusCode};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    app::{App, Live},
    error::Failure,
    fill::{Answer, Before, Fill, selects},
    flight::{Flight, Phase, Role, Shared, Ticket},
    forward::{self, Conditions},
    key::ResourceKey,
    message::{Reply, Request, RequestBody},
    policy::{
        freshening::{describes, has_validator},
        request::Admission,
        reuse::{Fetch, Freshness, instead_of_error, offer},
        rule::CacheRule,
    },
    respond,
    routes::Rule,
    spool::Ended,
    status::{Detail, Forward, Outcome},
    store::{Lookup, Selector},
    stored::Stored,
    upstream::{FetchError, Fetched},
};

/// A request for which the store may be asked, and all that is known of it.
#[derive(Clone, Copy)]
pub struct Ask<'r> {
    /// What lives as long as the process.
    pub app: &'r Arc<App>,
    /// What the file says.
    pub live: &'r Arc<Live>,
    /// What the client sent.
    pub request: &'r Request,
    /// The rule that matched.
    pub rule: &'r Rule,
    /// What it says of caching.
    pub cache: &'r Arc<CacheRule>,
    /// What the policy lets the request do.
    pub admission: &'r Admission,
    /// The resource.
    pub key: &'r ResourceKey,
    /// What picks the variant.
    pub selector: Selector<'r>,
}

impl Ask<'_> {
    /// Refreshes what was served stale: once at a time, for no client, and not if that has been done
    /// since `seen` (RFC 5861 §3).
    pub fn refresh(self, stored: &Arc<Stored>, seen: Option<u64>) {
        if self.app.flights.rests(self.key, self.rule.fingerprint) {
            return;
        }
        let Role::Leader(flight, ticket) = self.join(stored, seen) else { return };
        let fields = stored.fields();
        let (conditions, renews) = asking_about(stored, &fields);
        let request = forward::refreshing(self.request, self.live, self.cache, &stored.nominated, conditions);
        let admission = Admission::default();
        let before = Before { renews, supersedes: true, spares: true, siblings: None };
        let fill = self.fill(request, admission, Arc::clone(&flight), before);
        let (app, path) = (Arc::clone(self.app), self.request.head.target.path().to_owned());
        tokio::spawn(async move {
            fill.run(oneshot::channel().0).await;
            drop(ticket); // Without it nobody would wait for the answer.
            let phase = flight.phase();
            app.refreshes.count(&phase);
            if let Phase::Failed(error) = phase {
                tracing::warn!(%error, path, "a response that is served stale could not be refreshed");
            }
        });
    }

    /// The flight that brings another response in the place of `stored`.
    fn join(self, stored: &Stored, seen: Option<u64>) -> Role {
        let variant = self.selector.variant(&stored.nominated);
        self.app.flights.join(self.key, &variant, self.rule.fingerprint, seen)
    }

    /// Stores an answer that came for another request than a GET, and passes it on.
    pub async fn keep(self, forward: Forward, fetched: Fetched, sent: SystemTime) -> Reply {
        let (flight, ticket) = Flight::alone();
        let fill = self.fill(http::Request::default(), self.admission.clone(), flight, Before::default());
        let (sender, unshared) = oneshot::channel();
        tokio::spawn(fill.adopt(fetched, sent, sender));
        let fetch = Fetch { forward, collapse: false, validate: false };
        Miss::new(self, fetch, None, sent).landed(ticket, unshared).await
    }

    fn fill(
        self,
        request: http::Request<RequestBody>,
        admission: Admission,
        flight: Arc<Flight>,
        before: Before,
    ) -> Fill {
        Fill {
            app: Arc::clone(self.app),
            live: Arc::clone(self.live),
            request,
            asked: self.request.head.headers.clone(),
            admission,
            rule: Arc::clone(self.cache),
            fingerprint: self.rule.fingerprint,
            key: self.key.clone(),
            flight,
            before,
        }
    }
}

/// The conditions under which a stored response still holds, and what then is renewed.
fn asking_about<'f>(
    stored: &Arc<Stored>,
    fields: &'f http::HeaderMap,
) -> (Conditions<'f>, Option<Arc<Stored>>) {
    match has_validator(fields) {
        true => (Conditions::Stored(fields), Some(Arc::clone(stored))),
        false => (Conditions::None, None),
    }
}

/// A request that the store could not answer.
pub struct Miss<'r> {
    ask: Ask<'r>,
    forward: Forward,
    collapse: bool,
    validate: bool,
    /// What was found, though it does not answer.
    found: Option<Arc<Stored>>,
    /// Whether something is stored that other requests select.
    siblings: bool,
    /// By which fields, as far as the store knows, the variants of the resource are selected.
    nominated: Box<[HeaderName]>,
    /// When the store was asked.
    asked: SystemTime,
}

/// How often a request joins a flight again after one has failed. Then it shares the failure: an
/// origin that fails twice in a row is not helped by everybody's own attempt.
const REJOINS: usize = 1;
/// How often a request changes flights because the answer it waited for is selected by other fields
/// than it knew. Once is enough, unless the origin's `Vary` goes to and fro.
const RESELECTIONS: usize = 2;

impl<'r> Miss<'r> {
    /// What to do about it was decided at `asked`, by what the store had.
    #[must_use]
    pub fn new(ask: Ask<'r>, fetch: Fetch, lookup: Option<Lookup>, asked: SystemTime) -> Self {
        let Fetch { forward, collapse, validate } = fetch;
        let siblings = matches!(lookup, Some(Lookup::OtherVariants(_)));
        let (found, nominated) = match lookup {
            Some(Lookup::Found(stored)) => (Some(Arc::clone(&stored)), stored.nominated.clone()),
            Some(Lookup::OtherVariants(nominated)) => (None, nominated),
            Some(Lookup::Nothing) | None => (None, Box::default()),
        };
        Self { ask, forward, collapse, validate, found, siblings, nominated, asked }
    }

    /// Waits for somebody's fetch or starts one. Nothing: the answer may be stored by now.
    ///
    /// What selects is known only with the answer; until then it is what the rule keys and what was
    /// `nominated` last. The store may be asked once more, for as long as is `left`.
    pub async fn answer(mut self, seen: Option<u64>, left: Duration) -> Option<Reply> {
        let Ask { app, key, rule, selector, request, .. } = self.ask;
        if let Some((stored, freshness)) = self.stand_in()
            && app.flights.is_failing(key, rule.fingerprint)
        {
            // Once was enough to wait for it; those who come now only have it asked.
            self.ask.refresh(stored, seen);
            return Some(respond::stored(stored, freshness, request));
        }
        if !self.collapse || app.flights.lately_unshared(key, rule.fingerprint) {
            return Some(self.lead(Flight::alone(), None).await);
        }
        let (mut rejoins, mut reselections) = (0, 0);
        loop {
            let variant = selector.variant(&self.nominated);
            let mut ticket = match app.flights.join(key, &variant, rule.fingerprint, seen) {
                Role::Leader(flight, ticket) => {
                    let siblings = Some(left).filter(|_| self.siblings);
                    return Some(self.lead((flight, ticket), siblings).await);
                }
                Role::Follower(ticket) => ticket,
                Role::Late => return None,
            };
            let detail = match self.follow(&mut ticket).await {
                Followed::Answered(reply) => return Some(reply),
                Followed::Failed(error) if rejoins == REJOINS || !error.may_pass() => {
                    return Some(self.failed(&error));
                }
                Followed::Cut(reply) if rejoins == REJOINS => return Some(reply),
                Followed::Failed(_) | Followed::Cut(_) => {
                    rejoins += 1;
                    continue;
                }
                // Those that select the same wait for one fetch, as they would have from the start.
                Followed::Reselects(names) if reselections < RESELECTIONS && names != self.nominated => {
                    (self.nominated, reselections) = (names, reselections + 1);
                    continue;
                }
                Followed::Reselects(_) => Detail::OtherVariant,
                Followed::Alone(detail) => detail,
            };
            self.forward.detail = Some(detail);
            return Some(self.lead(Flight::alone(), None).await);
        }
    }

    /// Starts the fetch, as a task of its own: this client's leaving does not end it.
    async fn lead(self, (flight, ticket): (Arc<Flight>, Ticket), siblings: Option<Duration>) -> Reply {
        let Ask { live, request, cache, admission, .. } = self.ask;
        let fields = self.found.as_ref().filter(|_| self.validate).map(|stored| (stored, stored.fields()));
        let (conditions, renews) = match &fields {
            Some((stored, fields)) => asking_about(stored, fields),
            None if flight.can_be_joined() => (Conditions::None, None),
            None => (Conditions::Clients, None),
        };
        let filling = forward::filling(request, live, cache, conditions);
        let supersedes = self.found.is_some();
        let before = Before { renews, supersedes, spares: self.stand_in().is_some(), siblings };
        let fill = self.ask.fill(filling, admission.clone(), flight, before);
        let (sender, unshared) = oneshot::channel();
        tokio::spawn(fill.run(sender));
        self.landed(ticket, unshared).await
    }

    /// What becomes of the one who started a fetch.
    async fn landed(mut self, mut ticket: Ticket, unshared: oneshot::Receiver<Answer>) -> Reply {
        let Ask { app, request, .. } = self.ask;
        match ticket.landed().await {
            Phase::Shared(shared) => {
                self.forward.stored = app.store.takes_writes();
                self.forward.status = shared.renewed_by;
                respond::leading(&shared, Outcome::Forward(self.forward), request)
            }
            Phase::Failed(error) => self.failed(&error),
            Phase::Alone(detail) => self.unshared(detail, unshared.await),
            Phase::Waiting | Phase::Lost => Failure::internal().reply(),
        }
    }

    /// A HEAD goes to the origin itself. What its answer says of the representation is learnt.
    pub async fn head(self, body: RequestBody) -> Reply {
        let Ask { app, live, request, .. } = self.ask;
        let sent = app.clock.now();
        match live.upstream.send(forward::passed(request, live, body)).await {
            Err(error) => self.failed(&error),
            Ok(fetched) => {
                self.learn(&fetched.head, sent);
                respond::fetched(fetched, Outcome::Forward(self.forward), app.clock.now())
            }
        }
    }

    /// RFC 9111 §4.3.5: renews the stored response that the origin describes; one that it does not
    /// describe is obsolete.
    fn learn(&self, told: &http::response::Parts, sent: SystemTime) {
        let Some(stored) = self.found.as_ref().filter(|_| self.validate && told.status == StatusCode::OK)
        else {
            return;
        };
        let described = describes(&told.headers, &stored.fields(), stored.body.len());
        let renews = Some(Arc::clone(stored)).filter(|_| described);
        // Who is fetching it learns no less.
        let Role::Leader(flight, ticket) = self.ask.join(stored, None) else { return };
        let before = Before { renews, supersedes: true, spares: false, siblings: None };
        let admission = Admission { head_only: false, ..self.ask.admission.clone() };
        let fill = self.ask.fill(http::Request::default(), admission, flight, before);
        let told = told.headers.clone();
        tokio::spawn(async move {
            fill.learn(told, sent).await;
            drop(ticket);
        });
    }

    /// The stored response that answers if the origin fails.
    fn stand_in(&self) -> Option<(&Arc<Stored>, Freshness)> {
        let Ask { app, rule, cache, admission, .. } = self.ask;
        let stored = self.found.as_ref()?;
        let now = app.clock.now();
        Some((stored, instead_of_error(stored, admission, cache, rule.fingerprint, now)?))
    }

    /// The answer when the origin failed.
    fn failed(&self, error: &FetchError) -> Reply {
        match self.stand_in() {
            Some((stored, freshness)) => {
                let forward = Forward { status: error.answered(), detail: freshness.allowed, ..self.forward };
                respond::stale(stored, freshness, forward, self.ask.request)
            }
            None => Failure::of_fetch(error).reply(),
        }
    }

    /// An answer that is for this request only.
    fn unshared(mut self, detail: Detail, fetched: Result<Answer, oneshot::error::RecvError>) -> Reply {
        self.forward.detail = self.forward.detail.or(Some(detail));
        match fetched {
            Ok(fetched) => {
                let outcome = Outcome::Forward(self.forward);
                respond::filled(fetched, outcome, self.ask.app.clock.now(), self.ask.request)
            }
            Err(_) => Failure::internal().reply(),
        }
    }

    /// Waits for another request's fetch.
    ///
    /// It ends by limits of its own, in a failure that all share. A wait that could run out before
    /// would send everybody to an origin that hangs; this one takes two attempts, and is never meant
    /// to run out.
    async fn follow(&self, ticket: &mut Ticket) -> Followed {
        let selector = self.ask.selector;
        let limits = &self.ask.live.timeouts;
        let longest = limits.connect.saturating_add(limits.first_byte).saturating_mul(2);
        match timeout(longest, ticket.landed()).await {
            Ok(Phase::Shared(shared)) if selects(&shared, selector.headers, selector.keyed) => {
                self.share(&shared).await
            }
            Ok(Phase::Shared(shared)) => Followed::Reselects(shared.nominated.clone()),
            Ok(Phase::Alone(_)) => Followed::Alone(Detail::NotShareable),
            Ok(Phase::Waiting | Phase::Lost) => Followed::Alone(Detail::CollapseFailed),
            // The leader has something that stands in, and this one has not.
            Ok(Phase::Failed(error)) if error.answered().is_some() && self.stand_in().is_none() => {
                Followed::Alone(Detail::NotShareable)
            }
            Ok(Phase::Failed(error)) => Followed::Failed(error),
            Err(_) => Followed::Alone(Detail::CollapseTimeout),
        }
    }

    /// A body of announced length is passed on as it comes. One without might turn out too long to
    /// be kept for everybody: it is waited for.
    async fn share(&self, shared: &Arc<Shared>) -> Followed {
        let freshness = match self.offered(shared) {
            Ok(freshness) => freshness,
            Err(forward) => return Followed::Alone(forward.detail.unwrap_or(Detail::NotFresh)),
        };
        if shared.body.is_whole() {
            return Followed::Answered(respond::just_stored(shared, freshness, self.ask.request));
        }
        let forward = Forward { collapsed: true, status: shared.renewed_by, ..self.forward };
        let reply = respond::shared(shared, Outcome::Forward(forward), self.ask.request);
        if shared.body.length().is_some() {
            return Followed::Answered(reply);
        }
        match timeout(self.ask.live.timeouts.first_byte, shared.body.ended()).await {
            Ok(Ended::Whole) => Followed::Answered(reply),
            Ok(Ended::Cut) => Followed::Cut(reply),
            Ok(Ended::Overflowed) => Followed::Alone(Detail::NotShareable),
            Err(_) => Followed::Alone(Detail::CollapseTimeout),
        }
    }

    /// Whether a shared answer may be this request's, under its own rule and credentials. A client
    /// that asks for a fresher one has it, if it came after the request.
    fn offered(&self, shared: &Shared) -> Result<Freshness, Forward> {
        let mut admission = self.ask.admission.clone();
        if shared.exchange.response_time >= self.asked {
            admission.control = None;
        }
        offer(&shared.facts, shared.exchange, &admission, self.ask.cache, self.ask.app.clock.now())
    }
}

/// What waiting for another request's fetch gave.
enum Followed {
    /// Its answer.
    Answered(Reply),
    /// Its failure.
    Failed(Arc<FetchError>),
    /// Its answer, which the origin cut before this request had any of it.
    Cut(Reply),
    /// Another variant than this request's: these fields select.
    Reselects(Box<[HeaderName]>),
    /// Nothing that this request may have.
    Alone(Detail),
}
