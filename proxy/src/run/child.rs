//! The app that the sidecar was asked to run, if any.

use std::{future::pending, process::ExitCode, time::Duration};

use tokio::time::Instant;

use super::{RunError, serving::Drained, signals::Signals};
use crate::{
    address::{Protocol, UpstreamUrl},
    cli::Run,
    config::Config,
    wrap::{Ended, Probe, ReadyError, Reap, Wrapped},
};

/// What the app gets to end by itself, even where requests have used up all of the grace.
const LEAST_GRACE: Duration = Duration::from_secs(5);

pub(super) struct Child(Option<Wrapped>);

impl Child {
    /// Starts the app and waits until it answers. An exit code: it never did, and all is ended.
    pub(super) async fn start(
        options: &Run,
        config: &Config,
        signals: &mut Signals,
    ) -> Result<Result<Self, ExitCode>, RunError> {
        let Some((program, args)) = options.command.split_first() else {
            return Ok(Ok(Self(None)));
        };
        let probe = probe(options, config)?;
        let mut app = Wrapped::start(program, args, Reap::for_this_process())
            .map_err(|source| RunError::Start { command: program.to_string_lossy().into_owned(), source })?;
        tracing::info!(pid = app.pid(), "the app is started; waiting until it answers");
        let ready = tokio::select! {
            ready = app.wait_ready(&probe, options.ready_timeout) => Some(ready),
            () = signals.next() => None,
        };
        let deadline = Instant::now() + config.timeouts.drain;
        Ok(match ready {
            Some(Ok(())) => Ok(Self(Some(app))),
            None => Err(code(end(&mut app, deadline, signals).await)),
            Some(Err(error)) => {
                tracing::error!("{error}");
                Err(failed(&error, end(&mut app, deadline, signals).await))
            }
        })
    }

    /// Returns when the app has ended by itself; never, if there is none.
    pub(super) async fn ended(&mut self) {
        match &mut self.0 {
            Some(app) => {
                let ended = app.exited().await;
                tracing::warn!("the app ended with {ended}");
            }
            None => pending().await,
        }
    }

    /// Ends the app and what it has started: by `deadline`, or at once where a second signal says so.
    /// The status to end with: the app's, where there is one.
    pub(super) async fn finish(self, drained: Drained, deadline: Instant, signals: &mut Signals) -> ExitCode {
        match (self.0, drained) {
            (None, Drained::Whole) => ExitCode::SUCCESS,
            (None, Drained::Late | Drained::Forced) => ExitCode::FAILURE,
            (Some(mut app), Drained::Forced) => code(app.kill().await),
            (Some(mut app), _) => code(end(&mut app, deadline, signals).await),
        }
    }
}

/// Asks the app to end, and kills it when its time is over or another signal comes.
async fn end(app: &mut Wrapped, deadline: Instant, signals: &mut Signals) -> Ended {
    let grace = grace(deadline, Instant::now());
    tracing::info!(?grace, "the app is asked to end; another signal kills it");
    tokio::select! {
        ended = app.terminate(grace) => ended,
        () = signals.next() => app.kill().await,
    }
}

/// What the requests have left of the time from the first signal on.
fn grace(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now).max(LEAST_GRACE)
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

fn probe(options: &Run, config: &Config) -> Result<Probe, RunError> {
    let address = (&config.upstream).into();
    match (&options.ready, &config.upstream) {
        (None, _) => Ok(Probe::Connect(address)),
        (Some(_), UpstreamUrl::Tcp { protocol, .. }) if *protocol != Protocol::Http => {
            Err(RunError::ReadyOverTls)
        }
        (Some(path), _) => Ok(Probe::Get { address, path: path.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_gets_what_the_requests_have_left_of_one_grace_and_never_nothing() {
        let now = Instant::now();
        let left = Duration::from_secs(20);
        assert_eq!(grace(now + left, now), left);
        assert_eq!(grace(now + Duration::from_secs(1), now), LEAST_GRACE);
        assert_eq!(grace(now, now + left), LEAST_GRACE);
    }
}
