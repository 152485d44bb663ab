//! What the stores and the client to the origin tell about themselves at one moment, and the names
//! under which it is shown.

use super::metrics::Scrape;

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

/// The client to the origin. The first three are of now, the others counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Connections held that serve a request.
    pub active: u64,
    /// Connections held that wait for one.
    pub idle: u64,
    /// Requests that wait for a connection.
    pub queued: u64,
    /// Connections made.
    pub connects: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests that ran out of time.
    pub timeouts: u64,
    /// Requests that failed otherwise.
    pub failures: u64,
    /// Requests turned away because the queue was full.
    pub rejected: u64,
}

impl Upstream {
    /// Adds it to a scrape.
    pub fn write(self, scrape: &mut Scrape<'_>) {
        scrape.gauges(
            "sidecache_upstream_connections",
            "Connections held to the origin",
            [([("state", "active")], self.active), ([("state", "idle")], self.idle)],
        );
        scrape.gauge(
            "sidecache_upstream_queued_requests",
            "Requests that wait for a connection",
            self.queued,
        );
        scrape.counter("sidecache_upstream_connects", "Connections made to the origin", self.connects);
        scrape.counter("sidecache_upstream_requests", "Requests sent to the origin", self.requests);
        scrape.counters(
            "sidecache_upstream_failures",
            "Requests that the origin did not answer, or that could not be sent",
            [
                ([("reason", "connect")], self.connect_failures),
                ([("reason", "timeout")], self.timeouts),
                ([("reason", "broken")], self.failures),
                ([("reason", "queue-full")], self.rejected),
            ],
        );
    }
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
            Upstream { idle: 7, rejected: 8, ..Upstream::default() }.write(scrape);
        });
        let page = metrics.render().unwrap();
        for line in [
            "sidecache_store_memory_bytes 2",
            "sidecache_store_memory_evictions_total 4",
            "sidecache_store_redis_breaker_open 1",
            "sidecache_store_redis_failures_total{reason=\"timeout\"} 5",
            "sidecache_store_redis_failures_total{reason=\"dropped-write\"} 6",
            "sidecache_upstream_connections{state=\"idle\"} 7",
            "sidecache_upstream_failures_total{reason=\"queue-full\"} 8",
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
