//! Station 1, accept: listeners, a limit on connections, and a drain that loses no request.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    address::Listen,
    admit::Scheme,
    app::App,
    headers::Peer,
    http1::{self, Connection},
    observe::Observer,
};

/// Connections that wait for their acceptance, for each listener.
const BACKLOG: u32 = 4096;
/// The pause after a failed accept: mostly a lack of descriptors, which does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The data port, bound but not yet answering.
pub struct Server {
    listeners: Vec<Listener>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// What every connection of a server shares.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    observer: Arc<dyn Observer>,
    draining: watch::Receiver<bool>,
    places: Arc<Semaphore>,
}

impl Server {
    /// Binds every address, or none.
    ///
    /// # Errors
    /// The first address that cannot be bound, named.
    pub fn bind(addresses: &[Listen]) -> io::Result<Self> {
        let listeners = addresses.iter().map(Listener::bind).collect::<io::Result<_>>()?;
        Ok(Self { listeners })
    }

    /// The TCP addresses bound, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = self.listeners.iter().filter_map(|listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        });
        tcp.collect()
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
        let places = Arc::new(Semaphore::new(app.live().limits.connections));
        let shared = Shared { app: Arc::clone(&app), observer, draining, places };
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
        };
        timeout(grace, all).await.is_ok()
    }
}

/// Accepts until the drain begins, then what waits already, so that nobody finds the door shut who
/// came before it closed.
async fn accept_all(listener: Listener, shared: Shared) {
    let mut draining = shared.draining.clone();
    loop {
        let next = async {
            // Full: further ones wait in the backlog.
            let place = Arc::clone(&shared.places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => break,
            next = next => next,
        };
        match accepted {
            Ok(accepted) => accepted.serve(&shared, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for _ in 0..BACKLOG {
        let Some(place) = Arc::clone(&shared.places).try_acquire_owned().ok() else { return };
        let Some(Ok(accepted)) = at_once(listener.accept()).await else { return };
        accepted.serve(&shared, Some(place));
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

impl Accepted {
    fn serve(self, shared: &Shared, place: Option<OwnedSemaphorePermit>) {
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
        };
        tokio::spawn(async move {
            let _place = place;
            match self {
                Self::Tcp(stream, _) => {
                    // A small answer must not wait for the acknowledgement of the one before.
                    if let Err(error) = stream.set_nodelay(true) {
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

impl Listener {
    fn bind(address: &Listen) -> io::Result<Self> {
        match address {
            Listen::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|listener| Self::Unix(listener, path.clone())),
        }
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // The next start removes it as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Binds a socket, in place of one that an earlier process left behind. Only a refused connection
/// shows that nobody answers there: any other error may hide a server that does.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    UnixListener::bind(path)
}
