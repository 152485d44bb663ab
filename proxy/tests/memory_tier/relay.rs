//! A way to Redis on which a test can hold back answers, or lose the tracking connection.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::support::redis::RedisServer;

/// A relay before a Redis, on the current runtime.
pub(crate) struct Relay {
    folder: TempDir,
    rules: Arc<Rules>,
}

struct Rules {
    /// Answers to what names this are held back.
    marker: Mutex<Option<String>>,
    held: AtomicBool,
    open: watch::Sender<bool>,
    /// Whether what asks to be tracked is let through.
    tracks: watch::Sender<bool>,
}

impl Relay {
    pub(crate) fn before(server: &RedisServer) -> Self {
        let rules = Arc::new(Rules {
            marker: Mutex::default(),
            held: AtomicBool::new(false),
            open: watch::Sender::new(true),
            tracks: watch::Sender::new(true),
        });
        let relay = Self { folder: tempfile::tempdir().unwrap(), rules: Arc::clone(&rules) };
        let (listener, inside) = (UnixListener::bind(relay.socket()).unwrap(), server.socket());
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                let Ok(redis) = UnixStream::connect(&inside).await else { continue };
                tokio::spawn(pass(guest, redis, Arc::clone(&rules)));
            }
        });
        relay
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("relay.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// From now on answers on a connection whose guest names this in a question are held back.
    pub(crate) fn hold(&self, marker: &str) {
        self.rules.open.send_replace(false);
        *self.rules.marker.lock().unwrap() = Some(marker.to_owned());
    }

    /// Whether there was such a question.
    pub(crate) fn holds(&self) -> bool {
        self.rules.held.load(Ordering::SeqCst)
    }

    /// Lets the answers go.
    pub(crate) fn release(&self) {
        *self.rules.marker.lock().unwrap() = None;
        self.rules.open.send_replace(true);
    }

    /// Cuts the tracking connections, and lets no new one come about.
    pub(crate) fn lose_tracking(&self) {
        self.rules.tracks.send_replace(false);
    }

    /// Lets them come about again.
    pub(crate) fn allow_tracking(&self) {
        self.rules.tracks.send_replace(true);
    }
}

/// One connection, until either end or the relay ends it.
async fn pass(guest: UnixStream, redis: UnixStream, rules: Arc<Rules>) {
    let ((mut asks, answers), (hears, mut takes)) = (guest.into_split(), redis.into_split());
    let held = Arc::new(AtomicBool::new(false));
    let back = tokio::spawn(answer(hears, answers, Arc::clone(&held), rules.open.subscribe()));
    let mut tracks = rules.tracks.subscribe();
    let (mut buffer, mut tracked) = (vec![0; 64 * 1024], false);
    loop {
        let read = tokio::select! {
            read = asks.read(&mut buffer) => read.unwrap_or(0),
            _ = tracks.wait_for(|tracks| tracked && !tracks) => 0,
        };
        let asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
        tracked |= asked.contains("TRACKING");
        if read == 0 || tracked && !*rules.tracks.borrow() {
            break;
        }
        if rules.marker.lock().unwrap().as_ref().is_some_and(|marker| asked.contains(marker)) {
            held.store(true, Ordering::SeqCst);
            rules.held.store(true, Ordering::SeqCst);
        }
        if takes.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    back.abort();
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    held: Arc<AtomicBool>,
    mut open: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if held.load(Ordering::SeqCst) && open.wait_for(|open| *open).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
