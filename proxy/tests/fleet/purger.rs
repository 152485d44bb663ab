//! Those who write at the origin, and then purge what they have changed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    catalogue::{Catalogue, KEYS, keeps_etag, neighbours, path, shared_tag, tag},
    client::{Order, What, purge},
    history::{Key, Purge, Sidecar, Span, Watch},
    random::Random,
    reader::Progress,
    sidecars::{Place, Whereabouts},
};

/// Between two purges of one purger, at most.
const PAUSE: Duration = Duration::from_millis(300);
/// Before the same is purged again: within the time in which it is being fetched and stored.
const AGAIN: Duration = Duration::from_millis(40);

pub(crate) struct Purger {
    pub(crate) catalogue: Catalogue,
    pub(crate) watch: Watch,
    pub(crate) random: Random,
    pub(crate) progress: Arc<Progress>,
}

impl Purger {
    /// Purges until it is over, and tells what it has purged.
    pub(crate) async fn run(mut self, fleet: Vec<Whereabouts>) -> Vec<Purge> {
        let (mut purges, mut key) = (Vec::new(), 0);
        while !self.progress.is_over() {
            let again = self.random.one_in(3);
            if !again {
                key = self.random.below(KEYS);
            }
            let most = if again { AGAIN } else { PAUSE };
            sleep(self.random.between(Duration::ZERO, most)).await;
            let Some((via, place)) = self.any_of(&fleet) else { continue };
            let soft = purges.len() % 2 == 1;
            purges.push(self.purge(key, soft, via, &place).await);
        }
        purges
    }

    /// A sidecar that runs.
    fn any_of(&mut self, fleet: &[Whereabouts]) -> Option<(Sidecar, Place)> {
        let first = self.random.below(fleet.len());
        let order = (0..fleet.len()).map(|step| (first + step) % fleet.len());
        order.into_iter().find_map(|sidecar| Some((sidecar, fleet[sidecar].borrow().clone()?)))
    }

    async fn purge(&mut self, key: Key, soft: bool, via: Sidecar, place: &Place) -> Purge {
        let (what, names) = match self.random.below(3) {
            0 => (What::Url(path(key)), vec![key]),
            1 => (What::Tag(tag(key)), vec![key]),
            _ => (What::Tag(shared_tag(key)), neighbours(key).collect()),
        };
        let raised: Vec<_> = names.iter().map(|key| (*key, self.catalogue.raise(*key))).collect();
        let covers = raised.into_iter().filter(|(key, _)| !(soft && keeps_etag(*key))).collect();
        let raised = self.watch.now();
        let order = Order { what, soft };
        self.progress.purges.fetch_add(1, Ordering::Relaxed);
        self.progress.hot.store(key, Ordering::Relaxed);
        let begun = self.watch.now();
        let status = purge(place, &order).await;
        let span = Span { begun, ended: self.watch.now() };
        Purge { via, what: format!("{order:?}"), names, covers, raised, span, status }
    }
}
