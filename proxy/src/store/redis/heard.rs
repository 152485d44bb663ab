//! Who is told what the fleet does.

use std::sync::Arc;

use super::{announcement::Announcement, cluster::Slots};
use crate::epoch::Epoch;

/// Hears of changes, in the order in which Redis tells of them, on the task that reads the tracking
/// connection. What is done here is done before any later answer on that connection is seen; so it must
/// be quick, and wait for nothing. [`Heard::renewed`], and the [`Heard::emptied`] with which a session
/// begins, come from the task that keeps the connection, and so may overlap with the others.
pub trait Heard: Send + Sync {
    /// The resource of this hash is not what it was: written, removed, expired, evicted.
    fn changed(&self, hash: u128);

    /// A purge. Comes again only if so many have come since that it is forgotten; see [`Announcement`].
    fn announced(&self, announcement: Announcement);

    /// Nothing is known any more: Redis was emptied; or a session begins, and whatever changed before
    /// was not heard of. In that case the session is trusted only after this has returned.
    fn emptied(&self);

    /// The same of a node of a cluster: of what is in its slots.
    fn emptied_of(&self, slots: &Slots) {
        let _ = slots;
        self.emptied();
    }

    /// These slots are about to get another owner. What is known of them is to be forgotten, but nothing has
    /// been missed.
    fn moved(&self, slots: &Slots) {
        let _ = slots;
    }

    /// The membership is renewed, and this was the last epoch of a purge, if there was one.
    fn renewed(&self, epoch: Option<Epoch>) {
        let _ = epoch;
    }
}

/// In this order.
impl Heard for Vec<Arc<dyn Heard>> {
    fn changed(&self, hash: u128) {
        self.iter().for_each(|one| one.changed(hash));
    }

    fn announced(&self, announcement: Announcement) {
        self.iter().for_each(|one| one.announced(announcement));
    }

    fn emptied(&self) {
        self.iter().for_each(|one| one.emptied());
    }

    fn emptied_of(&self, slots: &Slots) {
        self.iter().for_each(|one| one.emptied_of(slots));
    }

    fn moved(&self, slots: &Slots) {
        self.iter().for_each(|one| one.moved(slots));
    }

    fn renewed(&self, epoch: Option<Epoch>) {
        self.iter().for_each(|one| one.renewed(epoch));
    }
}
