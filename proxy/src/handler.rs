//! The story of a request, from the rule to the answer. The only file that branches on the
//! policy's decision.

use std::sync::Arc;

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
        reuse::{Decision, Found, decide, offer},
        rule::CacheRule,
    },
    respond,
    routes::Rule,
    spool::Ended,
    status::{Detail, Forward, Fwd, Outcome},
    store::{Lookup, Selector, Store, StoreError},
    upstream::{FetchError, Fetched},
};

/// Answers one request.
pub async fn handle(app: &Arc<App>, live: &Arc<Live>, request: &Request, body: RequestBody) -> Reply {
    let head = &request.head;
    if !live.serves(&head.target) {
        return Failure::misdirected().reply();
    }
    if has_passed_here(&head.headers) {
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
    };
    let admission = match admit(&inquiry, cache) {
        Ok(admission) => admission,
        Err(forward) => return Box::pin(pass(app, live, request, body, forward, Some(rule))).await,
    };
    let key = ResourceKey::new(&head.target, &cache.key.query);
    let selector = Selector { headers: &head.headers, keyed: &cache.key };
    let lookup = app.store.lookup(&key, &selector).await;
    let now = app.clock.now();
    let mut reply = match decide(found(&lookup), &admission, cache, rule.fingerprint, now) {
        Decision::Serve(freshness) => match &lookup {
            Ok(Lookup::Found(stored)) => respond::stored(stored, freshness, request),
            _ => Failure::not_cached().reply(),
        },
        Decision::NotCached => Failure::not_cached().reply(),
        Decision::Fetch { forward, collapse: false } if admission.head_only => {
            return Box::pin(pass(app, live, request, body, forward, Some(rule))).await;
        }
        Decision::Fetch { forward, collapse } => {
            let miss = Miss { app, live, request, rule, cache, admission, key, selector, forward };
            Box::pin(miss.answer(collapse)).await
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
        Ok(Lookup::OtherVariants) => Found::OtherVariants,
        Ok(Lookup::Found(stored)) => Found::Stored(stored),
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
        tracing::warn!(%error, target = ?request.head.target, "what is stored could not be invalidated");
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
    admission: Admission,
    key: ResourceKey,
    selector: Selector<'r>,
    forward: Forward,
}

/// How often a request joins a flight again after one has failed. Then it shares the failure: an
/// origin that fails twice in a row is not helped by everybody's own attempt.
const REJOINS: usize = 1;

impl Miss<'_> {
    /// Waits for somebody's fetch or starts one.
    async fn answer(mut self, collapse: bool) -> Reply {
        if !collapse {
            return self.lead(Flight::alone()).await;
        }
        // What is selected by is known only with the answer; until then, by what the rule keys.
        let variant = self.selector.variant(&[]);
        for rejoins in 0..=REJOINS {
            match self.app.flights.join(&self.key, &variant, self.rule.fingerprint) {
                Role::Leader(flight, ticket) => return self.lead((flight, ticket)).await,
                Role::Follower(ticket) => match self.follow(ticket).await {
                    Followed::Answered(reply) => return reply,
                    Followed::Failed(error) if rejoins == REJOINS => return failure(&error).reply(),
                    Followed::Failed(_) => {}
                    Followed::Alone(detail) => {
                        self.forward.detail = Some(detail);
                        break;
                    }
                },
            }
        }
        self.lead(Flight::alone()).await
    }

    /// Starts the fetch, as a task of its own: this client's leaving does not end it.
    async fn lead(mut self, (flight, mut ticket): (Arc<Flight>, Ticket)) -> Reply {
        let (sender, unshared) = oneshot::channel();
        let fill = Fill {
            app: Arc::clone(self.app),
            live: Arc::clone(self.live),
            request: forward::filling(self.request, self.live, self.cache, &self.admission),
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
                self.forward.stored = true;
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
    async fn follow(&self, mut ticket: Ticket) -> Followed {
        let limit = self.live.timeouts.first_byte;
        match timeout(limit, self.landed(&mut ticket)).await {
            Ok(followed) => followed,
            Err(_) => Followed::Alone(Detail::CollapseTimeout),
        }
    }

    async fn landed(&self, ticket: &mut Ticket) -> Followed {
        match ticket.landed().await {
            Phase::Shared(shared) if selects(&shared, self.selector.headers, self.selector.keyed) => {
                self.share(&shared).await
            }
            Phase::Shared(_) => Followed::Alone(Detail::OtherVariant),
            Phase::Alone(_) => Followed::Alone(Detail::NotShareable),
            Phase::Waiting | Phase::Lost => Followed::Alone(Detail::CollapseFailed),
            Phase::Failed(error) => Followed::Failed(error),
        }
    }

    /// A body of announced length is passed on as it comes. One without might turn out too long to
    /// be kept for everybody: it is waited for.
    async fn share(&self, shared: &Arc<Shared>) -> Followed {
        if shared.body.is_whole() {
            let now = self.app.clock.now();
            return match offer(&shared.facts, shared.exchange, &self.admission, self.cache, now) {
                Ok(freshness) => Followed::Answered(respond::just_stored(shared, freshness, self.request)),
                Err(_) => Followed::Alone(Detail::NotFresh),
            };
        }
        if shared.body.length().is_none() && shared.body.ended().await != Ended::Whole {
            return Followed::Alone(Detail::NotShareable);
        }
        let forward = Forward { collapsed: true, ..self.forward };
        Followed::Answered(respond::shared(shared, Outcome::Forward(forward), self.request))
    }
}

/// What waiting for another request's fetch gave.
enum Followed {
    /// Its answer.
    Answered(Reply),
    /// Its failure.
    Failed(Arc<FetchError>),
    /// Nothing that this request may have.
    Alone(Detail),
}
