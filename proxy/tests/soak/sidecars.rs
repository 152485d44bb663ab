//! The fleet: three sidecars in processes of their own, straight on one Redis.

use std::{fs, net::SocketAddr, path::PathBuf};

use rustix::process::{Pid, Signal};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Duration, Instant},
};

use crate::{
    pages::rules,
    support::{redis::eventually, spawned::Spawned},
};

pub(crate) const SIDECARS: usize = 3;
/// Of all keys in Redis.
pub(crate) const PREFIX: &str = "soak";
/// Small, so that it is full soon.
const MEMORY: &str = "8MiB";
/// With so many bytes there is no room for most of what comes: it is in parts, each of which has its own.
pub(crate) const FILLED: u64 = 13 << 19;
/// The lifetimes of what all want, by turns, in seconds.
pub(crate) const TTLS: [u32; 2] = [5, 6];

/// Where a sidecar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) data: SocketAddr,
    pub(crate) admin: PathBuf,
    pub(crate) pid: Pid,
}

/// Where it is while new connections are to go there.
pub(crate) type Whereabouts = watch::Receiver<Option<Place>>;

/// All of them; they end with this value.
pub(crate) struct Sidecars {
    /// What does not change in their files.
    lines: String,
    processes: Vec<Spawned>,
    places: Vec<watch::Sender<Option<Place>>>,
    edits: usize,
}

impl Sidecars {
    pub(crate) async fn start(redis: &str, upstream: SocketAddr) -> Self {
        let lines = format!(
            "upstream: http://{upstream}\nstore: {{ memory: {MEMORY}, redis: \"{redis}\", prefix: {PREFIX} }}\n"
        );
        let mut sidecars = Self { lines, processes: Vec::new(), places: Vec::new(), edits: 0 };
        for _ in 0..SIDECARS {
            let process = Spawned::start(&sidecars.file()).await;
            sidecars.places.push(watch::Sender::new(Some(place(&process))));
            sidecars.processes.push(process);
        }
        sidecars
    }

    pub(crate) fn all(&self) -> Vec<Whereabouts> {
        self.places.iter().map(watch::Sender::subscribe).collect()
    }

    /// Ends a process as who stops a service does, and starts another one in its place: how long the first
    /// took to end, which it did of itself.
    pub(crate) async fn replace(&mut self, number: usize) -> Duration {
        let file = self.file();
        let (process, place_now) = (&mut self.processes[number], &self.places[number]);
        let told = Instant::now();
        // What balances the load is told, too; the connections that there are stay in use.
        place_now.send_replace(None);
        process.signal(Signal::TERM);
        let status = process.ended().await;
        let took = told.elapsed();
        assert_eq!(status.code(), Some(0), "{:?}", process.messages());
        *process = Spawned::start(&file).await;
        place_now.send_replace(Some(place(process)));
        took
    }

    /// Edits the files of all, and waits until that has been taken.
    pub(crate) async fn edit(&mut self) {
        self.edits += 1;
        let file = self.file();
        for process in &self.processes {
            let generation = || {
                let config = block_in_place(|| process.admin("/config"));
                config["generation"].as_u64().expect("a number")
            };
            let (before, new) = (generation(), process.file().with_extension("new"));
            fs::write(&new, process.text(&file)).unwrap();
            fs::rename(new, process.file()).unwrap();
            eventually("the edit is taken", async || generation() > before).await;
        }
    }

    /// How many bytes each has in memory.
    pub(crate) fn remembered(&self) -> Vec<u64> {
        let bytes = |process: &Spawned| {
            let metrics = block_in_place(|| process.admin_text("/metrics"));
            let line = metrics.lines().find_map(|line| line.strip_prefix("sidecache_store_memory_bytes "));
            line.and_then(|bytes| bytes.parse().ok()).expect("a number of bytes")
        };
        self.processes.iter().map(bytes).collect()
    }

    fn file(&self) -> String {
        self.lines.clone() + &rules(TTLS[self.edits % TTLS.len()])
    }
}

/// What one is called in what is printed.
pub(crate) fn name(number: usize) -> String {
    format!("sidecar {number}")
}

fn place(process: &Spawned) -> Place {
    let admin = process.file().with_file_name("admin.sock");
    Place { data: process.address, admin, pid: process.pid() }
}
