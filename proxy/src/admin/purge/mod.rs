//! `POST /purge`: what is wrong with a body is told before anything is purged, and a 200 says that every
//! live sidecar has applied it, never less.

pub mod command;
mod wire;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

use self::wire::{Answer, Body, BodyError};
use super::{AdminState, body::whole, problem::Problem, waiting::Place};
use crate::purge::{PurgeReport, Reached};

/// Bytes of a body.
const BODY_BYTES: usize = 64 * 1024;
const TOO_LONG: &str = "a purge is at most 65536 bytes: send several";

/// URLs, tags and rules of one purge together.
const ITEMS: usize = 1000;

pub(super) async fn purge(
    State(state): State<AdminState>,
    place: Place,
    request: Request,
) -> Result<Response, Problem> {
    let body = Body::read(&whole(request, BODY_BYTES, TOO_LONG).await?)?;
    let request = body.request(&(state.rules)())?;
    // A task of its own: a client that leaves must not end it half way, nor make room for one more.
    let purge = (state.purge)(request);
    let task = tokio::spawn(async move {
        let _place = place;
        purge.await
    });
    let report = task.await.map_err(|error| {
        tracing::error!(%error, "a purge ended without a word");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the purge ended without a word: a defect; repeat it")
    })?;
    let (urls, tags, rules) = (body.urls.len(), body.tags.len(), body.rules.len());
    let (all, soft) = (body.all, body.soft);
    tracing::info!(urls, tags, rules, all, soft, "a purge was asked for");
    tell(&report);
    Ok(answer(body, &report))
}

/// Tells the log what became of one.
fn tell(report: &PurgeReport) {
    let PurgeReport { reached, members, .. } = report;
    let waited_ms = report.waited_ms();
    match reached {
        Reached::Fleet => tracing::info!(reached = "fleet", members, waited_ms, "a purge is done"),
        Reached::Asked => tracing::info!(reached = "asked", members, waited_ms, "a purge is on its way"),
        Reached::LocalOnly(why) => {
            tracing::warn!(reached = "local", members, waited_ms, why, "a purge reached this sidecar alone");
        }
    }
}

fn answer(body: Body, report: &PurgeReport) -> Response {
    let answer = Answer::new(body, report);
    match &report.reached {
        Reached::Fleet => Json(answer).into_response(),
        Reached::Asked => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        Reached::LocalOnly(why) => {
            let why = why.trim_end_matches('.');
            let detail = format!("purged on this sidecar alone: {why}; ask again until the answer is 200");
            Problem::with(StatusCode::SERVICE_UNAVAILABLE, detail, answer).into_response()
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}
