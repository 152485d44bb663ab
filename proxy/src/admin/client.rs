//! What the commands have in common that ask a running sidecar's admin listener.

use std::{io, path::Path, time::Duration};

use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Builder,
};
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::timeout;

use super::{CONNECTION_TIMEOUT, TokenError, token};
use crate::wrap::probe::{self, Address};

/// For what may take as long as it has to: the listener itself gives up on a connection before.
const PATIENCE: Duration = CONNECTION_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Why a sidecar has not done or told what it was asked.
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
    #[error("{0} did not answer within {1:?}")]
    Silent(Address, Duration),
    /// It does not say whether it has done what was posted.
    #[error("{0} did not answer within {PATIENCE:?}: repeat it")]
    Undecided(Address),
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

/// Whom to ask.
pub(super) struct Client {
    pub(super) to: Address,
    credentials: Option<HeaderValue>,
    /// How long to wait for each answer.
    patience: Duration,
}

/// What is answered: the status, and the body as far as it was read.
pub(crate) type Answer = (StatusCode, Vec<u8>);

impl Client {
    /// One that shows no token.
    pub(super) fn new(to: &Address, patience: Duration) -> Self {
        Self { to: to.clone(), credentials: None, patience }
    }

    /// One that shows the token from this file or the environment, if there is one.
    pub(super) fn with_token(
        to: &Address,
        file: Option<&Path>,
        patience: Duration,
    ) -> Result<Self, TokenError> {
        let credentials = token::secret(file)?.as_deref().map(token::credentials).transpose()?;
        Ok(Self { credentials, ..Self::new(to, patience) })
    }

    /// The answer to a GET of a path, whatever it says; at most so many bytes of it are read.
    pub(super) async fn get(&self, path: &str, most: usize) -> Result<Answer, AskFailed> {
        self.send(Request::get(path), Vec::new(), most).await
    }

    async fn send(&self, mut request: Builder, body: Vec<u8>, most: usize) -> Result<Answer, AskFailed> {
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let exchange = async {
            let request = request.body(body.into()).map_err(io::Error::other)?;
            let response = probe::send(&self.to, request).await?;
            let status = response.status();
            let text = Limited::new(response.into_body(), most).collect().await.map_err(io::Error::other)?;
            Ok((status, text.to_bytes().into()))
        };
        timeout(self.patience, exchange)
            .await
            .map_err(|_| AskFailed::Silent(self.to.clone(), self.patience))?
            .map_err(|error| AskFailed::Unreachable(self.to.clone(), error))
    }

    /// The answer, if it is a success.
    pub(super) fn success(&self, (status, text): Answer) -> Result<Answer, AskFailed> {
        let to = || self.to.clone();
        match status {
            _ if status.is_success() => Ok((status, text)),
            StatusCode::UNAUTHORIZED => Err(AskFailed::Denied(to(), self.why_denied())),
            // Every sidecar has these paths: an app has not.
            StatusCode::NOT_FOUND => Err(AskFailed::Stranger(to(), status)),
            _ => Err(AskFailed::Answered(to(), status, said(&text))),
        }
    }

    fn why_denied(&self) -> &'static str {
        match self.credentials {
            Some(_) => "says that this is not its token",
            None => "wants its token: --token-file FILE or SIDECACHE_ADMIN_TOKEN",
        }
    }
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
) -> Result<Answer, AskFailed> {
    let client = Client::with_token(to, token_file, PATIENCE)?;
    let body = serde_json::to_vec(body).map_err(|error| AskFailed::Unreachable(to.clone(), error.into()))?;
    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
    let answer = client.send(request, body, most).await.map_err(|error| match error {
        AskFailed::Silent(to, _) => AskFailed::Undecided(to),
        other => other,
    })?;
    client.success(answer)
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
