//! A request for which the store may be asked: all that is known of it, and the fetches it can start.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    app::{App, Live},
    fill::{Before, Fill, Purpose, Right, Seek},
    flight::{Flight, Phase, Role},
    forward::{self, Conditions},
    key::ResourceKey,
    message::{Request, RequestBody},
    policy::{freshening::has_validator, partial::is_completable, request::Admission, rule::CacheRule},
    purges::Known,
    routes::Rule,
    store::{Selector, tiers::Leave},
    stored::Stored,
};

/// A request for which the store may be asked, and all that is known of it.
#[derive(Clone, Copy)]
pub struct Ask<'r> {
    /// What lives as long as the process.
    pub app: &'r Arc<App>,
    /// What the file says.
    pub live: &'r Arc<Live>,
    /// What the client sent.
    pub request: &'r Request,
    /// The rule that matched.
    pub rule: &'r Rule,
    /// What it says of caching.
    pub cache: &'r Arc<CacheRule>,
    /// What the policy lets the request do.
    pub admission: &'r Admission,
    /// The resource.
    pub key: &'r ResourceKey,
    /// What picks the variant.
    pub selector: Selector<'r>,
}

impl Ask<'_> {
    /// Refreshes what was served, stale or soon to be: once at a time, for no client, and not if that has been done
    /// since `seen` (RFC 5861 §3). `known` is what was known of purges before it was found.
    pub fn refresh(self, stored: &Arc<Stored>, seen: Option<u64>, known: Known) {
        if self.app.flights.rests(self.key, self.rule.fingerprint) {
            return;
        }
        let Leave::Granted(leave) = self.app.store.leave_to_fetch(self.key) else { return };
        let Role::Leader(flight, ticket) = self.join(stored, seen, known) else { return };
        let fields = stored.fields();
        let (conditions, renews) = asking_about(stored, &fields);
        let selecting = forward::selecting(self.request, self.cache, &stored.nominated);
        let request = forward::refreshing(selecting.clone(), self.request, self.live, self.cache, conditions);
        let admission = Admission::default();
        let before = Before { renews, known, supersedes: true, spares: true, siblings: None };
        let seek = self.seek(Some(stored), self.app.store.budget(), Purpose::Refresh);
        let mut fill = self.fill(request, admission, Arc::clone(&flight), before, seek);
        fill.asked = selecting; // What was not sent selects nothing.
        let (app, path) = (Arc::clone(self.app), self.request.head.target.path().to_owned());
        tokio::spawn(async move {
            fill.run(oneshot::channel().0).await;
            drop((ticket, leave)); // Without the ticket nobody would wait for the answer.
            let phase = flight.phase();
            app.refreshes.count(&phase);
            if let Phase::Failed(error) = phase {
                tracing::warn!(%error, path, "a stored response could not be refreshed");
            }
        });
    }

    /// The flight that brings another response in the place of `stored`, or that one renewed, which was found when that
    /// much was `known` of purges.
    pub(crate) fn join(self, stored: &Stored, seen: Option<u64>, known: Known) -> Role {
        let variant = self.selector.variant(&stored.nominated);
        self.app.flights.join(self.key, &variant, self.rule.fingerprint, seen, Some(known))
    }

    /// A fetch for it, with that request.
    pub(crate) fn fill(
        self,
        request: http::Request<RequestBody>,
        admission: Admission,
        flight: Arc<Flight>,
        before: Before,
        seek: Seek,
    ) -> Fill {
        Fill {
            app: Arc::clone(self.app),
            live: Arc::clone(self.live),
            request,
            asked: self.request.head.headers.clone(),
            admission,
            rule: Arc::clone(self.cache),
            fingerprint: self.rule.fingerprint,
            rule_tag: self.rule.tag(),
            key: self.key.clone(),
            flight,
            before,
            seek,
            right: Right::default(),
        }
    }

    /// How the right is sought to store another response in the place of what was `found`.
    pub(crate) fn seek(self, found: Option<&Arc<Stored>>, left: Duration, purpose: Purpose) -> Seek {
        let nominated = found.map_or_else(Default::default, |stored| stored.nominated.clone());
        let variant = self.selector.variant(&nominated);
        Seek { variant, found: found.map(|stored| stored.request_time), left, purpose }
    }
}

/// The conditions under which a stored response still holds, and what then is renewed.
pub(crate) fn asking_about<'f>(
    stored: &Arc<Stored>,
    fields: &'f http::HeaderMap,
) -> (Conditions<'f>, Option<Arc<Stored>>) {
    match has_validator(fields) {
        _ if stored.part.is_some() => match is_completable(stored) {
            true => (Conditions::Rest(fields, stored.held().end), Some(Arc::clone(stored))),
            false => (Conditions::None, None),
        },
        true => (Conditions::Stored(fields), Some(Arc::clone(stored))),
        false => (Conditions::None, None),
    }
}
