//! The way of a request that the store has no part in, and what its success makes obsolete.

use std::sync::Arc;

use crate::{
    app::{App, Live},
    error::Failure,
    forward,
    message::{Reply, Request, RequestBody},
    policy::invalidation::invalidates,
    respond,
    routes::Rule,
    status::{Forward, Outcome},
    store::Store,
};

/// Passes a request on for its own sake, and makes obsolete what its success changed.
pub async fn pass(
    app: &App,
    live: &Live,
    request: &Request,
    body: RequestBody,
    forward: Forward,
    rule: Option<&Rule>,
) -> Reply {
    let outgoing = forward::passed(request, live, body);
    let mut reply = match live.upstream.send(outgoing).await {
        Err(error) => Failure::of_fetch(&error).reply(),
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
