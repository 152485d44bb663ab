//! Responses that have come whole and are on their way into the store.
//!
//! A client has the last byte before a shared store has written the first, and may ask again at once.
//! What the store does not answer yet is answered from here, as it will be a moment later from there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;

use crate::{
    flight::Shared,
    key::ResourceKey,
    policy::partial::Came,
    purges::{Begun, Purges},
    store::Selector,
    stored::Stored,
};

/// All of them, by their resource. Each lasts as long as the fill that stores it.
#[derive(Default)]
pub struct Arrivals(Mutex<HashMap<ResourceKey, Vec<Arc<Arrival>>>>);

/// A response that will be stored.
struct Arrival {
    key: ResourceKey,
    fingerprint: u64,
    begun: Begun,
    shared: Arc<Shared>,
    /// What is stored of it, once somebody needed it.
    entry: OnceLock<Option<Arc<Stored>>>,
}

/// The place of a response among the others; dropped when it is stored, or will not be.
pub struct Expected<'a> {
    arrivals: &'a Arrivals,
    arrival: Arc<Arrival>,
}

impl Arrivals {
    /// A response for this resource has begun to come, under a rule's fingerprint. To be called before
    /// anybody can have it whole.
    pub fn expect(
        &self,
        key: &ResourceKey,
        fingerprint: u64,
        begun: Begun,
        shared: Arc<Shared>,
    ) -> Expected<'_> {
        let entry = OnceLock::new();
        let arrival = Arc::new(Arrival { key: key.clone(), fingerprint, begun, shared, entry });
        self.lock().entry(key.clone()).or_default().push(Arc::clone(&arrival));
        Expected { arrivals: self, arrival }
    }

    /// Those that are whole and selected by this request, the newest first; not what `purges` cover.
    #[must_use]
    pub fn of(&self, key: &ResourceKey, selector: &Selector<'_>, purges: &Purges) -> Vec<Arc<Stored>> {
        let coming = self.lock().get(key).cloned().unwrap_or_default();
        let hash = key.wide_hash();
        let valid = |arrival: &&Arc<Arrival>| {
            let begun = arrival.begun;
            !purges.missed(begun.known) && !purges.cover(hash, begun.known.epoch(), &arrival.shared.tags)
        };
        let entries = coming.iter().rev().filter(valid).filter_map(|arrival| arrival.entry());
        entries.filter(|entry| selector.variant(&entry.nominated) == entry.variant).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ResourceKey, Vec<Arc<Arrival>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    fn entry(&self) -> Option<Arc<Stored>> {
        if !self.shared.body.is_whole() {
            return None;
        }
        self.entry.get_or_init(|| self.stored().map(Arc::new)).clone()
    }

    fn stored(&self) -> Option<Stored> {
        let shared = &self.shared;
        let body = shared.body.collect();
        let part = match shared.part.map(|range| Came::of(range, body.len() as u64)) {
            None | Some(Came::Whole) => None,
            Some(Came::Part(part)) => Some(part),
            Some(Came::Nonsense) => return None,
        };
        Some(Stored {
            key: Bytes::copy_from_slice(self.key.as_bytes()),
            variant: shared.variant.clone(),
            nominated: shared.nominated.clone(),
            fingerprint: self.fingerprint,
            request_time: shared.exchange.request_time,
            response_time: shared.exchange.response_time,
            lot: shared.exchange.lot,
            epoch: self.begun.known.epoch(),
            tags: shared.tags.clone(),
            lines: shared.lines.clone(),
            hidden: shared.hidden.clone(),
            facts: shared.facts.clone(),
            part,
            body,
        })
    }
}

impl Expected<'_> {
    /// What is to be stored of it. Nothing before it is whole, or where it is not what was announced.
    #[must_use]
    pub fn entry(&self) -> Option<Arc<Stored>> {
        self.arrival.entry()
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let mut all = self.arrivals.lock();
        if let Some(coming) = all.get_mut(&self.arrival.key) {
            coming.retain(|other| !Arc::ptr_eq(other, &self.arrival));
            if coming.is_empty() {
                all.remove(&self.arrival.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, StatusCode, header::ACCEPT};

    use super::*;
    use crate::{
        epoch::Mode,
        headers::Lines,
        key::{KeyPolicy, VariantKey},
        policy::{
            facts::ResponseFacts,
            freshness::{ExchangeTimes, Lot},
            range::{ContentRange, Span},
        },
        spool::{Spool, SpoolWriter},
    };

    fn begun(purges: &Purges) -> Begun {
        purges.begin(SystemTime::UNIX_EPOCH)
    }

    fn accepting(what: &str) -> HeaderMap {
        [(ACCEPT, what.parse().unwrap())].into_iter().collect()
    }

    /// A response to who accepts `a`.
    fn shared(length: Option<u64>, part: Option<ContentRange>) -> Arc<Shared> {
        let at = SystemTime::UNIX_EPOCH;
        let nominated: Box<[_]> = Box::new([ACCEPT]);
        Arc::new(Shared {
            lines: Lines::default(),
            hidden: Lines::default(),
            withheld: Lines::default(),
            renewed_by: None,
            facts: ResponseFacts::of(StatusCode::OK, &HeaderMap::new()),
            exchange: ExchangeTimes { request_time: at, response_time: at, lot: Lot::default() },
            variant: VariantKey::new(&accepting("a"), &KeyPolicy::default(), &nominated),
            nominated,
            tags: Box::default(),
            unstored: None,
            part,
            body: Arc::new(Spool::new(length)),
        })
    }

    /// The bodies that who accepts that finds.
    fn found(arrivals: &Arrivals, path: &'static str, accepts: &str, purges: &Purges) -> Vec<Bytes> {
        let (headers, keyed) = (accepting(accepts), KeyPolicy::default());
        let of =
            arrivals.of(&ResourceKey::of_path(path), &Selector { headers: &headers, keyed: &keyed }, purges);
        of.iter().map(|entry| entry.body.clone()).collect()
    }

    #[test]
    fn it_is_found_from_its_last_byte_until_it_is_stored() {
        for length in [Some(2), None] {
            let arrivals = Arrivals::default();
            let shared = shared(length, None);
            let writer = SpoolWriter::new(&shared.body);
            let purges = Purges::default();
            let expected =
                arrivals.expect(&ResourceKey::of_path("/a"), 0, begun(&purges), Arc::clone(&shared));
            let found = |path, accepts| found(&arrivals, path, accepts, &purges);
            writer.push(Bytes::from_static(b"x"));
            assert!(found("/a", "a").is_empty() && expected.entry().is_none());
            writer.push(Bytes::from_static(b"y"));
            // Without an announced length it is not known yet that this is all.
            assert_eq!(found("/a", "a").len(), usize::from(length.is_some()));
            writer.finish(HeaderMap::new());
            assert_eq!(found("/a", "a"), ["xy"]);
            assert!(found("/a", "b").is_empty(), "another variant");
            assert!(found("/b", "a").is_empty(), "another resource");
            purges.purge_resource(
                ResourceKey::of_path("/a").wide_hash(),
                Mode::Hard,
                purges.next(SystemTime::UNIX_EPOCH),
            );
            assert!(found("/a", "a").is_empty(), "obsolete");
            drop(expected);
            assert!(arrivals.lock().is_empty());
        }
    }

    #[test]
    fn the_newest_comes_first() {
        let arrivals = Arrivals::default();
        let comes = |body: &'static str| {
            let shared = shared(None, None);
            let expected = arrivals.expect(
                &ResourceKey::of_path("/a"),
                0,
                begun(&Purges::default()),
                Arc::clone(&shared),
            );
            let writer = SpoolWriter::new(&shared.body);
            writer.push(body.into());
            writer.finish(HeaderMap::new());
            expected
        };
        let [_one, two, _three] = ["1", "2", "3"].map(comes);
        assert_eq!(found(&arrivals, "/a", "a", &Purges::default()), ["3", "2", "1"]);
        drop(two);
        assert_eq!(found(&arrivals, "/a", "a", &Purges::default()), ["3", "1"]);
    }

    #[test]
    fn what_is_not_what_was_announced_is_not_found() {
        let arrivals = Arrivals::default();
        let range = ContentRange { span: Span { start: 0, end: 1 }, complete: 9 };
        let shared = shared(Some(2), Some(range));
        let expected =
            arrivals.expect(&ResourceKey::of_path("/a"), 0, begun(&Purges::default()), Arc::clone(&shared));
        let writer = SpoolWriter::new(&shared.body);
        writer.push(Bytes::from_static(b"xy"));
        writer.finish(HeaderMap::new());
        assert!(expected.entry().is_none());
        assert!(found(&arrivals, "/a", "a", &Purges::default()).is_empty());
    }
}
