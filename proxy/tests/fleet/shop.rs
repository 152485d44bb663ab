//! A fleet before an origin with one page, whose body is its version.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    client::{Client, Order, What, purge},
    history::Sidecar,
    sidecars::{BYPASS, Fleet},
    support::{
        origin::{Asked, Gate, Origin, Step, ok},
        redis::eventually,
    },
};

pub(crate) const PAGE: &str = "/one";

pub(crate) struct Shop {
    pub(crate) fleet: Fleet,
    pub(crate) origin: Origin,
    version: Arc<AtomicU64>,
}

impl Shop {
    /// One with the page.
    pub(crate) async fn open() -> Self {
        Self::with(|_, version| page(version)).await
    }

    /// One whose first answer, but no other, waits for the test: with the version of before.
    pub(crate) async fn slow_at_first(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::with(move |asked, version| match asked.number {
            1 => [vec![Step::Wait(gate.clone())], page(version)].concat(),
            _ => page(version),
        })
        .await
    }

    /// One that answers what this says, given the version of now.
    pub(crate) async fn with(script: impl Fn(&Asked, u64) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let current = Arc::clone(&version);
        let origin = Origin::start(move |asked| script(asked, current.load(Ordering::SeqCst))).await;
        let lines = format!(
            "upstream: http://{}\nroutes: [{{ match: /**, cache: {{ ttl: 1h }} }}]\n",
            origin.address
        );
        let fleet = Fleet::start(BYPASS, |_| lines.clone()).await;
        Self { fleet, origin, version }
    }

    pub(crate) fn client(&self, sidecar: Sidecar) -> Client {
        Client::new(self.fleet.whereabouts(sidecar))
    }

    /// A client of each sidecar.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.fleet.all().into_iter().map(Client::new).collect()
    }

    /// What the page says from now on.
    pub(crate) fn raise(&self) -> String {
        (self.version.fetch_add(1, Ordering::SeqCst) + 1).to_string()
    }

    /// Asks a sidecar for a purge: the status, and how long it took.
    pub(crate) async fn purge(&self, via: Sidecar, order: &Order) -> (Option<u16>, Duration) {
        let place = self.fleet.whereabouts(via).borrow().clone().expect("it runs");
        let begun = Instant::now();
        let status = purge(&place, order).await;
        (status, begun.elapsed())
    }
}

fn page(version: u64) -> Vec<Step> {
    ok("Cache-Tag: one\r\n", &version.to_string())
}

pub(crate) fn by_url() -> Order {
    Order { what: What::Url(PAGE.to_owned()), soft: false }
}

/// What the page says.
pub(crate) async fn read(client: &mut Client) -> String {
    client.get(PAGE).await.unwrap().body
}

/// Reads until it is stored.
pub(crate) async fn is_hit(client: &mut Client, path: &str) {
    eventually("a hit", async || client.get(path).await.unwrap().is_hit()).await;
}
