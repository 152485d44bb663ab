//! The beats of a link: whether Redis serves us, and what its clock says.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::{BEAT_ANSWER, Role, Session, State};
use crate::store::redis::{
    condition::Failure,
    probe::{Sample, probe},
};

impl State {
    pub(super) fn has_beaten(&self) {
        self.beats.send_replace(());
        if self.role == Role::Purges {
            self.pulse.beats.send_replace(());
        }
    }

    /// One beat. After a good one, what was held back may go again.
    pub(super) async fn beat(&self, session: &Session) -> Result<(), Failure> {
        let abandoned = session.abandoned();
        let key = self.probe.load_full();
        let sent = Instant::now();
        let sample = match timeout(BEAT_ANSWER, probe(&session.connection, &key, &self.clock)).await {
            Ok(Err(error)) if self.elsewhere(&error).is_some_and(|elsewhere| elsewhere.is_alive()) => {
                self.pulse.lost.notify_one();
                None
            }
            Ok(answer) => answer.map_err(|error| Failure::from(&error))?,
            Err(_) => return Err("no answer to a probe".into()),
        };
        self.dialer.confirm(&session.connection).await.map_err(|error| Failure::from(&error))?;
        session.regain(abandoned);
        self.learn(sample);
        // One that answers later than a request waits would only be held back again.
        if !self.role.is_of_requests() || sent.elapsed() <= self.budget {
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
