//! A client's connection, whatever version of HTTP it speaks: what its requests have in common, and the
//! account that each of them gives.

mod account;
mod upload;
mod watchdog;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

pub(crate) use self::{
    account::Account,
    upload::{Frames, Upload, body_channel},
    watchdog::{Elapsed, LEAST, Pace, Patience, Watchdog},
};
use crate::{
    admit::{Head, Scheme},
    app::{App, Live},
    headers::Peer,
    identity::Identity,
    interim::Interims,
    message::Request,
    observe::Observer,
    places::Place,
};

/// How long a connection on which no request is under way may still bring one when the drain begins: it may be on
/// its way, and is answered, and told that it was the last.
pub(crate) const LAST_CHANCE: Duration = Duration::from_secs(1);

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
    /// Why we have ended it though requests on it were not answered, if we have.
    pub ended: OnceLock<Box<str>>,
}

impl Connection {
    /// A request that came on it.
    #[inline]
    pub(crate) fn request(&self, mut head: Head, live: &Live) -> Request {
        let trusted = self.peer.is_trusted(&live.trusted_proxies);
        if trusted {
            head.target.trust(&head.headers);
        }
        let waits = head.connection.expects_continue && head.framing.has_body();
        let expectation = waits.then(Arc::default);
        let identity = Identity::new(trusted, live.begins_traces);
        Request { head, peer: self.peer, identity, expectation, interims: Interims::default() }
    }

    /// Waits until the drain begins, and the last chance for a request has passed.
    pub(crate) async fn last_call(&self) {
        let mut draining = self.draining.clone();
        // If nobody is left who could say it, it is so.
        let _ = draining.wait_for(|draining| *draining).await;
        sleep(LAST_CHANCE).await;
    }
}
