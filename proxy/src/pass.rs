//! The way of a request that the store has no part in, and what its success makes obsolete.

use std::{sync::Arc, time::SystemTime};

use http::response::Parts;

use crate::{
    admit::Head,
    app::{App, Live},
    ask::Ask,
    error::Failure,
    forward,
    key::ResourceKey,
    message::{Reply, Request, RequestBody},
    miss::keep,
    policy::{invalidation::obsolete, posted::represents_target, request::Admission, rule::CacheRule},
    respond,
    routes::Rule,
    status::{Forward, Outcome},
    store::{Selector, Store},
    upstream::Fetched,
};

/// Passes a request on for its own sake, and makes obsolete what its success changed.
pub async fn pass(
    app: &Arc<App>,
    live: &Arc<Live>,
    request: &Request,
    body: RequestBody,
    forward: Forward,
    rule: Option<&Rule>,
) -> Reply {
    let sent = app.clock.now();
    let mut reply = match live.upstream.send(forward::passed(request, live, body)).await {
        Err(error) => Failure::of_fetch(&error).reply(),
        Ok(fetched) => {
            invalidate(app, live, request, &fetched.head).await;
            match rule {
                Some(rule @ Rule { cache: Some(cache), .. }) if is_stored(request, &fetched.head, cache) => {
                    store(app, live, request, forward, (rule, cache), (fetched, sent)).await
                }
                _ => respond::fetched(fetched, Outcome::Forward(forward), app.clock.now()),
            }
        }
    };
    reply.rule = rule.map(|rule| Arc::clone(&rule.name));
    reply
}

fn is_stored(request: &Request, told: &Parts, rule: &CacheRule) -> bool {
    let asked = &request.head;
    represents_target(&asked.target, &asked.method, told.status, &told.headers, rule)
}

/// Stores the answer to a POST, and passes it on.
async fn store(
    app: &Arc<App>,
    live: &Arc<Live>,
    request: &Request,
    forward: Forward,
    (rule, cache): (&Rule, &Arc<CacheRule>),
    (fetched, sent): (Fetched, SystemTime),
) -> Reply {
    let headers = &request.head.headers;
    let admission = &Admission::with_credentials(headers, request.head.notable, cache);
    let key = &ResourceKey::new(&request.head.target, &cache.key.query);
    let selector = Selector { headers, keyed: &cache.key };
    let ask = Ask { app, live, request, rule, cache, admission, key, selector };
    keep(ask, forward, fetched, sent).await
}

/// Removes what is stored for what has changed, and keeps what is being fetched of it from being stored.
async fn invalidate(app: &App, live: &Live, request: &Request, told: &Parts) {
    let Head { target, method, .. } = &request.head;
    let targets = obsolete(target, method, told.status, &told.headers);
    let keys: Vec<_> = targets.iter().flat_map(|target| live.resource_keys(target)).collect();
    if keys.is_empty() {
        return;
    }
    keys.iter().for_each(|key| app.generations.advance(key));
    app.flights.close_all(&keys);
    if let Err(error) = app.store.remove(&keys).await {
        tracing::warn!(%error, path = target.path(), "what is stored could not be invalidated");
    }
}
