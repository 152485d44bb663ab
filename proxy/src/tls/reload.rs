//! Notices that a certificate or its key has been replaced.
//!
//! Certificates are renewed weeks before they end, so a slow look is enough, and it works on every file
//! system. A pair is two files, and is replaced one after the other: so it is taken only when two looks have
//! found the same.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    PairError,
    certificates::{Certificates, Contents},
};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(500);

/// How often those are told of that expire.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What has become of certificates that were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsStats {
    /// Times that what was found was taken.
    pub taken: u64,
    /// Times that it was not, and what was there before stayed.
    pub refused: u64,
    /// Whether what was found last is presented.
    pub success: bool,
}

/// What was found so far.
pub(super) struct Reloads {
    seen: Mutex<Seen>,
    taken: AtomicU64,
    refused: AtomicU64,
    success: AtomicBool,
}

struct Seen {
    /// What was last judged; nothing, if it could not be read.
    judged: Option<Vec<Contents>>,
    /// What the last look found, if that was something else.
    found: Option<Option<Vec<Contents>>>,
}

impl Reloads {
    /// Those that are in force.
    pub(super) fn of(contents: Vec<Contents>) -> Self {
        let seen = Seen { judged: Some(contents), found: None };
        let (taken, refused) = Default::default();
        Self { seen: Mutex::new(seen), taken, refused, success: AtomicBool::new(true) }
    }
}

impl Certificates {
    /// Looks after the files for ever. The log is told what they lack: now, each day, and when they are replaced.
    pub async fn follow(self: Arc<Self>) {
        let (mut look, mut day) = (interval(LOOK), interval(DAY));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = day.tick() => {
                    self.warn();
                    continue;
                }
                _ = look.tick() => {}
            }
            let looking = Arc::clone(&self);
            // Files may be on a disk that is slow.
            let looked = tokio::task::spawn_blocking(move || looking.look()).await;
            match looked {
                Ok(Some(Ok(()))) => {
                    tracing::info!("the certificates in the files are presented from now on");
                    self.warn();
                }
                Ok(Some(Err(error))) => {
                    tracing::error!(
                        "the certificates are not taken, those before stay in force: tls: {error}"
                    );
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn warn(&self) {
        for warning in self.warnings(SystemTime::now()) {
            tracing::warn!("{warning}");
        }
    }

    /// How often that came to something.
    #[must_use]
    pub fn stats(&self) -> TlsStats {
        TlsStats {
            taken: self.reloads.taken.load(Ordering::Relaxed),
            refused: self.reloads.refused.load(Ordering::Relaxed),
            success: self.reloads.success.load(Ordering::Relaxed),
        }
    }

    /// Looks once: nothing is new, or not for long enough, or what became of it.
    fn look(&self) -> Option<Result<(), PairError>> {
        let (found, unreadable) = match self.contents() {
            Ok(contents) => (Some(contents), None),
            Err(error) => (None, Some(error)),
        };
        let mut seen = self.reloads.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if found == seen.judged {
            seen.found = None;
            return None;
        }
        if seen.found.as_ref() != Some(&found) {
            seen.found = Some(found);
            return None;
        }
        seen.found = None;
        seen.judged.clone_from(&found);
        let result = match (found, unreadable) {
            (Some(contents), _) => self.replace(&contents),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        };
        let count = if result.is_ok() { &self.reloads.taken } else { &self.reloads.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.reloads.success.store(result.is_ok(), Ordering::Relaxed);
        Some(result)
    }
}
