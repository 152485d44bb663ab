//! The right to store what a fill brings: of all sidecars that share a store, one fetches at a time, and
//! the others wait until that is stored.

use std::{
    mem,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::Fill;
use crate::{
    app::App,
    key::{ResourceKey, VariantKey},
    status::Detail,
    store::{
        Claim, Claimant, Lookup, Marker, Selector, Store, StoreError,
        tiers::{Lease, Waiting},
    },
};

/// The longest that another sidecar's fetch is waited for; less, if `timeouts.first_byte` is.
const LONGEST: Duration = Duration::from_secs(5);
/// What was asked for within this time is the same response: the time of one is read differently after
/// the difference of two clocks has been corrected.
const SAME: Duration = Duration::from_millis(50);

/// For which variant a fill seeks the right, and how.
#[derive(Clone, Debug)]
pub struct Seek {
    /// As far as it is known before the answer comes.
    pub variant: VariantKey,
    /// When what the request found was asked for, if it found anything.
    pub found: Option<SystemTime>,
    /// For how long the store may be asked.
    pub left: Duration,
    /// What for.
    pub purpose: Purpose,
}

/// What a fill is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To answer. Who waits can be told to look for what another sidecar has stored.
    Answer,
    /// To answer, whatever others have stored: it was looked for often enough.
    AnswerAnyhow,
    /// To be stored: it is not fetched if it will not be.
    Refresh,
}

/// Whether what is fetched may be stored.
#[derive(Debug)]
pub enum Right {
    /// It may, as long as the lease is held.
    Lease(Lease),
    /// It may not, and why.
    Without(Detail),
}

/// What comes of seeking it.
pub(super) enum Sought {
    /// The origin is asked.
    Fetch(Right),
    /// It need not be: what is stored is not what the request found.
    Elsewhere,
}

impl Default for Right {
    fn default() -> Self {
        Self::Without(Detail::LeaseHeld)
    }
}

impl Right {
    /// Tries once, and waits for nobody; no longer than `within`.
    pub async fn try_once(app: &App, key: &ResourceKey, variant: &VariantKey, within: Duration) -> Self {
        match app.store.claim(key, variant, Claimant::Alone, within).await {
            Ok(Claim::Granted(lease)) => Self::Lease(lease),
            Ok(Claim::Held | Claim::Unshared(_)) => Self::Without(Detail::LeaseHeld),
            Err(error) => Self::Without(cause(&error)),
        }
    }

    /// Why what is fetched is not stored.
    #[must_use]
    pub fn lacking(&self) -> Option<Detail> {
        match self {
            Self::Lease(_) => None,
            Self::Without(detail) => Some(*detail),
        }
    }

    /// Others need not wait for what will not be stored: a purge covers it.
    pub(super) fn give_up(&mut self) {
        self.ends_with(None);
        if matches!(self, Self::Lease(_)) {
            *self = Self::Without(Detail::Purged);
        }
    }

    /// Something has come of the fetch: as long as that is so, nobody else begins one.
    pub(super) fn goes_on(&self) {
        if let Self::Lease(lease) = self {
            lease.goes_on();
        }
    }

    /// What others are told when it ends, if anything.
    pub(super) fn ends_with(&mut self, marker: Option<Marker>) {
        if let Self::Lease(lease) = self {
            lease.ends_with(marker);
        }
    }
}

/// The longest that a fill waits before it fetches.
#[must_use]
pub fn longest_wait(first_byte: Duration) -> Duration {
    LONGEST.min(first_byte)
}

impl Fill {
    /// Seeks the right to store what it will fetch. Waits while another sidecar fetches it, within
    /// limits, and then is told by the store what has come of that.
    pub(super) async fn seek_right(&mut self) -> Sought {
        let claimant = match self.flight.can_be_joined() {
            true => Claimant::Flight,
            false => Claimant::Alone,
        };
        // What was waited for in vain takes its time, or hangs for the one that was let beside it too: those
        // who come meanwhile go alone at once.
        let impatient = self.app.flights.lately_waited(&self.key, self.fingerprint);
        let patience = if impatient { Duration::ZERO } else { longest_wait(self.live.timeouts.first_byte) };
        let latest = Instant::now() + patience;
        let mut waiting: Option<Waiting> = None;
        loop {
            match self.claimed(claimant).await {
                Ok(Claim::Granted(lease)) => match self.granted(lease, claimant).await {
                    Some(sought) => return sought,
                    None if Instant::now() >= latest => return self.without(Detail::LeaseTimeout),
                    None => {}
                },
                Ok(Claim::Held) if claimant == Claimant::Flight => match waiting.as_mut() {
                    // What happened before anybody listened is seen by asking once more.
                    None => waiting = self.app.store.wait(&self.key),
                    Some(_) if Instant::now() >= latest => {
                        waiting.into_iter().for_each(Waiting::is_over);
                        if !impatient {
                            self.app.flights.note_wait(&self.key, self.fingerprint, true);
                        }
                        return self.without(Detail::LeaseTimeout);
                    }
                    Some(other) => match self.meanwhile().await {
                        Ok(Meanwhile::Elsewhere) => return Sought::Elsewhere,
                        Ok(Meanwhile::Reselects) => {}
                        Ok(Meanwhile::AsFound) => {
                            other.for_a_change().await;
                            self.seek.left = self.app.store.budget();
                        }
                        Err(error) => return self.without(cause(&error)),
                    },
                },
                // Those who come now wait for nobody either.
                Ok(Claim::Unshared(Marker::Unshared)) => {
                    self.app.flights.close(&self.flight);
                    return self.without(Detail::LeaseHeld);
                }
                Ok(Claim::Held | Claim::Unshared(Marker::Failed)) => return self.without(Detail::LeaseHeld),
                Err(error) => return self.without(cause(&error)),
            }
        }
    }

    /// What is stored is read once more: it may have been stored before this lease was granted. Nothing:
    /// it is the lease of another variant.
    async fn granted(&mut self, lease: Lease, claimant: Claimant) -> Option<Sought> {
        match self.by_now(&lease, claimant).await {
            Ok(Meanwhile::AsFound) => {}
            Ok(Meanwhile::Reselects) => return None,
            Ok(Meanwhile::Elsewhere) if self.seek.purpose == Purpose::AnswerAnyhow => {
                return Some(self.without(Detail::Purged));
            }
            Ok(Meanwhile::Elsewhere) => return Some(Sought::Elsewhere),
            Err(error) => return Some(self.without(cause(&error))),
        }
        self.app.flights.note_wait(&self.key, self.fingerprint, false);
        if lease.met() == Some(Marker::Unshared) {
            self.app.flights.close(&self.flight);
        }
        Some(Sought::Fetch(Right::Lease(lease)))
    }

    /// What is stored by the time that this lease was granted. What is to be renewed must be known to be there still: a
    /// purge since it was found had no lease to break, and may not have been heard of here.
    async fn by_now(&mut self, lease: &Lease, claimant: Claimant) -> Result<Meanwhile, StoreError> {
        if self.seek.purpose == Purpose::Refresh {
            // No request waits for it.
            self.seek.left = self.app.store.budget();
        }
        match (lease, claimant) {
            (Lease::Own, _) => Ok(Meanwhile::AsFound),
            (Lease::Shared(_), _) if self.before.renews.is_some() => self.stored_now().await,
            (Lease::Shared(_), Claimant::Flight) => Ok(self.meanwhile().await.unwrap_or(Meanwhile::AsFound)),
            (Lease::Shared(_), Claimant::Alone) => Ok(Meanwhile::AsFound),
        }
    }

    /// Whether what is to be renewed is there still, if that may be stored. No request waits for it.
    pub(super) async fn is_as_found(&mut self) -> bool {
        self.seek.left = self.app.store.budget();
        let right = mem::take(&mut self.right);
        let is_as_found = match &right {
            Right::Lease(lease) => {
                matches!(self.by_now(lease, Claimant::Alone).await, Ok(Meanwhile::AsFound))
            }
            Right::Without(_) => true,
        };
        self.right = right;
        is_as_found
    }

    /// The origin has answered, or will not. Those who wait for a flight that ends without a word from now on are
    /// told that it failed.
    pub(super) fn has_asked(&mut self) {
        self.right.goes_on();
        self.right.ends_with(self.flight.can_be_joined().then_some(Marker::Failed));
    }

    fn without(&self, detail: Detail) -> Sought {
        match self.seek.purpose {
            Purpose::Refresh => Sought::Elsewhere,
            Purpose::Answer | Purpose::AnswerAnyhow => Sought::Fetch(Right::Without(detail)),
        }
    }

    async fn claimed(&mut self, claimant: Claimant) -> Result<Claim<Lease>, StoreError> {
        let (begun, Seek { variant, left, .. }) = (Instant::now(), &self.seek);
        let claimed = self.app.store.claim(&self.key, variant, claimant, *left).await;
        self.seek.left = self.seek.left.saturating_sub(begun.elapsed());
        claimed
    }

    /// What others have stored meanwhile, if that can be the answer.
    async fn meanwhile(&mut self) -> Result<Meanwhile, StoreError> {
        match self.seek.purpose {
            Purpose::AnswerAnyhow => Ok(Meanwhile::AsFound),
            Purpose::Answer | Purpose::Refresh => self.stored_now().await,
        }
    }

    /// What is stored now for this variant, beside what the request found.
    async fn stored_now(&mut self) -> Result<Meanwhile, StoreError> {
        let begun = Instant::now();
        let selector = Selector { headers: &self.asked, keyed: &self.rule.key };
        let stored = self.app.store.lookup_shared(&self.key, &selector, self.seek.left).await;
        self.seek.left = self.seek.left.saturating_sub(begun.elapsed());
        Ok(match stored? {
            // What the request found was purged since: it is not asked whether that is still good. Nor would it be found
            // again, where memory has it yet.
            Lookup::Nothing | Lookup::OtherVariants(_) if self.seek.found.is_some() => {
                self.app.store.let_go(&self.key);
                Meanwhile::Elsewhere
            }
            Lookup::Nothing => Meanwhile::AsFound,
            Lookup::Found(stored) | Lookup::Marked(stored, _) => match self.seek.found {
                Some(found) if !differ(found, stored.request_time) => Meanwhile::AsFound,
                _ => Meanwhile::Elsewhere,
            },
            Lookup::OtherVariants(nominated) => {
                let known = mem::replace(&mut self.seek.variant, selector.variant(&nominated));
                match self.seek.variant == known {
                    true => Meanwhile::AsFound,
                    false => Meanwhile::Reselects,
                }
            }
        })
    }
}

/// What is stored by the time that a fill may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    /// What the request found.
    AsFound,
    /// Another response, which may be what it wants.
    Elsewhere,
    /// Other variants, by whose fields it selects another one than it took this for.
    Reselects,
}

fn differ(one: SystemTime, other: SystemTime) -> bool {
    one.duration_since(other).unwrap_or_else(|earlier| earlier.duration()) > SAME
}

fn cause(error: &StoreError) -> Detail {
    match error {
        StoreError::Refused(_) | StoreError::TooLarge => Detail::StoreRefused,
        StoreError::LeaseLost | StoreError::Overload => Detail::LeaseHeld,
        StoreError::Budget | StoreError::Unavailable => Detail::StoreDown,
    }
}
