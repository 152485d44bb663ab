//! Purges that Redis has acknowledged, each with the epoch that it took: a Redis that we come back to may
//! have lost them, as one that has taken the place of another.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::act::Act;
use crate::{
    epoch::{Epoch, Mode},
    purges::Mark,
    tags::Tag,
};

/// Purges that are remembered. Of a place that is purged over and over the last one.
pub(super) const MOST: usize = 16 * 1024;
/// For how long, where no more are to be remembered.
const RECENT: Duration = Duration::from_secs(600);

/// What a purge is about, and what becomes of it: the last one of them is enough.
type Place = (u128, Mode);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) act: Act,
    pub(super) epoch: Epoch,
    /// Redis may have lost it, and has not confirmed it since.
    due: bool,
}

/// The latest of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    of: HashMap<Place, Taken>,
    oldest_first: VecDeque<(Instant, Place, Epoch)>,
    /// The latest one for which there was no room, and when it was acknowledged.
    forgotten: Option<(Instant, Epoch)>,
}

impl Recent {
    /// Redis has acknowledged it; `due`: over a connection that is gone by now.
    pub(super) fn add(&mut self, act: &Act, epoch: Epoch, due: bool) {
        let (place, at) = ((act.what(), act.mode()), Instant::now());
        if self.of.get(&place).is_some_and(|known| known.epoch >= epoch) {
            return;
        }
        if place == (Tag::everything().bits(), Mode::Hard) {
            self.of.retain(|_, taken| taken.epoch > epoch);
            self.forgotten = self.forgotten.filter(|(_, forgotten)| *forgotten > epoch);
        }
        self.of.insert(place, Taken { act: act.clone(), epoch, due });
        self.oldest_first.push_back((at, place, epoch));
        self.forget_old();
    }

    /// Redis may have lost all of them. Whether so many that everything has to go that is older than those
    /// which are forgotten.
    pub(super) fn are_due(&mut self) -> bool {
        let forgotten = self.forgotten.take();
        if let Some((_, epoch)) = forgotten {
            self.add(&Act::everything(), epoch, true);
        }
        self.of.values_mut().for_each(|taken| taken.due = true);
        forgotten.is_some()
    }

    /// Those that Redis may have lost.
    pub(super) fn due(&self) -> Vec<Taken> {
        self.of.values().filter(|taken| taken.due).cloned().collect()
    }

    /// Redis has it.
    pub(super) fn confirm(&mut self, confirmed: &Taken) {
        let place = (confirmed.act.what(), confirmed.act.mode());
        if let Some(taken) = self.of.get_mut(&place).filter(|taken| taken.epoch == confirmed.epoch) {
            taken.due = false;
        }
    }

    /// What Redis may have lost about this.
    pub(super) fn lost(&self, what: u128) -> Mark {
        let of = |mode| {
            let taken = self.of.get(&(what, mode)).filter(|taken| taken.due);
            taken.map_or(Epoch::FIRST, |taken| taken.epoch)
        };
        Mark { hard: of(Mode::Hard), soft: of(Mode::Soft) }
    }

    /// Whether there may be any such.
    pub(super) fn any_due(&self) -> bool {
        self.of.values().any(|taken| taken.due)
    }

    fn is_last(&self, place: Place, epoch: Epoch) -> Option<&Taken> {
        self.of.get(&place).filter(|taken| taken.epoch == epoch)
    }

    fn forget_old(&mut self) {
        while let Some(&(at, place, epoch)) = self.oldest_first.front() {
            let is_old = at.elapsed() > RECENT;
            if let Some(taken) = self.is_last(place, epoch) {
                if self.of.len() <= MOST && (!is_old || taken.due) {
                    break;
                }
                if !is_old || taken.due {
                    let latest = self.forgotten.map_or(epoch, |(_, before)| before.max(epoch));
                    self.forgotten = Some((at, latest));
                }
                self.of.remove(&place);
            }
            self.oldest_first.pop_front();
        }
        self.forgotten = self.forgotten.filter(|(at, _)| at.elapsed() <= RECENT);
        if self.oldest_first.len() > 2 * MOST {
            let of = &self.of;
            self.oldest_first.retain(|(_, place, epoch)| of.get(place).is_some_and(|t| t.epoch == *epoch));
        }
    }
}
