//! A client's connection, whatever version of HTTP it speaks: what its requests have in common, and the
//! account that each of them gives.

mod account;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use self::account::Account;
use crate::{admit::Scheme, app::App, headers::Peer, observe::Observer, places::Place};

/// What is the same for all requests of a connection.
pub struct Connection {
    /// What answers.
    pub app: Arc<App>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// Who sends.
    pub peer: Peer,
    /// Whether TLS came before.
    pub scheme: Scheme,
    /// Turns `true` when no further request is to be taken.
    pub draining: watch::Receiver<bool>,
    /// What it holds, until another needs it.
    pub place: Place,
}
