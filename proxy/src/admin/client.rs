//! What the commands have in common that ask a running sidecar's admin listener.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::timeout;

use super::{CONNECTION_TIMEOUT, TokenError, token};
use crate::wrap::probe::{self, Address};

/// The listener itself gives up on a connection before.
const PATIENCE: Duration = CONNECTION_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Why a sidecar has not done what it was asked.
#[derive(Debug, Error)]
pub enum AskFailed {
    /// There is a token, and it cannot be used.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The sidecar cannot be asked, or broke off.
    #[error(
        "cannot ask {0}: {1}: does a sidecar run with this `admin`? (--admin or SIDECACHE_ADMIN names another)"
    )]
    Unreachable(Address, io::Error),
    /// It does not answer.
    #[error("{0} did not answer within {PATIENCE:?}: repeat it")]
    Silent(Address),
    /// Its token was not shown, or another one was.
    #[error("{0} {1}")]
    Denied(Address, &'static str),
    /// It says no, or only half.
    #[error("{0} answered {1}: {2}")]
    Answered(Address, StatusCode, String),
    /// A success that tells nothing of what was asked.
    #[error("{0} answered {1}, but not as a sidecar of this version does: is that its `admin` address?")]
    Stranger(Address, StatusCode),
}

/// Posts this as JSON to a path of the listener, and reads at most so many bytes of the answer.
///
/// # Errors
/// Anything but a success.
pub(crate) async fn post(
    to: &Address,
    token_file: Option<&Path>,
    path: &str,
    body: &impl Serialize,
    most: usize,
) -> Result<(StatusCode, Vec<u8>), AskFailed> {
    let unreachable = |error| AskFailed::Unreachable(to.clone(), error);
    let secret = token::secret(token_file)?;
    let credentials = secret.as_deref().map(token::credentials).transpose()?;
    let body = serde_json::to_vec(body).map_err(|error| unreachable(error.into()))?;
    let mut request = Request::builder().method(Method::POST).uri(path);
    request = request.header(CONTENT_TYPE, "application/json");
    if let Some(credentials) = credentials {
        request = request.header(AUTHORIZATION, credentials);
    }
    let request = request.body(body.into()).map_err(|error| unreachable(io::Error::other(error)))?;
    let (status, text) = timeout(PATIENCE, exchange(to, request, most))
        .await
        .map_err(|_| AskFailed::Silent(to.clone()))?
        .map_err(unreachable)?;
    match status {
        _ if status.is_success() => Ok((status, text)),
        StatusCode::UNAUTHORIZED => Err(AskFailed::denied(to, secret.is_some())),
        // Every sidecar has these paths: an app has not.
        StatusCode::NOT_FOUND => Err(AskFailed::Stranger(to.clone(), status)),
        _ => Err(AskFailed::Answered(to.clone(), status, said(&text))),
    }
}

impl AskFailed {
    /// A 401, to whom a token was `given`, or none.
    pub(super) fn denied(to: &Address, given: bool) -> Self {
        let why = match given {
            true => "says that this is not its token",
            false => "wants its token: --token-file FILE or SIDECACHE_ADMIN_TOKEN",
        };
        Self::Denied(to.clone(), why)
    }
}

/// The status and so much of the body.
pub(super) async fn exchange(
    to: &Address,
    request: Request<Full<Bytes>>,
    most: usize,
) -> io::Result<(StatusCode, Vec<u8>)> {
    let response = probe::send(to, request).await?;
    let status = response.status();
    let text = Limited::new(response.into_body(), most).collect().await.map_err(io::Error::other)?;
    Ok((status, text.to_bytes().into()))
}

/// The `detail` of a problem document, the `reasons` of who is not ready, or else what there is: in one line, fit
/// for a terminal.
pub(super) fn said(text: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Problem { detail: String },
        NotReady { reasons: Vec<String> },
    }
    let told = match serde_json::from_slice(text) {
        Ok(Said::Problem { detail }) => detail,
        Ok(Said::NotReady { reasons }) => reasons.join("; "),
        Err(_) => String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned(),
    };
    let told: String = told.chars().filter(|c| !c.is_control()).collect();
    if told.is_empty() { "no reason".to_owned() } else { told }
}
