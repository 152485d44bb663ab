//! From the first answer to the last.

use std::{io, sync::Arc};

use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{child::Child, manager::Manager, signals::Signals};
use crate::{app::App, server::Server, telemetry::Telemetry};

/// Whether requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet: the app has not answered.
    Starting,
    /// They are.
    Serving,
    /// No more.
    Draining,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Every request was answered.
    Whole,
    /// The grace was over before.
    Late,
    /// A second signal came before.
    Forced,
}

/// Answers until a signal comes or the app ends, then drains; a second signal ends it at once. Also
/// gives when the grace is over, which began with the first.
pub(super) async fn serve(
    server: Server,
    app: Arc<App>,
    telemetry: Arc<Telemetry>,
    phase: &watch::Sender<Phase>,
    child: &mut Child,
    signals: &mut Signals,
    manager: &Manager,
) -> io::Result<(Drained, Instant)> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let mut serving = tokio::spawn(server.run(Arc::clone(&app), telemetry, stopped));
    let signalled = tokio::select! {
        () = signals.next() => true,
        () = child.ended() => false,
    };
    phase.send_replace(Phase::Draining);
    manager.stopping();
    match signalled {
        true => tracing::info!("stopping: what runs is finished first; a second signal ends it at once"),
        false => tracing::info!("stopping: the app has ended"),
    }
    // As the file says by now: an edit of it may have acted.
    let deadline = Instant::now() + app.live().timeouts.drain;
    drop(stop);
    let forced = async {
        if !signalled {
            signals.next().await;
        }
        signals.next().await;
    };
    let drained = tokio::select! {
        whole = &mut serving => if whole.map_err(io::Error::other)? { Drained::Whole } else { Drained::Late },
        () = forced => Drained::Forced,
    };
    serving.abort();
    if drained != Drained::Whole {
        tracing::warn!("some requests were cut off");
    }
    Ok((drained, deadline))
}
