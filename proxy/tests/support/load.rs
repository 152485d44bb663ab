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
    /// How long each answered request took, by its `Cache-Status` without the number of seconds.
    pub times: BTreeMap<String, Vec<Duration>>,
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
                            let members = answer.says().split("; ");
                            let says: Vec<_> = members.filter(|m| !m.starts_with("ttl=")).collect();
                            tally.times.entry(says.join("; ")).or_default().push(took);
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
        self.tally.lock().unwrap().times.get(says).map_or(0, Vec::len)
    }

    /// How many answers gave this detail so far.
    pub fn detailed(&self, detail: &str) -> usize {
        let (word, tally) = (format!("detail={detail}"), self.tally.lock().unwrap());
        let saying = tally.times.iter().filter(|(says, _)| says.split("; ").any(|said| said == word));
        saying.map(|(_, times)| times.len()).sum()
    }

    /// Hits of any kind, and all answers, so far.
    pub fn hits(&self) -> (usize, usize) {
        let tally = self.tally.lock().unwrap();
        let count = |is_meant: fn(&str) -> bool| {
            tally.times.iter().filter(|(says, _)| is_meant(says)).map(|(_, times)| times.len()).sum()
        };
        (count(|says| says.starts_with("hit")), count(|_| true))
    }

    /// Ends it, and tells what it has seen.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.tally.lock().unwrap().clone()
    }
}

impl Tally {
    /// The longest time that this many percent of all requests took at most.
    pub fn within(&self, percent: usize) -> Duration {
        quantile(self.times.values().flatten().copied().collect(), percent)
    }

    /// The same of those that were answered so.
    pub fn within_of(&self, says: &str, percent: usize) -> Duration {
        quantile(self.times.get(says).cloned().unwrap_or_default(), percent)
    }

    /// How often each was said.
    pub fn says(&self) -> BTreeMap<&str, usize> {
        self.times.iter().map(|(says, times)| (says.as_str(), times.len())).collect()
    }
}

fn quantile(mut times: Vec<Duration>, percent: usize) -> Duration {
    assert!(!times.is_empty(), "nothing was answered so");
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
