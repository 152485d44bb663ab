//! The nodes that share the keys: one that has them all, or those of a cluster.
//!
//! Which node has which slots is one immutable value, the [`View`], that is swapped in as a whole. With a
//! single Redis, and with the master that sentinels name, it never changes. In a cluster `topology` asks the
//! nodes for it.
//!
//! What memory has of a slot is believed by what its owner tells. So before a slot gets another owner, memory
//! lets go of it, and meanwhile nobody believes nor inserts anything of it.

mod links;
mod node;
mod slots;
mod topology;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, atomic::AtomicU64},
    time::SystemTime,
};

use arc_swap::{ArcSwap, Guard};
use tokio::{sync::watch, task::AbortHandle};

use self::node::Parts;
pub use self::slots::Slots;
pub(super) use self::{
    links::Links,
    node::{Node, Probe, Pulse, one_more},
    slots::{NodeName, Spot, Table},
    topology::{Seeds, read_slots},
};
use super::{
    condition::Health,
    dialer::Dialer,
    heard::Heard,
    layout,
    link::Link,
    settings::{Route, Settings},
    trust::Session,
};
use crate::{address::RedisNode, clock::Clock};

/// The nodes, and who has what.
pub(super) struct Nodes {
    settings: Settings,
    clock: Clock,
    pulse: Pulse,
    sessions: Arc<AtomicU64>,
    view: ArcSwap<View>,
    /// Told when the nodes are others.
    changes: watch::Sender<()>,
    /// Who remembers what was read, and holds these nodes.
    heard: OnceLock<Weak<dyn Heard>>,
    /// Since when no node is known, and why.
    nowhere: Mutex<(SystemTime, String)>,
    topology: OnceLock<AbortHandle>,
}

/// Who has what, at one moment.
#[derive(Debug)]
pub(super) struct View {
    table: Table,
    /// In the order of the table.
    nodes: Vec<Arc<Node>>,
    /// Slots that are about to get another owner: what is known of them does not count.
    moving: Option<Slots>,
}

impl View {
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Who has a key, if anybody does. Where one node has them all, the key is not looked at.
    pub(super) fn owner<'n>(&self, spot: impl FnOnce() -> Spot<'n>) -> Option<&Arc<Node>> {
        match self.table.is_of_one() {
            true => self.nodes.first(),
            false => self.nodes.get(self.table.owner(spot().slot())?),
        }
    }

    /// Who has a key for certain.
    fn settled<'n>(&self, spot: impl FnOnce() -> Spot<'n>) -> Option<&Arc<Node>> {
        match &self.moving {
            None => self.owner(spot),
            Some(moving) => {
                let spot = spot();
                (!moving.contain(spot.slot())).then(|| self.owner(|| spot)).flatten()
            }
        }
    }

    /// The session in which every change of a key is heard of.
    pub(super) fn session<'n>(&self, spot: impl FnOnce() -> Spot<'n>) -> Option<Session> {
        self.settled(spot)?.trust.session()
    }

    fn at(&self, address: &RedisNode) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name.address == *address)
    }

    fn named(&self, name: &NodeName) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// The slots of this node.
    pub(super) fn slots_of(&self, node: &Node) -> Option<Slots> {
        let place = self.nodes.iter().position(|other| std::ptr::eq(&**other, node))?;
        Some(self.table.slots_of(place))
    }
}

impl Nodes {
    /// Starts to connect, or to ask who there is, on the current runtime.
    pub(super) fn start(settings: &Settings, clock: Clock) -> Arc<Self> {
        let (pulse, sessions) = (Pulse::new(), Arc::default());
        let parts = Parts { settings, clock: &clock, pulse: &pulse, sessions: &sessions };
        let view = match &settings.route {
            Route::One(dialer) => View::of_one(dialer, &parts),
            Route::Cluster(_) => View::empty(),
        };
        let nodes = Arc::new(Self {
            settings: settings.clone(),
            view: ArcSwap::from_pointee(view),
            changes: watch::Sender::new(()),
            heard: OnceLock::new(),
            nowhere: Mutex::new((clock.now(), "not connected yet".to_owned())),
            clock,
            pulse,
            sessions,
            topology: OnceLock::new(),
        });
        if let Route::Cluster(seeds) = &settings.route {
            let watch = topology::watch(Arc::downgrade(&nodes), seeds.clone(), Arc::clone(&nodes.pulse.lost));
            // It is the first.
            let _ = nodes.topology.set(tokio::spawn(watch).abort_handle());
        }
        nodes
    }

    /// From now on this is told what memory has to let go of.
    pub(super) fn tell(&self, heard: &Arc<dyn Heard>) {
        // There is one memory before one store.
        let _ = self.heard.set(Arc::downgrade(heard));
    }

    /// Who has what now.
    pub(super) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The same, to be kept.
    pub(super) fn view_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Who has a key, to be kept.
    pub(super) fn owner(&self, spot: Spot<'_>) -> Option<Arc<Node>> {
        self.view().owner(|| spot).map(Arc::clone)
    }

    /// Tells when the nodes are others.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many sessions there have been.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Whether all look-ups are served. If not, it says of which node.
    pub(super) fn health(&self) -> Health {
        let view = self.view();
        if view.nodes.is_empty() {
            let (since, reason) = self.nowhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Health::Down { since, reason };
        }
        let missing = view.table.missing();
        if missing > 0 {
            let since = self.nowhere.lock().unwrap_or_else(PoisonError::into_inner).0;
            return Health::Down {
                since,
                reason: format!("{missing} of the slots of the cluster are nobody's"),
            };
        }
        let down = |node: &Arc<Node>| match node.reads.condition().health() {
            Health::Up => None,
            Health::Down { since, reason } if view.nodes.len() == 1 => Some(Health::Down { since, reason }),
            Health::Down { since, reason } => {
                Some(Health::Down { since, reason: format!("{}: {reason}", node.name.address) })
            }
        };
        view.nodes.iter().find_map(down).unwrap_or(Health::Up)
    }

    /// Whether this holds for all nodes, of which there is one at least.
    pub(super) fn all(&self, holds: impl Fn(&Node) -> bool) -> bool {
        let view = self.view();
        !view.nodes.is_empty() && view.nodes.iter().all(|node| holds(node))
    }

    /// Whether any link of one of them is held back after failures.
    pub(super) fn any_held_back(&self, link: impl Fn(&Node) -> &Link) -> bool {
        self.view().nodes.iter().any(|node| link(node).is_held_back())
    }

    /// No node could be asked.
    fn is_nowhere(&self, reason: String) {
        let mut nowhere = self.nowhere.lock().unwrap_or_else(PoisonError::into_inner);
        if nowhere.1 != reason {
            nowhere.1 = reason;
            if self.view().nodes.is_empty() {
                tracing::warn!(redis = %self.settings.address(), reason = nowhere.1, "no node of the cluster tells who has what");
            }
        }
    }

    /// Has the slots as that table says. Only one task does this.
    fn adopt(&self, table: &Table, seeds: &Seeds) {
        let before = self.view_full();
        if before.table == *table {
            return;
        }
        let view = self.next_view(&before, table, seeds);
        if let Some(moving) = before.table.differing(table) {
            tracing::info!(
                nodes = view.nodes.len(),
                slots = moving.count(),
                "slots of the cluster have other owners"
            );
            let same = (before.table.clone(), before.nodes.clone());
            self.view.store(Arc::new(View { table: same.0, nodes: same.1, moving: Some(moving.clone()) }));
            if let Some(heard) = self.heard.get().and_then(Weak::upgrade) {
                heard.moved(&moving);
            }
        }
        let stays = |node: &Node| view.nodes.iter().any(|other| std::ptr::eq(&**other, node));
        let gone: Vec<_> = before.nodes.iter().filter(|node| !stays(node)).cloned().collect();
        self.view.store(Arc::new(view));
        gone.iter().for_each(|node| node.depose());
        self.changes.send_replace(());
    }

    fn next_view(&self, before: &View, table: &Table, seeds: &Seeds) -> View {
        let parts = Parts {
            settings: &self.settings,
            clock: &self.clock,
            pulse: &self.pulse,
            sessions: &self.sessions,
        };
        let first = before.nodes.is_empty();
        let node = |(place, name): (usize, &NodeName)| {
            let probe = layout::probe(&self.settings.prefix, &table.tag_on(place));
            match before.named(name) {
                Some(node) => {
                    node.probe.store(Arc::new(probe));
                    Arc::clone(node)
                }
                None => {
                    Arc::new(Node::start(name.clone(), seeds.dialer(&name.address), probe, first, &parts))
                }
            }
        };
        let nodes = table.nodes().iter().enumerate().map(node).collect();
        View { table: table.clone(), nodes, moving: None }
    }
}

impl View {
    fn empty() -> Self {
        Self { table: Table::empty(), nodes: Vec::new(), moving: None }
    }

    fn of_one(dialer: &Dialer, parts: &Parts<'_>) -> Self {
        let name = NodeName { id: String::new(), address: RedisNode { host: String::new(), port: 0 } };
        let probe = layout::probe(&parts.settings.prefix, "");
        let node = Node::start(name.clone(), dialer.clone(), probe, true, parts);
        Self { table: Table::of_one(name), nodes: vec![Arc::new(node)], moving: None }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.topology.get().into_iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("view", &self.view()).finish_non_exhaustive()
    }
}
