//! What happened, by one monotonic clock: the reads, the writes, the purges and the faults of a run.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// The number of a sidecar.
pub(crate) type Sidecar = usize;
/// The number of a resource.
pub(crate) type Key = usize;
/// What the origin raises before it purges.
pub(crate) type Version = u64;

/// When something was, from the beginning of the run.
pub(crate) type Moment = Duration;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        self.0.elapsed()
    }
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
}

impl Span {
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.begun <= other.ended && other.begun <= self.ended
    }

    /// With so much more at its end.
    pub(crate) fn and(self, more: Duration) -> Self {
        Self { ended: self.ended + more, ..self }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}..{:.6} s", self.begun.as_secs_f64(), self.ended.as_secs_f64())
    }
}

/// One request of a reader.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) sidecar: Sidecar,
    pub(crate) key: Key,
    /// Begun before the request was sent, ended after the answer had come.
    pub(crate) span: Span,
    pub(crate) got: Got,
}

impl Read {
    pub(crate) fn took(&self) -> Duration {
        self.span.ended.saturating_sub(self.span.begun)
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A whole 200, and what its `Cache-Status` says.
    Page { version: Version, says: String },
    /// Anything else.
    Failed(String),
}

impl Got {
    pub(crate) fn is_hit(&self) -> bool {
        matches!(self, Self::Page { says, .. } if says.starts_with("hit"))
    }

    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::Page { .. })
    }

    /// Whether it has been stored for others.
    pub(crate) fn is_stored(&self) -> bool {
        self.has_word("stored")
    }

    /// Whether the sidecar has said that it went on without Redis.
    pub(crate) fn is_told_of_an_outage(&self) -> bool {
        self.has_word("detail=store-down")
    }

    fn has_word(&self, word: &str) -> bool {
        matches!(self, Self::Page { says, .. } if says.split("; ").any(|said| said == word))
    }
}

/// One purge.
#[derive(Clone, Debug)]
pub(crate) struct Purge {
    /// The sidecar that was asked.
    pub(crate) via: Sidecar,
    /// In words.
    pub(crate) what: String,
    /// The resources it names.
    pub(crate) names: Vec<Key>,
    /// Those for which it promises something, and the versions that they had before it began: older ones are gone.
    pub(crate) covers: Vec<(Key, Version)>,
    /// When these versions were there.
    pub(crate) raised: Moment,
    pub(crate) span: Span,
    /// Absent: no answer came.
    pub(crate) status: Option<u16>,
}

impl Purge {
    pub(crate) fn is_promised(&self) -> bool {
        self.status == Some(200)
    }
}

/// What is done to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Redis says nothing, its connections stay open.
    RedisFrozen,
    /// Redis ends, and is empty when it comes back.
    RedisKilled,
    /// Redis loses all that it has, again and again, under connections that stay. One sidecar may hear of it late.
    RedisFlushed,
    /// It loses the roll of the members, likewise.
    RollLost,
    /// One sidecar loses its tracking connection and cannot make a new one.
    TrackingCut,
    /// It hears nothing over it, and no end either.
    TrackingSilent,
    /// It hears everything too late.
    TrackingDelayed,
    /// Its commands to Redis, or the answers to them, take long.
    DataDelayed,
    /// It dies, and another one is started in its place.
    SidecarKilled,
    /// It is stopped for a while, and goes on as if nothing had been.
    SidecarFrozen,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::RedisFrozen,
        Self::RedisKilled,
        Self::RedisFlushed,
        Self::RollLost,
        Self::TrackingCut,
        Self::TrackingSilent,
        Self::TrackingDelayed,
        Self::DataDelayed,
        Self::SidecarKilled,
        Self::SidecarFrozen,
    ];
}

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whom it was done to; absent: to all, as they have one Redis.
    pub(crate) sidecar: Option<Sidecar>,
    /// Who hears what changes late by it, and how late.
    pub(crate) late: Option<(Sidecar, Duration)>,
    pub(crate) span: Span,
}

/// A sidecar takes no answer on its tracking connection that comes later.
const ANSWER: Duration = Duration::from_millis(500);

impl Fault {
    pub(crate) fn touches(&self, sidecar: Sidecar) -> bool {
        self.sidecar.is_none_or(|touched| touched == sidecar)
    }

    /// Whether it can keep this sidecar from Redis, so that `on_outage` decides.
    pub(crate) fn cuts_off(&self, sidecar: Sidecar) -> bool {
        use Kind::{RedisFrozen, RedisKilled, TrackingCut, TrackingSilent};
        let cuts = matches!(self.kind, RedisFrozen | RedisKilled | TrackingCut | TrackingSilent);
        let too_late = |(who, by)| who == sidecar && by >= ANSWER;
        cuts && self.touches(sidecar) || self.late.is_some_and(too_late)
    }

    /// Whether requests to this sidecar may fail by it.
    pub(crate) fn excuses_failures_of(&self, sidecar: Sidecar) -> bool {
        matches!(self.kind, Kind::SidecarKilled | Kind::SidecarFrozen) && self.touches(sidecar)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        if let Some(sidecar) = self.sidecar {
            write!(f, " of sidecar {sidecar}")?;
        }
        if let Some((sidecar, by)) = self.late {
            write!(f, ", {sidecar} hears late by {by:?}")?;
        }
        write!(f, " {}", self.span)
    }
}

/// All of it, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) reads: Vec<Read>,
    /// What writing by POST was answered.
    pub(crate) posts: Vec<Read>,
    pub(crate) purges: Vec<Purge>,
    pub(crate) faults: Vec<Fault>,
}
