//! Sidecars in this process that share a Redis and an origin, with one clock that the test moves.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sidecache::{
    app::App,
    clock::ManualClock,
    obsolete,
    purge::{PurgeReport, PurgeRequest},
    store::{
        redis::{Health, LeaseStats},
        tiers::{Fleet as Store, Tiers},
    },
};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    browser::{Answer, Browser, request},
    origin::Origin,
    redis::{RedisServer, eventually},
    relay::{Relay, Target},
    story::{On, everything, sidecar},
};

/// So many sidecars. They end with it.
pub struct Fleet {
    pub origin: Origin,
    pub redis: RedisServer,
    pub clock: ManualClock,
    yaml: String,
    members: Vec<Member>,
}

struct Member {
    app: Arc<App>,
    address: SocketAddr,
    server: AbortHandle,
}

impl Fleet {
    /// Sidecars with a rule `/**` of this `cache`.
    pub async fn cached(members: usize, origin: Origin, cache: &str) -> Self {
        Self::start(members, origin, &everything(cache)).await
    }

    /// Sidecars with these lines of configuration.
    pub async fn start(members: usize, origin: Origin, yaml: &str) -> Self {
        let (redis, clock) = (RedisServer::start(), ManualClock::new(SystemTime::now()));
        let mut fleet = Self { origin, redis, clock, yaml: yaml.to_owned(), members: Vec::new() };
        for _ in 0..members {
            fleet.join().await;
        }
        eventually("all are on the roll", async || fleet.redis.members("story").len() == members).await;
        fleet.redis.has_had_a_fleet("story");
        fleet
    }

    /// One more comes. Its number.
    pub async fn join(&mut self) -> usize {
        self.join_at(self.redis.url()).await
    }

    /// One more comes, which has this URL of the Redis. Its number.
    pub async fn join_at(&mut self, url: String) -> usize {
        let (app, address, server, _) =
            sidecar(&self.origin, (On::Tiers, Some(url)), &self.clock, &self.yaml).await;
        self.members.push(Member { app, address, server });
        self.members.len() - 1
    }

    /// One more comes, by way of a relay. Its number.
    pub async fn join_behind_a_relay(&mut self) -> (Relay, usize) {
        let relay = Relay::to(Target::Unix(self.redis.socket())).await;
        let member = self.join_at(relay.url()).await;
        (relay, member)
    }

    /// The last one is gone without a word.
    pub async fn die(&mut self) {
        let Member { server, app, .. } = self.members.pop().expect("a member");
        server.abort();
        // It is gone when nobody has it any more, and its connections have ended: it would acknowledge a purge until
        // then.
        let gone = Arc::downgrade(&app);
        drop(app);
        eventually("it is gone", async || gone.strong_count() == 0).await;
        let is_alone = async || self.redis.tracking().len() == self.members.len();
        eventually("it listens no more", is_alone).await;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Does what an operator asks one of them for.
    pub async fn purge(&self, member: usize, request: PurgeRequest) -> PurgeReport {
        obsolete::purge(Arc::clone(&self.members[member].app), request).await
    }

    /// Whether all of them have Redis, and hear of what changes.
    pub fn is_connected(&self) -> bool {
        let is_connected = |n: usize| {
            let store = self.store(n);
            let redis = store.redis();
            redis.health() == Health::Up && redis.takes_writes() && store.tracking().session().is_some()
        };
        (0..self.count()).all(is_connected)
    }

    /// Whether one would store.
    pub fn takes_writes(&self, member: usize) -> bool {
        self.store(member).redis().takes_writes()
    }

    /// Responses that one has not stored, though it could have.
    pub fn dropped_writes(&self, member: usize) -> u64 {
        self.store(member).redis().stats().dropped_writes
    }

    /// Whether one can ask Redis.
    pub fn can_ask(&self, member: usize) -> bool {
        self.store(member).redis().takes_reads()
    }

    /// Whether one is told what changes.
    pub fn hears(&self, member: usize) -> bool {
        self.store(member).tracking().session().is_some()
    }

    /// How many look-ups of one its memory has answered.
    pub fn memory_hits(&self, member: usize) -> u64 {
        self.store(member).stats().hits
    }

    /// Has each of them answer this from its memory.
    pub async fn warm(&self, target: &str) {
        for member in 0..self.count() {
            eventually("memory answers", async || {
                let before = self.memory_hits(member);
                self.get(member, target).await.is_hit() && self.memory_hits(member) > before
            })
            .await;
        }
    }

    fn store(&self, member: usize) -> &Store {
        match &self.members[member].app.store {
            Tiers::Redis(store) => store,
            Tiers::Memory(_) => panic!("a fleet has a Redis"),
        }
    }

    /// Lets time pass for all of them.
    pub fn pass_millis(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Asks one of them.
    pub async fn get(&self, member: usize, target: &str) -> Answer {
        Browser::connect(self.members[member].address).await.ask(&format!("GET {target}"), &[]).await
    }

    /// Writes through one of them.
    pub async fn post(&self, member: usize, target: &str) -> Answer {
        let mut browser = Browser::connect(self.members[member].address).await;
        browser.send(&request(&format!("POST {target}"), &[], "x")).await;
        browser.answer("POST").await
    }

    /// Sends a request to one of them, whose answer is read later.
    pub async fn send(&self, member: usize, line: &str, fields: &[(&str, &str)]) -> Browser {
        let mut browser = Browser::connect(self.members[member].address).await;
        browser.send(&request(line, fields, "")).await;
        browser
    }

    /// Asks each of them for the same at the same time, from so many clients.
    pub async fn crowd(&self, clients: usize) -> Vec<Answer> {
        let mut all = JoinSet::new();
        for member in &self.members {
            for _ in 0..clients {
                let address = member.address;
                all.spawn(async move { Browser::connect(address).await.ask("GET /a", &[]).await });
            }
        }
        all.join_all().await
    }

    /// What has become of one's leases.
    pub fn leases(&self, member: usize) -> LeaseStats {
        self.store(member).redis().stats().leases
    }

    /// Waits until nothing is being fetched or stored.
    pub async fn settled(&self) {
        let idle = |n: usize| self.members[n].app.flights.under_way() == 0 && self.leases(n).held == 0;
        eventually("all is stored", async || (0..self.members.len()).all(idle)).await;
    }

    /// Waits until the origin has been asked this often.
    pub async fn asked(&self, count: usize) {
        eventually("the origin is asked", async || self.origin.count() >= count).await;
    }

    /// Waits until so many requests to one wait for fetches.
    pub async fn wait_here(&self, member: usize, count: usize) {
        eventually("they wait", async || self.members[member].app.flights.waiting() == count).await;
    }

    /// Waits until one has begun to wait for what another fetches.
    pub async fn waits(&self, member: usize) {
        eventually("it waits", async || self.leases(member).waited > 0).await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.members.iter().for_each(|member| member.server.abort());
    }
}
