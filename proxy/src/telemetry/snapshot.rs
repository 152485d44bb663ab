//! What the stores and the client to the origin tell about themselves, and the names under which
//! it is shown.

use std::time::Duration;

use super::metrics::Scrape;
use crate::{
    places::PlaceStats,
    store::{
        memory::MemoryStats,
        redis::{BreakerState, LeaseStats, Pushes, Room, Stats as RedisStats, Waits},
        tiers::TierStats,
    },
    tls::TlsStats,
    upstream::{Stats as UpstreamStats, Times},
};

/// The memory tier, and the bytes that it may take.
pub fn memory(scrape: &mut Scrape<'_>, stats: MemoryStats, budget: u64) {
    let entries = stats.entries as u64;
    scrape.gauge("sidecache_store_memory_resources", "URLs with stored responses in memory", entries);
    scrape.gauge("sidecache_store_memory_bytes", "Bytes that they take", stats.bytes);
    scrape.gauge("sidecache_store_memory_budget_bytes", "Bytes that they may take", budget);
    scrape.counter(
        "sidecache_store_memory_evictions",
        "URLs that gave way to others, because memory was full",
        stats.evictions,
    );
}

/// The Redis tier.
pub fn redis(scrape: &mut Scrape<'_>, stats: RedisStats, up: bool) {
    scrape.gauge("sidecache_store_redis_up", "Whether Redis answers", u64::from(up));
    let open = |state| u64::from(state == BreakerState::Open);
    scrape.gauges(
        "sidecache_store_redis_breaker_open",
        "Whether Redis is spared after failures",
        [([("side", "read")], open(stats.read_breaker)), ([("side", "write")], open(stats.write_breaker))],
    );
    scrape.counters(
        "sidecache_store_redis_lookups",
        "Look-ups by what came of them; all but the first cost a fetch and never a status code",
        [
            ([("result", "hit")], stats.hits),
            ([("result", "miss")], stats.misses),
            ([("result", "timeout")], stats.timeouts),
            ([("result", "error")], stats.errors),
            ([("result", "refused")], stats.refused),
        ],
    );
    let up_to = Waits::UP_TO.map(|micros| Duration::from_micros(micros).as_secs_f64());
    scrape.histogram(
        "sidecache_store_redis_wait_seconds",
        "Requests that asked Redis by what they waited for it, all their look-ups together",
        up_to.into_iter().chain([f64::INFINITY]).zip(stats.waits.requests),
        stats.waits.sum,
    );
    scrape.counter(
        "sidecache_store_redis_corrupt",
        "Things found damaged, of a wrong type or of another URL",
        stats.corrupt,
    );
    scrape.counters(
        "sidecache_store_redis_writes",
        "Stored responses by whether Redis took them",
        [([("result", "written")], stats.writes), ([("result", "dropped")], stats.dropped_writes)],
    );
    leases(scrape, stats.leases);
}

/// What Redis holds, if it tells.
pub fn room(scrape: &mut Scrape<'_>, room: Option<Room>) {
    let Some(Room { used, most, keys }) = room else { return };
    scrape.gauge("sidecache_store_redis_memory_bytes", "Bytes that Redis uses, for all who share it", used);
    scrape.gauge(
        "sidecache_store_redis_memory_limit_bytes",
        "Bytes that it may use; 0 where it has no limit",
        most,
    );
    scrape.gauge("sidecache_store_redis_keys", "Keys in its database, those of all who share it", keys);
}

/// The rights to store, of which there is one for the whole fleet.
fn leases(scrape: &mut Scrape<'_>, stats: LeaseStats) {
    scrape.counters(
        "sidecache_store_redis_leases",
        "Rights to store: granted, not to be had from Redis, and lost before what came was stored",
        [
            ([("result", "granted")], stats.granted),
            ([("result", "failed")], stats.failed),
            ([("result", "lost")], stats.lost),
        ],
    );
    scrape.counters(
        "sidecache_store_redis_fleet_waits",
        "Fetches that another sidecar had begun: waited for, waited for too long, and not waited for in vain",
        [
            ([("result", "waited")], stats.waited),
            ([("result", "timeout")], stats.waited_out),
            ([("result", "unshared")], stats.unshared),
        ],
    );
    scrape.gauge("sidecache_store_redis_leases_held", "Rights to store that are held now", stats.held);
}

/// The memory tier over Redis.
pub fn tiers(scrape: &mut Scrape<'_>, stats: TierStats, redis_hits: u64) {
    scrape.counters(
        "sidecache_store_hits",
        "Look-ups that found the response, by where",
        [([("tier", "memory")], stats.hits), ([("tier", "redis")], redis_hits)],
    );
    scrape.counters(
        "sidecache_store_memory_insertions",
        "Responses read from Redis, by whether memory took them; refused: they changed on their way",
        [([("result", "inserted")], stats.inserted), ([("result", "refused")], stats.refused)],
    );
    scrape.counter(
        "sidecache_store_memory_removals",
        "URLs removed from memory because they had changed",
        stats.removed,
    );
}

/// How changes are heard of: whether they are now, and whether entries are served for a while without it.
pub fn tracking(scrape: &mut Scrape<'_>, heard: Pushes, [tracked, untracked]: [bool; 2]) {
    scrape.gauge("sidecache_store_tracked", "Whether Redis tells what changes", u64::from(tracked));
    scrape.gauge(
        "sidecache_store_untracked",
        "Whether it does not let itself be tracked, and memory serves only what is young",
        u64::from(untracked && !tracked),
    );
    scrape.counter(
        "sidecache_store_tracking_sessions",
        "Times that it has begun to tell, and memory was emptied",
        heard.sessions,
    );
    scrape.counters(
        "sidecache_store_tracking_pushes",
        "What it has told",
        [
            ([("of", "resource")], heard.resources),
            ([("of", "purge")], heard.announcements),
            ([("of", "flush")], heard.flushes),
            ([("of", "junk")], heard.junk),
        ],
    );
}

/// What has become of refreshes.
pub fn refreshes(scrape: &mut Scrape<'_>, by_result: [(&'static str, u64); 3]) {
    scrape.counters(
        "sidecache_refreshes",
        "Fetches for responses that were served stale meanwhile (stale_while_revalidate, stale_if_error)",
        by_result.map(|(result, count)| ([("result", result)], count)),
    );
}

/// What may be shared too widely.
pub fn warnings(scrape: &mut Scrape<'_>, cors_unkeyed: u64) {
    scrape.counter(
        "sidecache_responses_cors_unkeyed",
        "Responses stored whose Access-Control-Allow-Origin names one origin, though Origin does not select",
        cors_unkeyed,
    );
}

/// The connections of clients.
pub fn clients(scrape: &mut Scrape<'_>, stats: PlaceStats) {
    scrape.gauge("sidecache_client_connections", "Connections of clients", stats.held as u64);
    scrape.counters(
        "sidecache_client_connections_lost",
        "Connections that had no place (limits.connections), that the system did not hand out, that did not begin in order, or that were closed for what came on them",
        [
            ([("how", "closed-idle")], stats.closed),
            ([("how", "refused")], stats.refused),
            ([("how", "not-accepted")], stats.failed),
            ([("how", "handshake")], stats.handshakes),
            ([("how", "proxy-header")], stats.headers),
            ([("how", "abuse")], stats.abuses),
        ],
    );
    scrape.counter(
        "sidecache_client_streams_reset",
        "Requests of HTTP/2 that were reset for what came with them: malformed, or more at once than limits.streams",
        stats.resets,
    );
}

/// The certificates that clients are shown.
pub fn certificates(scrape: &mut Scrape<'_>, stats: TlsStats) {
    scrape.counters(
        "sidecache_tls_certificate_reloads",
        "Times that their files had changed, by whether what was found is presented",
        [([("result", "taken")], stats.taken), ([("result", "refused")], stats.refused)],
    );
    scrape.gauge(
        "sidecache_tls_last_reload_success",
        "Whether the certificates in the files are presented: 0, where the last change was refused",
        i64::from(stats.success),
    );
}

/// What was made obsolete, by this sidecar.
pub fn invalidations(
    scrape: &mut Scrape<'_>,
    counted: impl Iterator<Item = (&'static str, &'static str, u64)>,
) {
    scrape.counters(
        "sidecache_invalidations",
        "What was made obsolete by way of this sidecar, by the cause (write: RFC 9111 section 4.4 and RFC 9875; purge-on: the file; purge: an operator) and by what was named",
        counted.map(|(cause, of, count)| ([("cause", cause), ("of", of)], count)),
    );
}

/// How long the origin takes.
pub fn origin(scrape: &mut Scrape<'_>, times: &Times) {
    scrape.histograms(
        "sidecache_upstream_head_seconds",
        "Fetches by the time from the request to the head of the answer, the wait for a connection included",
        [([], times.head.read())],
    );
    scrape.histograms(
        "sidecache_upstream_fetch_seconds",
        "Fetches by the time from the request to the end of the answer, as far as that came",
        [([], times.whole.read())],
    );
}

/// The client to the origin.
pub fn upstream(scrape: &mut Scrape<'_>, stats: UpstreamStats) {
    let (open, idle, waiting) = (stats.open as u64, stats.idle as u64, stats.waiting as u64);
    scrape.gauges(
        "sidecache_upstream_connections",
        "Connections held to the origin",
        [([("state", "busy")], open.saturating_sub(idle)), ([("state", "idle")], idle)],
    );
    scrape.gauge("sidecache_upstream_queued_requests", "Requests that wait for a connection", waiting);
    scrape.counter("sidecache_upstream_connects", "Connections made to the origin", stats.connects);
    scrape.counter("sidecache_upstream_reuses", "Requests on a connection used before", stats.reuses);
}
