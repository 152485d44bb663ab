//! Those who read: each on a connection of its own, and most eagerly what was purged last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    catalogue::{KEYS, path, version_in},
    client::Client,
    history::{Got, Key, Read, Sidecar, Span, Watch},
    random::Random,
    sidecars::Whereabouts,
};

/// Between two reads: readers that take a whole core would slow down what they watch.
const PAUSE: Duration = Duration::from_millis(5);

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
        let (mut client, mut reads) = (Client::new(whereabouts), Vec::new());
        while !self.progress.is_over() {
            client.finds_it().await;
            let key = self.choose();
            let begun = self.watch.now();
            let answer = client.get(&path(key)).await;
            let span = Span { begun, ended: self.watch.now() };
            let got = match answer.map(|page| (version_in(key, &page.body), page)) {
                Ok((Some(version), page)) => {
                    self.progress.reads.fetch_add(1, Ordering::Relaxed);
                    Got::Page { version, says: page.says().to_owned() }
                }
                Ok((None, page)) => Got::Failed(format!("not a page of {key}: {page:?}")),
                Err(error) => Got::Failed(error),
            };
            reads.push(Read { sidecar: self.sidecar, key, span, got });
            sleep(self.random.between(Duration::ZERO, 2 * PAUSE)).await;
        }
        reads
    }

    /// Every second time what was purged last.
    fn choose(&mut self) -> Key {
        match self.random.one_in(2) {
            true => self.progress.hot.load(Ordering::Relaxed),
            false => self.random.below(KEYS),
        }
    }
}
