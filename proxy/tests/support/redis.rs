//! A real Redis of one test's own, on a unix socket in a folder of its own: nothing to collide with.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Client, Connection, RedisResult, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
};

/// How long a server may take to come up, and any condition to come true, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The field of the roll that says when it was made.
const MADE: &str = "0";

/// A `redis-server` that ends with this value.
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// A place for a server that is not there yet.
    pub fn absent() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for Redis"),
            port: 0,
            arguments: Vec::new(),
            child: None,
        }
    }

    /// A running server with these arguments beside its own.
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::absent();
        server.arguments = arguments.iter().map(ToString::to_string).collect();
        server.restart_empty();
        server
    }

    /// A running server on a unix socket.
    pub fn start() -> Self {
        let mut server = Self::absent();
        server.restart_empty();
        server
    }

    /// A running server that listens on a TCP port of the loopback too.
    pub fn start_on_tcp() -> Self {
        Self::start_on_tcp_with(&[])
    }

    /// The same with these arguments beside its own.
    pub fn start_on_tcp_with(arguments: &[&str]) -> Self {
        let mut server = Self::absent();
        server.port = free_port();
        server.arguments = arguments.iter().map(ToString::to_string).collect();
        server.restart_empty();
        server
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, over TCP if it has a port.
    pub fn url(&self) -> String {
        match self.port {
            0 => self.socket_url(),
            port => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Its URL for this user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}?user={user}&pass={password}", self.socket_url())
    }

    fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Starts it, with nothing in it, after ending the one before.
    pub fn restart_empty(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
        self.run();
    }

    /// Starts it with what it had when it was last told to `SAVE`, after ending the one before.
    pub fn restart_as_saved(&mut self) {
        self.kill();
        self.run();
    }

    fn run(&mut self) {
        let log = self.folder.path().join("redis.log");
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "notice"])
            .args(&self.arguments)
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (`make test` installs it)");
        self.child = Some(child);
        let started = Instant::now();
        while self.try_command(&["PING"]).is_err() {
            let child = self.child.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("its status");
            if ended.is_some() || started.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("redis-server did not come up ({ended:?}):\n{said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the process: its connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server is there");
    }

    /// The process that runs.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("a running server"))
    }

    /// What it answers to a command.
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What it answers to a command, errors included, over a new connection.
    pub fn try_command(&self, words: &[&str]) -> RedisResult<Value> {
        let mut parts = words.iter();
        let mut command = redis::cmd(parts.next().expect("a command"));
        parts.for_each(|part| {
            command.arg(part);
        });
        command.query(&mut self.connect()?)
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> RedisResult<Connection> {
        let connection = Client::open(self.socket_url())?.get_connection()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// Has it evict nothing, and be nearly full of what is somebody else's: there is room for half a megabyte,
    /// which is less than a tenth of it all.
    pub fn fill_nearly(&self) {
        self.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.command(&["SET", "somebody-else", &"x".repeat(16 << 20)]);
        let info: String = redis::from_redis_value(self.command(&["INFO", "memory"])).expect("a text");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("what it uses");
        let most = used.parse::<u64>().expect("a number") + (1 << 19);
        self.command(&["CONFIG", "SET", "maxmemory", &most.to_string()]);
    }

    /// Takes away what fills it.
    pub fn make_room(&self) {
        self.command(&["DEL", "somebody-else"]);
    }

    /// The names of all keys.
    pub fn all_keys(&self) -> Vec<String> {
        redis::from_redis_value(self.command(&["KEYS", "*"])).expect("names")
    }

    /// The names of the keys that are about resources: what is stored of them, and their leases.
    pub fn keys(&self) -> Vec<String> {
        let is_about = |name: &String| name.contains(":v1:r:") || name.contains(":v1:l:");
        self.all_keys().into_iter().filter(is_about).collect()
    }

    /// What each sidecar with this prefix has said last that has neither left nor been struck off.
    pub fn members(&self, prefix: &str) -> Vec<String> {
        let roll = self.command(&["HGETALL", &format!("{prefix}:v1:m")]);
        let mut roll: BTreeMap<String, String> = redis::from_redis_value(roll).expect("the roll");
        roll.remove(MADE);
        roll.into_values().filter(|said| !said.starts_with("0 ")).collect()
    }

    /// What `CLIENT LIST` says of each connection that is told of what changes.
    pub fn tracking(&self) -> Vec<String> {
        let list: String = redis::from_redis_value(self.command(&["CLIENT", "LIST"])).expect("a list");
        let tracks =
            |line: &&str| line.split(' ').any(|word| word.starts_with("flags=") && word.contains('t'));
        list.lines().filter(tracks).map(str::to_owned).collect()
    }

    /// Where a purge is noted that so many sidecars have acknowledged.
    pub fn acknowledged(&self, prefix: &str, members: usize) -> Option<String> {
        let names = self.all_keys().into_iter().filter(|name| name.starts_with(&format!("{prefix}:v1:a:")));
        let all = Value::Int(i64::try_from(members).expect("a few"));
        names.into_iter().find(|name| self.command(&["HLEN", name]) == all)
    }

    /// As if the fleet with this prefix had been there for long: no purge waits for who may be missing.
    pub fn has_had_a_fleet(&self, prefix: &str) {
        let script = "local time = redis.call('TIME')
            local now = time[1] * 1000 + math.floor(time[2] / 1000)
            return redis.call('HSET', KEYS[1], ARGV[1], string.format('1 %.0f', now))";
        self.command(&["EVAL", script, "1", &format!("{prefix}:v1:m"), MADE]);
    }

    /// The names of those that hold more than a marker.
    pub fn resources(&self) -> Vec<String> {
        let mut names = self.keys();
        names.retain(|name| matches!(self.try_command(&["HEXISTS", name, "m"]), Ok(Value::Int(1))));
        names
    }
}

/// A port of the loopback that nobody has at this moment.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("its address").port()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line to a Redis on which a large command gets stuck: what one connection sends beyond the first
/// 64 KiB stays where it is, and everything behind it with it.
pub struct NarrowLine {
    folder: TempDir,
    stuck: Arc<AtomicBool>,
}

impl NarrowLine {
    const FREE: u64 = 64 * 1024;

    /// A line to this server, on the current runtime.
    pub fn to(server: &RedisServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the line");
        let line = Self { folder, stuck: Arc::default() };
        let listener = UnixListener::bind(line.socket()).expect("a socket");
        let (inside, stuck) = (server.socket(), Arc::clone(&line.stuck));
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                let redis = UnixStream::connect(&inside).await.expect("a running server");
                let ((asks, mut hears), (mut answers, mut takes)) = (guest.into_split(), redis.into_split());
                let stuck = Arc::clone(&stuck);
                tokio::spawn(async move {
                    let mut asks = asks.take(Self::FREE);
                    let outcome = tokio::io::copy(&mut asks, &mut takes).await;
                    if outcome.is_ok_and(|sent| sent == Self::FREE) {
                        stuck.store(true, Ordering::Relaxed);
                        std::future::pending::<()>().await;
                    }
                });
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut hears).await });
            }
        });
        line
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("line.sock")
    }

    /// Whether a command is.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Redis' URL over this line.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }
}

/// Waits until it is so; a failure says what never came.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
