//! What Redis is to do, one command each.

use std::sync::Arc;

use redis::{Cmd, cmd};

use super::super::{
    announcement::{Announcement, Kind},
    layout::{self, digits},
};
use crate::{
    epoch::{Epoch, Mode},
    purges::Purges,
    sabotage::Omission,
    store::Wait,
    tags::Tag,
};

/// For how long all can hear of a purge, in milliseconds.
const ANNOUNCED: u64 = 60_000;
/// For how long the record of a tag is kept that nothing stored carries yet, in milliseconds.
pub(in crate::store::redis) const UNUSED_RECORD: u64 = 24 * 60 * 60 * 1000;

/// A script, in one command: it need not be there yet.
pub(in crate::store::redis) fn eval(script: &str, keys: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(script).arg(keys.len()).arg(keys);
    eval
}

/// What Redis is to do.
#[derive(Clone, Debug)]
pub(in crate::store::redis) enum Act {
    /// Purge a resource.
    Purge { hash: u128, name: Arc<str>, mode: Mode },
    /// Purge what carries a tag.
    PurgeTag { tag: Tag, mode: Mode },
}

/// Why it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It is new, and somebody waits for it.
    First(Wait),
    /// Redis had it, and may have lost it: what came after it stays, and nobody is told what is so already.
    Again,
}

impl Act {
    /// All that carries anything, and what carries nothing.
    pub(super) fn everything() -> Self {
        Self::PurgeTag { tag: Tag::everything(), mode: Mode::Hard }
    }

    /// What it is about: of two acts about the same, the later one is enough.
    pub(in crate::store::redis) fn what(&self) -> u128 {
        match self {
            Self::Purge { hash, .. } => *hash,
            Self::PurgeTag { tag, .. } => tag.bits(),
        }
    }

    /// What becomes of that.
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Purge { mode, .. } | Self::PurgeTag { mode, .. } => *mode,
        }
    }

    /// What does both.
    pub(super) fn with(self, earlier: &Self) -> Self {
        if earlier.mode() == Mode::Hard { earlier.clone() } else { self }
    }

    pub(super) fn command(&self, prefix: &str, epoch: Epoch, sending: Sending) -> Cmd {
        let wait = sending == Sending::First(Wait::ForFleet);
        let announced =
            |what, kind, mode| layout::announcement(prefix, &Announcement { what, kind, mode, wait, epoch });
        let mut script = match self {
            Self::Purge { hash, name, mode } => {
                let leases = match Omission::LeaseBreak.is_made() {
                    true => layout::leases(prefix, 0),
                    false => layout::leases(prefix, *hash),
                };
                let announcement = announced(*hash, Kind::Resource, *mode);
                let mut script = eval(include_str!("../purge.lua"), &[name, &leases, &announcement]);
                script.arg(digits(epoch)).arg(if *mode == Mode::Soft { "soft" } else { "hard" });
                script
            }
            Self::PurgeTag { tag, mode } => {
                let announcement = announced(tag.bits(), Kind::Tag, *mode);
                let (hard, soft) = match mode {
                    Mode::Hard => (epoch, Epoch::FIRST),
                    Mode::Soft => (Epoch::FIRST, epoch),
                };
                let record = layout::record(prefix, *tag);
                let mut script = eval(include_str!("../purge_tag.lua"), &[&record, &announcement]);
                script.arg(digits(hard)).arg(digits(soft)).arg(UNUSED_RECORD);
                script
            }
        };
        script.arg(ANNOUNCED).arg(if sending == Sending::Again { "again" } else { "first" });
        script
    }

    /// What it makes obsolete in this process.
    pub(super) fn apply(&self, purges: &Purges, epoch: Epoch) {
        match self {
            Self::Purge { hash, mode, .. } => purges.purge_resource(*hash, *mode, epoch),
            Self::PurgeTag { tag, mode } => purges.purge_tag(*tag, *mode, epoch),
        }
    }
}
