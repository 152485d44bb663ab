//! The way of a request that the store could not answer: it waits for somebody's fetch, or starts one.

mod head;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderName;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    ask::{Ask, asking_about},
    error::Failure,
    fill::{Answer, Before, Purpose, Seek, longest_wait, selects},
    flight::{Flight, Phase, Role, Shared, Ticket},
    forward::{self, Conditions},
    message::Reply,
    policy::{
        reuse::{Fetch, Freshness, instead_of_error, offer, selects_by_credentials},
        statuses::is_server_error,
    },
    purges::{Begun, Known},
    respond,
    spool::Ended,
    status::{Detail, Forward, Outcome},
    store::{
        Lookup, Purged,
        tiers::{Leave, Sharing},
    },
    stored::Stored,
    upstream::{FetchError, Fetched},
};

/// A request that the store could not answer.
pub struct Miss<'r> {
    ask: Ask<'r>,
    forward: Forward,
    collapse: bool,
    validate: bool,
    /// What was found, though it does not answer.
    found: Option<Arc<Stored>>,
    /// Since when a purge has it stale, if one has.
    marked: Option<SystemTime>,
    /// Whether something is stored that other requests select.
    siblings: bool,
    /// By which fields, as far as the store knows, the variants of the resource are selected.
    nominated: Box<[HeaderName]>,
    /// When the store was asked.
    asked: SystemTime,
    look: Look,
}

/// How the store was asked, and may be asked yet.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What was known of purges before.
    pub known: Known,
    /// How many flights had landed before, unless that has been looked for already.
    pub seen: Option<u64>,
    /// How long the store may be asked yet.
    pub left: Duration,
    /// Whether the request can look once more.
    pub again: bool,
    /// Whether the request may have what others fetch.
    pub sharing: Sharing,
}

/// Stores an answer that came for another request than a GET, and whose own purge was that one; and passes it on.
pub async fn keep(ask: Ask<'_>, forward: Forward, fetched: Fetched, begun: Begun, own: Purged) -> Reply {
    let (flight, ticket) = Flight::alone();
    let look = Look {
        known: begun.known,
        seen: None,
        left: ask.app.store.budget(),
        again: false,
        sharing: Sharing::Told,
    };
    let seek = ask.seek(None, look.left, Purpose::AnswerAnyhow);
    let fill = ask.fill(http::Request::default(), ask.admission.clone(), flight, Before::default(), seek);
    let (sender, unshared) = oneshot::channel();
    tokio::spawn(fill.adopt(fetched, begun, own, sender));
    let fetch = Fetch { forward, collapse: false, validate: false };
    let miss = Miss::new(ask, fetch, None, begun.at, look);
    miss.landed(ticket, unshared).await.unwrap_or_else(|| Failure::internal().reply())
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
    pub fn new(ask: Ask<'r>, fetch: Fetch, lookup: Option<Lookup>, asked: SystemTime, look: Look) -> Self {
        let Fetch { forward, collapse, validate } = fetch;
        let siblings = matches!(lookup, Some(Lookup::OtherVariants(_)));
        let marked = match &lookup {
            Some(Lookup::Marked(_, since)) => Some(*since),
            _ => None,
        };
        let (found, nominated) = match lookup {
            Some(Lookup::Found(stored) | Lookup::Marked(stored, _)) => {
                (Some(Arc::clone(&stored)), stored.nominated.clone())
            }
            Some(Lookup::OtherVariants(nominated)) => (None, nominated),
            Some(Lookup::Nothing) | None => (None, Box::default()),
        };
        Self { ask, forward, collapse, validate, found, marked, siblings, nominated, asked, look }
    }

    /// Waits for somebody's fetch or starts one. Nothing: the answer may be stored by now.
    ///
    /// What selects is known only with the answer; until then it is what the rule keys and what was
    /// `nominated` last.
    pub async fn answer(mut self) -> Option<Reply> {
        let seen = self.look.seen;
        let Ask { app, key, rule, selector, .. } = self.ask;
        if let Some(reply) = self.while_failing(seen) {
            return Some(reply);
        }
        if !self.collapse || app.flights.lately_unshared(key, rule.fingerprint) {
            return self.lead(Flight::alone()).await;
        }
        let (mut rejoins, mut reselections) = (0, 0);
        let known = self.found.as_ref().filter(|_| self.validate).map(|_| self.look.known);
        loop {
            let variant = selector.variant(&self.nominated);
            let mut ticket = match app.flights.join(key, &variant, rule.fingerprint, seen, known) {
                Role::Leader(flight, ticket) => return self.lead((flight, ticket)).await,
                Role::Follower(ticket) => ticket,
                Role::Late => return None,
            };
            let detail = match self.follow(&mut ticket).await {
                Followed::Answered(reply) => return Some(reply),
                Followed::Elsewhere if self.look.again => return None,
                Followed::Elsewhere => Detail::NotShareable,
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
            return self.lead(Flight::alone()).await;
        }
    }

    /// The stored response at once, where the origin has failed lately: once was enough to wait for it.
    /// Those who come now only have it asked, unless only their credentials would get their answer.
    fn while_failing(&self, seen: Option<u64>) -> Option<Reply> {
        let Ask { request, admission, .. } = self.ask;
        let (stored, freshness) = self.stand_in_at_once()?;
        self.ask.refresh(stored, seen, self.look.known);
        Some(respond::stored(stored, freshness, request, admission.range.as_ref()))
    }

    /// The stored response that answers before the origin is asked, because that has failed lately.
    pub(crate) fn stand_in_at_once(&self) -> Option<(&Arc<Stored>, Freshness)> {
        let Ask { app, key, rule, admission, .. } = self.ask;
        let (stored, freshness) = self.stand_in()?;
        let failing = app.flights.is_failing(key, rule.fingerprint, self.longest());
        (failing && !selects_by_credentials(stored, admission)).then_some((stored, freshness))
    }

    /// The longest that a fetch is waited for: it takes two attempts.
    fn longest(&self) -> Duration {
        let limits = &self.ask.live.timeouts;
        limits.connect.saturating_add(limits.first_byte).saturating_mul(2)
    }

    /// Starts the fetch, as a task of its own: this client's leaving does not end it.
    async fn lead(self, (flight, ticket): (Arc<Flight>, Ticket)) -> Option<Reply> {
        let Ask { app, live, request, cache, admission, .. } = self.ask;
        let Leave::Granted(leave) = app.store.leave_to_fetch(self.ask.key) else {
            return Some(self.shed(&flight));
        };
        let fields = self.found.as_ref().filter(|_| self.validate).map(|stored| (stored, stored.fields()));
        let (conditions, renews) = match &fields {
            Some((stored, fields)) => asking_about(stored, fields),
            None if flight.can_be_joined() => (Conditions::None, None),
            None => (Conditions::Clients, None),
        };
        let filling = forward::filling(request, live, cache, conditions);
        // An answer to less than all says little of all.
        let supersedes = self.found.is_some() && admission.range.is_none();
        let siblings = Some(self.look.left).filter(|_| self.siblings && flight.can_be_joined());
        let known = self.look.known;
        let before = Before { renews, known, supersedes, spares: self.stand_in().is_some(), siblings };
        let seek = self.seek();
        let fill = self.ask.fill(filling, admission.clone(), flight, before, seek);
        let (sender, unshared) = oneshot::channel();
        tokio::spawn(async move {
            fill.run(sender).await;
            drop(leave);
        });
        self.landed(ticket, unshared).await
    }

    /// What becomes of one who may not start a fetch, and of those who wait for it.
    fn shed(&self, flight: &Arc<Flight>) -> Reply {
        self.ask.app.flights.close(flight);
        flight.tell(Phase::Failed(Arc::new(FetchError::Shed)));
        self.failed(&FetchError::Shed)
    }

    /// How the right is sought to store what is fetched.
    fn seek(&self) -> Seek {
        let purpose = match self.look.again {
            true => Purpose::Answer,
            false => Purpose::AnswerAnyhow,
        };
        let variant = self.ask.selector.variant(&self.nominated);
        Seek { variant, ..self.ask.seek(self.found.as_ref(), self.look.left, purpose) }
    }

    /// What becomes of the one who started a fetch. Nothing: another sidecar has stored it by now.
    async fn landed(mut self, mut ticket: Ticket, unshared: oneshot::Receiver<Answer>) -> Option<Reply> {
        let Ask { app, request, .. } = self.ask;
        Some(match ticket.landed().await {
            Phase::Shared(shared) => {
                self.forward.stored = shared.unstored.is_none() && app.store.takes_writes(self.ask.key);
                self.forward.detail = self.forward.detail.or(shared.unstored);
                self.forward.status = shared.renewed_by;
                respond::leading(&shared, Outcome::Forward(self.forward), request)
            }
            Phase::Failed(error) => self.failed(&error),
            Phase::Alone(detail) => self.unshared(detail, unshared.await),
            Phase::Elsewhere => return None,
            Phase::Waiting | Phase::Lost => Failure::internal().reply(),
        })
    }

    /// The stored response that answers if the origin fails.
    fn stand_in(&self) -> Option<(&Arc<Stored>, Freshness)> {
        let Ask { app, rule, cache, admission, .. } = self.ask;
        let stored = self.found.as_ref()?;
        let now = app.clock.now();
        Some((stored, instead_of_error(stored, self.marked, admission, cache, rule.fingerprint, now)?))
    }

    /// The answer when the origin failed.
    fn failed(&self, error: &FetchError) -> Reply {
        let failure = Failure::of_fetch(error);
        let Some((stored, freshness)) = self.stand_in() else { return failure.reply() };
        let Ask { request, admission, .. } = self.ask;
        let forward = Forward { status: error.answered(), detail: freshness.allowed, ..self.forward };
        let mut reply = respond::stale(stored, freshness, forward, request, admission.range.as_ref());
        reply.failed = Some(failure.failed());
        reply
    }

    /// An answer that is for this request only.
    fn unshared(mut self, detail: Detail, fetched: Result<Answer, oneshot::error::RecvError>) -> Reply {
        self.forward.detail = self.forward.detail.or(Some(detail));
        match fetched {
            Ok(fetched) => {
                if self.found.is_some() && is_server_error(fetched.head.status) {
                    self.forward.detail = Some(Detail::StaleNotAllowed);
                }
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
        let longest = self.longest() + longest_wait(self.ask.live.timeouts.first_byte);
        match timeout(longest, ticket.landed()).await {
            Ok(Phase::Shared(shared)) if selects(&shared, selector.headers, selector.keyed) => {
                self.share(&shared).await
            }
            Ok(Phase::Shared(shared)) => Followed::Reselects(shared.nominated.clone()),
            Ok(Phase::Elsewhere) => Followed::Elsewhere,
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
        if !self.ask.app.store.may_share_of(&shared.tags, self.look.sharing) {
            return Followed::Alone(Detail::StoreDown);
        }
        if shared.body.is_whole() {
            let freshness = freshness.told(self.look.sharing == Sharing::Alone);
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
    /// Another sidecar has stored it.
    Elsewhere,
    /// Its failure.
    Failed(Arc<FetchError>),
    /// Its answer, which the origin cut before this request had any of it.
    Cut(Reply),
    /// Another variant than this request's: these fields select.
    Reselects(Box<[HeaderName]>),
    /// Nothing that this request may have.
    Alone(Detail),
}
