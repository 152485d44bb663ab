//! The fleet: three sidecars in processes of their own, each with its line to the one Redis.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use rustix::process::Signal;
use tokio::{sync::watch, task::block_in_place};

use crate::{
    history::Sidecar,
    support::{
        redis::{RedisServer, eventually},
        relay::{Relay, Target},
        spawned::Spawned,
    },
};

pub(crate) const SIDECARS: usize = 3;

/// Of all keys in Redis.
const PREFIX: &str = "fleet";
/// The key of the members.
pub(crate) const ROLL: &str = "fleet:v1:m";

/// What a sidecar does while it cannot reach Redis.
pub(crate) const BYPASS: &str = "bypass";
pub(crate) const SERVE: &str = "serve";

/// Where a sidecar is, while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) data: SocketAddr,
    pub(crate) admin: PathBuf,
}

/// Changes with each process in the same role.
pub(crate) type Whereabouts = watch::Receiver<Option<Place>>;

/// All of it; it ends with this value.
pub(crate) struct Fleet {
    redis: Mutex<RedisServer>,
    members: Vec<Member>,
    /// In the environment of each process.
    environment: Vec<(&'static str, &'static str)>,
}

/// One sidecar.
struct Member {
    relay: Relay,
    file: String,
    place: watch::Sender<Option<Place>>,
    process: Mutex<Option<Spawned>>,
}

impl Fleet {
    /// Starts it; each sidecar has these lines in its file beside those for the store.
    pub(crate) async fn start(on_outage: &str, rest: impl Fn(Sidecar) -> String) -> Self {
        Self::start_in(Vec::new(), on_outage, rest).await
    }

    /// The same with these in the environment of each.
    pub(crate) async fn start_in(
        environment: Vec<(&'static str, &'static str)>,
        on_outage: &str,
        rest: impl Fn(Sidecar) -> String,
    ) -> Self {
        let redis = block_in_place(RedisServer::start);
        let mut members = Vec::new();
        for sidecar in 0..SIDECARS {
            let relay = Relay::to(Target::Unix(redis.socket())).await;
            let url = relay.url();
            let store = format!("store: {{ redis: \"{url}\", prefix: {PREFIX}, on_outage: {on_outage} }}\n");
            let file = store + &rest(sidecar);
            let (place, process) = (watch::Sender::new(None), Mutex::default());
            members.push(Member { relay, file, place, process });
        }
        let fleet = Self { redis: Mutex::new(redis), members, environment };
        for sidecar in 0..SIDECARS {
            fleet.start_sidecar(sidecar).await;
        }
        eventually("all are told what changes", async || {
            (0..SIDECARS).all(|sidecar| fleet.is_tracked(sidecar))
        })
        .await;
        fleet
    }

    /// Whether Redis tells it what changes: before that, nobody shares a fetch.
    fn is_tracked(&self, sidecar: Sidecar) -> bool {
        let process = self.members[sidecar].process();
        let metrics = block_in_place(|| process.as_ref().expect("it runs").admin_text("/metrics"));
        metrics.contains("sidecache_store_tracked 1")
    }

    pub(crate) fn relay(&self, sidecar: Sidecar) -> &Relay {
        &self.members[sidecar].relay
    }

    /// The server behind the lines. Its commands block.
    pub(crate) fn redis(&self) -> MutexGuard<'_, RedisServer> {
        self.redis.lock().expect("no test has failed")
    }

    /// How many sidecars a purge would wait for now.
    pub(crate) fn members(&self) -> usize {
        block_in_place(|| self.redis().members(PREFIX)).len()
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        let keys = block_in_place(|| self.redis().command(&["DBSIZE"]));
        redis::from_redis_value(keys).expect("a number")
    }

    pub(crate) fn whereabouts(&self, sidecar: Sidecar) -> Whereabouts {
        self.members[sidecar].place.subscribe()
    }

    /// Where they all are.
    pub(crate) fn all(&self) -> Vec<Whereabouts> {
        (0..SIDECARS).map(|sidecar| self.whereabouts(sidecar)).collect()
    }

    /// Starts a process in this role.
    pub(crate) async fn start_sidecar(&self, sidecar: Sidecar) {
        let member = &self.members[sidecar];
        let spawned = Spawned::start_with(&member.file, &[], &self.environment).await;
        let place = Place { data: spawned.address, admin: spawned.file().with_file_name("admin.sock") };
        *member.process() = Some(spawned);
        member.place.send_replace(Some(place));
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill_sidecar(&self, sidecar: Sidecar) {
        let member = &self.members[sidecar];
        member.place.send_replace(None);
        let process = member.process().take();
        block_in_place(|| drop(process));
    }

    pub(crate) fn signal_sidecar(&self, sidecar: Sidecar, signal: Signal) {
        self.members[sidecar].process().as_ref().expect("it runs").signal(signal);
    }
}

impl Member {
    fn process(&self) -> MutexGuard<'_, Option<Spawned>> {
        self.process.lock().expect("no test has failed")
    }
}
