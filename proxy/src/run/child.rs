//! The app that the sidecar was asked to run, if any.

use std::{future::pending, process::ExitCode, time::Duration};

use super::{Drained, RunError, Signals};
use crate::{
    cli::Run,
    config::Config,
    wrap::{Ended, Probe, ReadyError, Reap, Wrapped},
};

pub(super) struct Child {
    app: Option<Wrapped>,
    grace: Duration,
}

impl Child {
    /// Starts the app and waits until it answers. An exit code: it never did, and all is ended.
    pub(super) async fn start(options: &Run, config: &Config) -> Result<Result<Self, ExitCode>, RunError> {
        let grace = config.timeouts.drain;
        let Some((program, args)) = options.command.split_first() else {
            return Ok(Ok(Self { app: None, grace }));
        };
        let mut app = Wrapped::start(program, args, Reap::for_this_process())
            .map_err(|source| RunError::Start { command: program.to_string_lossy().into_owned(), source })?;
        let mut signals = Signals::new()?;
        tracing::info!(pid = app.pid(), "the app is started; waiting until it answers");
        let probe = probe(options, config);
        let ready = tokio::select! {
            ready = app.wait_ready(&probe, options.ready_timeout) => Some(ready),
            () = signals.next() => None,
        };
        Ok(match ready {
            Some(Ok(())) => Ok(Self { app: Some(app), grace }),
            None => Err(code(app.terminate(grace).await)),
            Some(Err(error)) => {
                tracing::error!("{error}");
                Err(failed(&error, app.terminate(grace).await))
            }
        })
    }

    /// Returns when the app has ended by itself; never, if there is none.
    pub(super) async fn ended(&mut self) {
        match &mut self.app {
            Some(app) => {
                let ended = app.exited().await;
                tracing::warn!("the app ended with {ended}");
            }
            None => pending().await,
        }
    }

    /// Ends the app and what it has started. The status to end with: the app's, where there is one.
    pub(super) async fn finish(self, drained: Drained) -> ExitCode {
        match (self.app, drained) {
            (None, Drained::Whole) => ExitCode::SUCCESS,
            (None, Drained::Cut) => ExitCode::FAILURE,
            (Some(mut app), Drained::Whole) => code(app.terminate(self.grace).await),
            (Some(mut app), Drained::Cut) => code(app.kill().await),
        }
    }
}

fn code(ended: Ended) -> ExitCode {
    ExitCode::from(ended.code())
}

/// An app that ended by itself passes its status on; one that was ended for being late has failed.
fn failed(error: &ReadyError, ended: Ended) -> ExitCode {
    match error {
        ReadyError::Ended(_) => code(ended),
        ReadyError::Timeout { .. } => ExitCode::FAILURE,
    }
}

fn probe(options: &Run, config: &Config) -> Probe {
    let address = (&config.upstream).into();
    match &options.ready {
        Some(path) => Probe::Get { address, path: path.clone() },
        None => Probe::Connect(address),
    }
}
