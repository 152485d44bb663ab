//! The way of a request that the store has no part in, and what its success makes obsolete.

use std::sync::Arc;

use http::{Method, response::Parts};

use crate::{
    admit::Head,
    app::{App, Live},
    ask::Ask,
    error::Failure,
    fill::Begun,
    forward,
    key::ResourceKey,
    message::{Reply, Request, RequestBody},
    miss::keep,
    policy::{
        invalidation::obsolete,
        posted::represents_target,
        request::{Admission, forbids_storing, has_unkeyed_credentials},
        rule::CacheRule,
    },
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
    let posting = rule.and_then(|rule| Posting::begin(app, request, rule));
    let reply = match live.upstream.send(forward::passed(request, live, body)).await {
        Err(error) => Failure::of_fetch(&error).reply(),
        Ok(fetched) => {
            invalidate(app, live, request, &fetched.head).await;
            match posting.filter(|posting| posting.may_be_stored(request, &fetched.head)) {
                Some(posting) => posting.store(app, live, request, forward, fetched).await,
                None => respond::fetched(fetched, Outcome::Forward(forward), app.clock.now()),
            }
        }
    };
    match rule {
        Some(rule) => respond::under(rule, reply),
        None => reply,
    }
}

/// A POST whose answer may serve later GETs.
struct Posting<'r> {
    rule: &'r Rule,
    cache: &'r Arc<CacheRule>,
    key: ResourceKey,
    begun: Begun,
}

impl<'r> Posting<'r> {
    /// Nothing for what a fill would not send, or would send otherwise: what came for one user's
    /// credentials, or for another resource than it says, is for nobody else.
    fn begin(app: &App, request: &Request, rule: &'r Rule) -> Option<Self> {
        let (head, cache) = (&request.head, rule.cache.as_ref()?);
        let common = head.method == Method::POST
            && !head.connection.hides_fields
            && !has_unkeyed_credentials(&head.headers, head.notable, cache)
            && !forbids_storing(&head.headers, cache)
            && !forward::rewrites(request, cache);
        common.then(|| {
            let key = ResourceKey::new(&head.target, &cache.key.query);
            // Its own success makes obsolete what is stored, once.
            let mut begun = Begun::now(app, &key);
            begun.generation += 1;
            Self { rule, cache, key, begun }
        })
    }

    fn may_be_stored(&self, request: &Request, told: &Parts) -> bool {
        let asked = &request.head;
        represents_target(&asked.target, &asked.method, told.status, &told.headers, self.cache)
    }

    /// Stores the answer, and passes it on.
    async fn store(
        self,
        app: &Arc<App>,
        live: &Arc<Live>,
        request: &Request,
        forward: Forward,
        fetched: Fetched,
    ) -> Reply {
        let Self { rule, cache, key, begun } = self;
        let selector = Selector { headers: &request.head.headers, keyed: &cache.key };
        let (key, admission) = (&key, &Admission::default());
        keep(Ask { app, live, request, rule, cache, admission, key, selector }, forward, fetched, begun).await
    }
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
        let path = target.path();
        tracing::warn!(%error, path, "Redis has not yet removed what a write made obsolete; until it has, only this sidecar knows");
    }
}
