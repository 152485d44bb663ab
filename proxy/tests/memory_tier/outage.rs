//! A Redis that cannot be reached: memory goes on, or steps aside, as the file has it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::HeaderMap;
use sidecache::{
    clock::Clock,
    key::{KeyPolicy, ResourceKey},
    store::{
        Lookup, Selector, Store, StoreError,
        redis::{BOUND, Settings},
        tiers::{Leave, OnOutage, Sharing, TierSettings},
    },
};

use crate::{
    Sidecar,
    support::{
        browser::{Answer, Browser, request},
        entries::{TIERS, resource},
        origin::{Asked, Gate, Origin, Step, ok},
        redis::{RedisServer, eventually},
        spawned::Spawned,
    },
};

/// A sidecar with the budget that they have, and something in its memory.
async fn sidecar(server: &RedisServer, on_outage: OnOutage) -> (Sidecar, ResourceKey) {
    let settings = TierSettings { on_outage, shed_above: 2, ..TIERS };
    let redis = Settings::new(&server.url(), "test").unwrap();
    let sidecar = Sidecar::with(redis, settings, Clock::System, Vec::new()).await;
    eventually("changes are heard of", async || sidecar.session().is_some()).await;
    let key = resource("/one");
    let stored = async || sidecar.commit(&key, "one").await.is_ok();
    eventually("it is stored", stored).await;
    // On a busy machine a look-up may take longer than the budget.
    eventually("memory has it", async || {
        sidecar.try_lookup(&key).await.is_ok_and(|found| found == "one") && sidecar.holds() == 1
    })
    .await;
    (sidecar, key)
}

/// What a visit finds, and whether memory goes on alone.
async fn visit(sidecar: &Sidecar, key: &ResourceKey) -> Result<(bool, bool), StoreError> {
    let (headers, keyed) = (HeaderMap::new(), KeyPolicy::default());
    let mut visit = sidecar.0.visit();
    let found = visit.lookup(key, &Selector { headers: &headers, keyed: &keyed }).await?;
    Ok((matches!(found, Lookup::Found(_)), visit.is_alone()))
}

/// Freezes Redis, and waits until nothing of it is believed any more.
async fn cut_off(server: &RedisServer, sidecar: &Sidecar) {
    let frozen = Instant::now();
    server.freeze();
    eventually("it is not believed any more", async || sidecar.session().is_none()).await;
    assert!(frozen.elapsed() < 2 * BOUND, "{:?}", frozen.elapsed());
    let unknown = resource("/unknown");
    eventually("Redis is held back", async || {
        let _ = visit(sidecar, &unknown).await;
        sidecar.fleet().is_cut_off(&unknown)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_believed_for_two_seconds() {
    let server = RedisServer::start();
    let (sidecar, key) = sidecar(&server, OnOutage::Bypass).await;
    let frozen = Instant::now();
    server.freeze();
    let mut hits = 0;
    while let Ok(found) = visit(&sidecar, &key).await {
        assert_eq!(found, (true, false));
        assert!(frozen.elapsed() < 2 * BOUND);
        hits += 1;
        tokio::time::sleep(BOUND / 100).await;
    }
    assert!(hits > 0 && frozen.elapsed() > BOUND / 2, "{hits} hits in {:?}", frozen.elapsed());
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_goes_on_and_takes_what_is_fetched_until_redis_is_back() {
    for on_outage in [OnOutage::Serve, OnOutage::Shed] {
        let server = RedisServer::start();
        let (sidecar, key) = sidecar(&server, on_outage).await;
        cut_off(&server, &sidecar).await;
        assert!(matches!(visit(&sidecar, &key).await, Ok((true, true))));
        let other = resource("/other");
        assert!(visit(&sidecar, &other).await.is_err(), "whether Redis has it is not known");
        assert!(sidecar.0.takes_writes(&other));
        assert_eq!(sidecar.0.visit().sharing(&other).await, Sharing::Alone);
        sidecar.commit(&other, "other").await.unwrap();
        assert!(matches!(visit(&sidecar, &other).await, Ok((true, true))));
        assert!(sidecar.0.remove(std::slice::from_ref(&key)).await.is_err(), "Redis does not know");
        assert!(visit(&sidecar, &key).await.is_err(), "what is removed is gone");
        server.thaw();
        eventually("Redis is back", async || sidecar.session().is_some()).await;
        eventually("and has not what memory took alone", async || {
            matches!(visit(&sidecar, &other).await, Ok((false, false)))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn or_nothing_is_served_stored_or_shared() {
    let server = RedisServer::start();
    let (sidecar, key) = sidecar(&server, OnOutage::Bypass).await;
    assert_eq!(sidecar.0.visit().sharing(&key).await, Sharing::Told);
    cut_off(&server, &sidecar).await;
    assert!(visit(&sidecar, &key).await.is_err());
    assert_eq!(sidecar.holds(), 1);
    assert!(!sidecar.0.takes_writes(&key));
    assert!(sidecar.commit(&resource("/other"), "other").await.is_err());
    assert_eq!(sidecar.holds(), 1);
    let (headers, keyed) = (HeaderMap::new(), KeyPolicy::default());
    let mut visit = sidecar.0.visit();
    assert!(visit.lookup(&key, &Selector { headers: &headers, keyed: &keyed }).await.is_err());
    assert_eq!(visit.sharing(&key).await, Sharing::Nothing);
    drop(visit);
    server.thaw();
    eventually("Redis is back", async || sidecar.try_lookup(&key).await.is_ok_and(|found| found == "one"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_is_shed_lets_only_so_many_fetch() {
    let server = RedisServer::start();
    let (sidecar, key) = sidecar(&server, OnOutage::Shed).await;
    let leave = || match sidecar.0.leave_to_fetch(&key) {
        Leave::Granted(permit) => Some(permit),
        Leave::Refused => None,
    };
    let before: Vec<_> = (0..10).map(|_| leave().unwrap()).collect();
    assert!(before.iter().all(Option::is_none), "as long as Redis is there, as many as like");
    cut_off(&server, &sidecar).await;
    let (one, two) = (leave(), leave());
    assert!(one.is_some() && two.is_some() && leave().is_none());
    drop(one);
    assert!(leave().is_some());
    server.thaw();
}

async fn ask(sidecar: &Spawned, target: &str) -> Answer {
    Browser::connect(sidecar.address).await.ask(&format!("GET {target}"), &[]).await
}

/// The sidecar as it is run, on a Redis that is killed once it has stored `/a`.
async fn killed(origin: Origin, lines: &str) -> (Origin, Spawned, RedisServer) {
    let mut server = RedisServer::start();
    let yaml = format!(
        "upstream: http://{}\nstore: {{ redis: \"{}\", prefix: story{lines} }}\n\
         routes: [{{ match: /**, cache: 300s }}]\n",
        origin.address,
        server.url()
    );
    let sidecar = Spawned::start(&yaml).await;
    let tracked = "sidecache_store_tracked 1";
    eventually("changes are heard of", async || sidecar.admin_text("/metrics").contains(tracked)).await;
    let in_memory = "sidecache_store_memory_resources 1";
    eventually("memory has it", async || {
        ask(&sidecar, "/a").await;
        sidecar.admin_text("/metrics").contains(in_memory)
    })
    .await;
    assert_eq!(ask(&sidecar, "/a").await.fine().split("; ttl").next(), Some("hit"));
    server.kill();
    let degraded = async || sidecar.admin("/readyz")["status"] == "degraded";
    eventually("it is missed", degraded).await;
    eventually("and not waited for", async || !sidecar.admin_text("/metrics").contains(tracked)).await;
    (origin, sidecar, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_alone_says_so() {
    let (origin, sidecar, mut server) = killed(Origin::saying("").await, "").await;
    let hit = ask(&sidecar, "/a").await;
    assert!(
        hit.fine().starts_with("hit; ttl=") && hit.fine().ends_with("; detail=store-down"),
        "{}",
        hit.fine()
    );
    assert_eq!(ask(&sidecar, "/b").await.fine(), "fwd=miss; stored; detail=store-down");
    eventually("it is stored", async || ask(&sidecar, "/b").await.fine().starts_with("hit; ")).await;
    let reasons = sidecar.admin("/readyz")["reasons"].to_string();
    assert!(reasons.contains("only what is in memory is served"), "{reasons}");
    server.restart_empty();
    eventually("Redis is back", async || sidecar.admin("/readyz")["status"] == "ready").await;
    let asked = origin.count();
    eventually("what was stored alone is fetched anew", async || {
        ask(&sidecar, "/b").await;
        origin.count() > asked
    })
    .await;
}

/// What was asked for by another may be from before a purge that nobody has told of.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_alone_says_so() {
    let script = |_: &Asked| [vec![Step::Pause(Duration::from_millis(20))], ok("", "slow")].concat();
    let (_origin, sidecar, _server) = killed(Origin::start(script).await, "").await;
    let round = AtomicUsize::new(0);
    eventually("one has it when it is whole", async || {
        let target = format!("/{}", round.fetch_add(1, Ordering::Relaxed));
        let (one, two) = tokio::join!(ask(&sidecar, &target), ask(&sidecar, &target));
        for answer in [&one, &two] {
            assert!(answer.fine().ends_with("; detail=store-down"), "{}", answer.fine());
        }
        [one, two].iter().any(|answer| answer.says().starts_with("hit; "))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bypass_serves_and_stores_nothing() {
    let (origin, sidecar, _server) = killed(Origin::saying("").await, ", on_outage: bypass").await;
    let asked = origin.count();
    for _ in 0..3 {
        assert_eq!(ask(&sidecar, "/a").await.fine(), "fwd=miss; detail=store-down");
    }
    assert_eq!(origin.count(), asked + 3);
    let reasons = sidecar.admin("/readyz")["reasons"].to_string();
    assert!(reasons.contains("nothing is cached while Redis is away"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_too_many_is_told_to_come_again() {
    let gate = Gate::shut();
    let door = gate.clone();
    let origin = Origin::start(move |asked| match asked.target.as_str() {
        "/slow" => [vec![Step::Wait(door.clone())], ok("", "slow")].concat(),
        _ => ok("", "quick"),
    });
    let (origin, sidecar, _server) = killed(origin.await, ", on_outage: shed, shed_above: 1").await;
    assert_eq!(ask(&sidecar, "/b").await.fine(), "fwd=miss; stored; detail=store-down");
    let asked = origin.count();
    let mut slow = Browser::connect(sidecar.address).await;
    slow.send(&request("GET /slow", &[], "")).await;
    eventually("it is fetched", async || origin.count() > asked).await;
    for line in ["GET /c", "HEAD /d"] {
        let refused = Browser::connect(sidecar.address).await.ask(line, &[]).await;
        assert_eq!((refused.status, refused.field("retry-after")), (503, "1"), "{line}");
        assert_eq!(refused.field("proxy-status"), "sidecache; error=connection_limit_reached");
    }
    assert!(ask(&sidecar, "/a").await.is_hit(), "what is stored is served");
    assert_eq!(origin.count(), asked + 1);
    gate.open();
    assert_eq!(slow.answer("GET /slow").await.status, 200);
    eventually("there is room again", async || ask(&sidecar, "/c").await.status == 200).await;
}
