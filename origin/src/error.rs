//! Every failure of a request as a status and a JSON body.
//!
//! The body is `{"error": "what is wrong"}`; for an invalid product also
//! `"fields": {"name": "what is wrong with it", …}`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use crate::database::DatabaseError;
use crate::product::Invalid;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing lives at the path: 404.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The path has other methods, which `Allow` lists: 405.
    #[error("this path does not have that method; the Allow header lists those it has")]
    WrongMethod,
    /// No product has the id: 404.
    #[error("there is no product {0}")]
    NoProduct(String),
    /// The body cannot be used: 400 for malformed JSON, 413 when too large, 415 when not JSON.
    #[error("{reason}")]
    Body {
        /// The status that says it.
        status: StatusCode,
        /// The same in words.
        reason: String,
    },
    /// The body is JSON, but no valid product: 422.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another product has the name: 409.
    #[error("another product has this name")]
    DuplicateName,
    /// The database failed, which is not the client's fault: 500.
    #[error("the database failed")]
    Database(#[source] DatabaseError),
    /// The service is not well: 503. Only `/healthz` says so.
    #[error("the database does not answer")]
    Unhealthy(#[source] DatabaseError),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::NoProduct(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body { status, .. } => *status,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::DuplicateName => StatusCode::CONFLICT,
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unhealthy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DuplicateName => Self::DuplicateName,
            error => Self::Database(error),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        let reason = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body must be sent as application/json".to_owned(),
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too large".to_owned(),
            _ => rejection.body_text(),
        };
        Self::Body { status, reason }
    }
}

#[derive(Serialize)]
struct Body {
    error: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Database(cause) | Self::Unhealthy(cause) = &self {
            error!(%cause, "{self}");
        }
        let (status, error) = (self.status(), self.to_string());
        let fields = match self {
            Self::Invalid(Invalid::Fields(fields)) => fields,
            _ => BTreeMap::new(),
        };
        (status, Json(Body { error, fields })).into_response()
    }
}
