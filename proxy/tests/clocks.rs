//! Clocks that are wrong, or are set while the sidecar runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use sidecache::{
    app::App,
    clock::{Clock, ManualClock},
    observe::Unobserved,
    server::Server,
    store::{
        memory::MemoryStore,
        redis::{Health, RedisStore, Settings},
        tiers::{TierSettings, Tiers},
    },
};
use support::{
    browser::{Answer, Browser},
    entries::{TIERS, fleet},
    origin::Origin,
    redis::{RedisServer, eventually},
    sidecar::{config, live},
};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(3);
const SKEW: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

/// A clock that shows this now, and goes on.
fn ticking(wall: SystemTime) -> ManualClock {
    let clock = ManualClock::new(wall);
    let moved = clock.clone();
    tokio::spawn(async move {
        let mut last = Instant::now();
        loop {
            sleep(Duration::from_millis(2)).await;
            let now = Instant::now();
            moved.advance(now - last);
            last = now;
        }
    });
    clock
}

/// A sidecar all of which goes by this clock, on that Redis if there is one.
async fn sidecar(origin: &Origin, redis: Option<&RedisServer>, clock: &ManualClock) -> SocketAddr {
    let ttl = TTL.as_secs();
    let text = format!("upstream: http://{}\nroutes: [{{ match: /**, cache: {ttl}s }}]", origin.address);
    let (config, clock) = (config(&text), Clock::Manual(clock.clone()));
    let store = match redis {
        None => Tiers::Memory(MemoryStore::new(1 << 20, Arc::default())),
        Some(redis) => {
            let settings = Settings::new(&redis.url(), "clocks").unwrap();
            let store = RedisStore::start(settings.with_budget(Duration::from_secs(5)), clock.clone());
            let store = fleet(store, TierSettings { memory: 0, ..TIERS });
            let connected = async || store.redis().health() == Health::Up && store.redis().takes_writes();
            eventually("Redis is connected", connected).await;
            Tiers::Redis(Box::new(store))
        }
    };
    let app = Arc::new(App::new(live(&config), store, clock));
    let server = Server::bind(&config.listen).unwrap();
    let address = server.addresses()[0];
    tokio::spawn(server.run(app, Arc::new(Unobserved), std::future::pending()));
    address
}

async fn get(address: SocketAddr, target: &str) -> Answer {
    Browser::connect(address).await.ask(&format!("GET {target}"), &[]).await
}

/// Seconds: of a hit, and what `Cache-Status` says is left of it.
fn age_and_left(answer: &Answer) -> (u64, u64) {
    let left = answer.fine().strip_prefix("hit; ttl=").unwrap_or_else(|| panic!("no hit: {answer:?}"));
    (answer.field("age").parse().unwrap(), left.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_whose_clocks_differ_agree_on_how_old_something_is() {
    let (origin, redis) = (Origin::saying("").await, RedisServer::start());
    let (right, now) = (ticking(SystemTime::now()), SystemTime::now());
    let clocks = [right, ticking(now + SKEW), ticking(now - SKEW)];
    let mut sidecars = Vec::new();
    for clock in &clocks {
        sidecars.push(sidecar(&origin, Some(&redis), clock).await);
    }
    for (from, writer) in sidecars.iter().enumerate() {
        let target = format!("/{from}");
        let begun = Instant::now();
        get(*writer, &target).await.fine();
        eventually("it is stored", async || redis.resources().len() == from + 1).await;
        for reader in &sidecars {
            let (age, left) = age_and_left(&get(*reader, &target).await);
            assert!(
                age <= begun.elapsed().as_secs() + 1 && left <= TTL.as_secs(),
                "{age} s old, {left} left"
            );
        }
        sleep((TTL + Duration::from_millis(300)).saturating_sub(begun.elapsed())).await;
        let count = origin.count();
        let answer = get(sidecars[(from + 1) % sidecars.len()], &target).await;
        assert!(!answer.is_hit(), "served beyond its time: {answer:?}");
        assert_eq!(origin.count(), count + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_stops_nothing_and_nothing_is_served_beyond_its_time() {
    let redis = RedisServer::start();
    for redis in [None, Some(&redis)] {
        let origin = Origin::saying("").await;
        let clock = ticking(SystemTime::now());
        let address = sidecar(&origin, redis, &clock).await;
        for (round, to) in
            [clock.now() + HOUR, clock.now(), clock.now() - HOUR, clock.now()].iter().enumerate()
        {
            let target = format!("/{round}");
            get(address, &target).await.fine();
            eventually("it is a hit", async || get(address, &target).await.is_hit()).await;
            let asked = origin.count();
            clock.set(*to);
            let begun = Instant::now();
            let answer = get(address, &target).await;
            assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
            assert!(
                !answer.is_hit() && origin.count() == asked + 1,
                "nobody knows how old it is: {answer:?}"
            );
            assert!(answer.all("age").iter().all(|age| age.parse::<u64>().is_ok()), "{answer:?}");
        }
    }
}
