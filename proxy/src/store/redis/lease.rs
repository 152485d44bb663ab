//! Leases: the right to store a variant of a resource, which one in the fleet has at a time.
//!
//! One is claimed before the origin is asked, and renewed until what came is stored, so that all
//! others know that somebody is at it. If the holder dies, it lapses. If nothing comes of his fetch, another
//! one gets a lease beside his, once, and what comes first is stored. A removal breaks it, and with it the
//! right to store what was fetched before.

mod counts;
mod held;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use redis::Script;
use tokio::time::timeout;

use self::counts::{Counters, one};
pub use self::{counts::LeaseStats, held::Lease};
use super::{
    cluster::{Links, Nodes, Spot},
    layout::Place,
    link::Role,
    wakes::{Waiter, Wakes},
};
use crate::{
    clock::Clock,
    key::{ResourceKey, VariantKey},
    store::{Claim, Claimant, Marker, StoreError},
};

/// How long a lease lasts that is not renewed: so long others wait for one who has died.
const LENGTH: Duration = Duration::from_secs(2);
/// How often it is renewed, and how long each renewal may take.
const RENEWAL: Duration = Duration::from_millis(500);
/// When nothing has come of a fetch for so long, neither a head nor more of a body, one more may begin beside it:
/// sooner than the others lose patience, who have what that one brings.
const SILENCE: Duration = Duration::from_secs(4);
/// For the answer to a release, which nobody waits for.
const RELEASE: Duration = Duration::from_secs(1);
/// By how much the time of a claim may be off: no more than what Redis did not do for so long, because
/// it was frozen, is a claim that nobody waits for any more.
const LATE: Duration = Duration::from_secs(1);
/// For how long nobody waits after an answer that is not for others, and after none.
const UNSHARED: Duration = Duration::from_secs(10);
const FAILED: Duration = Duration::from_secs(1);
/// Leases of one resource at once, one for each variant. What goes beyond is fetched and not stored.
const MOST: usize = 256;
/// Between two looks at a lease that somebody else has, where no change is heard of.
const PAUSE: Duration = Duration::from_millis(100);

/// The way of leases to Redis.
#[derive(Debug)]
pub(super) struct Leases {
    links: Links,
    prefix: String,
    clock: Clock,
    claim_script: Script,
    renew_script: Script,
    release_script: Script,
    /// Of this process, and how many it has claimed: together a token.
    process: u64,
    claims: AtomicU64,
    wakes: Arc<Wakes>,
    counters: Counters,
}

impl Leases {
    /// Over the connections to these.
    pub(super) fn new(nodes: &Arc<Nodes>) -> Arc<Self> {
        Arc::new(Self {
            links: Links::new(nodes, Role::Leases),
            prefix: nodes.settings().prefix.clone(),
            clock: nodes.clock().clone(),
            claim_script: Script::new(include_str!("claim.lua")),
            renew_script: Script::new(include_str!("renew.lua")),
            release_script: Script::new(include_str!("release.lua")),
            process: RandomState::new().build_hasher().finish(),
            claims: AtomicU64::new(0),
            wakes: Arc::default(),
            counters: Counters::default(),
        })
    }

    /// Asks for the lease of a variant.
    pub(super) async fn claim(
        self: &Arc<Self>,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> Result<Claim<Lease>, StoreError> {
        let outcome = self.try_claim(key, variant, claimant, within).await;
        match &outcome {
            Ok(Claim::Granted(_)) => one(&self.counters.granted),
            Ok(Claim::Unshared(_)) => one(&self.counters.unshared),
            Ok(Claim::Held) => {}
            Err(_) => one(&self.counters.failed),
        }
        outcome
    }

    async fn try_claim(
        self: &Arc<Self>,
        key: &ResourceKey,
        variant: &VariantKey,
        claimant: Claimant,
        within: Duration,
    ) -> Result<Claim<Lease>, StoreError> {
        if within.is_zero() {
            return Err(StoreError::Budget);
        }
        let spot = Spot::Of(key.wide_hash());
        let node = self.links.owner(spot).ok_or(StoreError::Unavailable)?;
        // Others would wait for what is not stored.
        node.manners.let_in()?;
        let offset = node.leases.offset();
        let mut lease = Lease::new(self, Place::of(&self.prefix, key), variant);
        let latest = offset.there(self.clock.now()) + within + LATE;
        let mut claim = lease.terms.invocation(&self.claim_script);
        claim.arg(initial(claimant)).arg(millis(LENGTH)).arg(unix_millis(latest)).arg(MOST);
        claim.arg(millis(UNSHARED)).arg(millis(FAILED));
        let answer = self
            .links
            .run(spot, within, async |mut connection| claim.invoke_async::<String>(&mut connection).await)
            .await;
        let words = answer.as_deref().map(|words| words.split_once(' ').unwrap_or((words, "")));
        let claimed = match words {
            Ok(("granted", marker)) => {
                lease.hold(read_marker(marker));
                return Ok(Claim::Granted(lease));
            }
            Ok(("held", marker)) => Ok(read_marker(marker).map_or(Claim::Held, Claim::Unshared)),
            Ok(("late", _)) => Err(StoreError::Budget),
            Ok(_) => Err(StoreError::Overload),
            // It may be granted yet: then it is given back.
            Err(StoreError::Budget) => return Err(StoreError::Budget),
            Err(_) => answer.map(|_| Claim::Held),
        };
        lease.is_over();
        claimed
    }

    /// Counts since the start.
    pub(super) fn stats(&self) -> LeaseStats {
        self.counters.read()
    }

    /// Begins to wait until somebody else has filled it.
    pub(super) fn wait(self: &Arc<Self>, key: &ResourceKey) -> Waiting {
        one(&self.counters.waited);
        let waiter = self.wakes.wait(Place::of(&self.prefix, key).hash);
        Waiting { leases: Arc::clone(self), waiter }
    }

    /// Who waits for changes of resources.
    pub(super) fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }
}

/// One who waits for somebody else's fetch.
#[derive(Debug)]
pub struct Waiting {
    leases: Arc<Leases>,
    waiter: Waiter,
}

impl Waiting {
    /// Returns when it is time to look again.
    pub async fn for_a_change(&mut self) {
        // An error is a pause that is over.
        let _ = timeout(PAUSE, self.waiter.woken()).await;
    }

    /// It has taken too long.
    pub fn is_over(self) {
        one(&self.leases.counters.waited_out);
    }
}

fn read_marker(word: &str) -> Option<Marker> {
    match word {
        "u" => Some(Marker::Unshared),
        "f" => Some(Marker::Failed),
        _ => None,
    }
}

fn initial(claimant: Claimant) -> &'static str {
    match claimant {
        Claimant::Flight => "f",
        Claimant::Alone => "a",
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis)
}
