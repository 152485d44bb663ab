//! What the log says of a Redis that comes late. A test binary of its own: the log is the process'.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sidecache::{
    clock::Clock,
    store::redis::{Health, RedisStore, Settings},
};
use support::redis::{RedisServer, eventually};
use tokio::net::{TcpListener, UnixStream};

/// What the log was told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, level: &str) -> usize {
        self.text().lines().filter(|line| line.contains(level)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A port behind which there is a Redis, or something that hangs up on everybody.
struct Door {
    port: u16,
    knocks: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
}

impl Door {
    async fn before(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (knocks, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let door = Self { port, knocks: Arc::clone(&knocks), open: Arc::clone(&open) };
        tokio::spawn(async move {
            while let Ok((mut guest, _)) = listener.accept().await {
                knocks.fetch_add(1, Ordering::Relaxed);
                if open.load(Ordering::Relaxed) {
                    let mut inside = UnixStream::connect(&socket).await.unwrap();
                    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut guest, &mut inside).await });
                }
            }
        });
        door
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_once_that_it_is_gone_and_once_that_it_is_there() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = RedisServer::start();
    let door = Door::before(server.socket()).await;
    server.command(&["CONFIG", "SET", "requirepass", "canary"]);
    let url = format!("redis://:canary@127.0.0.1:{}", door.port);
    let store = RedisStore::start(Settings::new(&url, "test").unwrap(), Clock::System);
    eventually("it has tried again and again", async || door.knocks.load(Ordering::Relaxed) >= 8).await;
    assert_eq!((log.count("WARN"), log.count("INFO")), (1, 0), "{}", log.text());

    door.open.store(true, Ordering::Relaxed);
    eventually("the store is up", async || store.health() == Health::Up && store.takes_writes()).await;
    assert_eq!((log.count("WARN"), log.count("INFO")), (1, 1), "{}", log.text());
    assert!(!log.text().contains("canary"), "{}", log.text());
}
