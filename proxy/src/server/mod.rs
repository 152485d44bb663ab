//! Station 1, accept: listeners, a limit on connections, and a drain that loses no request.
//!
//! Where all places are held, the connection that has waited longest for a request is closed for the one
//! that comes; if every one is at work, that is answered 503 at once. Nobody waits in a queue for a place:
//! who holds the others may be an attacker, and a client that is told can go elsewhere.

mod accepted;
mod introduction;
mod listener;
mod refusal;

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) use self::listener::bind_unix;
use self::{
    introduction::Introductions,
    listener::{Accepted, BACKLOG, Listener},
};
use crate::{address::Listen, app::App, complaint::Complaint, observe::Observer, places::Places, tls::Tls};

/// The pause after a failed accept: mostly a lack of descriptors, which does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The data port, bound but not yet answering.
pub struct Server {
    listeners: Vec<Listener>,
    places: Arc<Places>,
    most: usize,
    tls: Option<Tls>,
    introductions: Option<Arc<Introductions>>,
}

/// What every connection of a server shares.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    observer: Arc<dyn Observer>,
    draining: watch::Receiver<bool>,
    places: Arc<Places>,
    tls: Option<Tls>,
    introductions: Option<Arc<Introductions>>,
    complaints: Arc<Complaints>,
}

/// What the log is told now and then.
#[derive(Default)]
struct Complaints {
    closed: Complaint,
    refused: Complaint,
    failed: Complaint,
}

impl Server {
    /// Binds every address, or none.
    ///
    /// # Errors
    /// The first address that cannot be bound, named.
    pub fn bind(addresses: &[Listen]) -> io::Result<Self> {
        let listeners = addresses.iter().map(Listener::bind).collect::<io::Result<_>>()?;
        Ok(Self { listeners, places: Places::new(), most: usize::MAX, tls: None, introductions: None })
    }

    /// With no more connections than this, whatever `limits.connections` says.
    #[must_use]
    pub fn at_most(self, connections: usize) -> Self {
        Self { most: connections, ..self }
    }

    /// With these certificates, for the listeners that speak TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// With a PROXY header before anything else on the connections of trusted proxies, and of unix sockets.
    #[must_use]
    pub fn with_proxy_protocol(self) -> Self {
        Self { introductions: Some(Arc::default()), ..self }
    }

    /// Who holds a place.
    #[must_use]
    pub fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// The TCP addresses bound, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening().iter().filter_map(Listen::socket_address).collect()
    }

    /// Where clients connect, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> Vec<Listen> {
        self.listeners.iter().filter_map(|listener| listener.address().ok()).collect()
    }

    /// Answers until `stop`, then takes no more connections and lets the running requests finish,
    /// `timeouts.drain` long at most. Whether all did.
    pub async fn run(
        self,
        app: Arc<App>,
        observer: Arc<dyn Observer>,
        stop: impl Future<Output = ()>,
    ) -> bool {
        let (drain, draining) = watch::channel(false);
        let limits = app.live().limits.clone();
        self.places.open(limits.connections.min(self.most));
        // A connection alone may have all of its own.
        self.places.bound_requests(limits.connections.max(limits.streams));
        let shared = Shared {
            app: Arc::clone(&app),
            observer,
            draining,
            places: self.places,
            tls: self.tls,
            introductions: self.introductions,
            complaints: Arc::default(),
        };
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept_all(listener, shared.clone()));
        }
        stop.await;
        drain.send_replace(true);
        drop(shared);
        let grace = app.live().timeouts.drain;
        let all = async {
            while accepting.join_next().await.is_some() {}
            // Each connection holds a receiver until it ends.
            drain.closed().await;
            app.writes.closed().await;
        };
        timeout(grace, all).await.is_ok()
    }
}

/// Accepts until the drain begins, then what waits already, so that nobody finds the door shut who
/// came before it closed.
async fn accept_all(listener: Listener, shared: Shared) {
    let mut draining = shared.draining.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => shared.seat(accepted).await,
            Err(error) => {
                shared.places.failed();
                if let Some(times) = shared.complaints.failed.again() {
                    tracing::warn!(%error, times, "a connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for _ in 0..BACKLOG {
        let Some(Ok(accepted)) = at_once(listener.accept()).await else { return };
        shared.seat(accepted).await;
    }
}

/// What a future gives without waiting.
async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

impl Shared {
    /// Gives a connection a place, or sends it away.
    async fn seat(&self, accepted: Accepted) {
        if let Some(place) = self.places.take() {
            return accepted.serve(self, place);
        }
        match self.places.vacate().await {
            Some(place) => {
                if let Some(times) = self.complaints.closed.again() {
                    tracing::warn!(times, "an idle connection was closed for another: limits.connections");
                }
                accepted.serve(self, place);
            }
            None => {
                refusal::refuse(&accepted);
                if let Some(times) = self.complaints.refused.again() {
                    tracing::warn!(times, "a connection was refused, all are at work: limits.connections");
                }
            }
        }
    }
}
