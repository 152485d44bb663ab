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

/// Answers held back.
#[derive(Clone)]
pub(crate) struct Hold {
    /// On connections on which such a thing was asked.
    when: fn(&str) -> bool,
    held: Arc<AtomicBool>,
    open: watch::Sender<bool>,
}

impl Hold {
    /// Whether it was.
    pub(crate) fn holds(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Lets them go.
    pub(crate) fn release(&self) {
        self.open.send_replace(true);
    }
}

/// A relay before a Redis, on the current runtime.
pub(crate) struct Relay {
    folder: TempDir,
    rules: Arc<Rules>,
}

struct Rules {
    holds: Mutex<Vec<Hold>>,
    /// Whether what asks to be tracked is let through.
    tracks: watch::Sender<bool>,
}

impl Relay {
    pub(crate) fn before(server: &RedisServer) -> Self {
        let rules = Arc::new(Rules { holds: Mutex::default(), tracks: watch::Sender::new(true) });
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

    /// From now on answers are held back on connections on which such a thing is asked.
    pub(crate) fn hold(&self, when: fn(&str) -> bool) -> Hold {
        let hold = Hold { when, held: Arc::default(), open: watch::Sender::new(false) };
        self.rules.holds.lock().unwrap().push(hold.clone());
        hold
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

type Opened = watch::Receiver<bool>;

/// One connection, until either end or the relay ends it.
async fn pass(guest: UnixStream, redis: UnixStream, rules: Arc<Rules>) {
    let ((mut asks, answers), (hears, mut takes)) = (guest.into_split(), redis.into_split());
    let held = Arc::new(Mutex::default());
    let back = tokio::spawn(answer(hears, answers, Arc::clone(&held)));
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
        for hold in rules.holds.lock().unwrap().iter().filter(|hold| (hold.when)(&asked)) {
            hold.held.store(true, Ordering::SeqCst);
            held.lock().unwrap().push(hold.open.subscribe());
        }
        if takes.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    back.abort();
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, held: Arc<Mutex<Vec<Opened>>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let waits = held.lock().unwrap().clone();
        for mut opened in waits {
            if opened.wait_for(|open| *open).await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
