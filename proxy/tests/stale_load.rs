//! The binary under load while what it serves goes stale again and again: nobody waits for the origin,
//! and the origin is asked once for each expiry (RFC 5861 §3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "what was measured is worth a look")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use support::{
    load::Load,
    origin::{Origin, Step, ok},
    redis::{RedisServer, eventually},
    spawned::Spawned,
};

const CONNECTIONS: usize = 8;
/// What the origin takes for an answer: who waits for one shows.
const SLOW: Duration = Duration::from_millis(400);
const TTL: Duration = Duration::from_secs(1);
const EXPIRIES: usize = 4;

/// Two refreshes for one expiry would begin within the lifetime of what the first one brought.
async fn is_served_and_refreshed_once(store: &str) {
    let begun: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let note = Arc::clone(&begun);
    let origin = Origin::start(move |_| {
        note.lock().unwrap().push(Instant::now());
        [vec![Step::Pause(SLOW)], ok("", "body")].concat()
    });
    let origin = origin.await;
    let yaml = format!(
        "upstream: http://{}\n{store}routes:\n  - match: /**\n    cache: {{ ttl: 1s, stale_while_revalidate: 60s }}\n",
        origin.address
    );
    let sidecar = Spawned::start(&yaml).await;
    eventually("it has its store", async || sidecar.admin("/readyz")["status"] == "ready").await;
    let load = Load::start(sidecar.address, CONNECTIONS, &["/a"]);
    eventually("it has expired so often", async || origin.count() > EXPIRIES).await;
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);

    let begun = begun.lock().unwrap();
    let pauses: Vec<_> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let early = pauses.iter().filter(|pause| **pause < TTL).count();
    // On a busy machine Redis may miss its budget: such a request fetches for itself.
    let says = tally.says();
    let alone = says.iter().filter(|(says, _)| says.contains("detail=store-down"));
    assert!(early <= alone.map(|(_, count)| count).sum(), "{pauses:?} {says:?}");

    let (fresh, stale) =
        (tally.within_of("hit", 99), tally.within_of("hit; detail=stale-while-revalidate", 99));
    println!("99 of 100 within: fresh {fresh:?}, stale {stale:?} of {:?}", tally.says());
    assert!(stale < SLOW, "stale hits wait: {stale:?}");
    assert!(stale < 3 * fresh + Duration::from_millis(10), "stale {stale:?}, fresh {fresh:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    is_served_and_refreshed_once("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis() {
    let redis = RedisServer::start();
    let store = format!("store: {{ redis: \"{}\", prefix: load }}\n", redis.url());
    is_served_and_refreshed_once(&store).await;
}
