//! `sidecache top`: what `/stats` and `/resources` tell, at a terminal, each second anew.

mod page;
mod terminal;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, Limited};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use self::{
    page::Reading,
    terminal::{Keys, Screen},
};
use super::{TokenError, client::AskFailed, token};
use crate::{
    cli::Top,
    wrap::probe::{self, Address},
};

/// How often it is asked.
const EACH: Duration = Duration::from_secs(1);
/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is read of an answer: a thousand rules with all the words there are take less.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum TopFailed {
    /// There is a token, and it cannot be used.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The sidecar cannot be asked, or broke off.
    #[error(
        "cannot ask {0}: {1}: does a sidecar run with this `admin`? (--admin or SIDECACHE_ADMIN names another)"
    )]
    Unreachable(Address, io::Error),
    /// It does not answer.
    #[error("{0} did not answer within {PATIENCE:?}")]
    Silent(Address),
    /// It wants a token, or another one.
    #[error(transparent)]
    Denied(AskFailed),
    /// It says no.
    #[error("{0} answered {1}")]
    Answered(Address, StatusCode),
    /// A success that tells nothing of a sidecar.
    #[error("{0} does not answer as a sidecar of this version does: is that its `admin` address?")]
    Stranger(Address),
    /// The terminal fails.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows it until it is told to end; once, where that is asked for or there is no terminal.
///
/// # Errors
/// It cannot be asked at first, or the terminal fails. What fails later is shown, and tried again.
pub async fn run(to: Address, options: &Top) -> Result<(), TopFailed> {
    let secret = token::secret(options.token_file.as_deref())?;
    let credentials = secret.as_deref().map(token::credentials).transpose()?;
    let source = Source { to, credentials };
    let first = source.read().await?;
    let is_watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    match options.once || !is_watched {
        true => print(&page::page(&source.to.to_string(), &first, None, terminal::size())),
        false => source.watch(first).await,
    }
}

fn print(page: &[page::Line]) -> Result<(), TopFailed> {
    let text: String = page.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads no further, as `head` does, has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whom to ask.
struct Source {
    to: Address,
    credentials: Option<HeaderValue>,
}

impl Source {
    /// Shows what it tells, each second, until somebody has seen enough.
    async fn watch(&self, first: Reading) -> Result<(), TopFailed> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut screen = Screen::open()?;
        let keys = Keys::listen();
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut now) = (None, first);
        let to = self.to.to_string();
        ticks.tick().await;
        screen.show(&page::page(&to, &now, before.as_ref(), terminal::size()))?;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = keys.quit() => return Ok(()),
            }
            let asked = tokio::select! {
                asked = self.read() => asked,
                _ = interrupt.recv() => return Ok(()),
                () = keys.quit() => return Ok(()),
            };
            let size = terminal::size();
            match asked {
                Ok(reading) => {
                    before = Some(std::mem::replace(&mut now, reading));
                    screen.show(&page::page(&to, &now, before.as_ref(), size))?;
                }
                Err(error) => screen.show(&page::failed(&error.to_string(), size))?,
            }
        }
    }

    async fn read(&self) -> Result<Reading, TopFailed> {
        let (stats, resources) = (self.get("/stats").await?, self.get("/resources").await?);
        Ok(Reading { at: Instant::now(), stats, resources })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, TopFailed> {
        let to = || self.to.clone();
        let (status, text) = timeout(PATIENCE, self.exchange(path))
            .await
            .map_err(|_| TopFailed::Silent(to()))?
            .map_err(|error| TopFailed::Unreachable(to(), error))?;
        match status {
            StatusCode::OK => serde_json::from_slice(&text).map_err(|_| TopFailed::Stranger(to())),
            StatusCode::UNAUTHORIZED => {
                Err(TopFailed::Denied(AskFailed::denied(&to(), self.credentials.is_some())))
            }
            StatusCode::NOT_FOUND => Err(TopFailed::Stranger(to())),
            other => Err(TopFailed::Answered(to(), other)),
        }
    }

    async fn exchange(&self, path: &str) -> io::Result<(StatusCode, Vec<u8>)> {
        let mut request = Request::get(path);
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let request = request.body(Full::default()).map_err(io::Error::other)?;
        let response = probe::send(&self.to, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES);
        Ok((status, body.collect().await.map_err(io::Error::other)?.to_bytes().into()))
    }
}
