//! What becomes obsolete: by a write that the app has taken, or by the word of an operator.

use std::sync::Arc;

use http::{Method, response::Parts};
use tokio::time::Instant;

use crate::{
    admit::Target,
    app::{App, Live},
    invalidations::{Cause, Named},
    key::{QueryPolicy, ResourceKey, origin},
    policy::{
        invalidation::{invalidates, obsolete},
        tags::groups_to_invalidate,
    },
    purge::{AskedAs, Elsewhere, PurgeReport, PurgeRequest, PurgeUrl, Reached},
    store::{Purge, Purged, Store, StoreError, Wait, redis::Health, tiers::Tiers},
    tags::Tag,
};

/// URLs of one purge of which it is looked up whether they were meant to have another host.
const LOOKED_UP: usize = 3;

/// Purges what a request has changed, once the app has answered it: the resources of RFC 9111 §4.4, the
/// groups of RFC 9875 §3, and what `purge_on` names: all in one purge. What became of it.
pub async fn after_write(
    app: &App,
    live: &Live,
    method: &Method,
    target: &Target,
    told: &Parts,
) -> Option<Purged> {
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
    carry_out(app, purge, target).await
}

async fn carry_out(app: &App, purge: Purge, target: &Target) -> Option<Purged> {
    if purge.is_empty() {
        return None;
    }
    match app.store.purge(&purge, Wait::Briefly, app.clock.now()).await {
        Ok(purged) => Some(purged),
        Err(error) => {
            let path = target.path();
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
    // Of all that there is nothing stays.
    let named_urls = if all { &[][..] } else { &request.urls };
    let elsewhere = elsewhere(&app, named_urls).await;
    let purge = Purge {
        resources: request.urls.iter().flat_map(|url| keys(&app, url)).collect(),
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
            elsewhere,
        },
        Err(error) => PurgeReport {
            epoch: None,
            reached: Reached::LocalOnly(untaken(&app, &error)),
            members: 1,
            waited: begun.elapsed(),
            elsewhere,
        },
    }
}

/// Why Redis has not confirmed it: what has been wrong with that for longer says more than that there is no connection.
fn untaken(app: &App, error: &StoreError) -> String {
    let Tiers::Redis(fleet) = &app.store else { return error.to_string() };
    match (fleet.redis().health(), fleet.redis().no_writes()) {
        (Health::Down { reason, .. }, _) => format!("Redis is away: {reason}"),
        (Health::Up, Some(reason)) if matches!(error, StoreError::Unavailable) => {
            format!("Redis takes no writes: {reason}")
        }
        (Health::Up, _) => format!("Redis did not confirm it: {error}"),
    }
}

/// What is stored under a URL has one of these keys.
fn keys(app: &App, url: &PurgeUrl) -> Vec<ResourceKey> {
    let of = |target| {
        let keys = app.resource_keys(target);
        // No rule that this process knows of has cached it; one that it does not know of may have.
        if keys.is_empty() { vec![ResourceKey::new(target, &QueryPolicy::All)] } else { keys }
    };
    url.targets().flat_map(of).collect()
}

/// Of these URLs those with a host of which nothing is known, though clients ask for the same path with others: most
/// likely with the host of the app, or of this process, in the place of theirs. And those whose host a trusted proxy
/// forwards under another one, or another one under it: that is not purged.
async fn elsewhere(app: &App, urls: &[PurgeUrl]) -> Vec<Elsewhere> {
    let asked = urls.iter().enumerate().filter_map(|(place, url)| {
        let target = url.targets().next()?;
        let hosts = app.outcomes.elsewhere(target);
        (!hosts.is_empty()).then(|| (Elsewhere { place, hosts }, target.authority(), url))
    });
    let mut found = Vec::new();
    for (mut elsewhere, host, url) in asked.take(LOOKED_UP) {
        let concerns = |asked: &AskedAs| asked.is_forwarded_for(host);
        if !elsewhere.hosts.iter().all(concerns) && !is_unknown(app, url).await {
            elsewhere.hosts.retain(concerns);
        }
        if !elsewhere.hosts.is_empty() {
            found.push(elsewhere);
        }
    }
    found
}

/// Whether surely nothing is stored under it.
async fn is_unknown(app: &App, url: &PurgeUrl) -> bool {
    for key in keys(app, url) {
        if app.store.variants(&key).await != Some(0) {
            return false;
        }
    }
    true
}
