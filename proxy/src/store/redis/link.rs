//! One connection to Redis, kept by a task of its own: connects, beats, and connects again. Requests
//! only ever find it there or not; none waits for a connection.

mod beats;
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
    ServerErrorKind,
    aio::{MultiplexedConnection, SendError},
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use self::session::{Session, Ticket};
pub(super) use self::{beats::Beats, role::Role};
use super::{
    breaker::Breaker,
    condition::{Condition, Failure},
    dialer::Server,
    layout,
    probe::{Sample, probe},
    settings::Settings,
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
#[derive(Debug)]
pub(super) struct Link {
    state: Arc<State>,
    supervisor: AbortHandle,
}

#[derive(Debug)]
struct State {
    role: Role,
    settings: Settings,
    clock: Clock,
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
    condition: Condition,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    /// Starts to connect, on the current runtime.
    pub(super) fn start(role: Role, settings: Settings, clock: Clock) -> Self {
        let condition = Condition::new(settings.address(), clock.now());
        let state = Arc::new(State {
            role,
            settings,
            clock,
            session: ArcSwapOption::empty(),
            breaker: Breaker::default(),
            lost: Arc::new(Notify::new()),
            beats: watch::Sender::new(()),
            offset: ArcSwap::from_pointee(Offset::NONE),
            sessions: AtomicU64::new(0),
            no_time: Once::new(),
            condition,
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
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let ticket = self.session()?.admit(1)?;
        self.send(ticket, limit, ask).await
    }

    /// The same for what takes so much room, when its turn has come.
    pub(super) async fn run_in_turn<T, F>(
        &self,
        weight: u32,
        limit: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let begun = Instant::now();
        let turn = timeout(limit, self.session()?.queue(weight)).await;
        let ticket = turn.map_err(|_| StoreError::Budget)??;
        let left = limit.saturating_sub(begun.elapsed());
        // Those before it may have failed, or taken all the time.
        if left.is_zero() || !self.is_ready() {
            ticket.answered();
            return Err(if left.is_zero() { StoreError::Budget } else { StoreError::Unavailable });
        }
        self.send(ticket, left, ask).await
    }

    async fn send<T, F>(
        &self,
        ticket: Ticket,
        limit: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        match timeout(limit, ask(ticket.session.connection.clone())).await {
            // Nobody else sees what is there.
            Ok(Ok(_)) if ticket.session.server.is_deposed() => Err(StoreError::Unavailable),
            Ok(Ok(answer)) => {
                ticket.answered();
                self.state.breaker.succeeded();
                Ok(answer)
            }
            Ok(Err(error)) => {
                let refused = self.state.refused(&error, &ticket.session);
                ticket.answered();
                Err(refused)
            }
            Err(_) => Err(self.state.unanswered(&ticket.session)),
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

    /// How far Redis' clock is from ours.
    pub(super) fn offset(&self) -> Offset {
        **self.state.offset.load()
    }

    /// The beats that are answered from now on.
    pub(super) fn beats(&self) -> Beats {
        Beats::of(&self.state)
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
    fn refused(&self, error: &RedisError, session: &Session) -> StoreError {
        let moved_away = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if error.is_unrecoverable_error() || error.is_io_error() || moved_away {
            // A demoted master stays read-only; its name may lead to the new one by now.
            self.give_up(session);
        }
        let failure = Failure::from(error);
        let refused = StoreError::Refused(failure.text().to_owned());
        // A full Redis answers at once, and takes what is smaller.
        if error.code() != Some("OOM") {
            self.failed(failure);
        }
        refused
    }

    /// Redis did not answer in time.
    fn unanswered(&self, session: &Session) -> StoreError {
        if self.role == Role::Writes {
            // What cannot be written is dropped, not left to pile up.
            self.give_up(session);
        }
        self.failed("no answer in time".into());
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
                    self.sessions.fetch_add(1, Ordering::SeqCst);
                    self.session.store(Some(Arc::clone(&session)));
                    self.settings.dialer.got_through();
                    self.beats.send_replace(());
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
            self.settings.dialer.pause(jittered(pause)).await;
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
        let dialer = &self.settings.dialer;
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
                    Ok(()) => {
                        self.beats.send_replace(());
                    }
                    Err(why) => return why,
                },
                () = self.lost.notified() => {}
            }
        }
        "the connection was lost".into()
    }

    /// One beat. After a good one, what was held back may go again.
    async fn beat(&self, session: &Session) -> Result<(), Failure> {
        let abandoned = session.abandoned();
        let key = layout::probe(&self.settings.prefix);
        let sent = Instant::now();
        let sample = match timeout(BEAT_ANSWER, probe(&session.connection, &key, &self.clock)).await {
            Ok(answer) => answer.map_err(|error| Failure::from(&error))?,
            Err(_) => return Err("no answer to a probe".into()),
        };
        self.settings.dialer.confirm(&session.connection).await.map_err(|error| Failure::from(&error))?;
        session.regain(abandoned);
        self.learn(sample);
        // One that answers later than a request waits would only be held back again.
        if !self.role.is_of_requests() || sent.elapsed() <= self.settings.budget {
            self.breaker.close();
        }
        if !self.breaker.is_open() {
            self.condition.up(self.role == Role::Reads);
        }
        Ok(())
    }

    fn learn(&self, sample: Option<Sample>) {
        if sample.is_none() && self.role == Role::Reads {
            self.no_time.call_once(|| {
                tracing::warn!("Redis' user may not ask for the TIME: clocks are taken to agree");
            });
        }
        let known = **self.offset.load();
        if let Some(better) = sample.and_then(|sample| sample.correct(known)) {
            self.offset.store(Arc::new(better));
        }
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
