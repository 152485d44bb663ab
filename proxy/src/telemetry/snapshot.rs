//! What the stores and the client to the origin tell about themselves at one moment, and the names
//! under which it is shown.

use super::metrics::Scrape;
use crate::upstream::Stats;

/// The memory tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    /// Stored responses held.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub budget_bytes: u64,
    /// Stored responses that gave way to others.
    pub evictions: u64,
}

impl MemoryStore {
    /// Adds it to a scrape.
    pub fn write(self, scrape: &mut Scrape<'_>) {
        scrape.gauge("sidecache_store_memory_entries", "Stored responses in memory", self.entries);
        scrape.gauge("sidecache_store_memory_bytes", "Bytes that they take", self.bytes);
        scrape.gauge("sidecache_store_memory_budget_bytes", "Bytes that they may take", self.budget_bytes);
        scrape.counter("sidecache_store_memory_evictions", "Those that gave way to others", self.evictions);
    }
}

/// The Redis tier. But for the first two, counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStore {
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether Redis is held back after failures.
    pub breaker_open: bool,
    /// Look-ups that found what was asked for.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Look-ups and writes that ran out of their budget.
    pub timeouts: u64,
    /// Look-ups and writes that failed otherwise.
    pub errors: u64,
    /// Entries that were found damaged and removed.
    pub corrupt: u64,
    /// Writes that were made.
    pub writes: u64,
    /// Writes given up because too many were under way.
    pub dropped_writes: u64,
}

impl RedisStore {
    /// Adds it to a scrape.
    pub fn write(self, scrape: &mut Scrape<'_>) {
        let open = u64::from(self.breaker_open);
        scrape.gauge("sidecache_store_redis_up", "Whether Redis is connected", u64::from(self.connected));
        scrape.gauge("sidecache_store_redis_breaker_open", "Whether Redis is held back after failures", open);
        scrape.counters(
            "sidecache_store_redis_lookups",
            "Look-ups in Redis that were answered",
            [([("result", "hit")], self.hits), ([("result", "miss")], self.misses)],
        );
        scrape.counters(
            "sidecache_store_redis_failures",
            "Look-ups and writes that failed, each of which costs a miss and never a status code",
            [
                ([("reason", "timeout")], self.timeouts),
                ([("reason", "error")], self.errors),
                ([("reason", "corrupt")], self.corrupt),
                ([("reason", "dropped-write")], self.dropped_writes),
            ],
        );
        scrape.counter("sidecache_store_redis_writes", "Stored responses written to Redis", self.writes);
    }
}

/// Adds the client to the origin to a scrape. Requests that it could not have answered are counted
/// with their outcome, `origin-failed`.
pub fn upstream(stats: Stats, scrape: &mut Scrape<'_>) {
    let busy = stats.open.saturating_sub(stats.idle);
    scrape.gauges(
        "sidecache_upstream_connections",
        "Connections held to the origin",
        [([("state", "busy")], busy as u64), ([("state", "idle")], stats.idle as u64)],
    );
    scrape.gauge(
        "sidecache_upstream_waiting_requests",
        "Requests that wait for a connection to the origin",
        stats.waiting as u64,
    );
    scrape.counter("sidecache_upstream_connects", "Connections made to the origin", stats.connects);
    scrape.counter(
        "sidecache_upstream_reuses",
        "Requests sent on a connection that had served another before",
        stats.reuses,
    );
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn each_number_has_one_name() {
        let mut metrics = Metrics::new(UNIX_EPOCH);
        metrics.register(|scrape| {
            MemoryStore { entries: 1, bytes: 2, budget_bytes: 3, evictions: 4 }.write(scrape);
            RedisStore { breaker_open: true, timeouts: 5, dropped_writes: 6, ..RedisStore::default() }
                .write(scrape);
            upstream(Stats { open: 9, idle: 7, ..Stats::default() }, scrape);
        });
        let page = metrics.render().unwrap();
        for line in [
            "sidecache_store_memory_bytes 2",
            "sidecache_store_memory_evictions_total 4",
            "sidecache_store_redis_breaker_open 1",
            "sidecache_store_redis_failures_total{reason=\"timeout\"} 5",
            "sidecache_store_redis_failures_total{reason=\"dropped-write\"} 6",
            "sidecache_upstream_connections{state=\"busy\"} 2",
            "sidecache_upstream_connections{state=\"idle\"} 7",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} not in\n{page}");
        }
        let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut names: Vec<_> = names.map(|line| line.split(' ').next()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{page}");
    }
}
