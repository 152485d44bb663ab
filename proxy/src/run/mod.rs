//! `sidecache [--config FILE] [-- COMMAND …]`: from the file to the last answer.

mod admin;
mod child;
mod descriptors;
mod export;
mod manager;
mod printed;
mod reloading;
mod serving;
mod signals;
mod state;
mod whom;

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio::{runtime::Runtime, sync::watch};

pub use self::printed::{completions, man, schema};
use self::{
    admin::Panel, child::Child, export::Export, manager::Manager, reloading::Reloading, serving::Phase,
    signals::Signals, whom::whom,
};
use crate::{
    address::Listen,
    admin::{
        AdminError, TokenError,
        client::AskFailed,
        healthcheck::{self, Question},
        purge,
        top::{self, TopFailed},
    },
    app::App,
    cli::{Explain, Healthcheck, Purge, Run, Top},
    clock::Clock,
    config::{self, Config, ConfigErrors},
    explain::{self, QuestionError},
    reload::{Reloader, status::Status},
    server::Server,
    store::redis::SettingsError,
    telemetry::{
        Telemetry,
        log::{self, Log, LogError},
    },
    tls::{Certificates, PairError, Tls},
    upstream::SetupError,
};

/// How long the threads of the runtime may take to close what they hold, sockets among it.
const SHUTDOWN: Duration = Duration::from_millis(500);

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
    /// The keys that entries are proven with cannot be used.
    #[error("store.hmac_key_file: {0}")]
    Keys(#[source] SettingsError),
    /// A listener cannot be opened.
    #[error("listen: {0}{remedy}", remedy = remedy(.0))]
    Listen(#[source] io::Error),
    /// A certificate that listeners present cannot be used.
    #[error("tls: {0}")]
    Certificate(#[from] PairError),
    /// TLS to clients cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// TLS to the origin cannot be set up.
    #[error("upstream: {0}")]
    Upstream(#[from] SetupError),
    /// The admin listener cannot be opened.
    #[error("{0}{remedy}", remedy = unopened(.0))]
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
    /// The configuration is a pipe, or the like.
    #[error("{}: not a regular file, so edits of it could not be noticed: write it to one", .0.display())]
    NotAFile(PathBuf),
    /// The app speaks TLS, the question whether it is ready does not.
    #[error(
        "--ready asks in cleartext and in HTTP/1, and `upstream` is https, h2c or h2: leave it out to wait until the app takes connections"
    )]
    ReadyOverTls,
    /// The file says of no listener to ask.
    #[error("{} has no admin listener to ask: add `admin: 127.0.0.1:9090`, or name one with --admin", .0.display())]
    NoAdmin(PathBuf),
    /// What it says of one is not right.
    #[error("{0}\nor name the admin listener to ask with --admin or SIDECACHE_ADMIN")]
    Whom(#[source] ConfigErrors),
    /// A sidecar cannot be asked, is not ready, or has not done all that it was asked.
    #[error("{0}")]
    Ask(#[from] AskFailed),
    /// What is to be explained is no request.
    #[error("{0}")]
    Question(#[from] QuestionError),
    /// There is nothing to watch.
    #[error("{0}")]
    Top(#[from] TopFailed),
    /// Spans cannot be exported as the environment says.
    #[cfg(feature = "otel")]
    #[error("OTEL_EXPORTER_OTLP_*: {0}")]
    Export(#[from] crate::telemetry::otel::ExportError),
    /// The system refuses something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What to do where the system does not let us listen.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program has it (`ss -ltnp`), or another listener here ([::] is 0.0.0.0 too): end it, or write another port"
        }
        io::ErrorKind::AddrNotAvailable => ": no interface here has this address; 0.0.0.0 and [::] are all",
        io::ErrorKind::PermissionDenied => {
            ": a port below 1024 takes CAP_NET_BIND_SERVICE, a socket file a folder that this user may write to"
        }
        io::ErrorKind::NotFound => ": the folder is not there",
        _ => "",
    }
}

/// The same for the admin listener.
fn unopened(error: &AdminError) -> &'static str {
    match error {
        AdminError::Bind { source, .. } => remedy(source),
        AdminError::TokenNeeded(_) => "",
    }
}

/// Runs until a signal or the app's end.
///
/// # Errors
/// What keeps it from starting.
pub fn run(options: &Run) -> Result<ExitCode, RunError> {
    if options.config.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(RunError::NotAFile(options.config.clone()));
    }
    let text = config::read(&options.config)?;
    let config = Config::parse(&text, &options.config.display().to_string(), &environment)?;
    let log = log::init(options.log_format, &options.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    to_the_end(runtime()?, sidecar(options, &text, config, &log))
}

/// Runs to the end of `main`, and no longer: a look-up that the system is still busy with is waited
/// for by nobody.
fn to_the_end<T>(runtime: Runtime, main: impl Future<Output = T>) -> T {
    let done = runtime.block_on(main);
    runtime.shutdown_timeout(SHUTDOWN);
    done
}

/// On one core, threads that hand work to each other only cost.
fn runtime() -> io::Result<Runtime> {
    let alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if alone {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

/// Binds, starts the app, answers, drains, ends the app. `config` is what `text` says.
async fn sidecar(options: &Run, text: &str, config: Config, log: &Log) -> Result<ExitCode, RunError> {
    // Before anything is there that a signal would have to end.
    let mut signals = Signals::new()?;
    let manager = Manager::of_this_process();
    let (server, certificates) = bind(&config)?;
    let stores = state::stores(&config.store, Clock::System)?;
    let app = Arc::new(App::new(state::live(&config, None)?, stores, Clock::System));
    let status = Arc::new(Status::new(&options.config, SystemTime::now()));
    let phase = watch::Sender::new(Phase::Starting);
    let budget = config.store.memory.unwrap_or_default();
    let metrics = Arc::new(admin::metrics(&app, &status, log, budget, server.places(), certificates));
    metrics.follow(&config.rules.names());
    let counted = config.admin.is_some().then(|| Arc::clone(&metrics));
    let export = Export::start()?;
    let telemetry = Telemetry::new(counted, config.access_log.clone()).beside(export.observer());
    let telemetry = Arc::new(telemetry);
    let panel = Panel {
        app: Arc::clone(&app),
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        budget,
        phase: phase.subscribe(),
    };
    panel.open(config.admin.as_ref(), options.admin_token_file.as_deref()).await?;
    let reloader = Reloader::watch(&options.config, text)?;
    let mut child = match Child::start(options, &config, &mut signals).await? {
        Ok(child) => child,
        Err(code) => return Ok(code),
    };
    let server = server.at_most(descriptors::connections(&config.limits, descriptors::raise()));
    phase.send_replace(Phase::Serving);
    manager.ready("serving");
    let listening: Vec<_> = server.listening().iter().map(Listen::to_string).collect();
    tracing::info!(listening = listening.join(", "), "ready");
    let file = options.config.clone();
    let started = config.clone();
    let seen = Arc::clone(&telemetry);
    let reloading = Reloading {
        app: Arc::clone(&app),
        metrics,
        telemetry: seen,
        status,
        manager: manager.clone(),
        config,
        started,
    };
    tokio::spawn(async move { reloading.run(reloader, &file).await });
    let (drained, deadline) =
        serving::serve(server, Arc::clone(&app), telemetry, &phase, &mut child, &mut signals, &manager)
            .await?;
    app.store.depart().await;
    let code = child.finish(drained, deadline, &mut signals).await;
    export.finish().await;
    Ok(code)
}

/// Binds every listener, with the certificates of those that speak TLS, whose files are followed.
fn bind(config: &Config) -> Result<(Server, Option<Arc<Certificates>>), RunError> {
    let server = Server::bind(&config.listen).map_err(RunError::Listen)?;
    let server = if config.proxy_protocol { server.with_proxy_protocol() } else { server };
    if config.tls.is_empty() {
        return Ok((server, None));
    }
    let certificates = Arc::new(Certificates::load(config.tls.clone())?);
    tokio::spawn(Arc::clone(&certificates).follow());
    Ok((server.with_tls(Tls::new(Arc::clone(&certificates))?), Some(certificates)))
}

/// `sidecache check`: prints what the file means. The files that it names may be on another machine: of
/// what is wrong with those here, it only warns.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: &Path) -> Result<ExitCode, RunError> {
    let mut config = Config::load(file, &environment)?;
    let certificates = Certificates::load(config.tls.clone()).map_err(RunError::from);
    if let Ok(certificates) = &certificates {
        config.warnings.extend(certificates.warnings(SystemTime::now()));
    }
    let unusable = [certificates.err(), state::redis(&config.store).err()].into_iter().flatten();
    config.warnings.extend(unusable.map(|error| format!("it would not start here: {error}")));
    print(format_args!("{}", config.describe()))
}

/// Who reads no further, as `head` does, has seen enough.
fn print(text: fmt::Arguments<'_>) -> Result<ExitCode, RunError> {
    match io::stdout().write_fmt(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// `sidecache purge`: asks a running sidecar, and prints what became of it.
///
/// # Errors
/// It is not known to have been purged everywhere.
pub fn purge(options: &Purge) -> Result<ExitCode, RunError> {
    let listener = whom(options.admin.as_ref(), options.config.as_deref())?;
    let done = to_the_end(runtime()?, purge::command::ask(&listener, options))?;
    print(format_args!("{done}\n"))
}

/// `sidecache top`: shows what a running sidecar does.
///
/// # Errors
/// It cannot be asked, or the terminal fails.
pub fn top(options: &Top) -> Result<ExitCode, RunError> {
    let listener = whom(options.admin.as_ref(), options.config.as_deref())?;
    to_the_end(runtime()?, top::run(&listener, options))?;
    Ok(ExitCode::SUCCESS)
}

/// `sidecache explain`: asks a running sidecar, or the file, and prints what there is to say.
///
/// # Errors
/// It cannot be asked; the file is wrong.
pub fn explain(options: &Explain) -> Result<ExitCode, RunError> {
    let question = options.question()?;
    let explained = match &options.config {
        Some(file) => explain::command::read(&Config::load(file, &environment)?, &question, options.json),
        None => to_the_end(runtime()?, explain::command::ask(&whom(options.admin.as_ref(), None)?, options))?,
    };
    print(format_args!("{explained}"))
}

/// `sidecache healthcheck`: 0 when a running sidecar is ready; 1 when not, or when it cannot be asked,
/// for whatever reason.
#[must_use]
pub fn healthcheck(options: &Healthcheck) -> ExitCode {
    match ask(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn ask(options: &Healthcheck) -> Result<(), RunError> {
    let listener = whom(options.admin.as_ref(), options.config.as_deref())?;
    let question = if options.live { Question::Live } else { Question::Ready };
    Ok(to_the_end(runtime()?, healthcheck::ask(&listener, question))?)
}

/// A variable of this process' environment, for `${NAME}` in the file.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says on stderr what kept the command from doing its work.
pub fn complain(error: &RunError) {
    // There is no log yet, or none at all; and no other place to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "{error}");
}

impl RunError {
    /// 2 for a file or a question that is not right, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Whom(_) | Self::Question(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_look_up_that_hangs_is_not_waited_for() {
        let (answer, hangs) = mpsc::channel::<()>();
        let looked_up = to_the_end(runtime().unwrap(), async {
            tokio::task::spawn_blocking(move || hangs.recv());
            7
        });
        assert_eq!(looked_up, 7);
        drop(answer);
    }
}
