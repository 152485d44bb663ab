//! Who waits for a change of a resource, to be woken when one is heard of.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// Resources that are waited for at once. Who waits for a further one looks now and then.
const MOST: usize = 4096;

/// Those who wait, by the hash of what they wait for.
#[derive(Debug, Default)]
pub(super) struct Wakes(Mutex<HashMap<u128, watch::Sender<()>>>);

impl Wakes {
    /// Begins to wait: what happens from now on wakes, though it be before anybody asks.
    pub(super) fn wait(self: &Arc<Self>, hash: u128) -> Waiter {
        let mut waiting = self.lock();
        let heard = match waiting.len() < MOST || waiting.contains_key(&hash) {
            true => Some(waiting.entry(hash).or_insert_with(|| watch::Sender::new(())).subscribe()),
            false => None,
        };
        Waiter { wakes: Arc::clone(self), hash, heard }
    }

    /// Something has happened to the resource of this hash. Quick, for it is called between two
    /// messages of Redis.
    pub(super) fn wake(&self, hash: u128) {
        if let Some(waiting) = self.lock().get(&hash) {
            waiting.send_replace(());
        }
    }

    /// Anything may have happened to any of them.
    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(|waiting| {
            waiting.send_replace(());
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a change of a resource.
#[derive(Debug)]
pub(super) struct Waiter {
    wakes: Arc<Wakes>,
    hash: u128,
    /// Nothing, where too much is waited for already.
    heard: Option<watch::Receiver<()>>,
}

impl Waiter {
    /// Returns when something has happened that it has not told of yet; never, if nothing is heard.
    pub(super) async fn woken(&mut self) {
        let Some(heard) = &mut self.heard else { return std::future::pending().await };
        // Who wakes lives as long as anybody waits.
        let _ = heard.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.wakes.lock();
        self.heard = None;
        if waiting.get(&self.hash).is_some_and(|waiting| waiting.receiver_count() == 0) {
            waiting.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    fn is_woken(waiter: &mut Waiter) -> bool {
        pin!(waiter.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn each_who_waits_is_woken_once_for_all_that_happened() {
        let wakes = Arc::new(Wakes::default());
        let (mut one, mut same, mut other) = (wakes.wait(1), wakes.wait(1), wakes.wait(2));
        assert!(!is_woken(&mut one));
        wakes.wake(1);
        wakes.wake(1);
        wakes.wake(3);
        assert!(is_woken(&mut one) && is_woken(&mut same) && !is_woken(&mut other));
        assert!(!is_woken(&mut one), "it has been told");
        assert!(!is_woken(&mut wakes.wait(1)), "that was before");
        wakes.wake_all();
        assert!(is_woken(&mut one) && is_woken(&mut same) && is_woken(&mut other));
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let wakes = Arc::new(Wakes::default());
        let (one, mut same) = (wakes.wait(1), wakes.wait(1));
        drop(one);
        wakes.wake(1);
        assert!(is_woken(&mut same));
        drop(same);
        assert!(wakes.lock().is_empty());
    }

    #[test]
    fn no_more_are_waited_for_than_that() {
        let wakes = Arc::new(Wakes::default());
        let mut all: Vec<_> = (0..=MOST as u128).map(|hash| wakes.wait(hash)).collect();
        assert_eq!(wakes.lock().len(), MOST);
        wakes.wake_all();
        assert!(!is_woken(all.last_mut().unwrap()) && is_woken(&mut all[0]));
        assert!(wakes.wait(1).heard.is_some(), "who waits for the same takes no room");
        drop(all);
        assert!(wakes.lock().is_empty());
    }
}
