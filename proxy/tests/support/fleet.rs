//! Sidecars in this process that share a Redis and an origin, with one clock that the test moves.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sidecache::{
    app::App,
    clock::ManualClock,
    store::{redis::LeaseStats, tiers::Tiers},
};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    browser::{Answer, Browser, request},
    origin::Origin,
    redis::{RedisServer, eventually},
    story::{On, everything, sidecar},
};

/// So many sidecars. They end with it.
pub struct Fleet {
    pub origin: Origin,
    pub redis: RedisServer,
    pub clock: ManualClock,
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
        let mut fleet = Self { origin, redis, clock, members: Vec::new() };
        for _ in 0..members {
            let (app, address, server, _) =
                sidecar(&fleet.origin, (On::Tiers, Some(fleet.redis.url())), &fleet.clock, yaml).await;
            fleet.members.push(Member { app, address, server });
        }
        fleet
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
        match &self.members[member].app.store {
            Tiers::Redis(store) => store.redis().stats().leases,
            Tiers::Memory(_) => LeaseStats::default(),
        }
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
