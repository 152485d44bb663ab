//! The story of a request, from the rule to the answer. The only file that branches on the
//! policy's decision.

use std::{sync::Arc, time::SystemTime};

use http::HeaderName;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    app::{App, Live},
    error::Failure,
    fill::{Fill, selects},
    flight::{Flight, Phase, Role, Shared, Ticket},
    forward,
    headers::has_passed_here,
    key::ResourceKey,
    message::{Reply, Request, RequestBody, RequestBodyError},
    policy::{
        invalidation::invalidates,
        request::{Admission, Inquiry, admit},
        reuse::{Decision, Found, Freshness, decide, offer},
        rule::CacheRule,
    },
    respond,
    routes::Rule,
    spool::Ended,
    status::{Detail, Forward, Fwd, Outcome},
    store::{Lookup, Selector, Store as _, StoreError},
    upstream::{FetchError, Fetched},
};

/// Answers one request.
pub async fn handle(app: &Arc<App>, live: &Arc<Live>, request: &Request, body: RequestBody) -> Reply {
    let head = &request.head;
    if !live.serves(&head.target) {
        return Failure::misdirected().reply();
    }
    if has_passed_here(&head.headers, &live.pseudonym) {
        return Failure::looped().reply();
    }
    let (rule, cache) = match live.rules.find(&head.method, &head.target, &head.headers) {
        Some(rule @ Rule { cache: Some(cache), .. }) => (rule, cache),
        other => return Box::pin(pass(app, live, request, body, uncached(other, request), other)).await,
    };
    let inquiry = Inquiry {
        method: &head.method,
        headers: &head.headers,
        has_body: body.is_some(),
        wants_upgrade: head.connection.wants_upgrade,
        hides_fields: head.connection.hides_fields,
    };
    let admission = match admit(&inquiry, cache) {
        Ok(admission) => admission,
        Err(forward) => return Box::pin(pass(app, live, request, body, forward, Some(rule))).await,
    };
    let key = ResourceKey::new(&head.target, &cache.key.query);
    let selector = Selector { headers: &head.headers, keyed: &cache.key };
    let mut visit = app.store.visit();
    let mut landings = Some(app.flights.landings(&key));
    let mut reply = loop {
        let lookup = visit.lookup(&key, &selector).await;
        let now = app.clock.now();
        match decide(found(&lookup), &admission, cache, rule.fingerprint, now) {
            Decision::Serve(freshness) => match &lookup {
                Ok(Lookup::Found(stored)) => break respond::stored(stored, freshness, request),
                _ => break Failure::not_cached().reply(),
            },
            Decision::NotCached => break Failure::not_cached().reply(),
            Decision::Fetch { forward, collapse: false } if admission.head_only => {
                return Box::pin(pass(app, live, request, body, forward, Some(rule))).await;
            }
            Decision::Fetch { forward, collapse } => {
                let nominated = nominated(&lookup);
                // What the store did not answer in time is not asked again.
                let landings = landings.take().filter(|_| lookup.is_ok());
                let miss = Miss {
                    app,
                    live,
                    request,
                    rule,
                    cache,
                    admission: &admission,
                    key: &key,
                    selector,
                    forward,
                    asked: now,
                };
                // Nothing: look again. That is once at most, since `landings` is empty now.
                if let Some(reply) = Box::pin(miss.answer(collapse, nominated, landings)).await {
                    break reply;
                }
            }
        }
    };
    reply.rule = Some(Arc::clone(&rule.name));
    reply
}

/// What the policy needs to know of a look-up.
fn found(lookup: &Result<Lookup, StoreError>) -> Found<'_> {
    match lookup {
        Err(_) => Found::Unknown,
        Ok(Lookup::Nothing) => Found::Nothing,
        Ok(Lookup::OtherVariants(_)) => Found::OtherVariants,
        Ok(Lookup::Found(stored)) => Found::Stored(stored),
    }
}

/// By which fields, as far as the store knows, the variants of the resource are selected.
fn nominated(lookup: &Result<Lookup, StoreError>) -> Box<[HeaderName]> {
    match lookup {
        Ok(Lookup::Found(stored)) => stored.nominated.clone(),
        Ok(Lookup::OtherVariants(nominated)) => nominated.clone(),
        Ok(Lookup::Nothing) | Err(_) => Box::default(),
    }
}

/// Why a request without a rule that caches goes forward.
fn uncached(rule: Option<&Rule>, request: &Request) -> Forward {
    let detail = match rule {
        Some(_) => Detail::RuleOff,
        None if request.head.target.is_ambiguous() => Detail::AmbiguousTarget,
        None => Detail::NoRule,
    };
    Forward::because(Fwd::Bypass, Some(detail))
}

/// Passes a request on for its own sake, and makes obsolete what its success changed.
async fn pass(
    app: &App,
    live: &Live,
    request: &Request,
    body: RequestBody,
    forward: Forward,
    rule: Option<&Rule>,
) -> Reply {
    let outgoing = forward::passed(request, live, body);
    let mut reply = match live.upstream.send(outgoing).await {
        Err(error) => failure(&error).reply(),
        Ok(fetched) => {
            if invalidates(&request.head.method, fetched.head.status) {
                invalidate(app, live, request).await;
            }
            respond::fetched(fetched, Outcome::Forward(forward), app.clock.now())
        }
    };
    reply.rule = rule.map(|rule| Arc::clone(&rule.name));
    reply
}

/// Removes what is stored for the target, and keeps what is being fetched for it from being stored.
async fn invalidate(app: &App, live: &Live, request: &Request) {
    let keys = live.resource_keys(&request.head.target);
    if keys.is_empty() {
        return;
    }
    keys.iter().for_each(|key| app.generations.advance(key));
    app.flights.close_all(&keys);
    if let Err(error) = app.store.remove(&keys).await {
        let path = request.head.target.path();
        tracing::warn!(%error, path, "what is stored could not be invalidated");
    }
}

/// A fetch fails for the origin's reasons or for those of the client's body.
fn failure(error: &FetchError) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(body) = cause.downcast_ref::<RequestBodyError>() {
            return Failure::from(*body);
        }
        source = cause.source();
    }
    Failure::from(error)
}

/// A request that the store could not answer.
struct Miss<'r> {
    app: &'r Arc<App>,
    live: &'r Arc<Live>,
    request: &'r Request,
    rule: &'r Rule,
    cache: &'r Arc<CacheRule>,
    admission: &'r Admission,
    key: &'r ResourceKey,
    selector: Selector<'r>,
    forward: Forward,
    /// When the store was asked.
    asked: SystemTime,
}

/// How often a request joins a flight again after one has failed. Then it shares the failure: an
/// origin that fails twice in a row is not helped by everybody's own attempt.
const REJOINS: usize = 1;
/// How often a request changes flights because the answer it waited for is selected by other fields
/// than it knew. Once is enough, unless the origin's `Vary` goes to and fro.
const RESELECTIONS: usize = 2;

impl Miss<'_> {
    /// Waits for somebody's fetch or starts one. Nothing: the answer may be stored by now.
    ///
    /// What selects is known only with the answer; until then it is what the rule keys and what was
    /// `nominated` last.
    async fn answer(
        mut self,
        collapse: bool,
        mut nominated: Box<[HeaderName]>,
        landings: Option<u64>,
    ) -> Option<Reply> {
        if !collapse || self.app.flights.lately_unshared(self.key, self.rule.fingerprint) {
            return Some(self.lead(Flight::alone()).await);
        }
        let (mut rejoins, mut reselections) = (0, 0);
        loop {
            let variant = self.selector.variant(&nominated);
            let mut ticket = match self.app.flights.join(self.key, &variant, self.rule.fingerprint, landings)
            {
                Role::Leader(flight, ticket) => return Some(self.lead((flight, ticket)).await),
                Role::Follower(ticket) => ticket,
                Role::Late => return None,
            };
            let detail = match self.follow(&mut ticket).await {
                Followed::Answered(reply) => return Some(reply),
                Followed::Failed(error) if rejoins == REJOINS || !error.may_pass() => {
                    return Some(failure(&error).reply());
                }
                Followed::Cut(reply) if rejoins == REJOINS => return Some(reply),
                Followed::Failed(_) | Followed::Cut(_) => {
                    rejoins += 1;
                    continue;
                }
                // Those that select the same wait for one fetch, as they would have from the start.
                Followed::Reselects(names) if reselections < RESELECTIONS && names != nominated => {
                    (nominated, reselections) = (names, reselections + 1);
                    continue;
                }
                Followed::Reselects(_) => Detail::OtherVariant,
                Followed::Alone(detail) => detail,
            };
            self.forward.detail = Some(detail);
            return Some(self.lead(Flight::alone()).await);
        }
    }

    /// Starts the fetch, as a task of its own: this client's leaving does not end it.
    async fn lead(mut self, (flight, mut ticket): (Arc<Flight>, Ticket)) -> Reply {
        let collapsing = flight.can_be_joined();
        let (sender, unshared) = oneshot::channel();
        let fill = Fill {
            app: Arc::clone(self.app),
            live: Arc::clone(self.live),
            request: forward::filling(self.request, self.live, self.cache, collapsing),
            asked: self.request.head.headers.clone(),
            admission: self.admission.clone(),
            rule: Arc::clone(self.cache),
            fingerprint: self.rule.fingerprint,
            key: self.key.clone(),
            flight,
        };
        tokio::spawn(fill.run(sender));
        match ticket.landed().await {
            Phase::Shared(shared) => {
                self.forward.stored = self.app.store.takes_writes();
                respond::shared(&shared, Outcome::Forward(self.forward), self.request)
            }
            Phase::Failed(error) => failure(&error).reply(),
            Phase::Alone(detail) => self.unshared(detail, unshared.await),
            Phase::Waiting | Phase::Lost => Failure::internal().reply(),
        }
    }

    /// An answer that is for this request only.
    fn unshared(mut self, detail: Detail, fetched: Result<Fetched, oneshot::error::RecvError>) -> Reply {
        self.forward.detail = self.forward.detail.or(Some(detail));
        match fetched {
            Ok(fetched) => {
                let outcome = Outcome::Forward(self.forward);
                respond::filled(fetched, outcome, self.app.clock.now(), self.request)
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
        let limits = &self.live.timeouts;
        let longest = limits.connect.saturating_add(limits.first_byte).saturating_mul(2);
        match timeout(longest, ticket.landed()).await {
            Ok(Phase::Shared(shared)) if selects(&shared, self.selector.headers, self.selector.keyed) => {
                self.share(&shared).await
            }
            Ok(Phase::Shared(shared)) => Followed::Reselects(shared.nominated.clone()),
            Ok(Phase::Alone(_)) => Followed::Alone(Detail::NotShareable),
            Ok(Phase::Waiting | Phase::Lost) => Followed::Alone(Detail::CollapseFailed),
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
            return Followed::Answered(respond::just_stored(shared, freshness, self.request));
        }
        let forward = Forward { collapsed: true, ..self.forward };
        let reply = respond::shared(shared, Outcome::Forward(forward), self.request);
        if shared.body.length().is_some() {
            return Followed::Answered(reply);
        }
        match timeout(self.live.timeouts.first_byte, shared.body.ended()).await {
            Ok(Ended::Whole) => Followed::Answered(reply),
            Ok(Ended::Cut) => Followed::Cut(reply),
            Ok(Ended::Overflowed) => Followed::Alone(Detail::NotShareable),
            Err(_) => Followed::Alone(Detail::CollapseTimeout),
        }
    }

    /// Whether a shared answer may be this request's, under its own rule and credentials. A client
    /// that asks for a fresher one has it, if it came after the request.
    fn offered(&self, shared: &Shared) -> Result<Freshness, Forward> {
        let mut admission = self.admission.clone();
        if shared.exchange.response_time >= self.asked {
            admission.control = None;
        }
        offer(&shared.facts, shared.exchange, &admission, self.cache, self.app.clock.now())
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
