//! Runs the demo product service, or asks a running one for its health.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use origin::cli::{Cli, Command, start_log};
use origin::database::{self, Database};
use origin::{api, healthcheck, server};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tracing::info;

/// How long requests that are running may take to finish once we are told to stop. Less than the
/// ten seconds that container engines wait before they kill.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// How long a health check may take. Less than the interval at which one is usually made.
const HEALTHCHECK_LIMIT: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Healthcheck) => Ok(healthcheck::ask(cli.listen, HEALTHCHECK_LIMIT)?),
        None => run(&cli),
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    start_log();
    // Declared first, so removed last: after the database is closed.
    let place = Place::new(cli.database.clone())?;
    let (database, thread) = database::open(&place.file, cli.products)
        .with_context(|| format!("cannot open the database {}", place.file.display()))?;

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let served = runtime.block_on(serve(cli.listen, cli.delay, database));
    // The thread ends when the last handle to the database is gone; connections that were cut off
    // while draining still hold theirs until the runtime drops them.
    drop(runtime);
    thread.join()?;
    served
}

async fn serve(listen: SocketAddr, delay: Duration, database: Database) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let stop = server::signalled().context("cannot wait for signals")?;
    info!(address = %listener.local_addr()?, "listening");
    server::serve(listener, api::router(database, delay), stop, DRAIN_LIMIT).await?;
    info!("stopped");
    Ok(())
}

/// Where the database lies: in the file we were told of, or in a directory that goes when we do.
struct Place {
    file: PathBuf,
    _directory: Option<TempDir>,
}

impl Place {
    fn new(file: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(file) = file {
            return Ok(Self { file, _directory: None });
        }
        let directory = TempDir::with_prefix("origin-").context("cannot make a temporary directory")?;
        Ok(Self { file: directory.path().join("products.db"), _directory: Some(directory) })
    }
}
