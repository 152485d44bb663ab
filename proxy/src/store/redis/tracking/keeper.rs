//! One tracking connection, which is kept up: to one node, as long as that is one.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisResult,
    aio::{MultiplexedConnection, SendError},
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    Condition, State,
    why::{Why, is_denial},
};
use crate::store::redis::{
    cluster::{Node, Slots},
    dialer::Server,
    layout,
    link::{jittered, speaks_no_resp3},
    membership::Client,
    pushes::Told,
    roll,
};

/// To connect, to authenticate, and to be tracked.
const CONNECT: Duration = Duration::from_millis(500);
/// Between attempts to connect: the first pause, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// For the connection for look-ups to be there too.
const HEAD_START: Duration = Duration::from_millis(250);
/// A node that does not let itself be tracked is asked again after that.
const RETRY: Duration = Duration::from_secs(10);

/// Who keeps one.
pub(super) struct Keeper {
    pub(super) node: Arc<Node>,
    desk: Mutex<Desk>,
    /// Told when there is a reason to end the connection.
    ended: Notify,
}

struct Desk {
    connection: Option<Arc<Connection>>,
    /// Why that is to end.
    why: Option<Why>,
    condition: Condition,
}

/// A keeper's task; it ends with this value.
pub(super) struct Kept {
    pub(super) keeper: Arc<Keeper>,
    task: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
        self.keeper.desk().connection = None;
    }
}

/// A connection that is tracked.
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// What Redis calls it.
    client: Option<u64>,
    server: Server,
    gone: Arc<AtomicBool>,
}

impl Keeper {
    /// Starts to connect, on the current runtime.
    pub(super) fn start(state: &Arc<State>, node: &Arc<Node>) -> Kept {
        let condition = Condition::Down { reason: "not connected yet".to_owned() };
        let desk = Mutex::new(Desk { connection: None, why: None, condition });
        let keeper = Arc::new(Self { node: Arc::clone(node), desk, ended: Notify::new() });
        let task = tokio::spawn(Arc::clone(&keeper).keep(Arc::clone(state))).abort_handle();
        Kept { keeper, task }
    }

    pub(super) fn is_of(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    /// The connection, if there is one that is of use.
    pub(super) fn connection(&self) -> Option<Arc<Connection>> {
        let connection = self.desk().connection.clone()?;
        if connection.gone.load(Ordering::SeqCst) || connection.server.is_deposed() {
            self.end(Why::Lost("the connection was lost".into()));
            return None;
        }
        Some(connection)
    }

    /// What the node calls it.
    pub(super) fn client(&self) -> Option<Client> {
        let number = self.desk().connection.as_ref()?.client?;
        Some(Client { node: self.node.name.id.clone(), number })
    }

    /// Whether the node does not let itself be tracked.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.condition(), Condition::Untracked { .. })
    }

    pub(super) fn condition(&self) -> Condition {
        self.desk().condition.clone()
    }

    /// Notes it; what it was before.
    pub(super) fn note(&self, condition: Condition) -> Condition {
        std::mem::replace(&mut self.desk().condition, condition)
    }

    /// The connection, if there is one, is of no use any more.
    pub(super) fn end(&self, why: Why) {
        let mut desk = self.desk();
        if desk.connection.take().is_some() {
            desk.why = Some(why);
            drop(desk);
            self.node.trust.end();
            self.ended.notify_one();
        }
    }

    /// Connects and stays connected, for ever.
    async fn keep(self: Arc<Self>, state: Arc<State>) {
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            let why = self.hold(&state).await;
            self.desk().connection = None;
            self.node.trust.end();
            // One that did not last is no reason to come back sooner.
            if begun.elapsed() > 2 * CONNECT {
                pause = PAUSES.0;
            }
            match why {
                Why::Lost(failure) => {
                    tracing::debug!(reason = failure.text(), "a tracking connection is gone");
                    state.is_now(&self, Condition::Down { reason: failure.text().to_owned() });
                    state.store.nodes.pulse().lost.notify_one();
                    self.node.dialer.pause(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Why::Denied(failure) => {
                    state.is_now(&self, Condition::Untracked { reason: failure.text().to_owned() });
                    state.roused.notify_one();
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// One connection, to its end.
    async fn hold(self: &Arc<Self>, state: &Arc<State>) -> Why {
        self.desk().why = None;
        let connection = match timeout(CONNECT, self.open(state)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return why,
            Err(_) => return Why::Lost("no answer in time".into()),
        };
        self.node.dialer.got_through();
        self.look_ups_follow().await;
        self.desk().connection = Some(Arc::new(connection));
        state.roused.notify_one();
        loop {
            if let Some(why) = self.desk().why.take() {
                return why;
            }
            self.ended.notified().await;
        }
    }

    /// Waits for those who look things up: what memory has serves until then, and is not to be emptied
    /// while nobody can fill it.
    async fn look_ups_follow(&self) {
        let (reads, mut beats) = (&self.node.reads, self.node.reads.beats());
        let ready = async {
            while !reads.is_ready() {
                beats.next().await;
            }
        };
        if timeout(HEAD_START, ready).await.is_err() {
            tracing::debug!("memory begins without look-ups");
        }
    }

    /// A connection that is tracked.
    async fn open(self: &Arc<Self>, state: &Arc<State>) -> Result<Connection, Why> {
        let mut connection = self.connect(state).await?;
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST");
        layout::tracked(&state.store.settings.prefix).iter().for_each(|name| {
            track.arg("PREFIX").arg(name);
        });
        let tracked: RedisResult<()> = track.query_async(&mut connection.commands).await;
        tracked.map_err(|error| if is_denial(&error) { Why::denied(&error) } else { Why::lost(&error) })?;
        let name = roll::connection_name(&state.store.member.to_string());
        connection.client = introduce(&mut connection.commands, &name).await.ok();
        Ok(connection)
    }

    async fn connect(self: &Arc<Self>, state: &Arc<State>) -> Result<Connection, Why> {
        let gone = Arc::new(AtomicBool::new(false));
        let (keeper, state, marked) = (Arc::downgrade(self), Arc::downgrade(state), Arc::clone(&gone));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                let (Some(state), Some(keeper)) = (state.upgrade(), keeper.upgrade()) else {
                    return Ok::<_, SendError>(());
                };
                match state.ear.hear(&push, || state.slots_of(&keeper.node)) {
                    Told::Changes => {}
                    Told::All => state.roused.notify_one(),
                    Told::End => {
                        marked.store(true, Ordering::SeqCst);
                        keeper.ended(&marked);
                    }
                }
                Ok(())
            });
        match self.node.dialer.connect(&config, ProtocolVersion::RESP3).await {
            Ok((commands, server)) => Ok(Connection { commands, client: None, server, gone }),
            Err(error) if speaks_no_resp3(&error) => Err(Why::denied(&error)),
            Err(error) => Err(Why::lost(&error)),
        }
    }

    /// A connection has ended: perhaps the one that is kept, perhaps one that was given up before.
    fn ended(&self, gone: &Arc<AtomicBool>) {
        let is_kept = self.desk().connection.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.gone, gone));
        if is_kept {
            self.end(Why::Lost("the connection was lost".into()));
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the connection, so that others can close it should this process freeze; and asks what Redis
/// calls it. Not all users may.
async fn introduce(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<u64> {
    redis::cmd("CLIENT").arg("SETNAME").arg(name).query_async::<()>(connection).await?;
    redis::cmd("CLIENT").arg("ID").query_async(connection).await
}

impl State {
    /// What a node may tell of: all, where there is one alone.
    pub(super) fn slots_of(&self, node: &Node) -> Slots {
        self.store.nodes.view().slots_of(node).unwrap_or(Slots::ALL)
    }
}
