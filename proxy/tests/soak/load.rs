//! The clients, who hold back nothing and forgive nothing; and an operator who purges.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout},
};

use crate::{
    pages::{Page, SECTIONS, section, wanted},
    random::Random,
    sidecars::{Place, SIDECARS, Whereabouts},
    support::{
        admin::post,
        browser::{Browser, request},
    },
};

/// Connections to each sidecar.
const CLIENTS: usize = 8;
/// Between two purges, on average.
const PURGES: Duration = Duration::from_millis(500);
/// Longer than any limit within the sidecar.
const ANSWER: Duration = Duration::from_secs(15);
const HOST: &str = "shop";

/// A steady load on all sidecars, until it is told to stop.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<Tally>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    /// Pages that are asked for once.
    once: AtomicUsize,
    asked: AtomicUsize,
    failed: AtomicUsize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each answer took.
    times: Vec<Duration>,
    /// What the answers said of the store, without seconds.
    says: BTreeMap<String, usize>,
    /// What was not a whole 200 with the page that was asked for.
    pub(crate) failures: Vec<String>,
    /// New connections that a sidecar which was about to end did not take.
    turned_away: usize,
    /// What the operator was told.
    purges: BTreeMap<String, usize>,
}

impl Load {
    /// So many requests a second in all. What an answer is late by is caught up.
    pub(crate) fn start(sidecars: &[Whereabouts], rate: u32, mut random: Random) -> Self {
        let (shared, mut clients) = (Arc::<Shared>::default(), JoinSet::new());
        let all = SIDECARS * CLIENTS;
        let turn = Duration::from_secs_f64(all as f64 / f64::from(rate));
        for (number, sidecar) in sidecars.iter().cycle().take(all).enumerate() {
            let client = Client { sidecar: sidecar.clone(), kept: None, tally: Tally::default() };
            // One after the other.
            let mut turns = interval_at(Instant::now() + turn.mul_f64(number as f64 / all as f64), turn);
            turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
            clients.spawn(client.run(turns, random.fork(), Arc::clone(&shared)));
        }
        clients.spawn(operate(sidecars.to_vec(), random, Arc::clone(&shared)));
        Self { shared, clients }
    }

    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// URLs that were asked for once.
    pub(crate) fn distinct(&self) -> usize {
        self.shared.once.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().fold(Tally::default(), Tally::and)
    }
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.times.extend(other.times);
        self.failures.extend(other.failures);
        self.turned_away += other.turned_away;
        other.says.into_iter().for_each(|(says, count)| *self.says.entry(says).or_default() += count);
        other.purges.into_iter().for_each(|(status, count)| *self.purges.entry(status).or_default() += count);
        self
    }

    /// The time that so many of a thousand requests took at most.
    pub(crate) fn within(&self, thousandths: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[(times.len() - 1) * thousandths / 1000]
    }

    /// How many answers said this of themselves.
    pub(crate) fn said(&self, word: &str) -> usize {
        let saying = self.says.iter().filter(|(says, _)| says.split("; ").any(|said| said == word));
        saying.map(|(_, count)| count).sum()
    }

    /// How many purges were answered so.
    pub(crate) fn purges(&self, answer: &str) -> usize {
        self.purges.get(answer).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all, all] = [500, 990, 999, 1000].map(|part| self.within(part));
        writeln!(f, "{} answers, {} failures", self.times.len(), self.failures.len())?;
        writeln!(f, "p50 {half:?}, p99 {most:?}, p99.9 {nearly_all:?}, the slowest {all:?}")?;
        writeln!(f, "{:#?}", self.says)?;
        write!(f, "purges {:?}, {} new connections turned away", self.purges, self.turned_away)
    }
}

/// One that asks one sidecar, and whoever takes its place.
struct Client {
    sidecar: Whereabouts,
    kept: Option<Browser>,
    tally: Tally,
}

impl Client {
    async fn run(mut self, mut turns: Interval, mut random: Random, shared: Arc<Shared>) -> Tally {
        while !shared.over.load(Ordering::Relaxed) {
            let _ = turns.tick().await;
            let page = Page::choose(&mut random, &shared.once);
            shared.asked.fetch_add(1, Ordering::Relaxed);
            if let Err(failure) = self.get(&page).await {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                self.tally.failures.push(format!("{page:?}: {failure}"));
                self.kept = None;
            }
        }
        self.tally
    }

    async fn get(&mut self, page: &Page) -> Result<(), String> {
        let begun = Instant::now();
        let line = format!("GET {}", page.path);
        let text = request(&line, &[("host", HOST), ("accept-language", page.language)], "");
        let answer = loop {
            let (mut browser, new_from) = match self.kept.take() {
                Some(browser) => (browser, None),
                None => match self.connect().await? {
                    Some((browser, place)) => (browser, Some(place)),
                    None => continue,
                },
            };
            let sent = browser.try_send(&text).await;
            let answer = if sent.is_ok() { browser.try_answer(&line).await } else { None };
            match (answer, new_from) {
                (Some(answer), _) => {
                    self.kept = (answer.field("connection") != "close").then_some(browser);
                    break answer;
                }
                // It closed its door while this one was before it.
                (None, Some(place)) if !self.is_still(&place) => self.tally.turned_away += 1,
                (None, _) => return Err("the connection was closed".to_owned()),
            }
        };
        self.tally.times.push(begun.elapsed());
        let says = answer.says().split("; ").filter(|word| !word.starts_with("ttl="));
        *self.tally.says.entry(says.collect::<Vec<_>>().join("; ")).or_default() += 1;
        let is_it = answer.status == 200 && answer.whole && page.is(&answer.body);
        if is_it { Ok(()) } else { Err(format!("{answer:?}")) }
    }

    /// A new connection, as soon as there is a sidecar that takes some. Nothing: it was about to end.
    async fn connect(&mut self) -> Result<Option<(Browser, Place)>, String> {
        let place = self.sidecar.wait_for(Option::is_some).await.map_err(|error| error.to_string())?.clone();
        let place = place.ok_or("there is none")?;
        match Browser::try_connect(place.data).await {
            Ok(browser) => Ok(Some((browser, place))),
            Err(error) if self.is_still(&place) => Err(error.to_string()),
            Err(_) => {
                self.tally.turned_away += 1;
                Ok(None)
            }
        }
    }

    fn is_still(&self, place: &Place) -> bool {
        self.sidecar.borrow().as_ref() == Some(place)
    }
}

/// Purges what all want, by its URL or by a tag, hard and soft by turns.
async fn operate(sidecars: Vec<Whereabouts>, mut random: Random, shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    while !shared.over.load(Ordering::Relaxed) {
        sleep(random.between(Duration::ZERO, 2 * PURGES)).await;
        let sidecar = &sidecars[random.below(SIDECARS)];
        let Some(place) = sidecar.borrow().clone() else { continue };
        let order = order(&mut random);
        let answer = timeout(ANSWER, post(&place.admin, "/purge", &order)).await;
        let status = match answer {
            Ok(Ok(Some(status @ (200 | 503)))) => status.to_string(),
            _ if sidecar.borrow().as_ref() != Some(&place) => "it ended".to_owned(),
            other => {
                tally.failures.push(format!("{order}: {other:?}"));
                continue;
            }
        };
        *tally.purges.entry(status).or_default() += 1;
    }
    tally
}

fn order(random: &mut Random) -> Value {
    let soft = random.one_in(2);
    match random.one_in(2) {
        true => json!({ "urls": [format!("http://{HOST}{}", wanted(random))], "soft": soft }),
        false => json!({ "tags": [section(random.below(SECTIONS))], "soft": soft }),
    }
}
