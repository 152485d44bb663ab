//! Notices that the configuration file has changed, and reads it. What to do with the text is the
//! caller's business.
//!
//! Three things make us look: the file system's notices, a signal (`SIGHUP`), and, since notices do
//! not come from network file systems and many a shared folder, a slow look of our own. What counts
//! is the contents: a touch, or a busy neighbour in the same directory, changes nothing.

mod links;
pub mod status;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use blake3::Hash;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// A file is read once nothing has happened to it for this long: an editor may write in pieces.
const QUIET: Duration = Duration::from_millis(100);

/// But it is read after this long in any case: something else in its directory may never rest.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How often it is looked at unasked. Together with [`QUIET`], an edit of which no notice comes acts
/// within a second; a read of some kilobytes this often costs nothing that could be measured.
const LOOK: Duration = Duration::from_millis(500);

/// The largest file that is read, in bytes: far above any that people write.
pub const LARGEST_FILE: u64 = 1024 * 1024;

/// Something that the caller should act upon.
#[derive(Debug)]
pub struct Change {
    /// What made us read.
    pub cause: Cause,
    /// What the file holds now. An error means that it has gone or cannot be read, which is said
    /// once, not again until it could be read.
    pub text: io::Result<String>,
}

/// What made us read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its contents have changed.
    Edit,
    /// `SIGHUP`: read again, changed or not.
    Signal,
}

/// Watches one file.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    notices: Notices,
    hang_up: Signal,
    look: tokio::time::Interval,
    /// Of the text last handed out; nothing after an error.
    current: Option<Hash>,
}

impl Reloader {
    /// Watches `path`, which may be a symbolic link, or lead through some. `current` is the text that
    /// is in force, so that an edit between its being read and this call is not lost. Needs a Tokio
    /// runtime, and takes over `SIGHUP`.
    ///
    /// # Errors
    /// Only when the signal cannot be waited for. Where the system's notices are not to be had, the
    /// slow look does alone, and a log line says so.
    pub fn watch(path: &Path, current: &str) -> io::Result<Self> {
        let hang_up = signal(SignalKind::hangup())?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let path = std::path::absolute(path)?;
        let mut notices = Notices::new();
        notices.follow(&path);
        Ok(Self { path, notices, hang_up, look, current: Some(blake3::hash(current.as_bytes())) })
    }

    /// Waits for the next change. Safe to cancel.
    pub async fn next(&mut self) -> Change {
        loop {
            let cause = self.woken().await;
            if cause == Cause::Edit {
                let glance = self.read().await;
                if self.is_known(&glance) {
                    continue;
                }
                self.settle().await;
            }
            let text = self.read().await;
            if cause == Cause::Edit && self.is_known(&text) {
                continue;
            }
            self.current = text.as_ref().ok().map(|text| blake3::hash(text.as_bytes()));
            return Change { cause, text };
        }
    }

    /// Waits until there is a reason to look.
    async fn woken(&mut self) -> Cause {
        tokio::select! {
            Some(()) = self.hang_up.recv() => Cause::Signal,
            () = self.notices.wake.notified() => Cause::Edit,
            _ = self.look.tick() => Cause::Edit,
        }
    }

    /// Waits until the file is left alone.
    async fn settle(&self) {
        let latest = Instant::now() + LONGEST_WAIT;
        while Instant::now() < latest {
            let quiet = latest.min(Instant::now() + QUIET);
            if timeout_at(quiet, self.notices.wake.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Reads the file, and follows it to where its name now leads.
    async fn read(&mut self) -> io::Result<String> {
        self.notices.follow(&self.path);
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || read(&path)).await?
    }

    fn is_known(&self, text: &io::Result<String>) -> bool {
        self.current == text.as_ref().ok().map(|text| blake3::hash(text.as_bytes()))
    }
}

/// Reads a configuration file.
///
/// # Errors
/// It cannot be read, is no regular file, is larger than [`LARGEST_FILE`], or is not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    let length = File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    match u64::try_from(length) {
        Ok(length) if length <= LARGEST_FILE => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB")),
    }
}

/// The file system's notices.
#[derive(Debug)]
struct Notices {
    /// Set by any notice; many before anybody looks are one.
    wake: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Notices {
    fn new() -> Self {
        let wake = Arc::new(Notify::new());
        let tell = Arc::clone(&wake);
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_our_own(event.kind)) {
                tell.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(told).inspect_err(unavailable).ok();
        Self { wake, watcher, watched: BTreeSet::new() }
    }

    /// Watches the directories whose entries decide which file `path` is: not the file, which may be
    /// replaced by another of its name.
    fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = links::directories(path);
        for gone in self.watched.difference(&wanted) {
            // A directory that was deleted is no longer watched, which is as well.
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.watched) {
            // Tried once: the slow look sees what this misses.
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                unavailable(&error);
            }
        }
        self.watched = wanted;
    }
}

/// Reading the file is no change to it.
fn is_our_own(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(notify::event::AccessMode::Write)))
}

fn unavailable(error: &notify::Error) {
    tracing::warn!(%error, "no notices of changes to the configuration: looking every {LOOK:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_edit_of_which_no_notice_comes_acts_within_a_second() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "one").unwrap();
        let mut reloader = Reloader::watch(&path, "one").unwrap();
        reloader.notices.watcher = None;
        // The quickest of three, for a busy machine.
        let mut quickest = Duration::MAX;
        for text in ["two", "three", "four"] {
            let begun = Instant::now();
            std::fs::write(&path, text).unwrap();
            assert_eq!(reloader.next().await.text.unwrap(), text);
            quickest = quickest.min(begun.elapsed());
        }
        assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    }
}
