//! What the admin listener answers when it does not do what it was asked: problem documents
//! (RFC 9457), for scripts and for people with curl.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::Serialize;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// In seconds: Redis, once it is back, is taken up again within one or so, and purges take no longer.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// RFC 9457 §3; without `type`, which is then `about:blank`.
#[derive(Debug, Serialize)]
pub(super) struct Problem<More = ()> {
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    detail: String,
    /// §3.2: members of our own.
    #[serde(flatten)]
    more: More,
}

impl Problem {
    /// `detail`: what is wrong, and what to do, in a sentence.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem::with(status, detail, ())
    }
}

impl<More> Problem<More> {
    /// One that tells more in members of its own.
    pub(super) fn with(status: StatusCode, detail: impl Into<String>, more: More) -> Self {
        Self { title: status.canonical_reason().unwrap_or("Error"), status, detail: detail.into(), more }
    }
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl<More: Serialize> IntoResponse for Problem<More> {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        if response.status() == self.status {
            response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY);
        }
        response
    }
}
