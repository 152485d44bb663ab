//! One server of those that share the keys: the connections to it, and what it may be believed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::slots::NodeName;
use crate::{
    clock::Clock,
    epoch::Epoch,
    store::redis::{
        dialer::Dialer,
        doubt::Doubt,
        link::{Link, Role},
        manners::Manners,
        settings::Settings,
        trust::Trust,
    },
};

/// A node, as long as it is one. Dropped, its connections go.
pub(in crate::store::redis) struct Node {
    pub(in crate::store::redis) name: NodeName,
    pub(in crate::store::redis) dialer: Dialer,
    pub(in crate::store::redis) reads: Link,
    pub(in crate::store::redis) bodies: Link,
    pub(in crate::store::redis) writes: Link,
    pub(in crate::store::redis) purges: Link,
    pub(in crate::store::redis) leases: Link,
    /// For how long what was heard of it may be believed.
    pub(in crate::store::redis) trust: Trust,
    /// The same where it does not tell what changes: for as long as the membership says.
    pub(in crate::store::redis) untracked: Trust,
    pub(in crate::store::redis) doubt: Doubt,
    pub(in crate::store::redis) manners: Manners,
    /// The name that a probe reads: of a key that is never there, in one of its slots.
    pub(in crate::store::redis) probe: Probe,
}

/// See [`Node::probe`].
pub(in crate::store::redis) type Probe = Arc<ArcSwap<String>>;

/// What all links tell those who are concerned with all.
#[derive(Clone, Debug)]
pub(in crate::store::redis) struct Pulse {
    /// Beats that were answered, of any of those that look up or purge.
    pub(in crate::store::redis) beats: watch::Sender<()>,
    /// Connections so far, of the same.
    pub(in crate::store::redis) connections: Arc<AtomicU64>,
    /// Rouses who watches over the nodes: one is lost, or has sent us elsewhere.
    pub(in crate::store::redis) lost: Arc<Notify>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { beats: watch::Sender::new(()), connections: Arc::default(), lost: Arc::default() }
    }
}

/// What a node is made of.
pub(super) struct Parts<'s> {
    pub(super) settings: &'s Settings,
    pub(super) clock: &'s Clock,
    pub(super) pulse: &'s Pulse,
    /// How many sessions there have been, with all nodes.
    pub(super) sessions: &'s Arc<AtomicU64>,
}

impl Node {
    /// Starts to connect, on the current runtime. One that is the `first` of its kind has lost nothing.
    pub(super) fn start(
        name: NodeName,
        dialer: Dialer,
        probe: String,
        first: bool,
        parts: &Parts<'_>,
    ) -> Self {
        let Parts { settings, clock, pulse, sessions } = parts;
        let probe = Arc::new(ArcSwap::from_pointee(probe));
        let link = |role| Link::start(role, settings, (&dialer, &probe), clock, pulse);
        Self {
            reads: link(Role::Reads),
            bodies: link(Role::Bodies),
            writes: link(Role::Writes),
            purges: link(Role::Purges),
            leases: link(Role::Leases),
            trust: Trust::new((*clock).clone(), Arc::clone(sessions)),
            untracked: Trust::new((*clock).clone(), Arc::default()),
            doubt: Doubt::new(first),
            manners: Manners::default(),
            name,
            dialer,
            probe,
        }
    }

    pub(in crate::store::redis) fn link(&self, role: Role) -> &Link {
        match role {
            Role::Reads => &self.reads,
            Role::Bodies => &self.bodies,
            Role::Writes => &self.writes,
            Role::Purges => &self.purges,
            Role::Leases => &self.leases,
        }
    }

    /// Up to which purge it may have lost what another had acknowledged, where `known` is the last one.
    pub(in crate::store::redis) fn in_doubt(&self, known: Epoch) -> Epoch {
        self.doubt.until(self.reads.sessions(), known)
    }

    /// Whether claims, commits and purges would be tried now.
    pub(in crate::store::redis) fn takes_writes(&self) -> bool {
        !self.is_nearly_full() && [&self.writes, &self.purges, &self.leases].into_iter().all(Link::is_ready)
    }

    /// Whether we hold back, because it evicts nothing and is nearly full.
    pub(in crate::store::redis) fn is_nearly_full(&self) -> bool {
        self.manners.hold_back()
    }

    /// Why it takes no claims, commits or purges, in its words, if it has said so.
    pub(in crate::store::redis) fn no_writes(&self) -> Option<Arc<String>> {
        [&self.leases, &self.writes, &self.purges].into_iter().find_map(Link::no_writes)
    }

    /// It is none any more: what it says now, nobody else may see.
    pub(super) fn depose(&self) {
        self.dialer.depose();
        self.trust.end();
        self.untracked.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// One more of what is counted; the number of it.
pub(in crate::store::redis) fn one_more(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::SeqCst) + 1
}
