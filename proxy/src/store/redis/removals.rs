//! Removals, and those that Redis has not acknowledged: look-ups find nothing there until it has.
//!
//! A removal is noted before it is sent, and struck out when it is acknowledged. What is left is
//! sent again after each good beat. Only so many are noted; when there is one more, all that was
//! fetched until then is distrusted instead, for as long as it is stored.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::task::AbortHandle;

use super::{
    condition::Throttle,
    layout::{self, Place},
    link::{Link, Role},
    settings::Settings,
};
use crate::{clock::Clock, store::StoreError};

/// Removals that are noted: about a megabyte.
const MOST: usize = 4096;
/// Removals that are sent again at once, and how long an answer may take, which no request waits for.
const BATCH: (usize, Duration) = (256, Duration::from_secs(1));
/// By how much the clocks of those that share a Redis may differ once corrected.
const SKEW: Duration = Duration::from_secs(1);

/// The way of removals to Redis. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Removals {
    shared: Arc<Shared>,
    retries: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    budget: Duration,
    prefix: String,
    noted: Noted,
}

impl Drop for Removals {
    fn drop(&mut self) {
        self.retries.abort();
    }
}

impl Removals {
    /// Starts to connect, on the current runtime.
    pub(super) fn start(settings: &Settings, clock: Clock) -> Self {
        let link = Link::start(Role::Removals, settings.clone(), clock);
        let prefix = settings.prefix.clone();
        let shared = Arc::new(Shared { link, budget: settings.budget, prefix, noted: Noted::new() });
        let retries = tokio::spawn(Arc::clone(&shared).retry()).abort_handle();
        Self { shared, retries }
    }

    /// Removes what is in these places. However it ends, look-ups find there no more what was there
    /// before. `now` is Redis' time.
    pub(super) async fn remove(&self, places: Vec<Place>, now: SystemTime) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        let removals = self.shared.noted.note(places, now);
        self.shared.send(&removals, self.shared.budget).await
    }

    /// Whether a removal there is not acknowledged.
    pub(super) fn awaits(&self, place: &Place) -> bool {
        self.shared.noted.holds(place.hash)
    }

    /// Whether what was asked for at this time, by Redis' clock, may be what a removal that is no
    /// longer noted should have removed.
    pub(super) fn distrust(&self, request_time: SystemTime) -> bool {
        self.shared.noted.trusted_from.load().as_ref().is_some_and(|from| request_time < **from)
    }

    /// Whether a removal would be sent now.
    pub(super) fn is_ready(&self) -> bool {
        self.shared.link.is_ready()
    }
}

impl Shared {
    /// Sends what is noted after each good beat, for ever.
    async fn retry(self: Arc<Self>) {
        loop {
            self.link.beaten().await;
            for removals in self.noted.all().chunks(BATCH.0) {
                if let Err(error) = self.send(removals, BATCH.1).await {
                    tracing::debug!(%error, "removals were not made up for");
                    break;
                }
            }
        }
    }

    async fn send(&self, removals: &[Removal], limit: Duration) -> Result<(), StoreError> {
        let mut unlinks = redis::pipe();
        for removal in removals {
            // The leases too: what is being fetched now may be older than the change.
            let leases = layout::leases(&self.prefix, removal.hash);
            unlinks.cmd("UNLINK").arg(&*removal.name).arg(leases).ignore();
        }
        self.link.run(limit, async |mut connection| unlinks.query_async::<()>(&mut connection).await).await?;
        self.noted.strike_out(removals);
        Ok(())
    }
}

/// One removal of a resource.
#[derive(Clone, Debug)]
struct Removal {
    hash: u128,
    name: Arc<str>,
    /// Tells it from a later one of the same resource, which its answer does not acknowledge.
    number: u64,
}

/// Removals that are not acknowledged.
#[derive(Debug)]
struct Noted {
    removals: Mutex<Latest>,
    /// So that look-ups need no lock as long as there is none.
    any: AtomicBool,
    /// By Redis' clock: what was asked for before then is distrusted.
    trusted_from: ArcSwapOption<SystemTime>,
}

#[derive(Debug)]
struct Latest {
    of: HashMap<u128, Removal>,
    count: u64,
    lines: Throttle,
}

impl Noted {
    fn new() -> Self {
        let latest = Latest { of: HashMap::new(), count: 0, lines: Throttle::new() };
        Self {
            removals: Mutex::new(latest),
            any: AtomicBool::new(false),
            trusted_from: ArcSwapOption::empty(),
        }
    }

    fn note(&self, places: Vec<Place>, now: SystemTime) -> Vec<Removal> {
        let mut latest = self.lock();
        self.any.store(true, Ordering::Release);
        places.into_iter().map(|place| self.note_one(&mut latest, place, now)).collect()
    }

    fn note_one(&self, latest: &mut Latest, place: Place, now: SystemTime) -> Removal {
        if latest.of.len() >= MOST && !latest.of.contains_key(&place.hash) {
            // Before they are forgotten, so that no look-up falls between.
            self.trusted_from.store(Some(Arc::new(now.checked_add(SKEW).unwrap_or(now))));
            latest.of.clear();
            if latest.lines.allows() {
                tracing::warn!(
                    "Redis takes no removals: nothing that was fetched until now is served from it"
                );
            }
        }
        latest.count += 1;
        let removal = Removal { hash: place.hash, name: place.name.into(), number: latest.count };
        latest.of.insert(place.hash, removal.clone());
        removal
    }

    fn strike_out(&self, removals: &[Removal]) {
        let mut latest = self.lock();
        for removal in removals {
            if latest.of.get(&removal.hash).is_some_and(|noted| noted.number == removal.number) {
                latest.of.remove(&removal.hash);
            }
        }
        self.any.store(!latest.of.is_empty(), Ordering::Release);
    }

    fn holds(&self, hash: u128) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().of.contains_key(&hash)
    }

    fn all(&self) -> Vec<Removal> {
        self.lock().of.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(hash: usize) -> Place {
        Place { hash: hash as u128, name: hash.to_string() }
    }

    #[test]
    fn an_earlier_answer_does_not_acknowledge_a_later_removal() {
        let noted = Noted::new();
        let earlier = noted.note(vec![place(1), place(2)], SystemTime::UNIX_EPOCH);
        let later = noted.note(vec![place(1)], SystemTime::UNIX_EPOCH);
        noted.strike_out(&earlier);
        assert!(noted.holds(1) && !noted.holds(2));
        noted.strike_out(&later);
        assert!(!noted.holds(1) && noted.all().is_empty());
    }

    #[test]
    fn no_more_are_noted_than_that() {
        let noted = Noted::new();
        noted.note((0..MOST).map(place).collect(), SystemTime::UNIX_EPOCH);
        noted.note(vec![place(0)], SystemTime::UNIX_EPOCH);
        assert!(noted.trusted_from.load().is_none() && noted.all().len() == MOST);
        noted.note(vec![place(MOST)], SystemTime::UNIX_EPOCH);
        assert_eq!(noted.trusted_from.load().as_deref(), Some(&(SystemTime::UNIX_EPOCH + SKEW)));
        assert!(noted.holds(place(MOST).hash) && noted.all().len() == 1);
    }
}
