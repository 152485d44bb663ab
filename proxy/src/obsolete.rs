//! What becomes obsolete: by a write that the app has taken, or by the word of an operator.

use std::sync::Arc;

use http::response::Parts;
use tokio::time::Instant;

use crate::{
    admit::Head,
    app::{App, Live},
    invalidations::{Cause, Named},
    key::{QueryPolicy, ResourceKey, origin},
    message::Request,
    policy::{
        invalidation::{invalidates, obsolete},
        tags::groups_to_invalidate,
    },
    purge::{PurgeReport, PurgeRequest, PurgeUrl, Reached},
    store::{Purge, Purged, Store, Wait},
    tags::Tag,
};

/// Purges what a request has changed, once the app has answered it: the resources of RFC 9111 §4.4, the
/// groups of RFC 9875 §3, and what `purge_on` names: all in one purge. What became of it.
pub async fn after_write(app: &App, live: &Live, request: &Request, told: &Parts) -> Option<Purged> {
    let Head { target, method, .. } = &request.head;
    if !invalidates(method, told.status) {
        return None;
    }
    let targets = obsolete(target, method, told.status, &told.headers);
    let keys: Vec<_> = targets.iter().map(|target| app.resource_keys(target)).collect();
    let mut purge = Purge {
        resources: keys.concat(),
        tags: groups_to_invalidate(method, told.status, &told.headers, &origin(target)),
        ..Purge::default()
    };
    let urls = keys.iter().filter(|keys| !keys.is_empty()).count();
    app.invalidations.count(Cause::Write, Named { urls, tags: purge.tags.len(), ..Named::default() });
    for entry in live.purge_on.iter().filter(|entry| entry.matches(method, target)) {
        let named = Named { tags: entry.tags.len(), rules: entry.rules.len(), ..Named::default() };
        app.invalidations.count(Cause::PurgeOn, named);
        let tags = if entry.soft { &mut purge.stale } else { &mut purge.tags };
        tags.extend(entry.purges());
    }
    carry_out(app, purge, request).await
}

async fn carry_out(app: &App, purge: Purge, request: &Request) -> Option<Purged> {
    if purge.is_empty() {
        return None;
    }
    match app.store.purge(&purge, Wait::Briefly, app.clock.now()).await {
        Ok(purged) => Some(purged),
        Err(error) => {
            let path = request.head.target.path();
            tracing::warn!(%error, path, "Redis has not yet removed what a write made obsolete; until it has, only this sidecar knows");
            None
        }
    }
}

/// Carries out what an operator asks for.
pub async fn purge(app: Arc<App>, request: PurgeRequest) -> PurgeReport {
    let begun = Instant::now();
    let PurgeRequest { urls, tags, rules, everything, .. } = &request;
    let (urls, all) = (urls.len(), *everything);
    app.invalidations.count(Cause::Purge, Named { urls, tags: tags.len(), rules: rules.len(), all });
    let named = request.tags.iter().map(|name| Tag::named(name.as_bytes()));
    let rules = request.rules.iter().map(|name| Tag::rule(name));
    let targets = request.urls.iter().flat_map(PurgeUrl::targets);
    let keys = |target| {
        let keys = app.resource_keys(target);
        // No rule that this process knows of has cached it; one that it does not know of may have.
        if keys.is_empty() { vec![ResourceKey::new(target, &QueryPolicy::All)] } else { keys }
    };
    let purge = Purge {
        resources: targets.flat_map(keys).collect(),
        tags: named.chain(rules).chain(request.everything.then(Tag::everything)).collect(),
        mode: request.mode,
        ..Purge::default()
    };
    let (wait, reached) = match request.wait {
        true => (Wait::ForFleet, Reached::Fleet),
        false => (Wait::ForStore, Reached::Asked),
    };
    match app.store.purge(&purge, wait, app.clock.now()).await {
        Ok(purged) => PurgeReport {
            epoch: Some(purged.epoch),
            reached,
            members: purged.applied,
            waited: begun.elapsed(),
        },
        Err(error) => PurgeReport {
            epoch: None,
            reached: Reached::LocalOnly(error.to_string()),
            members: 1,
            waited: begun.elapsed(),
        },
    }
}
