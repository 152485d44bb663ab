//! What the proxy answers itself when it cannot pass on an answer: short problem documents
//! (RFC 9457) with `Proxy-Status` (RFC 9209), and never with `Cache-Status` (RFC 9211 §2).

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, DATE, RETRY_AFTER},
};

use crate::{
    admit::Refusal,
    headers::PSEUDONYM,
    message::{Failed, Fields, Reply, ReplyBody, RequestBodyError},
    status::{Outcome, Own},
    upstream::FetchError,
};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request gets an answer of the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    outcome: Own,
    /// RFC 9209 §2.3.
    error: &'static str,
    /// For the client.
    detail: String,
    /// For the log: what a client should not be told.
    cause: Option<String>,
}

impl Failure {
    /// The `Host` is none of those that are answered.
    #[must_use]
    pub fn misdirected() -> Self {
        let refusal = Refusal::with(StatusCode::MISDIRECTED_REQUEST, "this host is not served here (hosts)");
        refusal.into()
    }

    /// The request has passed here before.
    #[must_use]
    pub fn looped() -> Self {
        Self {
            status: StatusCode::LOOP_DETECTED,
            outcome: Own::Refused,
            error: "proxy_loop_detected",
            detail: "the request came back to this proxy: does upstream lead to it?".into(),
            cause: None,
        }
    }

    /// As many requests are under way as may be.
    #[must_use]
    pub fn crowded() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Own::Refused,
            error: "connection_limit_reached",
            detail: "as many requests are under way as may be (limits.connections)".into(),
            cause: None,
        }
    }

    /// The client wants only what is stored (RFC 9111 §5.2.1.7).
    #[must_use]
    pub fn not_cached() -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            outcome: Own::NotCached,
            error: "http_request_denied",
            detail: "nothing fresh is stored, and the request says only-if-cached".into(),
            cause: None,
        }
    }

    /// A fetch fails for the origin's reasons or for those of the client's body.
    #[must_use]
    pub fn of_fetch(error: &FetchError) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(body) = cause.downcast_ref::<RequestBodyError>() {
                return Self::from(*body);
            }
            source = cause.source();
        }
        Self::from(error)
    }

    /// A defect of the proxy's own.
    #[must_use]
    pub fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            outcome: Own::Failed,
            error: "proxy_internal_error",
            detail: "the proxy has lost track of this request; please report it".into(),
            cause: None,
        }
    }

    /// As an answer.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let mut fields = HeaderMap::with_capacity(8);
        // Some statuses are cacheable by default (RFC 9110 §15.1), and a cache in front would keep ours.
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(std::time::SystemTime::now())) {
            fields.insert(DATE, date);
        }
        if let Ok(status) = HeaderValue::from_str(&format!("{PSEUDONYM}; error={}", self.error)) {
            fields.insert(PROXY_STATUS, status);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Reply {
            status: self.status,
            fields: Fields::Map(fields),
            age: None,
            body: ReplyBody::Whole(self.document()),
            outcome: Outcome::Own(self.outcome),
            rule: None,
            spared: Duration::ZERO,
            failed: Some(self.failed()),
            tunnel: None,
        }
    }

    /// What the log says of it, also where something stale stands in.
    #[must_use]
    pub fn failed(&self) -> Box<Failed> {
        let cause = self.cause.clone().unwrap_or_else(|| self.detail.clone());
        Box::new(Failed { error: self.error, cause })
    }

    /// RFC 9457 §3.1; without `type`, which is then `about:blank`.
    fn document(&self) -> Bytes {
        let document = serde_json::json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        format!("{document}\n").into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            outcome: Own::Refused,
            error: "http_request_error",
            detail: refusal.reason.into(),
            cause: None,
        }
    }
}

impl From<RequestBodyError> for Failure {
    fn from(error: RequestBodyError) -> Self {
        let status = match error {
            RequestBodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RequestBodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            RequestBodyError::Malformed(_) | RequestBodyError::Closed => StatusCode::BAD_REQUEST,
        };
        let detail = error.to_string();
        Self { status, outcome: Own::Refused, error: "http_request_error", detail, cause: None }
    }
}

impl From<&FetchError> for Failure {
    /// What the origin did; its own words may hold what is not for clients.
    fn from(error: &FetchError) -> Self {
        Self {
            status: error.status(),
            outcome: Own::OriginFailed,
            error: error.proxy_status_error(),
            detail: error.to_string(),
            cause: Some(with_sources(error)),
        }
    }
}

/// An error and all that caused it.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = [text, cause.to_string()].join(": ");
        source = cause.source();
    }
    text
}
