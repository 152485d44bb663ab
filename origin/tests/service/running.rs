//! The service, started inside the test on a free port.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use origin::database::{self, DatabaseThread};
use origin::{api, server};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longer than any test takes, so that a drain which ends by it fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// One message for each request that reached the service.
    pub(crate) arrivals: mpsc::UnboundedReceiver<()>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    thread: DatabaseThread,
    _directory: Option<TempDir>,
}

/// How to start it.
pub(crate) struct Start {
    pub(crate) products: u32,
    pub(crate) delay: Duration,
    pub drain_limit: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Self { products: 10, delay: Duration::ZERO, drain_limit: PATIENCE }
    }
}

impl Start {
    /// With a new database.
    pub(crate) async fn anew(self) -> Running {
        let directory = TempDir::new().unwrap();
        let running = self.with(&directory.path().join("products.db")).await;
        Running { _directory: Some(directory), ..running }
    }

    /// With the database in `file`.
    pub(crate) async fn with(self, file: &Path) -> Running {
        let (database, thread) = database::open(file, self.products).unwrap();
        let (router, arrivals) = announced(api::router(database, self.delay));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap() };
        let serving = server::serve(listener, router, stopped, self.drain_limit);
        let served = tokio::spawn(async { serving.await.unwrap() });
        Running { address, arrivals, stop, served, thread, _directory: None }
    }
}

impl Running {
    /// Begins to stop.
    pub(crate) fn stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping { served: self.served, thread: self.thread, _directory: self._directory }
    }
}

pub(crate) struct Stopping {
    served: JoinHandle<()>,
    thread: DatabaseThread,
    _directory: Option<TempDir>,
}

impl Stopping {
    /// Until the server has returned.
    pub(crate) async fn drained(self) {
        self.served.await.unwrap();
    }

    /// Until the server has returned and the database is closed.
    pub(crate) async fn closed(self) {
        self.served.await.unwrap();
        tokio::task::spawn_blocking(|| self.thread.join()).await.unwrap().unwrap();
    }
}

fn announced(router: Router) -> (Router, mpsc::UnboundedReceiver<()>) {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let announce = middleware::from_fn(move |request: Request, next: Next| {
        // Most tests do not listen.
        arrived.send(()).ok();
        next.run(request)
    });
    (router.layer(announce), arrivals)
}
