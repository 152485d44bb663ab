//! What Redis tells on the tracking connection, put into words.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{PushInfo, PushKind, Value};

use super::{cluster::Slots, echoes::Echoes, heard::Heard, layout::Changed};

/// Counts since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushes {
    /// Sessions begun.
    pub sessions: u64,
    /// Resources that were told to have changed.
    pub resources: u64,
    /// Announcements of purges, and of their expiry.
    pub announcements: u64,
    /// Times that Redis told to have been emptied, or something that we could not read.
    pub flushes: u64,
}

/// What was told in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Changes, or nothing for us.
    Changes,
    /// That all is gone, the fleet's members too.
    All,
    /// That this was the last of it.
    End,
}

impl Told {
    /// The two together.
    fn and(self, other: Self) -> Self {
        if other == Self::Changes { self } else { other }
    }
}

/// Passes on what is told.
pub(super) struct Ear {
    prefix: String,
    heard: Arc<dyn Heard>,
    echoes: Echoes,
    resources: AtomicU64,
    announcements: AtomicU64,
    flushes: AtomicU64,
}

impl Ear {
    /// For keys that begin with this.
    pub(super) fn new(prefix: &str, heard: Arc<dyn Heard>) -> Self {
        let counters = || AtomicU64::new(0);
        Self {
            prefix: prefix.to_owned(),
            heard,
            echoes: Echoes::default(),
            resources: counters(),
            announcements: counters(),
            flushes: counters(),
        }
    }

    /// Whom it is passed on to.
    pub(super) fn heard(&self) -> &dyn Heard {
        &*self.heard
    }

    /// One push of a node that has those slots. Returns when it has been obeyed.
    pub(super) fn hear(&self, push: &PushInfo, slots: impl Fn() -> Slots) -> Told {
        match push.kind {
            PushKind::Disconnection => Told::End,
            PushKind::Invalidate => {
                let told = push.data.iter().map(|told| match told {
                    Value::Array(names) => self.hear_of_each(names, &slots),
                    _ => self.hear_of_all(&slots),
                });
                told.fold(Told::Changes, Told::and)
            }
            _ => Told::Changes,
        }
    }

    fn hear_of_each(&self, names: &[Value], slots: &impl Fn() -> Slots) -> Told {
        let told = names.iter().map(|name| match name {
            Value::BulkString(name) => self.hear_of(name),
            _ => self.hear_of_all(slots),
        });
        told.fold(Told::Changes, Told::and)
    }

    fn hear_of(&self, name: &[u8]) -> Told {
        match Changed::of(&self.prefix, name) {
            Changed::Resource(hash) => {
                self.resources.fetch_add(1, Ordering::Relaxed);
                self.heard.changed(hash);
            }
            Changed::Announcement(announcement) => {
                self.announcements.fetch_add(1, Ordering::Relaxed);
                // What was read of it since then is later.
                if self.echoes.is_new(announcement) {
                    self.heard.announced(announcement);
                }
            }
            // It may purge anything.
            Changed::Unreadable => return self.hear_of_all(&|| Slots::ALL),
            Changed::Nothing => {}
        }
        Told::Changes
    }

    fn hear_of_all(&self, slots: &impl Fn() -> Slots) -> Told {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.heard.emptied_of(&slots());
        Told::All
    }

    pub(super) fn pushes(&self, sessions: u64) -> Pushes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Pushes {
            sessions,
            resources: read(&self.resources),
            announcements: read(&self.announcements),
            flushes: read(&self.flushes),
        }
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
