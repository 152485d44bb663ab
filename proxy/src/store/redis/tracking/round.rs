//! One round of renewals.
//!
//! First the membership, on the connection to the node that has the roll. Then each node is asked whether it
//! serves, and who has which slots: its answer comes after all that it has told. Whoever reads the roll after a
//! change, and does not find us on it, has us hear of that change before we trust anything again. So each
//! session goes on as of the moment when the membership was sent, however long the rest took.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, RedisError, Value, cmd};
use tokio::time::timeout;

use super::{
    Condition, State,
    keeper::{Connection, Keeper},
    why::{Why, is_forbidden},
};
use crate::{
    epoch::Epoch,
    store::redis::{
        BOUND,
        cluster::{Node, Spot, Table, View, read_slots},
        epochs::{self, Which},
        layout::{self, NOMINATED},
        link::{Elsewhere, Refusal, is_demoted},
        membership::Renewal,
    },
};

/// For the answer to a renewal; a later one does not count.
const ANSWER: Duration = Duration::from_millis(500);

/// For a purge of ours to see which epoch it took.
const OWN: Duration = Duration::from_millis(50);

/// Why a node's session does not go on by this round.
enum Flaw {
    /// It may by the next one.
    Late,
    /// It does not serve what we took to be its own.
    NotServing,
    /// The connection is of no use.
    Ends(Why),
}

impl Flaw {
    fn of(error: &RedisError) -> Self {
        match Elsewhere::of(error) {
            Some(_) => Self::NotServing,
            None if is_forbidden(error) => Self::Ends(Why::denied(error)),
            None => Self::Ends(Why::lost(error)),
        }
    }
}

/// A node that is asked, and what it says of the slots of all; nothing where it has them all.
type Said = (Arc<Keeper>, Arc<Connection>, Result<Option<Table>, Flaw>);

impl State {
    pub(super) async fn round(&self, view: &View) {
        let keepers = self.keepers().clone();
        // One that is denied later is not in what the membership says, by which others wait.
        let denied: Vec<_> = keepers.iter().filter(|keeper| keeper.is_denied()).cloned().collect();
        let bound = if denied.is_empty() { BOUND } else { self.max_age.max(BOUND) };
        let sent = self.store.nodes.clock().elapsed();
        if !self.renew(view, &keepers, bound).await {
            return;
        }
        for keeper in denied.iter().filter(|keeper| keeper.is_denied()) {
            if keeper.node.untracked.session().is_none() {
                // What memory has may be from before a purge that nobody heard of here.
                self.ear.heard().emptied_of(&self.slots_of(&keeper.node));
            }
            keeper.node.untracked.begin(sent);
        }
        let asked = keepers.into_iter().filter_map(|keeper| keeper.connection().map(|to| (keeper, to)));
        let said = join_all(asked.map(|(keeper, connection)| async move {
            let said = confirm(&connection, &keeper.node, view).await;
            (keeper, connection, said)
        }));
        self.settle(view, sent, said.await);
    }

    /// Renews the membership, and catches up with the last epoch; or Redis does, which may have lost it. Whether it
    /// is renewed.
    async fn renew(&self, view: &View, keepers: &[Arc<Keeper>], bound: Duration) -> bool {
        let prefix = &self.store.settings.prefix;
        let count = self.renewals.fetch_add(1, Ordering::Relaxed);
        let clients = keepers.iter().filter_map(|keeper| keeper.client()).collect();
        let write = self.store.member.renewal(prefix, &Renewal { bound, count, clients });
        let (members, last) = (layout::members(prefix), layout::epoch(prefix));
        let of = |name| {
            let node = view.owner(|| Spot::Named(name))?;
            keepers.iter().find(|keeper| keeper.is_of(node))
        };
        let Some(home) = of(&members) else { return false };
        let purges = &self.store.purges;
        let epoch = async {
            // One that cannot be read does not make the membership void.
            let answer = ask(of(&last)?, &epochs::question(prefix, purges, Which::Last)).await.ok()?;
            Some(epochs::read(answer, purges).ok()?.taken)
        };
        let (renewed, epoch) = tokio::join!(ask(home, &write), epoch);
        if let Ok(roll) = &renewed {
            self.store.seen.note(roll);
            // It may be that of a purge of ours, which has yet to see that. An error: it takes too long.
            let _ = timeout(OWN, self.store.journal.settled()).await;
            self.ear.heard().renewed(epoch);
            if self.has_moved(epoch) && keepers.iter().any(|keeper| keeper.is_denied()) {
                // Nobody has told of what was purged, and one of our own may be the latest of it.
                purges.miss();
            }
        }
        if renewed.is_ok() && home.node.dialer.took_a_write() {
            home.end(Why::Lost("its address leads to a master again".into()));
            return false;
        }
        renewed.map_err(|flaw| self.blame(home, flaw)).is_ok()
    }

    /// Whether there may have been purges since the last round.
    fn has_moved(&self, epoch: Option<Epoch>) -> bool {
        let mut last = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        epoch.is_none() || std::mem::replace(&mut *last, epoch) != epoch
    }

    /// Has the sessions go on of all nodes that serve, and of which nobody says that they have other slots.
    fn settle(&self, view: &View, sent: Duration, said: Vec<Said>) {
        let present = view.table();
        let tables = said.iter().filter_map(|(.., said)| said.as_ref().ok()?.clone());
        let others: Vec<Table> = tables.filter(|table| table != present).collect();
        if !others.is_empty() {
            self.store.nodes.pulse().lost.notify_one();
        }
        for (keeper, connection, said) in said {
            let id = &keeper.node.name.id;
            match said {
                Ok(_) if others.iter().all(|table| table.agrees_on(id, present)) => {
                    self.believe(&keeper, &connection, sent);
                }
                Ok(_) => {}
                Err(flaw) => self.blame(&keeper, flaw),
            }
        }
    }

    /// The node's session goes on, or begins.
    fn believe(&self, keeper: &Arc<Keeper>, connection: &Arc<Connection>, sent: Duration) {
        let Node { trust, untracked, .. } = &*keeper.node;
        if trust.session().is_some_and(|session| trust.renew(session, sent)) {
            return;
        }
        untracked.end();
        trust.open();
        self.ear.heard().emptied_of(&self.slots_of(&keeper.node));
        trust.begin(sent);
        // It may have ended meanwhile, and with it what was begun too early.
        match keeper.connection().is_some_and(|kept| Arc::ptr_eq(&kept, connection)) {
            true => self.is_now(keeper, Condition::Tracked),
            false => trust.end(),
        }
    }

    /// The node's session does not go on by this.
    fn blame(&self, keeper: &Keeper, flaw: Flaw) {
        match flaw {
            Flaw::Late if keeper.node.trust.session().is_some() => {}
            Flaw::Late => keeper.end(Why::Lost("no renewal was answered in time".into())),
            Flaw::NotServing => self.store.nodes.pulse().lost.notify_one(),
            Flaw::Ends(why) => keeper.end(why),
        }
    }
}

/// What a node answers, on the tracking connection; where there can be none, on the one for writes.
async fn ask(keeper: &Keeper, command: &Cmd) -> Result<Value, Flaw> {
    if let Some(connection) = keeper.connection() {
        let mut commands = connection.commands.clone();
        let answer = timeout(ANSWER, command.query_async::<Value>(&mut commands)).await;
        let answer = answer.map_err(|_| Flaw::Late)?;
        if answer.as_ref().is_err_and(is_demoted) {
            keeper.node.dialer.was_demoted();
        }
        return answer.map_err(|error| Flaw::of(&error));
    }
    if !keeper.is_denied() {
        return Err(Flaw::Late);
    }
    // What Redis refuses of it is no failure of the connection: others write over it too.
    let ask = async |mut connection| Ok(command.query_async::<Value>(&mut connection).await);
    let answer = match keeper.node.writes.run(ANSWER, ask).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(Refusal::Failed(error)) => Err(error.to_string()),
        Err(Refusal::Elsewhere(_)) => return Err(Flaw::NotServing),
    };
    answer.map_err(|error| {
        tracing::debug!(error, "the membership was not renewed");
        Flaw::Late
    })
}

/// Asks a node of a cluster whether it serves, and who has which slots. Where one has them all, the renewal
/// has said enough.
async fn confirm(connection: &Connection, node: &Node, view: &View) -> Result<Option<Table>, Flaw> {
    if view.table().is_of_one() {
        return Ok(None);
    }
    let mut commands = connection.commands.clone();
    let (probe, mut read) = (node.probe.load_full(), cmd("HMGET"));
    read.arg(&*probe).arg(NOMINATED);
    let both = async {
        tokio::join!(
            read.query_async::<Value>(&mut commands),
            read_slots(connection.commands.clone(), &node.name.address)
        )
    };
    let (served, slots) = timeout(ANSWER, both).await.map_err(|_| Flaw::Late)?;
    match served {
        // It is there as long as its slot is on its way.
        Err(error) if Elsewhere::of(&error) != Some(Elsewhere::Leaving) => Err(Flaw::of(&error)),
        _ => slots.map(Some).map_err(|error| Flaw::of(&error)),
    }
}
