//! A sidecar in this process between a [`Browser`] and an [`Origin`], on either store, with a clock
//! that the test moves.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use sidecache::{
    app::App,
    clock::{Clock, ManualClock},
    config::Config,
    observe::{Exchange, Observer},
    obsolete,
    purge::{PurgeReport, PurgeRequest, Reached},
    server::Server,
    status::Outcome,
    store::{
        memory::MemoryStore,
        redis::{Health, RedisStore, Settings as RedisSettings},
        tiers::{Fleet, TierSettings, Tiers},
    },
};
use tokio::task::AbortHandle;

use super::{
    browser::{Answer, Browser, request},
    entries::{TIERS, fleet},
    origin::Origin,
    redis::{RedisServer, eventually},
    relay::{Relay, Target},
    sidecar::live,
};

/// Where a story keeps what it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Memory,
    /// Without memory in front of it: it is asked each time.
    Redis,
    /// Memory in front of Redis.
    Tiers,
}

/// All stores.
pub const STORES: [On; 3] = [On::Memory, On::Redis, On::Tiers];

/// What every story has.
pub struct Story {
    pub origin: Origin,
    pub app: Arc<App>,
    pub clock: ManualClock,
    pub observed: Observed,
    on: On,
    /// The Redis, on a store that has one.
    pub redis: Option<RedisServer>,
    /// What is before that, in a story that has asked for it.
    pub relay: Option<Relay>,
    pub address: SocketAddr,
    server: AbortHandle,
}

/// The outcomes that an observer was told, in order, and whether the client got all of it.
#[derive(Clone, Default)]
pub struct Observed(Arc<Mutex<Vec<(Outcome, bool)>>>);

impl Observer for Observed {
    fn observe(&self, exchange: &Exchange<'_>) {
        self.0.lock().unwrap().push((exchange.outcome, exchange.complete));
    }
}

impl Observed {
    pub fn all(&self) -> Vec<(Outcome, bool)> {
        self.0.lock().unwrap().clone()
    }
}

impl Story {
    /// A sidecar with these lines of configuration before that origin.
    pub async fn start(on: On, origin: Origin, yaml: &str) -> Self {
        let redis = (on != On::Memory).then(RedisServer::start);
        Self::with(on, origin, (redis, None), yaml).await
    }

    /// The same on a Redis behind a relay.
    pub async fn relayed(origin: Origin, yaml: &str) -> Self {
        let redis = RedisServer::start();
        let relay = Relay::to(Target::Unix(redis.socket())).await;
        Self::with(On::Redis, origin, (Some(redis), Some(relay)), yaml).await
    }

    async fn with(
        on: On,
        origin: Origin,
        (redis, relay): (Option<RedisServer>, Option<Relay>),
        yaml: &str,
    ) -> Self {
        let clock = ManualClock::new(SystemTime::now());
        let url = url(redis.as_ref(), relay.as_ref());
        let (app, address, server, observed) = sidecar(&origin, (on, url), &clock, yaml).await;
        Self { on, origin, app, clock, observed, redis, relay, address, server }
    }

    /// The same with nothing but `routes`: a rule `/**` of this `cache`.
    pub async fn cached(on: On, origin: Origin, cache: &str) -> Self {
        Self::start(on, origin, &everything(cache)).await
    }

    /// Puts an edited configuration in force.
    pub fn edit(&self, yaml: &str) {
        self.app.swap(live(&config(&self.origin, yaml)));
    }

    /// Ends the sidecar and starts another.
    pub async fn restart(&mut self, yaml: &str) {
        self.server.abort();
        let url = url(self.redis.as_ref(), self.relay.as_ref());
        let started = sidecar(&self.origin, (self.on, url), &self.clock, yaml).await;
        (self.app, self.address, self.server, self.observed) = started;
    }

    /// Lets time pass. Stories end their waits at half a second, so that the millisecond to which
    /// Redis keeps times does not show.
    pub fn pass_millis(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Asks over a connection of its own, and waits until what came is stored.
    pub async fn ask(&self, line: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.browser().await.ask(line, fields).await;
        self.settled().await;
        answer
    }

    /// Waits until so many resources are stored.
    pub async fn stores(&self, count: usize) {
        let stored = async || match &self.app.store {
            Tiers::Memory(memory) => memory.stats().entries,
            Tiers::Redis(_) => self.redis.as_ref().map_or(0, |redis| redis.resources().len()),
        };
        eventually("that much is stored", async || stored().await == count).await;
    }

    /// Waits until nothing is being fetched or stored.
    pub async fn settled(&self) {
        let leases = || match &self.app.store {
            Tiers::Memory(_) => 0,
            Tiers::Redis(redis) => redis.redis().stats().leases.held,
        };
        let settled = async || self.app.flights.under_way() == 0 && leases() == 0;
        eventually("all is stored", settled).await;
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &[]).await
    }

    pub async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(&format!("GET {target}"), fields).await
    }

    /// Sends a request with a body.
    pub async fn post(&self, line: &str, body: &str) -> Answer {
        let mut browser = self.browser().await;
        browser.send(&request(line, &[], body)).await;
        browser.answer(line).await
    }

    /// Does what an operator asks for, everywhere.
    pub async fn purge(&self, request: PurgeRequest) -> PurgeReport {
        let report = obsolete::purge(Arc::clone(&self.app), request).await;
        assert_eq!(report.reached, Reached::Fleet);
        report
    }

    pub async fn browser(&self) -> Browser {
        Browser::connect(self.address).await
    }

    /// Waits until the origin has been asked this often.
    pub async fn asked(&self, count: usize) {
        eventually("the origin is asked", async || self.origin.count() >= count).await;
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `routes` with one rule for everything.
pub fn everything(cache: &str) -> String {
    format!("routes:\n  - match: /**\n    cache: {cache}\n")
}

/// Where a sidecar finds its Redis, if there is one.
fn url(redis: Option<&RedisServer>, relay: Option<&Relay>) -> Option<String> {
    relay.map(Relay::url).or_else(|| redis.map(RedisServer::url))
}

fn config(origin: &Origin, yaml: &str) -> Config {
    let text = format!("listen: 127.0.0.1:0\nupstream: http://{}\n{yaml}", origin.address);
    Config::parse(&text, "config.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One sidecar before that origin, on the Redis at that URL if there is one.
pub async fn sidecar(
    origin: &Origin,
    (on, redis): (On, Option<String>),
    clock: &ManualClock,
    yaml: &str,
) -> (Arc<App>, SocketAddr, AbortHandle, Observed) {
    let config = config(origin, yaml);
    let store = match redis {
        None => Tiers::Memory(MemoryStore::new(64 * 1024 * 1024, Arc::default())),
        Some(redis) => Tiers::Redis(Box::new(connected(on, &redis).await)),
    };
    let app = Arc::new(App::new(live(&config), store, Clock::Manual(clock.clone())));
    let server = Server::bind(&config.listen).unwrap();
    let address = server.addresses()[0];
    let observed = Observed::default();
    let observer: Arc<dyn Observer> = Arc::new(observed.clone());
    let running = tokio::spawn(server.run(Arc::clone(&app), observer, std::future::pending()));
    (app, address, running.abort_handle(), observed)
}

/// A store that is connected. Its clock is the machine's, as that of Redis: only the difference of
/// the two counts, and a moved clock would look like one.
async fn connected(on: On, url: &str) -> Fleet {
    let settings = RedisSettings::new(url, "story").unwrap();
    let store = RedisStore::start(settings.with_budget(Duration::from_secs(5)), Clock::System);
    let memory = if on == On::Tiers { 64 << 20 } else { 0 };
    let fleet = fleet(store, TierSettings { memory, ..TIERS });
    let connected = async || fleet.redis().health() == Health::Up && fleet.redis().takes_writes();
    eventually("Redis is connected", connected).await;
    eventually("and tells what changes", async || fleet.tracking().session().is_some()).await;
    fleet
}
