//! Which announcements have been heard already: each is heard once more when it expires.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use super::announcement::Announcement;

/// Announcements that are remembered. One that is forgotten is obeyed twice.
const REMEMBERED: usize = 8 * 1024;

/// Those that were heard lately.
#[derive(Debug, Default)]
pub(super) struct Echoes(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    known: HashSet<Announcement>,
    oldest_first: VecDeque<Announcement>,
}

impl Echoes {
    /// Whether it is heard for the first time.
    pub(super) fn is_new(&self, told: Announcement) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !heard.known.insert(told) {
            return false;
        }
        heard.oldest_first.push_back(told);
        if heard.oldest_first.len() > REMEMBERED
            && let Some(oldest) = heard.oldest_first.pop_front()
        {
            heard.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        epoch::{Epoch, Mode},
        store::redis::Kind,
    };

    fn told(number: u64) -> Announcement {
        let epoch = Epoch::from_number(number).unwrap();
        Announcement { what: 7, kind: Kind::Tag, mode: Mode::Hard, wait: true, epoch }
    }

    #[test]
    fn each_is_new_once_until_it_is_forgotten() {
        let echoes = Echoes::default();
        assert!(echoes.is_new(told(0)) && !echoes.is_new(told(0)));
        for number in 1..=REMEMBERED as u64 {
            assert!(echoes.is_new(told(number)));
        }
        assert!(echoes.is_new(told(0)) && !echoes.is_new(told(2)));
    }
}
