//! A HEAD that the store could not answer.

use std::sync::Arc;

use http::{StatusCode, response::Parts};

use super::Miss;
use crate::{
    ask::Ask,
    fill::{Before, Begun},
    flight::Role,
    forward::{self, Conditions},
    message::{Reply, RequestBody},
    policy::{freshening::describes, request::Admission, statuses::is_server_error},
    respond,
    status::Outcome,
    store::tiers::Leave,
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
        let Leave::Granted(_leave) = app.store.leave_to_fetch() else {
            return self.failed(&FetchError::Shed);
        };
        let begun = Begun::now(app, self.ask.key);
        let asking = forward::filling::<RequestBody>(request, live, cache, Conditions::Clients);
        match live.upstream.send(asking).await {
            Err(error) => self.failed(&error),
            Ok(fetched) if is_server_error(fetched.head.status) && self.stand_in().is_some() => {
                self.failed(&FetchError::ServerError(fetched.head.status))
            }
            Ok(fetched) => {
                self.learn(&fetched.head, begun);
                respond::fetched(fetched, Outcome::Forward(self.forward), app.clock.now())
            }
        }
    }

    /// RFC 9111 §4.3.5: renews the stored response that the origin describes; one that it does not
    /// describe is obsolete.
    fn learn(&self, told: &Parts, begun: Begun) {
        let whole = self.found.as_ref().filter(|stored| stored.part.is_none());
        let Some(stored) = whole.filter(|_| self.validate && told.status == StatusCode::OK) else {
            return;
        };
        let described = describes(&told.headers, &stored.fields(), stored.body.len());
        let renews = Some(Arc::clone(stored)).filter(|_| described);
        // Who is fetching it learns no less.
        let Role::Leader(flight, ticket) = self.ask.join(stored, None) else { return };
        let before = Before { renews, supersedes: true, spares: false, siblings: None };
        let admission = Admission { head_only: false, ..self.ask.admission.clone() };
        let fill = self.ask.fill(http::Request::default(), admission, flight, before);
        let told = told.headers.clone();
        tokio::spawn(async move {
            fill.learn(told, begun).await;
            drop(ticket);
        });
    }
}
