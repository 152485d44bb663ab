//! Connections of the admin listener: few, short, one request each.

use std::{
    fs::{self, Permissions},
    future::Future,
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    ACCEPT_PAUSE, AdminError, AdminState, CONNECTION_TIMEOUT, CONNECTIONS, HEAD_BYTES, HEADER_TIMEOUT,
    STOP_GRACE, Token, guard::Guard, routes,
};
use crate::{address::Listen, server::bind_unix, wrap::probe::Connection};

/// The admin listener, bound but not yet answering.
#[derive(Debug)]
pub struct Admin {
    listener: Listener,
    token: Option<Token>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

/// A connection, and our end of it.
type Accepted = (Box<dyn Connection>, Option<SocketAddr>);

impl Admin {
    /// Listens, so that connections queue up until [`Self::serve`].
    ///
    /// # Errors
    /// An address that other machines can reach, without a token; or the system refuses.
    pub async fn bind(address: &Listen, token: Option<Token>) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { address: address.clone(), source };
        let listener = match address {
            Listen::Tcp(tcp) if token.is_none() && !tcp.ip().to_canonical().is_loopback() => {
                return Err(AdminError::TokenNeeded(*tcp));
            }
            Listen::Tls(_) => return Err(failed(io::ErrorKind::Unsupported.into())),
            Listen::Tcp(tcp) => Listener::Tcp(TcpListener::bind(tcp).await.map_err(failed)?),
            Listen::Unix(path) => {
                Listener::Unix { listener: bind_private(path).map_err(failed)?, path: path.clone() }
            }
        };
        Ok(Self { listener, token })
    }

    /// Where it listens; nothing for a unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix { .. } => None,
        }
    }

    /// Answers until `stop` is done, then for at most a second what is under way.
    pub async fn serve(self, state: AdminState, stop: impl Future<Output = ()>) {
        let router = routes::router(state);
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                accepted = self.accept(&permits) => match accepted {
                    Ok((permit, (stream, local))) => {
                        let guard = Guard { local, token: self.token.clone() };
                        let router = router.clone();
                        connections.spawn(async move {
                            converse(stream, guard, router).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin listener cannot accept");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut stop => break,
            }
        }
        drop(self);
        let finish = async { while connections.join_next().await.is_some() {} };
        // What is not done by then is cut when `connections` is dropped.
        let _ = timeout(STOP_GRACE, finish).await;
    }

    async fn accept(&self, permits: &Arc<Semaphore>) -> io::Result<(OwnedSemaphorePermit, Accepted)> {
        let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
        let accepted: Accepted = match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // The address that the client chose, where we listen on all of them.
                let local = stream.local_addr()?;
                (Box::new(stream), Some(local))
            }
            Listener::Unix { listener, .. } => (Box::new(listener.accept().await?.0), None),
        };
        Ok((permit, accepted))
    }
}

/// One connection, from its request to its end.
pub(super) async fn converse(stream: impl Connection, guard: Guard, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.layer(Extension(guard))));
    // The client has been told what could be told; what else went wrong is its loss alone.
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

/// Binds a socket that only this user can open.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let listener = bind_unix(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // It may have been removed by hand; the next start copes with a left one.
            let _ = fs::remove_file(path);
        }
    }
}
