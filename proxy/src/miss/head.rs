//! A HEAD that the store could not answer.

use std::sync::Arc;

use http::{StatusCode, response::Parts};

use super::Miss;
use crate::{
    ask::Ask,
    fill::{Before, Purpose, Right},
    flight::Role,
    forward::{self, Conditions},
    message::{Reply, RequestBody},
    policy::{freshening::describes, request::Admission, statuses::is_server_error},
    purges::Begun,
    respond,
    status::Outcome,
    store::tiers::Leave,
    stored::Stored,
    upstream::FetchError,
};

impl Miss<'_> {
    /// A HEAD goes to the origin itself, as a GET to be stored would, because what its answer says of
    /// the representation is learnt.
    pub async fn head(self) -> Reply {
        let Ask { app, live, request, cache, .. } = self.ask;
        if let Some(reply) = self.while_failing(None) {
            return reply;
        }
        let Leave::Granted(_leave) = app.store.leave_to_fetch(self.ask.key) else {
            return self.failed(&FetchError::Shed);
        };
        let right = self.right_to_learn().await;
        let begun = Begun { known: self.look.known, ..app.begin() };
        let asking = forward::filling::<RequestBody>(request, live, cache, Conditions::Clients);
        match live.upstream.send(asking).await {
            Err(error) => self.failed(&error),
            Ok(fetched) if is_server_error(fetched.head.status) && self.stand_in().is_some() => {
                self.failed(&FetchError::ServerError(fetched.head.status))
            }
            Ok(fetched) => {
                self.learn(&fetched.head, begun, right);
                respond::fetched(fetched, Outcome::Forward(self.forward), app.clock.now())
            }
        }
    }

    /// What a HEAD can be about.
    fn learnable(&self) -> Option<&Arc<Stored>> {
        self.found.as_ref().filter(|stored| stored.part.is_none() && self.validate)
    }

    /// To be had before the origin is asked, as for any fetch.
    async fn right_to_learn(&self) -> Right {
        let Ask { app, key, selector, .. } = self.ask;
        match self.learnable() {
            Some(stored) => {
                let variant = selector.variant(&stored.nominated);
                Right::try_once(app, key, &variant, self.look.left).await
            }
            None => Right::default(),
        }
    }

    /// RFC 9111 §4.3.5: renews the stored response that the origin describes; one that it does not
    /// describe is obsolete.
    fn learn(&self, told: &Parts, begun: Begun, right: Right) {
        let Some(stored) = self.learnable().filter(|_| told.status == StatusCode::OK) else { return };
        let described = describes(&told.headers, &stored.fields(), stored.body.len());
        let renews = Some(Arc::clone(stored)).filter(|_| described);
        // Who is fetching it learns no less.
        let Role::Leader(flight, ticket) = self.ask.join(stored, None, begun.known) else { return };
        let before = Before { renews, known: begun.known, supersedes: true, spares: false, siblings: None };
        let admission = Admission { head_only: false, ..self.ask.admission.clone() };
        let seek = self.ask.seek(Some(stored), self.look.left, Purpose::Answer);
        let mut fill = self.ask.fill(http::Request::default(), admission, flight, before, seek);
        fill.right = right;
        let told = told.headers.clone();
        tokio::spawn(async move {
            fill.learn(told, begun).await;
            drop(ticket);
        });
    }
}
