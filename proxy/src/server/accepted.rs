//! One connection, from its acceptance on: who is there, and in what language.

use std::sync::Arc;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::{Shared, listener::Accepted};
use crate::{
    admit::Scheme,
    headers::Peer,
    http1::{self, Connection},
    places::Place,
};

impl Accepted {
    /// Serves it to its end, in a task of its own.
    pub(super) fn serve(self, shared: &Shared, place: Place) {
        let peer = match &self {
            Self::Tcp(_, address) => Peer::Ip(address.ip().to_canonical()),
            Self::Unix(_) => Peer::Local,
        };
        let connection = Connection {
            app: Arc::clone(&shared.app),
            observer: Arc::clone(&shared.observer),
            peer,
            scheme: Scheme::Http,
            draining: shared.draining.clone(),
            place,
        };
        tokio::spawn(async move {
            match self {
                Self::Tcp(stream, _) => {
                    if let Err(error) = prepare(&stream, &connection) {
                        return tracing::debug!(%error, "a connection was lost at once");
                    }
                    let (read, write) = stream.into_split();
                    http1::serve(read, write, connection).await;
                }
                Self::Unix(stream) => {
                    let (read, write) = stream.into_split();
                    http1::serve(read, write, connection).await;
                }
            }
        });
    }
}

fn prepare(stream: &TcpStream, connection: &Connection) -> std::io::Result<()> {
    // A small answer must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    // Nobody waits for what only the system still holds of an answer: it bounds that itself.
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(connection.app.live().timeouts.body))?;
    Ok(())
}
