//! The admin listener: health, the configuration's state, metrics, purges, explanations, and a page that shows them.
//! Apart from the data port, so that nothing of it can be reached through the proxy, and no path of the app is taken.
//!
//! `/livez` and `/readyz` are for probes that can hold no secret, and tell nothing that is one; they
//! need no token; nor does the page itself (`dashboard`), which asks for one. Everything else does where a
//! token is set, and without one the listener takes loopback addresses and unix sockets only.

mod body;
pub mod client;
mod dashboard;
pub(crate) mod explain;
mod guard;
pub mod healthcheck;
mod listener;
mod problem;
pub mod purge;
pub mod routes;
pub mod stats;
pub(crate) mod token;
pub mod top;
mod waiting;

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

pub use listener::Admin;
pub(crate) use routes::rfc3339;
pub use token::{Token, TokenError};

use self::stats::Numbers;
use crate::{
    address::Listen,
    explain::{Question, Report as Explanation},
    purge::{PurgeReport, PurgeRequest},
    reload::status::Report,
    telemetry::resources::Told,
};

/// The environment variable with the bearer token. Ours alone: a wrapped app does not see it.
pub const TOKEN_VARIABLE: &str = "SIDECACHE_ADMIN_TOKEN";

/// Connections held at once; further ones wait in the backlog of the listener.
const CONNECTIONS: usize = 272;

/// Requests at once that may wait for others, as a purge does for the fleet. Fewer than there are connections, so that
/// whoever asks whether the process lives is answered at once.
const WAITING: usize = 256;

/// For the head of the request, from the first moment of the connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// For one connection in all: it carries one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

/// How long answers under way may take once the listener is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long to wait after `accept` failed, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no admin listener.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address can be reached from elsewhere, and there is no token.
    #[error(
        "admin: {0} can be reached from other machines, so it needs a token: set SIDECACHE_ADMIN_TOKEN or \
         --admin-token-file, or listen on 127.0.0.1"
    )]
    TokenNeeded(SocketAddr),
    /// The system refuses.
    #[error("admin: cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: Listen,
        /// Why.
        source: io::Error,
    },
}

/// Whether requests should be sent to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Ready,
    /// Yes, but something is missing, as Redis may be. Never a secret: anyone may read it.
    Degraded(Vec<String>),
    /// No: it drains, or the app does not answer yet. Never a secret.
    NotReady(Vec<String>),
}

/// Carries out a purge, to its end: nobody stops asking half way.
pub type Purge = Arc<dyn Fn(PurgeRequest) -> Pin<Box<dyn Future<Output = PurgeReport> + Send>> + Send + Sync>;

/// Explains a request that was never sent.
pub type Explain = Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Explanation> + Send>> + Send + Sync>;

/// What the listener shows and does; each is asked on every request and must not block.
#[derive(Clone)]
pub struct AdminState {
    /// For `/readyz`.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// For `/config`.
    pub config: Arc<dyn Fn() -> Report + Send + Sync>,
    /// For `/metrics`, as [`crate::telemetry::metrics::Metrics::render`] gives it.
    pub metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
    /// For `/stats`.
    pub stats: Arc<dyn Fn() -> Numbers + Send + Sync>,
    /// For `/resources`.
    pub resources: Arc<dyn Fn() -> Told + Send + Sync>,
    /// The names of the rules in force, in their order: a purge may name no other.
    pub rules: Arc<dyn Fn() -> Vec<Arc<str>> + Send + Sync>,
    /// For `/purge`.
    pub purge: Purge,
    /// For `/explain`.
    pub explain: Explain,
}

/// Answers one connection that came to the listener at `local`, as [`Admin::serve`] does: the way in for
/// the fuzzing, which has no listener.
#[doc(hidden)]
pub async fn converse<S>(stream: S, local: Option<SocketAddr>, token: Option<Token>, state: AdminState)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    listener::converse(stream, guard::Guard { local, token }, routes::router(state)).await;
}
