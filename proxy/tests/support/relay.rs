//! A line between a sidecar and its Redis on which a test makes the faults of a network: delay, a
//! hold that lasts until the test ends it, silence, a cut, no new connections, or no answer to who asks for one.
//!
//! The tracking connection and those that carry data can be told apart, so that one may suffer alone,
//! and of the latter those that carry commits and purges, and those that carry leases. A connection is known by a word within its
//! first bytes. A client pipelines other commands before it, so until then it counts as one for data.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::wire::Duplex;

/// Open connections at once; more are refused.
const MOST: usize = 256;
/// What is read at once.
const PIECE: usize = 16 * 1024;
/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// What is not answered within that on the loopback is not answered.
const UNANSWERED: Duration = Duration::from_millis(200);
/// Pieces on their way in one direction of a connection; the sender waits for room.
const QUEUE: usize = 64;
/// How much of what a client sends is searched for a word that tells what the connection is for. The
/// first commit comes after scripts for the records of its tags.
pub const SEARCHED: usize = 32 * 1024;
/// These words. A commit or a lease is asked for by the hash of its script, a purge by the script itself.
static WORDS: LazyLock<[(Class, String); 4]> = LazyLock::new(|| {
    let commit = redis::Script::new(include_str!("../../src/store/redis/commit.lua"));
    let claim = redis::Script::new(include_str!("../../src/store/redis/claim.lua"));
    let purge = include_str!("../../src/store/redis/purge.lua").lines().next();
    [
        (Class::Tracking, "TRACKING".to_owned()),
        (Class::Writing, commit.get_hash().to_owned()),
        (Class::Writing, purge.expect("what it does").to_owned()),
        (Class::Leases, claim.get_hash().to_owned()),
    ]
});

/// Where a relay leads.
#[derive(Clone, Debug)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Has asked to be told of changes.
    Tracking,
    /// Has not.
    Data,
    /// One for data too, which has asked for a commit or for the purge of a resource.
    Writing,
    /// One for data too, which has asked for a lease.
    Leases,
}

/// Connections that a fault is for. But for [`Self::One`], those to come are meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Each(Class),
    /// By its number: 1 for the first that came.
    One(usize),
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the target.
    Asks,
    /// Back.
    Answers,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Free,
    /// They pass so long after they came.
    Delayed(Duration),
    /// The same, but each piece of them after a time of its own, no longer than that. None overtakes another.
    Jittered(Duration),
    /// They stay until the test says something else; then they pass, in their order.
    Held,
    /// They are taken, and go nowhere. A connection that has lost bytes is reset when this ends.
    Lost,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Orderly: what was on its way is gone, but no error is seen.
    Fin,
    /// As a peer that crashed.
    Reset,
}

/// A running relay. It ends with this value, and so do its connections.
pub struct Relay {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    board: Arc<Mutex<Board>>,
    /// Where new connections lead.
    target: watch::Sender<Target>,
    /// Whether new connections are taken.
    taking: watch::Sender<bool>,
    /// Connections that nobody takes: the queue in which further ones would wait is full of them.
    crowd: Mutex<Vec<TcpStream>>,
    _accepting: JoinSet<()>,
}

/// One connection, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub number: usize,
    pub class: Class,
    /// Bytes that have come from the client, and those that were passed on.
    pub asks: (u64, u64),
    /// The same of the target's.
    pub answers: (u64, u64),
}

/// What is so now, and holds for the connections to come.
#[derive(Default)]
struct Board {
    tracking: Orders,
    data: Orders,
    writing: Orders,
    leases: Orders,
    lines: Vec<Weak<Line>>,
    count: usize,
}

/// What a connection has to obey.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    asks: Flow,
    answers: Flow,
    ending: Option<Ending>,
}

struct Line {
    number: usize,
    orders: watch::Sender<Orders>,
    /// Nothing, until a word has told.
    class: OnceLock<Class>,
    /// Some bytes went nowhere: what follows them makes no sense to the peer.
    lossy: AtomicBool,
    asks: Counts,
    answers: Counts,
}

#[derive(Default)]
struct Counts {
    came: AtomicU64,
    passed: AtomicU64,
}

/// Bytes on their way; none at the end of the stream.
struct Piece {
    came: Instant,
    bytes: Vec<u8>,
}

impl Relay {
    /// A relay to this target, on a port of the loopback that is free.
    pub async fn to(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (listener, board) = (Arc::new(listener), Arc::<Mutex<Board>>::default());
        let ((target, targets), (taking, taken)) = (watch::channel(target), watch::channel(true));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(Arc::clone(&listener), taken, targets, Arc::clone(&board)));
        Self { address, listener, board, target, taking, crowd: Mutex::default(), _accepting: accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a Redis behind it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The open connections, in the order in which they came.
    pub fn connections(&self) -> Vec<Seen> {
        lock(&self.board).open().iter().map(|line| line.seen()).collect()
    }

    /// From now on connections lead there; those that there are stay where they are. As a name that has come to mean
    /// another server.
    pub fn lead(&self, target: Target) {
        self.target.send_replace(target);
    }

    /// From now on, this is what happens to what these connections send that way.
    pub fn set(&self, which: Which, way: Way, flow: Flow) {
        let set = |orders: &mut Orders| match way {
            Way::Asks => orders.asks = flow,
            Way::Answers => orders.answers = flow,
        };
        lock(&self.board).order(which, set);
    }

    /// Ends these connections; their clients may connect again. How many there were.
    pub fn cut(&self, which: Which, ending: Ending) -> usize {
        let board = lock(&self.board);
        let open = board.open();
        let meant = open.iter().filter(|line| line.is(which));
        meant.map(|line| line.orders.send_modify(|orders| orders.ending = Some(ending))).count()
    }

    /// Ends these connections, and each one to come as soon as it shows what it is. Without a class,
    /// new ones are reset before a byte of theirs has passed: a port that refuses would have to be
    /// given up, and might be another's afterwards.
    pub fn refuse(&self, which: Which) {
        lock(&self.board).order(which, |orders| orders.ending = Some(Ending::Reset));
    }

    /// From now on who connects hears nothing at all, not even a refusal: as if no packet came through.
    /// The system drops what asks for a connection while the queue of those that nobody takes is full.
    pub async fn swallow(&self) {
        self.taking.send_replace(false);
        SockRef::from(&*self.listener).listen(0).expect("it listens already");
        while let Ok(taken) = timeout(UNANSWERED, TcpStream::connect(self.address)).await {
            lock(&self.crowd).push(taken.expect("a connection, or silence"));
        }
    }

    /// Everything passes again, and new connections are taken. Those that have lost bytes are reset.
    pub fn heal(&self) {
        lock(&self.crowd).clear();
        SockRef::from(&*self.listener).listen(BACKLOG).expect("it listens already");
        self.taking.send_replace(true);
        lock(&self.board).order(Which::All, |orders| {
            (orders.asks, orders.answers) = (Flow::Free, Flow::Free);
            orders.ending = None;
        });
    }
}

impl Class {
    /// Whether connections of this class are meant, be they there or to come.
    fn is(self, which: Which) -> bool {
        match which {
            Which::All => true,
            Which::Each(Self::Data) => self != Self::Tracking,
            Which::Each(class) => self == class,
            Which::One(_) => false,
        }
    }
}

impl Board {
    fn open(&self) -> Vec<Arc<Line>> {
        self.lines.iter().filter_map(Weak::upgrade).collect()
    }

    fn of(&self, class: Class) -> Orders {
        match class {
            Class::Tracking => self.tracking,
            Class::Data => self.data,
            Class::Writing => self.writing,
            Class::Leases => self.leases,
        }
    }

    /// Changes the orders of the connections that are meant, and of those to come.
    fn order(&mut self, which: Which, change: impl Fn(&mut Orders)) {
        for (class, orders) in [
            (Class::Tracking, &mut self.tracking),
            (Class::Data, &mut self.data),
            (Class::Writing, &mut self.writing),
            (Class::Leases, &mut self.leases),
        ] {
            if class.is(which) {
                change(orders);
            }
        }
        for line in self.open().iter().filter(|line| line.is(which)) {
            line.orders.send_modify(|orders| {
                let ending = orders.ending;
                change(orders);
                let loses = [orders.asks, orders.answers].contains(&Flow::Lost);
                let broken = line.lossy.load(Ordering::Relaxed) && !loses;
                // What was cut stays cut.
                orders.ending = ending.or(orders.ending).or(broken.then_some(Ending::Reset));
            });
        }
    }

    /// A place for a new connection, if there is one.
    fn admit(&mut self) -> Option<Arc<Line>> {
        self.lines.retain(|line| line.strong_count() > 0);
        if self.lines.len() >= MOST || self.data.ending.is_some() {
            return None;
        }
        self.count += 1;
        let line = Arc::new(Line {
            number: self.count,
            orders: watch::Sender::new(self.data),
            class: OnceLock::new(),
            lossy: AtomicBool::default(),
            asks: Counts::default(),
            answers: Counts::default(),
        });
        self.lines.push(Arc::downgrade(&line));
        Some(line)
    }
}

impl Line {
    fn class(&self) -> Class {
        self.class.get().copied().unwrap_or(Class::Data)
    }

    fn is(&self, which: Which) -> bool {
        which == Which::One(self.number) || self.class().is(which)
    }

    fn counts(&self, way: Way) -> &Counts {
        match way {
            Way::Asks => &self.asks,
            Way::Answers => &self.answers,
        }
    }

    fn seen(&self) -> Seen {
        let read =
            |counts: &Counts| (counts.came.load(Ordering::Relaxed), counts.passed.load(Ordering::Relaxed));
        Seen {
            number: self.number,
            class: self.class(),
            asks: read(&self.asks),
            answers: read(&self.answers),
        }
    }

    /// From here on it is of this class, and obeys what that has to.
    fn reclassify(&self, class: Class, board: &Mutex<Board>) {
        let board = lock(board);
        let orders = board.of(*self.class.get_or_init(|| class));
        self.orders.send_modify(|now| *now = Orders { ending: now.ending.or(orders.ending), ..orders });
    }

    /// Waits until what came then may pass. `false`: it must not.
    async fn passes(&self, way: Way, came: Instant) -> bool {
        let mut orders = self.orders.subscribe();
        loop {
            let now = *orders.borrow_and_update();
            let flow = match way {
                Way::Asks => now.asks,
                Way::Answers => now.answers,
            };
            let changed = orders.changed();
            match flow {
                Flow::Free => return true,
                Flow::Lost => return false,
                Flow::Held => drop(changed.await),
                Flow::Delayed(delay) => tokio::select! {
                    () = sleep_until(came + delay) => return true,
                    _ = changed => {}
                },
                Flow::Jittered(most) => tokio::select! {
                    () = sleep_until(came + most.mul_f64(by_chance())) => return true,
                    _ = changed => {}
                },
            }
        }
    }

    async fn ordered_to_end(&self) -> Ending {
        let mut orders = self.orders.subscribe();
        let ordered = orders.wait_for(|orders| orders.ending.is_some()).await;
        ordered.ok().and_then(|orders| orders.ending).unwrap_or(Ending::Reset)
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    mut taking: watch::Receiver<bool>,
    targets: watch::Receiver<Target>,
    board: Arc<Mutex<Board>>,
) {
    let mut connections = JoinSet::new();
    while taking.wait_for(|taking| *taking).await.is_ok() {
        let accepted = tokio::select! {
            biased;
            _ = taking.changed() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else { return };
        while connections.try_join_next().is_some() {}
        let (line, target) = (lock(&board).admit(), targets.borrow().clone());
        match line {
            Some(line) => drop(connections.spawn(serve(client, target, line, Arc::clone(&board)))),
            None => close_by_reset(&client),
        }
    }
}

/// Between 0 and 1.
fn by_chance() -> f64 {
    let drawn = RandomState::new().build_hasher().finish() % 1024;
    drawn as f64 / 1024.0
}

/// When this connection is dropped, its peer sees an error.
fn close_by_reset(client: &TcpStream) {
    // It fails on a connection that is no more.
    let _ = SockRef::from(client).set_linger(Some(Duration::ZERO));
}

async fn serve(mut client: TcpStream, target: Target, line: Arc<Line>, board: Arc<Mutex<Board>>) {
    let connected = async {
        client.set_nodelay(true)?;
        io::Result::Ok(match &target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream) as Box<dyn Duplex>
            }
            Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    };
    let Ok(target) = connected.await else { return close_by_reset(&client) };
    let (asks, hears) = client.split();
    let (answers, takes) = io::split(target);
    let both = async {
        tokio::try_join!(
            pump(asks, takes, &line, Way::Asks, &board),
            pump(answers, hears, &line, Way::Answers, &board),
        )
    };
    let ending = tokio::select! {
        ended = both => if ended.is_ok() { Ending::Fin } else { Ending::Reset },
        ending = line.ordered_to_end() => ending,
    };
    match ending {
        Ending::Reset => close_by_reset(&client),
        Ending::Fin => last_words(client).await,
    }
}

/// An orderly end: bytes that nobody reads would turn the closing into a reset.
async fn last_words(mut client: TcpStream) {
    if client.shutdown().await.is_ok() {
        let _ = io::copy(&mut client, &mut io::sink()).await;
    }
}

/// Moves one direction to its end.
async fn pump(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    line: &Line,
    way: Way,
    board: &Mutex<Board>,
) -> io::Result<()> {
    let (queue, queued) = mpsc::channel(QUEUE);
    tokio::try_join!(take(from, queue, line, way, board), give(queued, to, line, way))?;
    Ok(())
}

/// Reads what comes.
async fn take(
    mut from: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Piece>,
    line: &Line,
    way: Way,
    board: &Mutex<Board>,
) -> io::Result<()> {
    let mut begun = (way == Way::Asks).then(Vec::new);
    loop {
        let mut bytes = vec![0; PIECE];
        let count = from.read(&mut bytes).await?;
        bytes.truncate(count);
        // Before it passes, so that no byte of it escapes what is ordered for its class.
        if let Some(class) = told(&mut begun, &bytes) {
            line.reclassify(class, board);
        }
        line.counts(way).came.fetch_add(count as u64, Ordering::Relaxed);
        let piece = Piece { came: Instant::now(), bytes };
        if queue.send(piece).await.is_err() || count == 0 {
            return Ok(());
        }
    }
}

/// Writes what may pass.
async fn give(
    mut queued: mpsc::Receiver<Piece>,
    mut to: impl AsyncWrite + Unpin,
    line: &Line,
    way: Way,
) -> io::Result<()> {
    while let Some(piece) = queued.recv().await {
        if !line.passes(way, piece.came).await {
            line.lossy.store(true, Ordering::Relaxed);
        } else if piece.bytes.is_empty() {
            to.shutdown().await?;
        } else {
            to.write_all(&piece.bytes).await?;
            line.counts(way).passed.fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// What a word that has come tells, which may be in two pieces. Looks at the beginning of a stream
/// alone, and no further than to the first such word.
fn told(begun: &mut Option<Vec<u8>>, bytes: &[u8]) -> Option<Class> {
    let text = begun.as_mut()?;
    text.extend(bytes.iter().take(SEARCHED.saturating_sub(text.len())));
    let has = |word: &str| text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    let found = WORDS.iter().find(|(_, word)| has(word)).map(|(class, _)| *class);
    if found.is_some() || text.len() >= SEARCHED {
        *begun = None;
    }
    found
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the relay has not failed")
}
