//! The connections on which Redis tells what changes, and on which this sidecar renews its membership.
//!
//! There is one to each node, kept by a task of its own (`keeper`): a client library that reconnects by itself
//! would go on without tracking, and say nothing. A connection that is half open says nothing either, so what
//! counts is that renewals are answered on it: an answer comes after all that was told before. Who renews is
//! one task (`round`): whoever is not on the roll of members must not trust anything, whatever node it is of.
//!
//! Where there is no such connection to be had (no RESP3, a proxy between, an ACL), the membership is
//! renewed on the connection for writes, and says for how long entries are served at most.

mod keeper;
mod round;
mod told;
mod why;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use self::keeper::{Keeper, Kept};
use super::{
    Inner, RedisStore,
    cluster::{Node, Spot, View},
    condition::Throttle,
    heard::Heard,
    membership::Member,
    pushes::{Ear, Pushes},
    roll,
    trust::Session,
};
use crate::{epoch::Epoch, key::ResourceKey, tags::Tag};

/// Why a node does not tell what changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It cannot, and entries are served until they have a certain age.
    Untracked,
    /// It did, and will not go on; it answers look-ups.
    Over,
    /// The same of one that cannot be asked either.
    CutOff,
    /// It is about to.
    Opening,
}

impl Silence {
    fn of(node: &Arc<Node>) -> Self {
        match node.trust.is_over() {
            _ if node.untracked.session().is_some() => Self::Untracked,
            true if node.reads.is_ready() => Self::Over,
            true => Self::CutOff,
            false => Self::Opening,
        }
    }
}

/// Between two renewals.
const RENEWAL: Duration = Duration::from_millis(500);

/// Supervised tracking connections. The supervision ends when it is dropped.
#[derive(Debug)]
pub struct Tracking {
    state: Arc<State>,
    supervisor: AbortHandle,
    watch: AbortHandle,
}

/// How the tracking connections fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Redis tells of changes.
    Tracked,
    /// It does not let itself be tracked.
    Untracked {
        /// What it said.
        reason: String,
    },
    /// There is no connection.
    Down {
        /// How the last one ended.
        reason: String,
    },
}

struct State {
    store: Arc<Inner>,
    /// How often the membership was renewed.
    renewals: AtomicU64,
    /// The last epoch by the last renewal.
    epoch: Mutex<Option<Epoch>>,
    /// For how long an entry is served of which no changes are told.
    max_age: Duration,
    ear: Ear,
    /// Rouses who renews: a connection is there, or the membership has to be renewed at once.
    roused: Notify,
    keepers: Mutex<Vec<Arc<Keeper>>>,
    lines: Mutex<Throttle>,
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.end();
    }
}

impl Tracking {
    /// Starts to connect, on the current runtime, and tells `heard` what it hears. Where Redis does not
    /// tell, entries are served for `max_age`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(store: &RedisStore, max_age: Duration, heard: Arc<dyn Heard>) -> Self {
        store.0.nodes.tell(&heard);
        let state = Arc::new(State {
            store: Arc::clone(&store.0),
            renewals: AtomicU64::new(0),
            epoch: Mutex::default(),
            max_age,
            ear: Ear::new(&store.0.settings.prefix, heard),
            roused: Notify::new(),
            keepers: Mutex::default(),
            lines: Mutex::new(Throttle::new()),
        });
        let supervisor = tokio::spawn(Arc::clone(&state).supervise()).abort_handle();
        let watch = tokio::spawn(roll::watch(Arc::downgrade(&state.store))).abort_handle();
        Self { state, supervisor, watch }
    }

    /// Leaves the fleet: memory is not believed any more, and no purge waits for this sidecar.
    pub async fn leave(&self) {
        self.end();
        if let Err(error) = self.state.store.leave().await {
            tracing::debug!(%error, "Redis was not told that this sidecar ends");
        }
    }

    fn end(&self) {
        self.supervisor.abort();
        self.watch.abort();
        self.state.keepers().clear();
        for node in self.state.store.nodes.view().nodes() {
            node.trust.end();
            node.untracked.end();
        }
    }

    /// The youngest session, while what is heard in all of them may be believed: of each node there is one.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let view = self.state.store.nodes.view();
        let sessions = view.nodes().iter().map(|node| node.trust.session());
        sessions.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The session in which all is heard of a resource, while that may be believed. To be asked on each use.
    #[must_use]
    pub fn session_of(&self, key: &ResourceKey) -> Option<Session> {
        self.state.store.nodes.view().session(|| spot(key))
    }

    /// Whether all is heard of what carries these tags, or what is not may be `excused`: in a cluster each may have a
    /// node of its own, as that of everything has. To be asked on each use, beside the resource's own session.
    #[must_use]
    pub fn hears_of(&self, tags: &[Tag], excused: impl Fn(Silence) -> bool) -> bool {
        let view = self.state.store.nodes.view();
        let is_heard = |tag: &Tag| {
            let spot = || Spot::Of(tag.bits());
            view.session(spot).is_some() || excused(view.owner(spot).map_or(Silence::CutOff, Silence::of))
        };
        view.table().is_of_one() || tags.iter().chain([&Tag::everything()]).all(is_heard)
    }

    /// Whether there is none for a resource, nor one about to begin; the last one will not go on either.
    #[must_use]
    pub fn is_over_of(&self, key: &ResourceKey) -> bool {
        let view = self.state.store.nodes.view();
        view.owner(|| spot(key)).is_none_or(|node| node.trust.is_over())
    }

    /// Whether entries of a resource may be served until they have a certain age, without being told of changes.
    #[must_use]
    pub fn is_untracked_of(&self, key: &ResourceKey) -> bool {
        let view = self.state.store.nodes.view();
        view.owner(|| spot(key)).is_some_and(|node| node.untracked.session().is_some())
    }

    /// Whether that is so of any.
    #[must_use]
    pub fn is_untracked(&self) -> bool {
        self.state.store.nodes.view().nodes().iter().any(|node| node.untracked.session().is_some())
    }

    /// By the clock that ages are measured by.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state.store.nodes.clock().elapsed()
    }

    /// This sidecar's number in the fleet.
    #[must_use]
    pub fn member(&self) -> Member {
        self.state.store.member
    }

    /// How they fare: the worst of it.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state.condition()
    }

    /// What has been heard.
    #[must_use]
    pub fn pushes(&self) -> Pushes {
        self.state.ear.pushes(self.state.store.nodes.sessions())
    }
}

fn spot(key: &ResourceKey) -> Spot<'static> {
    Spot::Of(key.wide_hash())
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("member", &self.store.member).finish_non_exhaustive()
    }
}

impl State {
    /// Has a connection to each node kept, and renews, for ever.
    async fn supervise(self: Arc<Self>) {
        let (mut kept, mut changes) = (Vec::new(), self.store.nodes.changes());
        loop {
            let next = Instant::now() + RENEWAL;
            let view = self.store.nodes.view_full();
            self.employ(&mut kept, &view);
            self.round(&view).await;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.roused.notified() => {}
                // An error only with the end of all.
                _ = changes.changed() => {}
            }
        }
    }

    /// A keeper for each node, and none for those that are gone.
    fn employ(self: &Arc<Self>, kept: &mut Vec<Kept>, view: &View) {
        kept.retain(|kept| view.nodes().iter().any(|node| kept.keeper.is_of(node)));
        for node in view.nodes() {
            if !kept.iter().any(|kept| kept.keeper.is_of(node)) {
                kept.push(Keeper::start(self, node));
            }
        }
        *self.keepers() = kept.iter().map(|kept| Arc::clone(&kept.keeper)).collect();
    }

    fn keepers(&self) -> MutexGuard<'_, Vec<Arc<Keeper>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
