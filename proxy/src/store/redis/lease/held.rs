//! A lease while it is held: renewed until it ends, and given back then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Script, ScriptInvocation};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{FAILED, LENGTH, Leases, RELEASE, RENEWAL, SILENCE, UNSHARED, counts::one, millis};
use crate::{
    key::VariantKey,
    store::{
        Marker, StoreError,
        redis::{
            cluster::Spot,
            layout::{self, Place},
        },
    },
};

/// The right to store one variant of a resource, as long as nobody has broken it. Dropped, it is given
/// back, and nobody waits for that.
#[derive(Debug)]
pub struct Lease {
    pub(super) terms: Arc<Terms>,
    marker: Option<Marker>,
    met: Option<Marker>,
    renewal: Option<AbortHandle>,
}

/// What a lease is for, and what shows whose it is.
#[derive(Debug)]
pub(in crate::store::redis) struct Terms {
    leases: Arc<Leases>,
    place: Place,
    /// Of the leases of the resource.
    name: String,
    field: String,
    token: String,
    /// Whether it is still held, as far as we know: if so, Redis is to be told of its end.
    stands: AtomicBool,
    /// Whether anything has come of the fetch since it was last renewed.
    moved: AtomicBool,
}

impl Lease {
    pub(super) fn new(leases: &Arc<Leases>, place: Place, variant: &VariantKey) -> Self {
        one(&leases.counters.held);
        let number = leases.claims.fetch_add(1, Ordering::Relaxed);
        let terms = Terms {
            leases: Arc::clone(leases),
            name: layout::leases(&leases.prefix, place.hash),
            place,
            field: layout::field(variant),
            token: format!("{:016x}{number:016x}", leases.process),
            stands: AtomicBool::new(true),
            moved: AtomicBool::new(false),
        };
        Self { terms: Arc::new(terms), marker: None, met: None, renewal: None }
    }

    /// It is granted.
    pub(super) fn hold(&mut self, met: Option<Marker>) {
        self.met = met;
        self.renewal = Some(tokio::spawn(Arc::clone(&self.terms).renew()).abort_handle());
    }

    /// Something has come of the fetch.
    pub fn goes_on(&self) {
        self.terms.moved.store(true, Ordering::Relaxed);
    }

    /// Why nobody else waits for this one, if there is a reason.
    #[must_use]
    pub fn met(&self) -> Option<Marker> {
        self.met
    }

    /// What others are told when it ends, if anything.
    pub fn ends_with(&mut self, marker: Option<Marker>) {
        self.marker = marker;
    }

    pub(in crate::store::redis) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// For how long nobody need wait for what is stored now, in milliseconds.
    pub(in crate::store::redis) fn unshared(&self) -> u64 {
        match self.marker {
            Some(Marker::Unshared) => millis(UNSHARED),
            Some(Marker::Failed) | None => 0,
        }
    }

    /// It has ended by what was stored under it.
    pub(in crate::store::redis) fn is_over(&self) {
        self.terms.end();
    }

    /// It was found to be no longer held.
    pub(in crate::store::redis) fn is_lost(&self) {
        self.terms.end();
        one(&self.terms.leases.counters.lost);
    }

    /// Gives it back, and removes what is stored of the resource, unless it is no longer held.
    pub(in crate::store::redis) async fn forget(self) -> Result<(), StoreError> {
        let outcome = self.terms.release(self.marker, true).await;
        self.terms.end();
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        let (terms, marker) = (Arc::clone(&self.terms), self.marker);
        match Handle::try_current() {
            Ok(runtime) if terms.stands.load(Ordering::Relaxed) => {
                runtime.spawn(async move {
                    if let Err(error) = terms.release(marker, false).await {
                        tracing::debug!(%error, "a lease was not given back");
                    }
                    terms.end();
                });
            }
            _ => {}
        }
    }
}

impl Terms {
    /// The two names by which Redis knows them, the resource and its leases.
    pub(in crate::store::redis) fn names(&self) -> [&str; 2] {
        [&self.place.name, &self.name]
    }

    pub(in crate::store::redis) fn place(&self) -> &Place {
        &self.place
    }

    fn spot(&self) -> Spot<'static> {
        Spot::Of(self.place.hash)
    }

    /// By which the holder shows that it is the one.
    pub(in crate::store::redis) fn proof(&self) -> [&str; 2] {
        [&self.field, &self.token]
    }

    pub(super) fn invocation<'s>(&self, script: &'s Script) -> ScriptInvocation<'s> {
        let mut invocation = script.prepare_invoke();
        invocation.key(&self.names()).arg(&self.proof());
        invocation
    }

    /// Renews it until it is lost. It lasts on though nothing comes of the fetch, so that what takes its time can be
    /// stored; but then it lets another one beside it.
    async fn renew(self: Arc<Self>) {
        let mut last = Instant::now();
        loop {
            sleep(RENEWAL).await;
            if self.moved.swap(false, Ordering::Relaxed) {
                last = Instant::now();
            }
            let comes = if last.elapsed() < SILENCE { "f" } else { "s" };
            let mut renewal = self.leases.renew_script.key(&self.name);
            renewal.arg(&self.proof()).arg(millis(LENGTH)).arg(comes);
            let ask = async |mut connection| renewal.invoke_async::<bool>(&mut connection).await;
            if matches!(self.leases.links.run(self.spot(), RENEWAL, ask).await, Ok(false)) {
                return self.end();
            }
        }
    }

    /// It is held no longer.
    fn end(&self) {
        if self.stands.swap(false, Ordering::Relaxed) {
            self.leases.counters.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn release(&self, marker: Option<Marker>, goes: bool) -> Result<(), StoreError> {
        let mut release = self.invocation(&self.leases.release_script);
        let (word, length) = match marker {
            Some(Marker::Unshared) => ("u", UNSHARED),
            Some(Marker::Failed) => ("f", FAILED),
            None => ("", Duration::ZERO),
        };
        release.arg(word).arg(millis(length)).arg(u8::from(goes));
        let ask = async |mut connection| release.invoke_async::<()>(&mut connection).await;
        let outcome = self.leases.links.run(self.spot(), RELEASE, ask).await;
        // Those who wait in this process need not hear of it from elsewhere.
        self.leases.wakes.wake(self.place.hash);
        outcome
    }
}

impl Drop for Terms {
    fn drop(&mut self) {
        self.end();
    }
}
