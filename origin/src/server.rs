//! Serving until told to stop, and stopping without cutting anybody off.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// Serves `router` on `listener` until `stop` resolves; then accepts nothing new, lets running
/// requests finish, and returns. Requests that take longer than `drain_limit` to finish are left
/// behind: they end with the runtime.
///
/// # Errors
///
/// What axum reports; at present it retries whatever the listener fails with.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    drain_limit: Duration,
) -> io::Result<()> {
    let (stopping, drain_begins) = oneshot::channel();
    let stop = async move {
        stop.await;
        // The receiver lives as long as the server that polls this.
        stopping.send(()).ok();
    };
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY was not set");
        }
    });
    let too_late = async {
        drain_begins.await.ok();
        sleep(drain_limit).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop) => served,
        () = too_late => {
            warn!(?drain_limit, "requests did not finish in time");
            Ok(())
        }
    }
}

/// Resolves on SIGTERM or Ctrl-C. The signals are caught from the call on, not from the first
/// poll.
///
/// # Errors
///
/// When the handlers cannot be installed.
pub fn signalled() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
    })
}
