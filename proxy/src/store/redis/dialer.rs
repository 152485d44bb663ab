//! The one way to Redis: finds out where it is, and connects.
//!
//! Where sentinels say which server is the master, they are asked each time. As soon as they have named
//! another one, all connections to the one before are of no use: what is on it, nobody else may see. Where an
//! address is all there is, it may come to lead to another server: that shows when one that took no writes is
//! found again as one that does.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ProtocolVersion, RedisResult, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    credentials::{Credentials, FileError, Secrets},
    sentinels::{Sentinels, is_master},
};
use crate::address::RedisNode;

/// How long bytes may stay unacknowledged on a connection before it is given up.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// The shortest pause before another attempt to connect.
const SHORTEST: Duration = Duration::from_millis(20);
/// Servers that are tried, where sentinels disagree.
const CANDIDATES: usize = 2;
/// An address that leads now to one server and now to another does not end all connections more often.
const STEADY: Duration = Duration::from_secs(10);
/// The number of who is none any more, and whose place nobody takes.
const NONE: u64 = u64::MAX;

/// Where Redis is, and how to be let in. Clones share what they have learnt.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Shared>);

struct Shared {
    place: Place,
    credentials: Credentials,
    /// How many masters there have been, and which one is the last.
    masters: Arc<AtomicU64>,
    last: Mutex<Option<RedisNode>>,
    /// Whether the master said that it is one no more.
    demoted: AtomicBool,
    /// When the address was last found to lead to another one.
    moved: Mutex<Option<Instant>>,
    deposed: Notify,
    through: Notify,
}

enum Place {
    Server(ConnectionAddr),
    Sentinels(Sentinels),
}

/// The server that a connection leads to.
#[derive(Clone, Debug)]
pub(super) struct Server {
    number: u64,
    masters: Arc<AtomicU64>,
}

impl Server {
    /// Whether another one has taken its place.
    pub(super) fn is_deposed(&self) -> bool {
        self.number == NONE || self.masters.load(Ordering::SeqCst) != self.number
    }
}

impl Dialer {
    /// To that server.
    pub(super) fn to(address: ConnectionAddr, credentials: Credentials) -> Self {
        Self::new(Place::Server(address), credentials)
    }

    /// To the one that the sentinels name.
    pub(super) fn by(sentinels: Sentinels, credentials: Credentials) -> Self {
        Self::new(Place::Sentinels(sentinels), credentials)
    }

    fn new(place: Place, credentials: Credentials) -> Self {
        Self(Arc::new(Shared {
            place,
            credentials,
            masters: Arc::default(),
            last: Mutex::default(),
            demoted: AtomicBool::new(false),
            moved: Mutex::default(),
            deposed: Notify::new(),
            through: Notify::new(),
        }))
    }

    /// Whether all that is needed to connect can be read.
    pub(super) fn check(&self) -> Result<(), FileError> {
        if let Place::Sentinels(sentinels) = &self.0.place {
            sentinels.credentials().read()?;
        }
        self.0.credentials.read().map(|_| ())
    }

    /// Connects, by that version of the protocol. `config` says how long each attempt may take.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> RedisResult<(MultiplexedConnection, Server)> {
        let secrets = self.0.credentials.fetch().await?;
        match &self.0.place {
            Place::Server(address) => {
                // As of before: it may lead elsewhere meanwhile.
                let server = self.present();
                Ok((open(&secrets, address.clone(), protocol, config).await?, server))
            }
            Place::Sentinels(sentinels) => {
                self.connect_to_master(sentinels, &secrets, config, protocol).await
            }
        }
    }

    async fn connect_to_master(
        &self,
        sentinels: &Sentinels,
        secrets: &Secrets,
        config: &AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> RedisResult<(MultiplexedConnection, Server)> {
        let mut failure = None;
        for node in sentinels.ask().await?.into_iter().take(CANDIDATES) {
            let address = address(&node, self.0.credentials.are_over_tls());
            let opened = match open(secrets, address, protocol, config).await {
                Ok(connection) => is_master(&connection, &node).await.map(|()| connection),
                Err(error) => Err(error),
            };
            match opened {
                Ok(connection) => return Ok((connection, self.found(&node))),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| sentinels.know_none()))
    }

    /// That is the master.
    fn found(&self, node: &RedisNode) -> Server {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(node) {
            if let Some(before) = last.replace(node.clone()) {
                tracing::info!(master = %node, %before, "the sentinels name another master");
            }
            self.0.masters.fetch_add(1, Ordering::SeqCst);
        }
        self.present()
    }

    fn present(&self) -> Server {
        Server { number: self.0.masters.load(Ordering::SeqCst), masters: Arc::clone(&self.0.masters) }
    }

    /// Whoever is there is of no use any more, and will not be.
    pub(super) fn depose(&self) {
        self.0.masters.store(NONE, Ordering::SeqCst);
    }

    /// The server took no write because it is not the master.
    pub(super) fn was_demoted(&self) {
        self.0.demoted.store(true, Ordering::SeqCst);
    }

    /// The server took a write. Whether that shows that the address leads to another one than it did: then all
    /// connections so far are of no use, because some of them may still lead to the one before, which takes none.
    pub(super) fn took_a_write(&self) -> bool {
        let Place::Server(_) = &self.0.place else { return false };
        let mut moved = self.0.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = moved.is_none_or(|moved| moved.elapsed() >= STEADY);
        if !is_due || !self.0.demoted.swap(false, Ordering::SeqCst) {
            return false;
        }
        *moved = Some(Instant::now());
        tracing::warn!(redis = %self, "the address of Redis leads to a master again; connections from before end");
        let next = |number: u64| (number != NONE).then(|| number + 1);
        let _ = self.0.masters.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        self.0.deposed.notify_waiters();
        true
    }

    /// Waits until connections end because their server has been replaced.
    pub(super) async fn deposed(&self) {
        self.0.deposed.notified().await;
    }

    /// A connection serves: who pauses before another attempt need not go on.
    pub(super) fn got_through(&self) {
        self.0.through.notify_waiters();
    }

    /// Pauses before another attempt, until somebody else has got through.
    pub(super) async fn pause(&self, length: Duration) {
        if timeout(length, self.0.through.notified()).await.is_ok() {
            sleep(SHORTEST.min(length)).await;
        }
    }

    /// An error where that is a master no more.
    pub(super) async fn confirm(&self, connection: &MultiplexedConnection) -> RedisResult<()> {
        match &self.0.place {
            Place::Server(_) => Ok(()),
            Place::Sentinels(sentinels) => is_master(connection, sentinels).await,
        }
    }
}

async fn open(
    secrets: &Secrets,
    address: ConnectionAddr,
    protocol: ProtocolVersion,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let over_tls = matches!(address, ConnectionAddr::TcpTls { .. });
    let client = secrets.client(address, protocol, tcp())?;
    client.get_multiplexed_async_connection_with_config(config).await.map_err(|error| {
        match over_tls && error.is_timeout() {
            // One that does not speak it waits for more of what it takes for a command.
            true => io::Error::new(io::ErrorKind::TimedOut, "timed out: does it speak TLS?").into(),
            false => error,
        }
    })
}

/// What the other end does not acknowledge for so long is lost, and the connection with it.
fn tcp() -> TcpSettings {
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
    tcp
}

/// Where a server is.
pub(super) fn address(node: &RedisNode, tls: bool) -> ConnectionAddr {
    let RedisNode { host, port } = node.clone();
    match tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

/// Shown without what is secret.
impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Place::Server(address) => address.fmt(f),
            Place::Sentinels(sentinels) => sentinels.fmt(f),
        }
    }
}
