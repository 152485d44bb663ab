//! What was made obsolete by way of this process: counts since the start, by what brought it about and what was named.

use std::sync::atomic::{AtomicU64, Ordering};

/// What brings it about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A write that the app has taken: RFC 9111 §4.4 and RFC 9875 §3.
    Write,
    /// The same, by an entry of `purge_on`.
    PurgeOn,
    /// An operator.
    Purge,
}

/// How much is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// URLs, with all their variants.
    pub urls: usize,
    /// Tags.
    pub tags: usize,
    /// Rules.
    pub rules: usize,
    /// Everything.
    pub all: bool,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Invalidations {
    by_write: Counters,
    by_purge_on: Counters,
    by_purge: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    urls: AtomicU64,
    tags: AtomicU64,
    rules: AtomicU64,
    all: AtomicU64,
}

impl Invalidations {
    /// Counts what is named, whatever comes of it.
    pub fn count(&self, cause: Cause, named: Named) {
        let counters = match cause {
            Cause::Write => &self.by_write,
            Cause::PurgeOn => &self.by_purge_on,
            Cause::Purge => &self.by_purge,
        };
        let all = usize::from(named.all);
        let counted =
            [(&counters.urls, named.urls), (&counters.tags, named.tags), (&counters.rules, named.rules)];
        for (counter, number) in counted.into_iter().chain([(&counters.all, all)]) {
            counter.fetch_add(number as u64, Ordering::Relaxed);
        }
    }

    /// Each count, by the words for its cause and for what was named.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let causes = [("write", &self.by_write), ("purge-on", &self.by_purge_on), ("purge", &self.by_purge)];
        causes.into_iter().flat_map(|(cause, counters)| {
            let named = [
                ("url", &counters.urls),
                ("tag", &counters.tags),
                ("rule", &counters.rules),
                ("all", &counters.all),
            ];
            named.map(|(of, counter)| (cause, of, counter.load(Ordering::Relaxed)))
        })
    }
}
