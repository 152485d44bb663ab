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
    /// It says no, or only half.
    #[error("{0} answered {1}: {2}")]
    Answered(Address, StatusCode, String),
    /// A success that tells nothing of what was asked.
    #[error("{0} answered {1}, but not as a sidecar does: is that its `admin` address?")]
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
    match status.is_success() {
        true => Ok((status, text)),
        false => Err(AskFailed::Answered(to.clone(), status, said(&text))),
    }
}

async fn exchange(
    to: &Address,
    request: Request<Full<Bytes>>,
    most: usize,
) -> io::Result<(StatusCode, Vec<u8>)> {
    let response = probe::send(to, request).await?;
    let status = response.status();
    let text = Limited::new(response.into_body(), most).collect().await.map_err(io::Error::other)?;
    Ok((status, text.to_bytes().into()))
}

/// The `detail` of a problem document, or else what there is: in one line, fit for a terminal.
fn said(text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let told = match serde_json::from_slice(text) {
        Ok(Problem { detail }) => detail,
        Err(_) => String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned(),
    };
    let told: String = told.chars().filter(|c| !c.is_control()).collect();
    if told.is_empty() { "no reason".to_owned() } else { told }
}
