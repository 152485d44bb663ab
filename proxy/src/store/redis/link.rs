//! One connection to Redis, kept by a task of its own: connects, beats, and connects again. Requests
//! only ever find it there or not; none waits for a connection.

mod beats;
mod heart;
mod no_writes;
mod refusal;
mod role;
mod session;

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    aio::{MultiplexedConnection, SendError},
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

pub(super) use self::{
    beats::Beats,
    refusal::{Elsewhere, Refusal, is_demoted},
    role::Role,
};
use self::{
    no_writes::NoWrites,
    session::{Session, Ticket},
};
use super::{
    breaker::Breaker,
    cluster::{Probe, Pulse, one_more},
    condition::{Condition, Failure},
    dialer::{Dialer, Server},
    settings::{Route, Settings},
};
use crate::{
    clock::{Clock, Offset},
    store::StoreError,
};

/// To connect, to authenticate and to agree on the protocol.
const CONNECT: Duration = Duration::from_millis(500);
/// Between two beats of the heart.
const BEAT: Duration = Duration::from_secs(1);
/// For the answer to a beat.
const BEAT_ANSWER: Duration = Duration::from_millis(500);
/// Between attempts to connect: the first pause, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Room beyond the commands of requests, for those of the heart.
const BEAT_ROOM: usize = 8;

/// A supervised connection. The supervision ends when it is dropped.
pub(super) struct Link {
    state: Arc<State>,
    supervisor: AbortHandle,
}

struct State {
    role: Role,
    dialer: Dialer,
    /// What a request waits for Redis in all.
    budget: Duration,
    /// Whether another node may have a key by now.
    in_cluster: bool,
    probe: Probe,
    clock: Clock,
    pulse: Pulse,
    session: ArcSwapOption<Session>,
    breaker: Breaker,
    /// Rouses the supervisor when the connection is gone or of no use.
    lost: Arc<Notify>,
    /// Beats that were answered.
    beats: watch::Sender<()>,
    /// How far Redis' clock is from ours.
    offset: ArcSwap<Offset>,
    /// Connections so far.
    sessions: AtomicU64,
    /// Said once.
    no_time: Once,
    no_writes: NoWrites,
    condition: Condition,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    /// Starts to connect, on the current runtime. Its beats read the key that `probe` names.
    pub(super) fn start(
        role: Role,
        settings: &Settings,
        (dialer, probe): (&Dialer, &Probe),
        clock: &Clock,
        pulse: &Pulse,
    ) -> Self {
        let state = Arc::new(State {
            role,
            dialer: dialer.clone(),
            budget: settings.budget,
            in_cluster: matches!(settings.route, Route::Cluster(_)),
            probe: Arc::clone(probe),
            clock: clock.clone(),
            pulse: pulse.clone(),
            session: ArcSwapOption::empty(),
            breaker: Breaker::default(),
            lost: Arc::new(Notify::new()),
            beats: watch::Sender::new(()),
            offset: ArcSwap::from_pointee(Offset::NONE),
            sessions: AtomicU64::new(0),
            no_time: Once::new(),
            no_writes: NoWrites::default(),
            condition: Condition::new(dialer.to_string(), clock.now()),
        });
        let supervisor = tokio::spawn(Arc::clone(&state).supervise()).abort_handle();
        Self { state, supervisor }
    }

    /// Sends what `ask` asks, and waits for the answer no longer than `limit`. At once an error if
    /// there is no connection, if it is held back, or if too much is on its way already.
    pub(super) async fn run<T, F>(
        &self,
        limit: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let ticket = self.session().and_then(|session| session.admit(1)).map_err(Refusal::Failed)?;
        self.send(ticket, limit, ask).await
    }

    /// The same for what takes so much room, when its turn has come.
    pub(super) async fn run_in_turn<T, F>(
        &self,
        weight: u32,
        limit: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let begun = Instant::now();
        let session = self.session().map_err(Refusal::Failed)?;
        let turn = timeout(limit, session.queue(weight)).await.unwrap_or(Err(StoreError::Budget));
        let ticket = turn.map_err(Refusal::Failed)?;
        let left = limit.saturating_sub(begun.elapsed());
        // Those before it may have failed, or taken all the time.
        if left.is_zero() || !self.is_ready() {
            ticket.answered();
            let late = left.is_zero();
            return Err(Refusal::Failed(if late { StoreError::Budget } else { StoreError::Unavailable }));
        }
        self.send(ticket, left, ask).await
    }

    async fn send<T, F>(
        &self,
        ticket: Ticket,
        limit: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = RedisResult<T>>,
    {
        match timeout(limit, ask(ticket.session.connection.clone())).await {
            // Nobody else sees what is there.
            Ok(Ok(_)) if ticket.session.server.is_deposed() => Err(Refusal::Failed(StoreError::Unavailable)),
            Ok(Ok(answer)) => {
                ticket.answered();
                self.state.breaker.succeeded();
                self.state.no_writes.unsay();
                Ok(answer)
            }
            Ok(Err(error)) => {
                let refused = self.state.refused(&error, &ticket.session);
                ticket.answered();
                Err(refused)
            }
            Err(_) => Err(Refusal::Failed(self.state.unanswered(&ticket.session, limit))),
        }
    }

    /// Whether a command would be sent now.
    pub(super) fn is_ready(&self) -> bool {
        !self.state.breaker.is_open()
            && self.state.session.load().as_ref().is_some_and(|session| !session.is_gone())
    }

    fn session(&self) -> Result<Arc<Session>, StoreError> {
        if self.state.breaker.is_open() {
            return Err(StoreError::Unavailable);
        }
        let session = self.state.session.load_full().filter(|session| !session.is_gone());
        session.ok_or(StoreError::Unavailable)
    }

    /// Why Redis takes no writes, in its words, if that was the last that we heard, and not long ago.
    pub(super) fn no_writes(&self) -> Option<Arc<String>> {
        self.state.no_writes.why(self.state.clock.elapsed())
    }

    /// How far Redis' clock is from ours.
    pub(super) fn offset(&self) -> Offset {
        **self.state.offset.load()
    }

    /// The beats that are answered from now on.
    pub(super) fn beats(&self) -> Beats {
        Beats::of(&self.state.beats)
    }

    /// How often it has been connected. Each time it may be to another server.
    pub(super) fn sessions(&self) -> u64 {
        self.state.sessions.load(Ordering::SeqCst)
    }

    /// Whether commands are held back after failures.
    pub(super) fn is_held_back(&self) -> bool {
        self.state.breaker.is_open()
    }

    /// Whether it is there, and since when not.
    pub(super) fn condition(&self) -> &Condition {
        &self.state.condition
    }
}

impl State {
    /// Redis answered with an error.
    fn refused(&self, error: &RedisError, session: &Session) -> Refusal {
        // That is no failure of this node.
        if let Some(elsewhere) = self.elsewhere(error) {
            return Refusal::Elsewhere(elsewhere);
        }
        let moved_away = is_demoted(error);
        if error.is_unrecoverable_error() || error.is_io_error() || moved_away {
            // A demoted master stays read-only; its name may lead to the new one by now.
            self.give_up(session);
        }
        if moved_away && !session.server.is_deposed() {
            self.dialer.was_demoted();
        }
        let failure = Failure::from(error);
        let refused = StoreError::Refused(failure.text().to_owned());
        if let Some(why) = failure.no_writes() {
            self.no_writes.say(why, self.clock.elapsed());
        }
        // A full Redis answers at once, and takes what is smaller.
        if error.code() != Some("OOM") {
            self.failed(failure);
        }
        Refusal::Failed(refused)
    }

    fn elsewhere(&self, error: &RedisError) -> Option<Elsewhere> {
        self.in_cluster.then(|| Elsewhere::of(error)).flatten()
    }

    /// Redis did not answer within `limit`. Of what was left of a budget, less than its half is no measure of Redis.
    fn unanswered(&self, session: &Session, limit: Duration) -> StoreError {
        if self.role == Role::Writes {
            // What cannot be written is dropped, not left to pile up.
            self.give_up(session);
        }
        if limit >= BEAT_ANSWER.min(self.budget / 2) {
            self.failed("no answer in time".into());
        }
        StoreError::Budget
    }

    /// This connection is of no use any more.
    fn give_up(&self, session: &Session) {
        session.give_up();
        self.lost.notify_waiters();
    }

    fn failed(&self, failure: Failure) {
        if self.breaker.failed() {
            self.down(failure);
        }
    }

    fn down(&self, failure: Failure) {
        self.condition.down(failure, self.clock.now(), self.role == Role::Reads);
    }

    /// Connects and stays connected, for ever.
    async fn supervise(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            let why = match self.open().await {
                Ok(session) => {
                    // Before anything is asked on it: what is answered there may be another server's word.
                    self.sessions.fetch_add(1, Ordering::SeqCst);
                    if self.role == Role::Purges {
                        one_more(&self.pulse.connections);
                    }
                    self.session.store(Some(Arc::clone(&session)));
                    self.dialer.got_through();
                    self.has_beaten();
                    self.keep(&session).await
                }
                Err(why) => why,
            };
            // One that did not last is no reason to come back sooner.
            if begun.elapsed() > BEAT + CONNECT {
                pause = PAUSES.0;
            }
            self.session.store(None);
            self.down(why);
            self.pulse.lost.notify_one();
            self.dialer.pause(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// A connection that has answered once.
    async fn open(&self) -> Result<Arc<Session>, Failure> {
        let gone = Arc::new(AtomicBool::new(false));
        let (connection, server) = self.connect(&gone).await.map_err(|error| Failure::from(&error))?;
        let session = Session::new(connection, server, gone, self.role.room());
        self.beat(&session).await?;
        Ok(Arc::new(session))
    }

    /// Speaks RESP3, or RESP2 to a server that knows no other.
    async fn connect(&self, gone: &Arc<AtomicBool>) -> RedisResult<(MultiplexedConnection, Server)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // Each command has its own limit.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.role.in_flight() + BEAT_ROOM);
        let dialer = &self.dialer;
        let (lost, marked) = (Arc::clone(&self.lost), Arc::clone(gone));
        let watched = config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                marked.store(true, Ordering::Relaxed);
                lost.notify_waiters();
            }
            Ok::<_, SendError>(())
        });
        match dialer.connect(&watched, ProtocolVersion::RESP3).await {
            Err(error) if speaks_no_resp3(&error) => dialer.connect(&config, ProtocolVersion::RESP2).await,
            answer => answer,
        }
    }

    /// Watches over the connection; ends with why it is of no use any more.
    async fn keep(&self, session: &Session) -> Failure {
        while !session.is_gone() {
            tokio::select! {
                () = sleep(BEAT) => match self.beat(session).await {
                    Ok(()) => self.has_beaten(),
                    Err(why) => return why,
                },
                () = self.lost.notified() => {}
                () = self.dialer.deposed() => {}
            }
        }
        "the connection was lost".into()
    }
}

/// Whether that is why it did not connect. Servers before version 6 know no `HELLO`, and each says so in
/// its own words.
pub(super) fn speaks_no_resp3(error: &RedisError) -> bool {
    let unknown = |detail: &str| {
        let detail = detail.to_ascii_lowercase();
        detail.starts_with("unknown command") && detail.contains("hello")
    };
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(unknown)
}

/// Between a half and the whole, so that a fleet does not come back all at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    pause.mul_f64(0.5 + f64::from(u16::try_from(random).unwrap_or_default()) / 1024.0)
}
