//! The way of a request under a rule in shadow: to the origin and back as if there were no cache. What a cache
//! would have done is said, counted, and noted for the next request.

use http::StatusCode;

use crate::{
    ask::Ask,
    error::Failure,
    fill::{Before, Purpose},
    flight::Flight,
    forward,
    message::{Reply, RequestBody},
    policy::shadow::Shadow,
    respond,
    status::Outcome,
    upstream::Fetched,
};

/// Passes a request on for its own sake, and notes what a fill could have stored of the answer.
pub async fn shadow(ask: Ask<'_>, would: Shadow) -> Reply {
    let Ask { app, live, request, admission, .. } = ask;
    let begun = app.begin();
    let fetched = match live.upstream.send(forward::passed(request, live, RequestBody::None)).await {
        Err(error) => return Failure::of_fetch(&error).reply(),
        Ok(fetched) => fetched,
    };
    let mut told = would.forward;
    if !would.fetches || admission.wants_less() || says_nothing_of_others(&fetched) {
        return respond::fetched(fetched, Outcome::Forward(told), app.clock.now());
    }
    // A fetch that nobody joins: each request here has its own.
    let (flight, _ticket) = Flight::alone();
    let seek = ask.seek(None, app.store.budget(), Purpose::AnswerAnyhow);
    let fill = ask.fill(http::Request::default(), admission.clone(), flight, Before::default(), seek);
    let (answer, unstored) = fill.overhear(fetched.streamed(), begun);
    told.stored = unstored.is_none() && app.store.takes_writes(ask.key);
    told.detail = told.detail.or(unstored);
    respond::fetched(answer, Outcome::Forward(told), app.clock.now())
}

/// The answer to the client's own condition. A fill would have asked without it.
fn says_nothing_of_others<B>(fetched: &Fetched<B>) -> bool {
    matches!(fetched.head.status, StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED)
}
