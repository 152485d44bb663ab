//! `POST /purge`: what is wrong with a body is told before anything is purged, and a 200 says that every
//! live sidecar has applied it, never less.

pub mod command;
mod wire;

use axum::{
    Json,
    body::{Body as Stream, HttpBody},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use self::wire::{Answer, Body, BodyError};
use super::{AdminState, problem::Problem};
use crate::{
    policy::media::essence,
    purge::{PurgeReport, Reached},
};

/// Bytes of a body.
const BODY_BYTES: usize = 64 * 1024;

/// URLs, tags and rules of one purge together.
const ITEMS: usize = 1000;

/// Redis, once it is back, is taken up again within a second or so.
const RETRY: HeaderValue = HeaderValue::from_static("1");

pub(super) async fn purge(State(state): State<AdminState>, request: Request) -> Result<Response, Problem> {
    let body = Body::read(&whole(request).await?)?;
    let request = body.request(&(state.rules)())?;
    // A task of its own: a client that leaves must not end it half way.
    let purge = tokio::spawn((state.purge)(request));
    let report = purge.await.map_err(|error| {
        tracing::error!(%error, "a purge ended without a word");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the purge ended without a word: a defect; repeat it")
    })?;
    let (urls, tags, rules) = (body.urls.len(), body.tags.len(), body.rules.len());
    tracing::info!(urls, tags, rules, all = body.all, soft = body.soft, ?report, "a purge was asked for");
    Ok(answer(body, &report))
}

fn answer(body: Body, report: &PurgeReport) -> Response {
    let answer = Answer::new(body, report);
    match &report.reached {
        Reached::Fleet => Json(answer).into_response(),
        Reached::Asked => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        Reached::LocalOnly(why) => {
            let detail = format!("purged on this sidecar alone: {why}; ask again until the answer is 200");
            let problem = Problem::with(StatusCode::SERVICE_UNAVAILABLE, detail, answer);
            ([(RETRY_AFTER, RETRY)], problem).into_response()
        }
    }
}

/// The body, if it is JSON and no longer than it may be.
async fn whole(request: Request<Stream>) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let advice = "the body must be JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, advice));
    }
    let body = request.into_body();
    // One that is too long by its own account is not even asked for (`Expect: 100-continue`).
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_long());
    }
    let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|error| {
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => too_long(),
            None => Problem::new(StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}")),
        }
    })?;
    Ok(body.to_bytes())
}

/// Other pages cannot send this type without asking first, and are told no then.
fn is_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    essence(field.as_bytes()).eq_ignore_ascii_case(b"application/json")
}

fn too_long() -> Problem {
    let limit = format!("a purge is at most {BODY_BYTES} bytes: send several");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, limit)
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}
