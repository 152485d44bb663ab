//! An origin that takes nothing but well-formed requests, and answers each with its number.

use std::{
    os::unix::net::UnixListener as Socket,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use sidecache_fuzz::strict::{self, Message, Read};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The field of an answer with the number of the request.
pub const NUMBER: &str = "X-Number";

/// One for the process: each run accepts what is its own.
static LISTENER: LazyLock<(PathBuf, Socket)> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("sidecache-fuzz-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = Socket::bind(&path).expect("a socket in the directory for temporary files");
    listener.set_nonblocking(true).expect("a socket can");
    (path, listener)
});

/// Where it listens.
pub fn path() -> &'static Path {
    &LISTENER.0
}

/// What came to it.
#[derive(Debug, Default)]
pub struct Got {
    /// Whole requests; the first is number 1.
    pub requests: Vec<Message>,
    /// Connections that ended in the middle of one.
    pub cut: usize,
    /// What it could not read.
    pub bad: Vec<String>,
}

pub struct Origin {
    got: Arc<Mutex<Got>>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
}

impl Origin {
    pub fn start() -> Self {
        let listener = LISTENER.1.try_clone().expect("a descriptor");
        let listener = UnixListener::from_std(listener).expect("a runtime");
        let got = Arc::<Mutex<Got>>::default();
        let (stop, mut stopped) = watch::channel(false);
        let heard = Arc::clone(&got);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.expect("a connection");
                        connections.spawn(serve(stream, Arc::clone(&heard)));
                    }
                    _ = stopped.changed() => return connections,
                }
            }
        });
        Self { got, stop, accepting }
    }

    /// All that came, when every connection has been closed.
    pub async fn end(self) -> Got {
        self.stop.send_replace(true);
        let mut connections = self.accepting.await.expect("it did not panic");
        while let Some(ended) = connections.join_next().await {
            ended.expect("it did not panic");
        }
        std::mem::take(&mut *lock(&self.got))
    }
}

fn lock(got: &Mutex<Got>) -> MutexGuard<'_, Got> {
    got.lock().expect("it is not poisoned")
}

async fn serve(mut stream: UnixStream, got: Arc<Mutex<Got>>) {
    let mut unread = Vec::new();
    let mut granted = false;
    loop {
        match strict::request(&unread) {
            Read::Whole(message, length) => {
                unread.drain(..length);
                granted = false;
                let is_head = message.method == "HEAD";
                let number = {
                    let mut got = lock(&got);
                    got.requests.push(*message);
                    got.requests.len()
                };
                let body = if is_head { "" } else { "ok" };
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{NUMBER}: {number}\r\nContent-Length: 2\r\n\r\n{body}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Read::Bad(why) => {
                let text = String::from_utf8_lossy(&unread);
                return lock(&got).bad.push(format!("{why}: {text:?}"));
            }
            Read::Partial => {
                if !granted && expects(&unread) {
                    granted = true;
                    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
                }
                if !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
                    lock(&got).cut += usize::from(!unread.is_empty());
                    return;
                }
            }
        }
    }
}

/// Whether a client waits to be told to go on.
fn expects(head: &[u8]) -> bool {
    strict::lines(head).is_ok_and(|(message, _)| !message.values("expect").is_empty())
}
