//! `sidecache purge`: asks a running sidecar to purge.

use std::{fmt, io, time::Duration};

use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::{
    BODY_BYTES,
    wire::{Answer, Body, Extent, Purged},
};
use crate::{
    admin::{CONNECTION_TIMEOUT, TokenError, token},
    cli::Purge,
    wrap::probe::{self, Address},
};

/// The listener itself gives up on a connection before.
const PATIENCE: Duration = CONNECTION_TIMEOUT.saturating_add(Duration::from_secs(5));

/// What is read of an answer; one to a purge repeats what was purged.
const ANSWER_BYTES: usize = BODY_BYTES + 16 * 1024;

/// Why it is not known to have been purged everywhere.
#[derive(Debug, Error)]
pub enum PurgeFailed {
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
    /// It says no, or not everywhere.
    #[error("{0} answered {1}: {2}")]
    Answered(Address, StatusCode, String),
    /// A success that tells nothing of a purge.
    #[error("{0} answered {1}, but not as a sidecar does: is that its `admin` address?")]
    Stranger(Address, StatusCode),
}

/// What was purged, in one line.
#[derive(Debug)]
pub struct Done(Answer);

/// Asks for a purge, and waits for the answer.
///
/// # Errors
/// Anything but a sidecar's word that it is done, or on its way where nobody wanted to wait.
pub async fn ask(options: &Purge) -> Result<Done, PurgeFailed> {
    let to = &options.admin;
    let secret = token::secret(options.token_file.as_deref())?;
    let credentials = secret.as_deref().map(token::credentials).transpose()?;
    let (status, text) = timeout(PATIENCE, exchange(to, &body(options), credentials))
        .await
        .map_err(|_| PurgeFailed::Silent(to.clone()))?
        .map_err(|error| PurgeFailed::Unreachable(to.clone(), error))?;
    if !status.is_success() {
        return Err(PurgeFailed::Answered(to.clone(), status, said(&text)));
    }
    let answer: Option<Answer> = serde_json::from_slice(&text).ok();
    // A local one never comes with success; from whoever sends it so, it is none.
    let answer = answer.filter(|answer| answer.reached != Extent::Local);
    answer.map(Done).ok_or_else(|| PurgeFailed::Stranger(to.clone(), status))
}

fn body(options: &Purge) -> Body {
    let what = options.what.clone();
    let (soft, wait) = (options.soft, !options.no_wait);
    Body { urls: what.urls, tags: what.tags, rules: what.rules, all: what.all, soft, wait }
}

async fn exchange(
    to: &Address,
    body: &Body,
    credentials: Option<HeaderValue>,
) -> io::Result<(StatusCode, Vec<u8>)> {
    let mut request = Request::post("/purge").header(CONTENT_TYPE, "application/json");
    if let Some(credentials) = credentials {
        request = request.header(AUTHORIZATION, credentials);
    }
    let body = serde_json::to_vec(body)?;
    let response = probe::send(to, request.body(body.into()).map_err(io::Error::other)?).await?;
    let status = response.status();
    let text = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(io::Error::other)?;
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

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { reached, purged, soft, members, waited_ms, .. } = &self.0;
        let done = if *soft { "marked stale" } else { "purged" };
        match reached {
            Extent::Fleet => {
                write!(f, "{done} on every live sidecar ({members}): {purged}; {waited_ms:.1} ms")
            }
            Extent::Asked | Extent::Local => write!(f, "on its way to every sidecar, to be {done}: {purged}"),
        }
    }
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |all: &[String], one: &str| match all.len() {
            0 => None,
            1 => Some(format!("1 {one}")),
            many => Some(format!("{many} {one}s")),
        };
        let all = self.all.then(|| "everything".to_owned());
        let named =
            [all, counted(&self.urls, "URL"), counted(&self.tags, "tag"), counted(&self.rules, "rule")];
        f.write_str(&named.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
