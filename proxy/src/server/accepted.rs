//! One connection, from its acceptance on: who is there, and in what language.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::{
    io::AsyncRead,
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Shared, introduction::Introductions, listener::Accepted};
use crate::{
    admit::Scheme,
    headers::Peer,
    http1::{self, Connection},
    http2::{self, Joined},
    places::Place,
    tls::{Protocol, Tls, TlsStream},
};

/// Bytes of an answer that the system takes before it may send them. Else it would take a megabyte at once, of each
/// client that reads nothing: that is memory which nobody bounds, a core busy with copying for a millisecond, and an
/// answer that counts as taken. What is on its way does not count, so a fast client is as fast.
#[cfg(target_os = "linux")]
const AHEAD: u32 = 128 * 1024;

impl Accepted {
    /// Serves it to its end, in a task of its own.
    pub(super) fn serve(self, shared: &Shared, place: Place) {
        let (peer, scheme) = match &self {
            Self::Tcp(_, address) => (Peer::Ip(address.ip().to_canonical()), Scheme::Http),
            Self::Tls(_, address) => (Peer::Ip(address.ip().to_canonical()), Scheme::Https),
            Self::Unix(_) => (Peer::Local, Scheme::Http),
        };
        let connection = Connection {
            app: Arc::clone(&shared.app),
            observer: Arc::clone(&shared.observer),
            peer,
            scheme,
            draining: shared.draining.clone(),
            place,
            ended: OnceLock::new(),
        };
        // A task each: it is as large as the largest of what it may become.
        let introductions = shared.introductions.clone();
        match (self, &shared.tls) {
            (Self::Tcp(stream, _), _) => drop(tokio::spawn(plain(stream, connection, introductions))),
            (Self::Tls(stream, _), Some(tls)) => {
                drop(tokio::spawn(encrypted(stream, tls.clone(), connection, introductions)));
            }
            (Self::Tls(..), None) => tracing::error!("a TLS listener has no certificates"),
            (Self::Unix(stream), _) => drop(tokio::spawn(local(stream, connection, introductions))),
        }
    }
}

/// How connections of trusted proxies begin, where that is not as all others do.
type Heard = Option<Arc<Introductions>>;

/// Whether a connection goes on behind the header that it may have to begin with. Boxed, because few do.
async fn is_introduced(
    heard: Heard,
    stream: &mut (impl AsyncRead + Unpin),
    connection: &mut Connection,
) -> bool {
    match heard {
        Some(introductions) => Box::pin(introductions.hear(stream, connection)).await,
        None => true,
    }
}

async fn plain(mut stream: TcpStream, mut connection: Connection, heard: Heard) {
    if let Err(error) = prepare(&stream, &connection) {
        return tracing::debug!(%error, "a connection was lost at once");
    }
    if !is_introduced(heard, &mut stream, &mut connection).await {
        return;
    }
    let (read, write) = stream.into_split();
    http1::serve(read, write, connection).await;
}

async fn local(mut stream: UnixStream, mut connection: Connection, heard: Heard) {
    if !is_introduced(heard, &mut stream, &mut connection).await {
        return;
    }
    let (read, write) = stream.into_split();
    http1::serve(read, write, connection).await;
}

async fn encrypted(mut stream: TcpStream, tls: Tls, mut connection: Connection, heard: Heard) {
    if let Err(error) = prepare(&stream, &connection) {
        return tracing::debug!(%error, "a connection was lost at once");
    }
    // In cleartext, before the handshake.
    if !is_introduced(heard, &mut stream, &mut connection).await {
        return;
    }
    let limit = connection.app.live().timeouts.header;
    let shaken = tokio::select! {
        biased;
        shaken = timeout(limit, shake_hands(stream, &tls, &connection)) => {
            shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        () = connection.last_call() => Ok(None),
    };
    match shaken {
        // What was chosen by ALPN is what is spoken.
        Ok(Some((stream, Protocol::Http1))) => {
            let (read, write) = stream.into_split();
            http1::serve(read, write, connection).await;
        }
        Ok(Some((stream, Protocol::Http2))) => {
            let (read, write) = stream.into_split();
            // Larger than what most tasks become.
            Box::pin(http2::serve(Joined::new(Bytes::new(), read, write), connection)).await;
        }
        Ok(None) => {}
        Err(error) => {
            connection.place.lost_in_handshake();
            tracing::debug!(%error, "a TLS handshake came to nothing");
        }
    }
}

/// Nothing, if the client leaves or has to make room before it has sent anything.
async fn shake_hands(
    stream: TcpStream,
    tls: &Tls,
    connection: &Connection,
) -> io::Result<Option<(TlsStream, Protocol)>> {
    let mut first = [0; 1];
    let begun = tokio::select! {
        biased;
        begun = stream.peek(&mut first) => begun?,
        () = connection.place.asked_for() => 0,
    };
    if begun == 0 || !connection.place.begin() {
        return Ok(None);
    }
    tls.accept(stream).await.map(Some)
}

fn prepare(stream: &TcpStream, connection: &Connection) -> io::Result<()> {
    // A small answer must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(stream);
        socket.set_tcp_notsent_lowat(AHEAD)?;
        // Nobody waits for what only the system still holds of an answer: it bounds that itself.
        socket.set_tcp_user_timeout(Some(connection.app.live().timeouts.body))?;
    }
    Ok(())
}
