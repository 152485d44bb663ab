//! The story of a request, from its way to the answer. The only file that branches on the
//! policy's decision.

use std::{sync::Arc, time::SystemTime};

use crate::{
    app::{App, Live},
    ask::Ask,
    error::Failure,
    key::ResourceKey,
    message::{Reply, Request, RequestBody},
    miss::{Look, Miss},
    pass::pass,
    policy::reuse::{Decision, Fetch, Found, Freshness, When, decide},
    purges::Known,
    respond,
    shadow::shadow,
    store::{Lookup, Selector, StoreError, tiers::Sharing},
    way::{Book, Way},
};

/// How often a request looks for what another has stored meanwhile. Twice is enough, for the fetch that
/// it joined here and the one elsewhere, unless what comes is stale on arrival.
const LOOKS: usize = 4;

/// Answers one request.
pub async fn handle(app: &Arc<App>, live: &Arc<Live>, request: &Request, body: RequestBody) -> Reply {
    let head = &request.head;
    let (rule, cache, admission) = match Book::from(&**live).way(head) {
        Way::Refused(failure) => return failure.reply(),
        Way::Answered(rule) => return respond::under(rule, respond::options(app.clock.now())),
        Way::Passes(forward, rule) => return Box::pin(pass(app, live, request, body, forward, rule)).await,
        Way::Asks { rule, cache, admission } => (rule, cache, admission),
    };
    let key = &ResourceKey::new(&head.target, &cache.key.query);
    let selector = Selector { headers: &head.headers, keyed: &cache.key };
    let ask = Ask { app, live, request, rule, cache, admission: &admission, key, selector };
    let mut visit = app.store.visit();
    let mut landings = Some(app.flights.landings(key));
    let mut looks = LOOKS;
    let reply = loop {
        let known = app.purges.known();
        let lookup = visit.lookup(key, &selector).await;
        let now = app.clock.now();
        match decide(found(&lookup), &admission, cache, rule.fingerprint, now) {
            decision if cache.shadow => break Box::pin(shadow(ask, decision.in_shadow())).await,
            Decision::Serve(freshness) => break served(&lookup, freshness.told(visit.is_alone()), &ask),
            Decision::ServeAndRefresh(freshness, when) => {
                refresh(&lookup, when, landings, known, &ask);
                break served(&lookup, freshness.told(visit.is_alone()), &ask);
            }
            Decision::NotCached => break Failure::not_cached().reply(),
            Decision::Fetch(fetch) => {
                let sharing = visit.sharing(key).await;
                if let Some(reply) = arriving(&ask, now, sharing) {
                    break reply;
                }
                // What the store did not answer in time is not asked again.
                let seen = landings.take().filter(|_| lookup.is_ok());
                looks = looks.saturating_sub(1);
                // Nor is anything more than so often, and once for what has landed here, since `landings`
                // is empty now.
                if !fetch.collapse && app.flights.has_landed(key, seen) {
                    continue;
                }
                let fetch = Fetch { collapse: fetch.collapse && sharing != Sharing::Nothing, ..fetch };
                let look = Look { known, seen, left: visit.left(), again: looks > 0, sharing };
                let miss = Miss::new(ask, fetch, lookup.ok(), now, look);
                if admission.head_only {
                    break Box::pin(miss.head()).await;
                }
                // Nothing: look again.
                if let Some(reply) = Box::pin(miss.answer()).await {
                    break reply;
                }
            }
        }
    };
    respond::under(Some(rule), reply)
}

/// What was found, as the answer.
fn served(lookup: &Result<Lookup, StoreError>, freshness: Freshness, ask: &Ask<'_>) -> Reply {
    match lookup {
        Ok(Lookup::Found(stored) | Lookup::Marked(stored, _)) => {
            respond::stored(stored, freshness, ask.request, ask.admission.range.as_ref())
        }
        _ => Failure::not_cached().reply(),
    }
}

/// Starts to fetch anew what was found, unless it can wait and few ask for it.
fn refresh(lookup: &Result<Lookup, StoreError>, when: When, seen: Option<u64>, known: Known, ask: &Ask<'_>) {
    let Ok(Lookup::Found(stored) | Lookup::Marked(stored, _)) = lookup else { return };
    if when == When::Now || ask.app.refreshes.are_wanted(ask.key, stored) {
        ask.refresh(stored, seen, known);
    }
}

/// The answer that the store will have when it has taken what is on its way there, if it will have one.
fn arriving(ask: &Ask<'_>, now: SystemTime, sharing: Sharing) -> Option<Reply> {
    if sharing == Sharing::Nothing {
        return None;
    }
    let Ask { app, rule, cache, admission, key, selector, .. } = *ask;
    let mut entries = app.arrivals.of(key, &selector, &app.purges);
    entries.retain(|entry| app.store.may_share_of(&entry.tags, sharing));
    entries.into_iter().map(|entry| Ok(Lookup::Found(entry))).find_map(|lookup| {
        match decide(found(&lookup), admission, cache, rule.fingerprint, now) {
            Decision::Serve(freshness) | Decision::ServeAndRefresh(freshness, When::IfWanted) => {
                Some(served(&lookup, freshness.told(sharing == Sharing::Alone), ask))
            }
            _ => None,
        }
    })
}

/// What the policy needs to know of a look-up.
pub(crate) fn found(lookup: &Result<Lookup, StoreError>) -> Found<'_> {
    match lookup {
        Err(_) => Found::Unknown,
        Ok(Lookup::Nothing) => Found::Nothing,
        Ok(Lookup::OtherVariants(..)) => Found::OtherVariants,
        Ok(Lookup::Found(stored)) => Found::Stored(stored),
        Ok(Lookup::Marked(stored, since)) => Found::Marked(stored, *since),
    }
}
