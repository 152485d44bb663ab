//! What was counted of requests, as it is read: in all, of one rule, or within one time.

use std::{collections::BTreeMap, ops::AddAssign, sync::Arc, time::Duration};

use crate::{
    histogram::Durations,
    status::{Detail, Outcome},
};

/// Who answered, of which there are as many as outcomes have kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The store.
    Hit,
    /// The origin.
    Forwarded,
    /// The proxy itself.
    Own,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Forwarded, Self::Own];

    /// That of an outcome.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Hit { .. } => Self::Hit,
            Outcome::Forward(_) => Self::Forwarded,
            Outcome::Own(_) => Self::Own,
        }
    }

    /// Its word, in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Forwarded => "forwarded",
            Self::Own => "own",
        }
    }
}

/// What was counted of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How long they took from their heads to the ends of their answers, by [`Class::ALL`]; and so, how many there are.
    pub took: [Durations; Class::ALL.len()],
    /// Those that were answered with a status of 500 or more, by whomever.
    pub errors: u64,
    /// Bytes of body that clients got.
    pub bytes: u64,
    /// Those that shared the fetch of another one.
    pub collapsed: u64,
    /// What hits spared the origin, as [`Reply::spared`](crate::message::Reply::spared) has it.
    pub spared: Duration,
}

impl Counts {
    /// How many were answered so.
    #[must_use]
    pub fn of(&self, class: Class) -> u64 {
        self.took_by(class).count()
    }

    /// How long those took.
    #[must_use]
    pub fn took_by(&self, class: Class) -> Durations {
        let [hit, forwarded, own] = self.took;
        match class {
            Class::Hit => hit,
            Class::Forwarded => forwarded,
            Class::Own => own,
        }
    }

    /// How many there are in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.took.iter().map(Durations::count).sum()
    }

    /// What has been counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut took = self.took;
        for (now, then) in took.iter_mut().zip(&earlier.took) {
            *now = now.since(then);
        }
        Self {
            took,
            errors: self.errors.saturating_sub(earlier.errors),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            collapsed: self.collapsed.saturating_sub(earlier.collapsed),
            spared: self.spared.saturating_sub(earlier.spared),
        }
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for (sum, took) in self.took.iter_mut().zip(&other.took) {
            *sum += took;
        }
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.collapsed += other.collapsed;
        self.spared += other.spared;
    }
}

/// What was counted of one rule, since it has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCounts {
    /// Its name; nothing for requests that no rule matched, or one that an edit has removed meanwhile.
    pub name: Option<Arc<str>>,
    /// All its requests.
    pub counts: Counts,
    /// Those with a cause to name, by the word of the [`Detail`]; those that the proxy answered itself, by that of the
    /// outcome.
    pub details: BTreeMap<&'static str, u64>,
}

impl RuleCounts {
    /// How many would have been hits, were the rule not in shadow.
    #[must_use]
    pub fn would_hit(&self) -> u64 {
        self.details.get(Detail::ShadowHit.as_str()).copied().unwrap_or_default()
    }
}
