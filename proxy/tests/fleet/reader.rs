//! Those who read: each on connections of its own, and most eagerly what was purged last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    catalogue::{KEYS, LANGUAGES, path, version_in},
    client::Client,
    history::{Got, Key, Read, Sidecar, Span, Watch},
    random::Random,
    sidecars::Whereabouts,
    support::browser::Answer,
};

/// Between two reads: readers that take a whole core would slow down what they watch.
const PAUSE: Duration = Duration::from_millis(5);
/// Who waits for longer goes on meanwhile, on another connection, and may ask for the same again.
const HURRY: Duration = Duration::from_millis(100);
/// Answers that one of them waits for.
const AWAITED: usize = 8;

/// What readers, purgers and whoever makes the faults know of each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) over: AtomicBool,
    /// Answered.
    pub(crate) reads: AtomicUsize,
    /// Begun.
    pub(crate) purges: AtomicUsize,
    /// What was purged last.
    pub(crate) hot: AtomicUsize,
}

impl Progress {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

pub(crate) struct Reader {
    pub(crate) sidecar: Sidecar,
    pub(crate) watch: Watch,
    pub(crate) random: Random,
    pub(crate) progress: Arc<Progress>,
}

impl Reader {
    /// Reads until it is over, and tells what it has read.
    pub(crate) async fn run(mut self, whereabouts: Whereabouts) -> Vec<Read> {
        let (mut idle, mut awaited, mut reads) = (None, JoinSet::new(), Vec::new());
        while !self.progress.is_over() {
            let mut client = idle.take().unwrap_or_else(|| Client::new(whereabouts.clone()));
            client.finds_it().await;
            let (key, language) = (self.choose(), LANGUAGES[self.random.below(LANGUAGES.len())]);
            awaited.spawn(read(client, self.sidecar, self.watch, key, language));
            let hurry = if awaited.len() < AWAITED { HURRY } else { Duration::MAX };
            let mut next = timeout(hurry, awaited.join_next()).await.ok().flatten();
            while let Some(answered) = next {
                let (client, read) = answered.expect("a reader does not fail");
                self.progress.reads.fetch_add(usize::from(read.got.is_page()), Ordering::Relaxed);
                reads.push(read);
                idle = Some(client);
                next = awaited.try_join_next();
            }
            sleep(self.random.between(Duration::ZERO, 2 * PAUSE)).await;
        }
        let late = awaited.join_all().await.into_iter().map(|(_, read)| read);
        reads.into_iter().chain(late).collect()
    }

    /// Every second time what was purged last.
    fn choose(&mut self) -> Key {
        match self.random.one_in(2) {
            true => self.progress.hot.load(Ordering::Relaxed),
            false => self.random.below(KEYS),
        }
    }
}

/// Asks for this page in this language, and waits for as long as it takes.
async fn read(
    mut client: Client,
    sidecar: Sidecar,
    watch: Watch,
    key: Key,
    language: &'static str,
) -> (Client, Read) {
    let begun = watch.now();
    let answer = client.get_in(language, &path(key)).await;
    let span = Span { begun, ended: watch.now() };
    (client, Read { sidecar, key, span, got: got(key, language, answer) })
}

/// What has become of a request for this page in this language.
pub(crate) fn got(key: Key, language: &str, answer: Result<Answer, String>) -> Got {
    match answer.map(|page| (version_in(key, language, &page.body), page)) {
        Ok((Some(version), page)) => Got::Page { version, says: page.says().to_owned() },
        Ok((None, page)) => Got::Failed(format!("not a page of {key}: {page:?}")),
        Err(error) => Got::Failed(error),
    }
}
