//! A HEAD that the store could not answer.

use std::{sync::Arc, time::SystemTime};

use http::{StatusCode, response::Parts};

use super::Miss;
use crate::{
    ask::Ask,
    fill::Before,
    flight::Role,
    forward,
    message::{Reply, RequestBody},
    policy::{freshening::describes, request::Admission},
    respond,
    status::Outcome,
};

impl Miss<'_> {
    /// A HEAD goes to the origin itself. What its answer says of the representation is learnt.
    pub async fn head(self, body: RequestBody) -> Reply {
        let Ask { app, live, request, .. } = self.ask;
        let sent = app.clock.now();
        match live.upstream.send(forward::passed(request, live, body)).await {
            Err(error) => self.failed(&error),
            Ok(fetched) => {
                self.learn(&fetched.head, sent);
                respond::fetched(fetched, Outcome::Forward(self.forward), app.clock.now())
            }
        }
    }

    /// RFC 9111 §4.3.5: renews the stored response that the origin describes; one that it does not
    /// describe is obsolete.
    fn learn(&self, told: &Parts, sent: SystemTime) {
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
            fill.learn(told, sent).await;
            drop(ticket);
        });
    }
}
