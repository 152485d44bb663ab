//! Memory before a real Redis: what needs no Redis, and what reaches memory from whoever changes Redis.
//! Two stores in this process are two sidecars.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

#[path = "../support/mod.rs"]
mod support;

mod coherence;
mod outage;
mod relay;
mod roll;
mod untracked;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use sidecache::{
    clock::Clock,
    key::{KeyPolicy, ResourceKey},
    store::{
        Lookup, Selector, Store, StoreError,
        redis::{Health, Heard, RedisStore, Session, Settings},
        tiers::{Fleet, TierSettings, Tiers},
    },
};

use crate::support::{
    entries::{KEEP, TIERS, commit, entry, resource},
    redis::{RedisServer, eventually},
};

/// One sidecar's stores.
pub(crate) struct Sidecar(pub(crate) Tiers);

impl Sidecar {
    /// On this server, connected and told of changes.
    pub(crate) async fn on(server: &RedisServer) -> Self {
        Self::at(&server.url(), TIERS).await
    }

    /// The same at this URL.
    pub(crate) async fn at(url: &str, settings: TierSettings) -> Self {
        let sidecar = Self::start(url, settings, Clock::System, Vec::new()).await;
        eventually("changes are heard of", async || sidecar.session().is_some()).await;
        sidecar
    }

    /// Connected; ages by this clock. What is tried here is not speed: the budget is large.
    pub(crate) async fn start(
        url: &str,
        settings: TierSettings,
        clock: Clock,
        others: Vec<Arc<dyn Heard>>,
    ) -> Self {
        let redis = Settings::new(url, "test").unwrap().with_budget(Duration::from_secs(10));
        Self::with(redis, settings, clock, others).await
    }

    pub(crate) async fn with(
        redis: Settings,
        settings: TierSettings,
        clock: Clock,
        others: Vec<Arc<dyn Heard>>,
    ) -> Self {
        let store = RedisStore::start(redis, clock);
        eventually("Redis is connected", async || store.health() == Health::Up && store.takes_writes()).await;
        Self(Tiers::Redis(Box::new(Fleet::start(store, settings, others))))
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        let Tiers::Redis(fleet) = &self.0 else { panic!("it is on Redis") };
        fleet
    }

    pub(crate) fn session(&self) -> Option<Session> {
        self.fleet().tracking().session()
    }

    /// Resources in memory.
    pub(crate) fn holds(&self) -> usize {
        self.fleet().memory().entries
    }

    /// What a request finds, and whether memory had it.
    pub(crate) async fn finds(&self, key: &ResourceKey) -> (String, bool) {
        let before = self.fleet().stats().hits;
        let found = self.try_lookup(key).await.unwrap();
        (found, self.fleet().stats().hits > before)
    }

    pub(crate) async fn try_lookup(&self, key: &ResourceKey) -> Result<String, StoreError> {
        let selector = Selector { headers: &HeaderMap::new(), keyed: &KeyPolicy::default() };
        Ok(match self.0.lookup(key, &selector).await? {
            Lookup::Found(stored) => String::from_utf8(stored.body.to_vec()).unwrap(),
            Lookup::Marked(..) => "stale".to_owned(),
            Lookup::OtherVariants(_) => "-".to_owned(),
            Lookup::Nothing => String::new(),
        })
    }

    pub(crate) async fn commit(&self, key: &ResourceKey, body: &str) -> Result<(), StoreError> {
        commit(&self.0, key, entry(key, &HeaderMap::new(), &[], body), KEEP).await
    }

    /// Stores it, and waits until memory has it.
    pub(crate) async fn keep(&self, key: &ResourceKey, body: &str) {
        self.commit(key, body).await.unwrap();
        self.remembers(key, body).await;
    }

    /// Waits until memory has it. That is on the second look, unless the news of the commit come between.
    pub(crate) async fn remembers(&self, key: &ResourceKey, body: &str) {
        eventually("memory has it", async || {
            let (found, in_memory) = self.finds(key).await;
            assert_eq!(found, body);
            in_memory
        })
        .await;
    }
}

/// A server, a sidecar on it, and what that has in memory.
pub(crate) async fn with_one() -> (RedisServer, Sidecar, ResourceKey) {
    let server = RedisServer::start();
    let sidecar = Sidecar::on(&server).await;
    let key = resource("/one");
    sidecar.keep(&key, "one").await;
    (server, sidecar, key)
}
