//! The way of a request that the store has no part in, and what its success makes obsolete.

use std::{pin::pin, sync::Arc};

use http::{Method, response::Parts};
use tokio::sync::oneshot;

use crate::{
    admit::Target,
    app::{App, Live},
    ask::Ask,
    error::Failure,
    forward,
    headers::is_grpc,
    key::{ResourceKey, normalise_codings},
    message::{Reply, Request, RequestBody},
    miss::keep,
    obsolete::after_write,
    policy::{
        posted::represents_target,
        request::{Admission, forbids_storing, has_unkeyed_credentials},
        rule::CacheRule,
    },
    purges::Begun,
    respond,
    routes::Rule,
    status::{Forward, Outcome},
    store::{Purged, Selector},
    upstream::{Fetched, OnItsWay},
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
    let mut outgoing = forward::passed(request, live, body);
    if posting.is_some() {
        normalise_codings(outgoing.headers_mut());
    }
    // A call of gRPC that is taken back is cancelled, and its server told.
    let ends_with_client = request.head.method.is_safe() || is_grpc(&request.head.headers);
    let sent = match ends_with_client {
        true => send(app, live, &request.head.method, &request.head.target, outgoing).await,
        false => write(app, live, request, outgoing).await,
    };
    let reply = match sent {
        Err(failure) => failure.reply(),
        Ok((fetched, own)) => {
            let posting = posting.filter(|posting| posting.is_answered_by(request, &fetched.head));
            match posting.zip(own) {
                Some((posting, own)) => posting.store(app, live, request, forward, fetched, own).await,
                None => respond::fetched(fetched, Outcome::Forward(forward), app.clock.now()),
            }
        }
    };
    respond::under(rule, reply)
}

/// Sends a request, and makes obsolete what it has changed.
async fn send(
    app: &App,
    live: &Live,
    method: &Method,
    target: &Target,
    outgoing: http::Request<RequestBody>,
) -> Result<(Fetched, Option<Purged>), Failure> {
    let fetched = live.upstream.send(outgoing).await.map_err(|error| Failure::of_fetch(&error))?;
    let own = after_write(app, live, method, target, &fetched.head).await;
    Ok((fetched, own))
}

/// Sends what may change something, and makes obsolete what it has changed: as a task of its own, since an app that
/// has the request does what it asks for though the client leaves. What is not on its way yet ends with the client; and
/// so do more than [`App::writes_alone`], which those who ask again and again would else fill the app's connections with.
async fn write(
    app: &Arc<App>,
    live: &Arc<Live>,
    request: &Request,
    mut outgoing: http::Request<RequestBody>,
) -> Result<(Fetched, Option<Purged>), Failure> {
    let on_its_way = OnItsWay::default();
    outgoing.extensions_mut().insert(on_its_way.clone());
    let (app, live) = (Arc::clone(app), Arc::clone(live));
    let (method, target) = (request.head.method.clone(), request.head.target.clone());
    let under_way = app.writes.subscribe();
    let (mut client, answer) = oneshot::channel();
    tokio::spawn(async move {
        let mut written = pin!(send(&app, &live, &method, &target, outgoing));
        let written = tokio::select! {
            // A request that is taken back as soon as it has come does not begin.
            biased;
            () = client.closed() => match app.writes_alone.try_acquire() {
                Ok(_goes_on) if on_its_way.is_so() => written.await,
                _ => return,
            },
            written = &mut written => written,
        };
        // Of an answer that nobody takes, the connection is closed.
        let _ = client.send(written);
        drop(under_way);
    });
    answer.await.unwrap_or_else(|_| Err(Failure::internal()))
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
            && !cache.shadow
            && !head.connection.hides_fields
            && !has_unkeyed_credentials(&head.headers, head.notable, cache)
            && !forbids_storing(&head.headers, cache)
            && !forward::rewrites(request, cache);
        common.then(|| {
            let key = ResourceKey::new(&head.target, &cache.key.query);
            Self { rule, cache, key, begun: app.begin() }
        })
    }

    /// Whether this may answer later GETs.
    fn is_answered_by(&self, request: &Request, told: &Parts) -> bool {
        let asked = &request.head;
        represents_target(&asked.target, &asked.method, told.status, &told.headers, self.cache)
    }

    /// Stores the answer, and passes it on. Its own success makes obsolete what was stored before it, and not what
    /// it brings.
    async fn store(
        self,
        app: &Arc<App>,
        live: &Arc<Live>,
        request: &Request,
        forward: Forward,
        fetched: Fetched,
        own: Purged,
    ) -> Reply {
        let Self { rule, cache, key, begun } = self;
        let selector = Selector { headers: &request.head.headers, keyed: &cache.key };
        let (key, admission) = (&key, &Admission::default());
        let ask = Ask { app, live, request, rule, cache, admission, key, selector };
        keep(ask, forward, fetched, begun, own).await
    }
}
