//! `sidecache [--config FILE] [-- COMMAND …]`: from the file to the last answer.

mod admin;
mod child;
mod reloading;
mod state;

use std::{
    io,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{admin::Panel, child::Child, reloading::Reloading};
use crate::{
    address::{AddressError, Listen},
    admin::{
        AdminError, TokenError,
        healthcheck::{self, NotReady},
    },
    app::App,
    cli::{Healthcheck, Run},
    clock::Clock,
    config::{Config, ConfigErrors},
    reload::{self, Reloader, status::Status},
    server::Server,
    store::redis::SettingsError,
    telemetry::{
        Telemetry,
        log::{self, Log, LogError},
    },
    upstream::SetupError,
};

/// Why the sidecar does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The file is not right.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The log cannot be written.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The store cannot be used.
    #[error("store.redis: {0}")]
    Store(#[from] SettingsError),
    /// TLS to the origin cannot be set up.
    #[error("upstream: {0}")]
    Upstream(#[from] SetupError),
    /// The admin listener cannot be opened.
    #[error("{0}")]
    Admin(#[from] AdminError),
    /// The token of the admin listener cannot be used.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The app cannot be started.
    #[error("cannot start {command}: {source}")]
    Start {
        /// What was to be run.
        command: String,
        /// Why it was not.
        source: io::Error,
    },
    /// What `--admin` says is no address.
    #[error("--admin: {0}")]
    Address(#[from] AddressError),
    /// There is no listener to ask.
    #[error("the file has no admin listener to ask: add `admin: 127.0.0.1:9090`, or name one with --admin")]
    NoAdmin,
    /// The sidecar that was asked is not ready.
    #[error("{0}")]
    NotReady(#[from] NotReady),
    /// The system refuses something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs until a signal or the app's end.
///
/// # Errors
/// What keeps it from starting.
pub fn run(options: &Run) -> Result<ExitCode, RunError> {
    let config = Config::load(&options.config, &environment)?;
    let log = log::init(options.log_format, &options.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(sidecar(options, config, &log))
}

/// On one core, threads that hand work to each other only cost.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if alone {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

/// Binds, starts the app, answers, drains, ends the app.
async fn sidecar(options: &Run, config: Config, log: &Log) -> Result<ExitCode, RunError> {
    let server = Server::bind(&config.listen)?;
    let stores = state::stores(&config.store, Clock::System)?;
    let app = Arc::new(App::new(state::live(&config, None)?, stores, Clock::System));
    let status = Arc::new(Status::new(&options.config, SystemTime::now()));
    let accepting = Arc::new(AtomicBool::new(false));
    let metrics = Arc::new(admin::metrics(&app, &status, log, config.store.memory));
    metrics.follow(&config.rules.names());
    let telemetry = Arc::new(Telemetry(Arc::clone(&metrics)));
    let panel = Panel {
        app: Arc::clone(&app),
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        accepting,
    };
    panel.open(config.admin.as_ref(), options.admin_token_file.as_deref()).await?;
    let reloader = Reloader::watch(&options.config, &reload::read(&options.config)?)?;
    let mut child = match Child::start(options, &config).await? {
        Ok(child) => child,
        Err(code) => return Ok(code),
    };
    let file = options.config.clone();
    let reloading = Reloading { app: Arc::clone(&app), metrics, status, config };
    tokio::spawn(async move { reloading.run(reloader, &file).await });
    let drained = serve(server, app, telemetry, &panel, &mut child).await?;
    Ok(child.finish(drained).await)
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Every request was answered.
    Whole,
    /// The grace was over before, or a second signal came.
    Cut,
}

/// Answers until a signal comes or the app ends, then drains; a second signal ends it at once.
async fn serve(
    server: Server,
    app: Arc<App>,
    telemetry: Arc<Telemetry>,
    panel: &Panel,
    child: &mut Child,
) -> io::Result<Drained> {
    let listening = server.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!(listening, "ready");
    panel.accepting.store(true, Ordering::Relaxed);
    let (mut first, mut second) = (Signals::new()?, Signals::new()?);
    let stop = async {
        tokio::select! {
            () = first.next() => tracing::info!("stopping: what runs is finished first; a second signal ends it at once"),
            () = child.ended() => tracing::info!("stopping: the app has ended"),
        }
        panel.accepting.store(false, Ordering::Relaxed);
    };
    let forced = async {
        second.next().await;
        second.next().await;
    };
    let whole = tokio::select! {
        whole = server.run(app, telemetry, stop) => whole,
        () = forced => false,
    };
    if !whole {
        tracing::warn!("some requests were cut off");
    }
    Ok(if whole { Drained::Whole } else { Drained::Cut })
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// `sidecache check`: prints what the file means.
///
/// # Errors
/// What is wrong with it.
#[allow(clippy::print_stdout, reason = "what the command is for")]
pub fn check(file: &Path) -> Result<ExitCode, RunError> {
    let config = Config::load(file, &environment)?;
    print!("{}", config.describe());
    Ok(ExitCode::SUCCESS)
}

/// `sidecache healthcheck`: whether a running sidecar is ready.
///
/// # Errors
/// It is not, or cannot be asked.
pub fn healthcheck(options: &Healthcheck) -> Result<ExitCode, RunError> {
    let address = match &options.admin {
        Some(address) => Listen::parse(address)?,
        None => {
            let config = Config::load(&options.config, &environment)?;
            config.admin.ok_or(RunError::NoAdmin)?
        }
    };
    runtime()?.block_on(healthcheck::ask(&address))?;
    Ok(ExitCode::SUCCESS)
}

/// A variable of this process' environment, for `${NAME}` in the file.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says on stderr what kept the command from doing its work.
#[allow(clippy::print_stderr, reason = "there is no log yet, or none at all")]
pub fn complain(error: &RunError) {
    eprintln!("{error}");
}

impl RunError {
    /// 2 for a file that is not right, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
