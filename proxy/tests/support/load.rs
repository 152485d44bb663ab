//! A bounded load: so many connections, each with one request at a time, until it is told to stop.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::browser::{Browser, request};

/// Requests under way until [`Load::stop`].
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

/// What the clients have seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How long each answered request took.
    pub times: Vec<Duration>,
    /// How often each `Cache-Status` came, without its numbers.
    pub says: BTreeMap<String, usize>,
    /// What was not a whole 200.
    pub failures: Vec<String>,
}

impl Load {
    /// So many connections that ask for these targets in turn.
    pub fn start(address: SocketAddr, connections: usize, targets: &'static [&'static str]) -> Self {
        let (stop, tally): (Arc<AtomicBool>, Arc<Mutex<Tally>>) = Default::default();
        let mut clients = JoinSet::new();
        for client in 0..connections {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            clients.spawn(async move {
                let mut browser = Browser::connect(address).await;
                for turn in client.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let line = format!("GET {}", targets[turn % targets.len()]);
                    let begun = Instant::now();
                    browser.send(&request(&line, &[], "")).await;
                    let answer = browser.try_answer(&line).await;
                    let took = begun.elapsed();
                    let mut tally = tally.lock().unwrap();
                    match answer {
                        Some(answer) if answer.status == 200 && answer.whole => {
                            let says = answer.says().split("ttl=").next().unwrap_or_default().to_owned();
                            *tally.says.entry(says).or_default() += 1;
                            tally.times.push(took);
                        }
                        other => {
                            tally.failures.push(format!("{line}: {other:?}"));
                            return;
                        }
                    }
                }
            });
        }
        Self { stop, tally, clients }
    }

    /// How often this was said so far.
    pub fn said(&self, says: &str) -> usize {
        self.tally.lock().unwrap().says.get(says).copied().unwrap_or_default()
    }

    /// Ends it, and tells what it has seen.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.tally.lock().unwrap().clone()
    }
}

impl Tally {
    /// The longest time that this many percent of the requests took at most.
    pub fn within(&mut self, percent: usize) -> Duration {
        self.times.sort_unstable();
        self.times[(self.times.len() - 1) * percent / 100]
    }
}
