//! Those who write by POST through a sidecar: what is answered to them may be stored, and a purge may come
//! while they wait for it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    catalogue::{KEYS, is_posted, path},
    client::Client,
    history::{Key, Read, Sidecar, Span, Watch},
    random::Random,
    reader::{Progress, got},
    sidecars::Whereabouts,
};

/// Between two writes, at most.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Writer {
    pub(crate) sidecar: Sidecar,
    pub(crate) watch: Watch,
    pub(crate) random: Random,
    pub(crate) progress: Arc<Progress>,
}

impl Writer {
    /// Writes until it is over, and tells what was answered.
    pub(crate) async fn run(mut self, whereabouts: Whereabouts) -> Vec<Read> {
        let (mut client, mut posts) = (Client::new(whereabouts), Vec::new());
        while !self.progress.is_over() {
            sleep(self.random.between(Duration::ZERO, PAUSE)).await;
            client.finds_it().await;
            let key = self.choose();
            let begun = self.watch.now();
            let answer = client.post(&path(key)).await;
            let span = Span { begun, ended: self.watch.now() };
            posts.push(Read { sidecar: self.sidecar, key, span, got: got(key, "", answer) });
        }
        posts
    }

    /// Any of those that are written so.
    fn choose(&mut self) -> Key {
        let written: Vec<_> = (0..KEYS).filter(|key| is_posted(*key)).collect();
        written[self.random.below(written.len())]
    }
}
