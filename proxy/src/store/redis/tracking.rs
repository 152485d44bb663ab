//! The connection on which Redis tells what changes, and on which this sidecar renews its membership.
//!
//! It is an own one, kept by a task of its own: a client library that reconnects by itself would go on
//! without tracking, and say nothing. A connection that is half open says nothing either, so what counts
//! is that renewals are answered on it: an answer comes after all that was told before.
//!
//! Where there is no such connection to be had (no RESP3, a proxy between, an ACL), the membership is
//! renewed on the connection for writes, and says for how long entries are served at most.

mod told;
mod why;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, RedisResult,
    aio::{MultiplexedConnection, SendError},
};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use self::why::{Why, is_denial, is_forbidden};
use super::{
    Inner, RedisStore,
    condition::Throttle,
    dialer::Server,
    heard::Heard,
    layout,
    link::{jittered, speaks_no_resp3},
    membership::{self, Answer, Member, Renewal},
    pushes::{Ear, Pushes, Told},
    roll,
    trust::{Session, Trust},
};

/// To connect, to authenticate, and to be answered for the first time.
const CONNECT: Duration = Duration::from_millis(500);
/// Between two renewals.
const RENEWAL: Duration = Duration::from_millis(500);
/// For the answer to a renewal; a later one does not count.
const ANSWER: Duration = Duration::from_millis(500);
/// Between attempts to connect: the first pause, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// For the connection for look-ups to be there too.
const HEAD_START: Duration = Duration::from_millis(250);
/// Where Redis does not let itself be tracked, it is asked again after so many renewals.
const RETRY: u32 = 20;

/// A supervised tracking connection. The supervision ends when it is dropped.
#[derive(Debug)]
pub struct Tracking {
    state: Arc<State>,
    supervisor: AbortHandle,
    watch: AbortHandle,
}

/// How the tracking connection fares.
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
    /// The membership of a sidecar that is not told of changes.
    untracked: Trust,
    /// For how long that serves an entry.
    max_age: Duration,
    ear: Ear,
    /// Rouses the supervisor: the connection is gone, or the membership has to be renewed at once.
    roused: Notify,
    condition: Mutex<(Condition, Throttle)>,
}

/// A connection, and whether it is gone.
struct Connection {
    commands: MultiplexedConnection,
    /// What Redis calls it.
    client: Option<u64>,
    server: Server,
    gone: Arc<AtomicBool>,
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
        let down = Condition::Down { reason: "not connected yet".to_owned() };
        let state = Arc::new(State {
            store: Arc::clone(&store.0),
            renewals: AtomicU64::new(0),
            untracked: store.0.trust.another(),
            max_age,
            ear: Ear::new(&store.0.settings.prefix, heard),
            roused: Notify::new(),
            condition: Mutex::new((down, Throttle::new())),
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
        self.state.store.trust.end();
        self.state.untracked.end();
    }

    /// The session, while what was heard in it may be believed. To be asked on each use.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.state.store.trust.session()
    }

    /// Whether there is none, nor one about to begin; the last one will not go on either.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.store.trust.is_over()
    }

    /// Whether entries may be served until they have a certain age, without being told of changes.
    #[must_use]
    pub fn is_untracked(&self) -> bool {
        self.state.untracked.session().is_some()
    }

    /// By the clock that ages are measured by.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state.untracked.now()
    }

    /// This sidecar's number in the fleet.
    #[must_use]
    pub fn member(&self) -> Member {
        self.state.store.member
    }

    /// How it fares.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state.lock().0.clone()
    }

    /// What has been heard.
    #[must_use]
    pub fn pushes(&self) -> Pushes {
        self.state.ear.pushes(self.state.store.trust.sessions())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("member", &self.store.member)
            .field("trust", &self.store.trust)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Connects and stays connected, for ever.
    async fn supervise(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            let why = self.hold().await;
            self.store.trust.end();
            // One that did not last is no reason to come back sooner.
            if begun.elapsed() > 2 * CONNECT {
                pause = PAUSES.0;
            }
            match why {
                Why::Lost(failure) => {
                    tracing::debug!(reason = failure.text(), "the tracking connection is gone");
                    self.is_now(Condition::Down { reason: failure.text().to_owned() });
                    self.store.settings.dialer.pause(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Why::Denied(failure) => {
                    self.is_now(Condition::Untracked { reason: failure.text().to_owned() });
                    self.go_untracked().await;
                }
            }
        }
    }

    /// One connection, to its end.
    async fn hold(self: &Arc<Self>) -> Why {
        let opened = timeout(CONNECT, self.open()).await;
        let (mut connection, sent) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(why)) => return why,
            Err(_) => return Why::Lost("no answer in time".into()),
        };
        self.store.settings.dialer.got_through();
        self.look_ups_follow().await;
        self.untracked.end();
        self.store.trust.open();
        self.ear.heard().emptied();
        let session = self.store.trust.begin(sent);
        self.is_now(Condition::Tracked);
        self.keep(&mut connection, session).await
    }

    /// Waits for those who look things up: what memory has serves until then, and is not to be emptied
    /// while nobody can fill it.
    async fn look_ups_follow(&self) {
        let (reads, mut beats) = (&self.store.reads, self.store.reads.beats());
        let ready = async {
            while !reads.is_ready() {
                beats.next().await;
            }
        };
        if timeout(HEAD_START, ready).await.is_err() {
            tracing::debug!("memory begins without look-ups");
        }
    }

    /// A connection that is tracked and on which the membership was renewed, and when that was sent.
    async fn open(self: &Arc<Self>) -> Result<(Connection, Duration), Why> {
        let mut connection = self.connect().await?;
        let prefix = &self.store.settings.prefix;
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST");
        layout::tracked(prefix).iter().for_each(|name| {
            track.arg("PREFIX").arg(name);
        });
        let tracked: RedisResult<()> = track.query_async(&mut connection.commands).await;
        tracked.map_err(|error| if is_denial(&error) { Why::denied(&error) } else { Why::lost(&error) })?;
        connection.client = self.introduce(&mut connection.commands).await.ok();
        let sent = self.store.trust.now();
        self.renew(&mut connection).await?;
        Ok((connection, sent))
    }

    /// Names the connection, so that others can close it should this process freeze; and asks what Redis
    /// calls it. Not all users may.
    async fn introduce(&self, connection: &mut MultiplexedConnection) -> RedisResult<u64> {
        let name = roll::connection_name(&self.store.member.to_string());
        redis::cmd("CLIENT").arg("SETNAME").arg(name).query_async::<()>(connection).await?;
        redis::cmd("CLIENT").arg("ID").query_async(connection).await
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection, Why> {
        let gone = Arc::new(AtomicBool::new(false));
        let (state, marked) = (Arc::downgrade(self), Arc::clone(&gone));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                let Some(state) = state.upgrade() else { return Ok::<_, SendError>(()) };
                match state.ear.hear(&push) {
                    Told::Changes => {}
                    Told::All => state.roused.notify_one(),
                    Told::End => {
                        marked.store(true, Ordering::SeqCst);
                        state.roused.notify_one();
                    }
                }
                Ok(())
            });
        match self.store.settings.dialer.connect(&config, ProtocolVersion::RESP3).await {
            Ok((commands, server)) => Ok(Connection { commands, client: None, server, gone }),
            Err(error) if speaks_no_resp3(&error) => Err(Why::denied(&error)),
            Err(error) => Err(Why::lost(&error)),
        }
    }

    /// Renews the membership for as long as the session lasts.
    async fn keep(&self, connection: &mut Connection, session: Session) -> Why {
        loop {
            let next = Instant::now() + RENEWAL;
            let sent = self.store.trust.now();
            match timeout(ANSWER, self.renew(connection)).await {
                Ok(Ok(())) if self.store.trust.renew(session, sent) => {}
                Ok(Ok(())) => return Why::Lost("a renewal was answered too late".into()),
                Ok(Err(why)) => return why,
                Err(_) if self.store.trust.session() == Some(session) => {}
                Err(_) => return Why::Lost("no renewal was answered in time".into()),
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.roused.notified() => {}
            }
            if connection.gone.load(Ordering::SeqCst) || connection.server.is_deposed() {
                return Why::Lost("the connection was lost".into());
            }
        }
    }

    async fn renew(&self, connection: &mut Connection) -> Result<(), Why> {
        let renewal = self.renewal(super::BOUND, connection.client);
        let answer: RedisResult<Answer> = renewal.query_async(&mut connection.commands).await;
        match answer.and_then(membership::read) {
            Ok(epoch) => {
                self.ear.heard().renewed(epoch);
                Ok(())
            }
            Err(error) if is_forbidden(&error) => Err(Why::denied(&error)),
            Err(error) => Err(Why::lost(&error)),
        }
    }

    fn renewal(&self, bound: Duration, client: Option<u64>) -> Pipeline {
        let count = self.renewals.fetch_add(1, Ordering::Relaxed);
        self.store.member.renewal(&self.store.settings.prefix, Renewal { bound, count, client })
    }

    /// Renews the membership without being told of changes, for a while.
    async fn go_untracked(&self) {
        for _ in 0..RETRY {
            let next = Instant::now() + RENEWAL;
            if !self.max_age.is_zero() {
                self.renew_untracked().await;
            }
            sleep_until(next).await;
        }
    }

    async fn renew_untracked(&self) {
        let renewal = self.renewal(self.max_age, None);
        let sent = self.untracked.now();
        let writes = &self.store.writes;
        // What Redis refuses of it is no failure of the connection: others write over it too.
        let ask = async |mut connection| renewal.query_async::<Answer>(&mut connection).await;
        match writes.run(ANSWER, ask).await.map(membership::read) {
            Ok(Ok(epoch)) => {
                self.untracked.begin(sent);
                self.ear.heard().renewed(epoch);
            }
            Ok(Err(error)) => tracing::debug!(%error, "the membership was refused"),
            Err(error) => tracing::debug!(%error, "the membership was not renewed"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Condition, Throttle)> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
