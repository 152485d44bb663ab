//! `sidecache top`: what `/stats` and `/resources` tell, at a terminal, each second anew.

mod page;
mod terminal;

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use self::{
    page::Reading,
    terminal::{Keys, Screen},
};
use super::client::{AskFailed, Client};
use crate::{cli::Top, wrap::probe::Address};

/// How often it is asked.
const EACH: Duration = Duration::from_secs(1);
/// A sidecar that takes longer than this for so little is not well.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is read of an answer: a thousand rules with all the words there are take less.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum TopFailed {
    /// The sidecar tells nothing.
    #[error(transparent)]
    Ask(#[from] AskFailed),
    /// The terminal fails.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows it until it is told to end; once, where that is asked for or there is no terminal.
///
/// # Errors
/// It cannot be asked at first, or the terminal fails. What fails later is shown, and tried again.
pub async fn run(to: &Address, options: &Top) -> Result<(), TopFailed> {
    let client = Client::with_token(to, options.token_file.as_deref(), PATIENCE);
    let source = Source(client.map_err(AskFailed::from)?);
    let first = source.read().await?;
    let is_watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    match options.once || !is_watched {
        true => print(&page::page(&source.0.to.to_string(), &first, None, terminal::size())),
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
struct Source(Client);

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
        let to = self.0.to.to_string();
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

    async fn read(&self) -> Result<Reading, AskFailed> {
        let (stats, resources) = (self.get("/stats").await?, self.get("/resources").await?);
        Ok(Reading { at: Instant::now(), stats, resources })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskFailed> {
        let Self(client) = self;
        let (status, text) = client.success(client.get(path, ANSWER_BYTES).await?)?;
        serde_json::from_slice(&text).map_err(|_| AskFailed::Stranger(client.to.clone(), status))
    }
}
