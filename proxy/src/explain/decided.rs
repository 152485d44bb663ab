//! What would be done with a request for which the store is asked, in words. Like the handler it knows the policy's
//! decisions; unlike that, it acts on none.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{report::Verdict, wording::time};
use crate::{
    advice::Advice,
    ask::Ask,
    handler::found,
    miss::{Look, Miss},
    policy::{
        freshness::{Source, drawn_lifetime},
        request::Admission,
        reuse::{Decision, Fetch, Found, Freshness, When, decide},
        rule::CacheRule,
    },
    status::{Fwd, Outcome, Own},
    store::{
        Lookup, StoreError,
        tiers::{Leave, Sharing, Tier, Visit},
    },
    stored::Stored,
};

/// What was looked up, and what would be done about it.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    /// Whether the app would be asked, and others may have what comes.
    pub(super) fetches: bool,
    /// What is stored, where, and since when a purge has it stale, if one has.
    pub(super) stored: Option<Held>,
    /// By which fields the stored variants are selected.
    pub(super) nominated: Box<[http::HeaderName]>,
    /// When it was looked up.
    pub(super) now: SystemTime,
}

/// A stored response, and where it is.
pub(super) struct Held {
    pub(super) stored: Arc<Stored>,
    pub(super) marked: Option<SystemTime>,
    pub(super) tier: &'static str,
}

/// Looks up what a request would, and asks the policy as it would.
pub(super) async fn now(ask: Ask<'_>) -> Decided {
    let Ask { app, rule, cache, admission, key, selector, .. } = ask;
    let mut visit = app.store.visit();
    let known = app.purges.known();
    let lookup = visit.lookup(key, &selector).await;
    let now = app.clock.now();
    let held = held(&lookup, &visit);
    let nominated = nominated(&lookup);
    let decision = decide(found(&lookup), admission, cache, rule.fingerprint, now);
    let alone = visit.is_alone();
    let told = |verdict, fetches| Decided { verdict, fetches, stored: held, nominated, now };
    match decision {
        decision if cache.shadow => {
            let would = decision.in_shadow();
            told(Verdict::of(Outcome::Forward(would.forward)), would.fetches)
        }
        Decision::Serve(freshness) => told(hit(freshness.told(alone), None, held_of(&lookup), cache), false),
        Decision::ServeAndRefresh(freshness, when) => {
            told(hit(freshness.told(alone), Some(when), held_of(&lookup), cache), false)
        }
        Decision::NotCached => told(Verdict::of(Outcome::Own(Own::NotCached)), false),
        Decision::Fetch(fetch) => {
            let sharing = visit.sharing(key).await;
            if let Some(arrived) = arriving(&ask, sharing, now) {
                return arrived;
            }
            let look = Look { known, seen: None, left: visit.left(), again: false, sharing };
            let verdict = fetched(ask, fetch, lookup, now, look);
            told(verdict, true)
        }
    }
}

/// What would be done by a proxy that has nothing stored.
pub(super) fn cold(admission: &Admission, rule: &CacheRule) -> Verdict {
    match decide(Found::Nothing, admission, rule, 0, SystemTime::UNIX_EPOCH) {
        decision if rule.shadow => Verdict::of(Outcome::Forward(decision.in_shadow().forward)),
        Decision::Fetch(fetch) => asked(fetch),
        Decision::NotCached | Decision::Serve(_) | Decision::ServeAndRefresh(..) => {
            Verdict::of(Outcome::Own(Own::NotCached))
        }
    }
}

fn held_of(lookup: &Result<Lookup, StoreError>) -> Option<&Arc<Stored>> {
    match lookup {
        Ok(Lookup::Found(stored) | Lookup::Marked(stored, _)) => Some(stored),
        _ => None,
    }
}

fn held(lookup: &Result<Lookup, StoreError>, visit: &Visit<'_>) -> Option<Held> {
    let marked = match lookup {
        Ok(Lookup::Marked(_, since)) => Some(*since),
        _ => None,
    };
    let tier = match visit.tier() {
        Tier::Memory => "memory",
        Tier::Redis => "redis",
    };
    held_of(lookup).map(|stored| Held { stored: Arc::clone(stored), marked, tier })
}

fn nominated(lookup: &Result<Lookup, StoreError>) -> Box<[http::HeaderName]> {
    match lookup {
        Ok(Lookup::Found(stored) | Lookup::Marked(stored, _)) => stored.nominated.clone(),
        Ok(Lookup::OtherVariants(nominated)) => nominated.clone(),
        _ => Box::default(),
    }
}

/// What has come whole and is not stored yet answers before the app is asked.
fn arriving(ask: &Ask<'_>, sharing: Sharing, now: SystemTime) -> Option<Decided> {
    let Ask { app, rule, cache, admission, key, selector, .. } = *ask;
    if sharing == Sharing::Nothing {
        return None;
    }
    let entries = app.arrivals.of(key, &selector, &app.purges);
    entries.into_iter().find_map(|stored| {
        match decide(Found::Stored(&stored), admission, cache, rule.fingerprint, now) {
            Decision::Serve(freshness) | Decision::ServeAndRefresh(freshness, When::IfWanted) => {
                let freshness = freshness.told(sharing == Sharing::Alone);
                let verdict = hit(freshness, None, Some(&stored), cache);
                let nominated = stored.nominated.clone();
                let held = Held { stored, marked: None, tier: "arriving" };
                Some(Decided { verdict, fetches: false, stored: Some(held), nominated, now })
            }
            _ => None,
        }
    })
}

/// A miss: the app is asked, unless it has failed lately and something stands in, or nobody may ask it now.
fn fetched(
    ask: Ask<'_>,
    fetch: Fetch,
    lookup: Result<Lookup, StoreError>,
    now: SystemTime,
    look: Look,
) -> Verdict {
    let miss = Miss::new(ask, fetch, lookup.ok(), now, look);
    if let Some((stored, freshness)) = miss.stand_in_at_once() {
        return hit(freshness, None, Some(stored), ask.cache);
    }
    if let Leave::Refused = ask.app.store.leave_to_fetch(ask.key) {
        let shed = "Redis is away, and as many requests are with the app as may be then (`store.shed_above`)";
        return Verdict::of(Outcome::Own(Own::OriginFailed)).saying(shed);
    }
    asked(fetch)
}

/// The app is asked.
fn asked(fetch: Fetch) -> Verdict {
    let Fetch { forward, .. } = fetch;
    let outcome = Outcome::Forward(forward);
    let meaning = Advice::on(outcome).meaning;
    let why = match (forward.fwd, forward.detail.map(|detail| Advice::of(detail).meaning)) {
        // Of these the detail is all there is to say.
        (Fwd::Bypass | Fwd::Request, Some(detail)) => detail.to_owned(),
        (_, Some(detail)) => format!("{meaning}; {detail}"),
        (_, None) => meaning.to_owned(),
    };
    Verdict::of(outcome).saying(format!("the app is asked: {why}"))
}

/// An answer from the store.
fn hit(
    freshness: Freshness,
    refresh: Option<When>,
    stored: Option<&Arc<Stored>>,
    rule: &CacheRule,
) -> Verdict {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let ttl = seconds(freshness.left) - seconds(freshness.stale);
    let verdict = Verdict::of(Outcome::Hit { ttl, detail: freshness.allowed });
    let age = time(freshness.age);
    let standing = match freshness.left {
        Duration::ZERO => format!("{age} old, stale for {}", time(freshness.stale)),
        left => format!("{age} old, fresh for {} more", time(left)),
    };
    let also = match (refresh, freshness.allowed) {
        (Some(When::IfWanted), None) => "; it is fetched anew if it is asked for once more".to_owned(),
        (_, Some(detail)) => format!("; {}", Advice::of(detail).meaning),
        (_, None) => String::new(),
    };
    let verdict = verdict.saying(format!("answered from the cache: {standing}{also}"));
    match (freshness.allowed, stored) {
        (None, Some(stored)) => Verdict { because: fresh(stored, rule), ..verdict },
        _ => verdict,
    }
}

/// By whose word it is fresh.
fn fresh(stored: &Stored, rule: &CacheRule) -> String {
    let lifetime = drawn_lifetime(&stored.facts, stored.lot, rule);
    let by = lifetime.map(|lifetime| format!("{}, {}", time(lifetime.length), stated(lifetime.source)));
    format!(
        "RFC 9111 §4.2: it is fresh while its age is below its lifetime, {}",
        by.unwrap_or_else(|| "which nobody states".to_owned())
    )
}

/// Who states a lifetime.
pub(super) fn stated(source: Source) -> &'static str {
    match source {
        Source::Origin => "which the app states (§4.2.1)",
        Source::Rule => "which the rule gives (`ttl` or `status`)",
        Source::Heuristic => "a tenth of the time since its `Last-Modified` (§4.2.2)",
    }
}
