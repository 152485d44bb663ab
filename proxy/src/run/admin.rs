//! What the admin listener shows of a running sidecar.

use std::{
    future::pending,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{RunError, serving::Phase};
use crate::{
    address::Listen,
    admin::{
        self, Admin, AdminState, Health, Token,
        stats::{Numbers, Redis},
    },
    app::App,
    explain, obsolete,
    places::Places,
    reload::status::Status,
    store::{
        redis::{Health as RedisHealth, RedisStore, TrackingCondition},
        tiers::{Fleet, OnOutage, Tiers},
    },
    telemetry::{log::Log, metrics::Metrics, snapshot, window::STEP},
    tls::Certificates,
};

/// What the admin listener looks at.
pub(super) struct Panel {
    pub(super) app: Arc<App>,
    pub(super) status: Arc<Status>,
    pub(super) metrics: Arc<Metrics>,
    /// Bytes that memory may take.
    pub(super) budget: u64,
    /// Whether requests are taken.
    pub(super) phase: watch::Receiver<Phase>,
}

impl Panel {
    /// Opens the admin listener, where the file asks for one.
    pub(super) async fn open(&self, address: Option<&Listen>, token: Option<&Path>) -> Result<(), RunError> {
        let Some(address) = address else { return Ok(()) };
        let admin = Admin::bind(address, self::token(token)?).await?;
        if let Some(address) = admin.local_addr() {
            tracing::info!(%address, "the admin listener is open");
        }
        let (app, phase) = (Arc::clone(&self.app), self.phase.clone());
        let (named, purged) = (Arc::clone(&self.app), Arc::clone(&self.app));
        let explained = Arc::clone(&self.app);
        let (status, metrics) = (Arc::clone(&self.status), Arc::clone(&self.metrics));
        let (counted, of, budget) = (Arc::clone(&self.metrics), Arc::clone(&self.app), self.budget);
        let asked = Arc::clone(&self.metrics);
        let state = AdminState {
            health: Arc::new(move || health(&app, *phase.borrow())),
            config: Arc::new(move || status.report()),
            metrics: Arc::new(move || metrics.render()),
            stats: Arc::new(move || numbers(&of, &counted, budget)),
            resources: Arc::new(move || asked.resources()),
            rules: Arc::new(move || named.live().rules.names()),
            purge: Arc::new(move |request| Box::pin(obsolete::purge(Arc::clone(&purged), request))),
            explain: explain::teller(explained),
        };
        tokio::spawn(steps(Arc::clone(&self.metrics)));
        // Open to the very end: a probe must be able to see that the sidecar drains.
        tokio::spawn(admin.serve(state, pending()));
        Ok(())
    }
}

fn token(file: Option<&Path>) -> Result<Option<Token>, RunError> {
    Ok(admin::token::secret(file)?.map(|secret| Token::new(&secret)).transpose()?)
}

/// Ends each step of the window, for ever.
async fn steps(metrics: Arc<Metrics>) {
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        metrics.step(SystemTime::now(), now);
    }
}

fn numbers(app: &App, metrics: &Metrics, budget: u64) -> Numbers {
    let live = app.live();
    let (memory, redis) = match &app.store {
        Tiers::Memory(store) => (store.stats(), None),
        Tiers::Redis(fleet) => {
            let (up, tracked) =
                (fleet.redis().health() == RedisHealth::Up, fleet.tracking().session().is_some());
            (fleet.memory(), Some(Redis { stats: fleet.redis().stats(), up, tracked }))
        }
    };
    let upstream = live.upstream.stats();
    let counted = Numbers::of(metrics, &live.rules, SystemTime::now());
    Numbers { memory: (memory, budget), redis, upstream, ..counted }
}

/// Redis missing is no reason to send the requests elsewhere: they are answered all the same.
fn health(app: &App, phase: Phase) -> Health {
    match phase {
        Phase::Starting => return Health::NotReady(vec!["the app has not answered yet".into()]),
        Phase::Draining => return Health::NotReady(vec!["stopping: no new requests are taken".into()]),
        Phase::Serving => {}
    }
    match &app.store {
        Tiers::Memory(_) => Health::Ready,
        Tiers::Redis(fleet) => match shortcomings(fleet) {
            reasons if reasons.is_empty() => Health::Ready,
            reasons => Health::Degraded(reasons),
        },
    }
}

/// What is missing of the fleet's cache. That Redis does not let itself be tracked is no fault of this
/// day: it is in the log and in the metrics.
fn shortcomings(fleet: &Fleet) -> Vec<String> {
    let settings = fleet.settings();
    if let RedisHealth::Down { reason, .. } = fleet.redis().health() {
        let what = match (settings.memory, settings.on_outage) {
            (0, _) | (_, OnOutage::Bypass) => "nothing is cached while Redis is away",
            _ => "while Redis is away, only what is in memory is served, and purges are not heard of",
        };
        return vec![format!("{what}: {reason}")];
    }
    let mut reasons = Vec::new();
    if let Some(reason) = unwritten(fleet.redis()) {
        reasons.push(format!("nothing new is stored: {reason}"));
    }
    if let TrackingCondition::Down { reason } = fleet.tracking().condition() {
        reasons.push(format!("memory is not used, because Redis does not tell what changes: {reason}"));
    }
    reasons
}

/// Why nothing new is stored in a Redis that answers.
fn unwritten(redis: &RedisStore) -> Option<String> {
    match redis.no_writes() {
        Some(reason) => Some(format!("Redis takes no writes: {reason}")),
        None if redis.is_nearly_full() => {
            Some("Redis evicts nothing and is nearly full (set maxmemory-policy, or more maxmemory)".into())
        }
        None if redis.takes_writes() => None,
        None => Some("Redis does not take writes in time".into()),
    }
}

/// Everything that is measured.
pub(super) fn metrics(
    app: &Arc<App>,
    status: &Arc<Status>,
    log: &Log,
    budget: u64,
    places: Arc<Places>,
    certificates: Option<Arc<Certificates>>,
) -> Metrics {
    let mut metrics = Metrics::new(SystemTime::now());
    let dropped = log.dropped_lines();
    metrics.register(move |scrape| dropped.write(scrape));
    let status = Arc::clone(status);
    metrics.register(move |scrape| status.write(scrape));
    metrics.register(move |scrape| snapshot::clients(scrape, places.stats()));
    if let Some(certificates) = certificates {
        metrics.register(move |scrape| snapshot::certificates(scrape, certificates.stats()));
    }
    let of = Arc::clone(app);
    metrics.register(move |scrape| {
        let upstream = &of.live().upstream;
        snapshot::upstream(scrape, upstream.stats());
        snapshot::origin(scrape, upstream.times());
    });
    let of = Arc::clone(app);
    metrics.register(move |scrape| snapshot::invalidations(scrape, of.invalidations.each()));
    let of = Arc::clone(app);
    metrics.register(move |scrape| snapshot::refreshes(scrape, of.refreshes.by_result()));
    let of = Arc::clone(app);
    metrics.register(move |scrape| snapshot::warnings(scrape, of.cors_unkeyed.load(Ordering::Relaxed)));
    let of = Arc::clone(app);
    metrics.register(move |scrape| match &of.store {
        Tiers::Memory(store) => snapshot::memory(scrape, store.stats(), budget),
        Tiers::Redis(fleet) => {
            let redis = fleet.redis();
            snapshot::memory(scrape, fleet.memory(), budget);
            snapshot::redis(scrape, redis.stats(), redis.health() == RedisHealth::Up);
            snapshot::room(scrape, redis.room());
            snapshot::tiers(scrape, fleet.stats(), redis.stats().hits);
            let tracking = fleet.tracking();
            let serves = [tracking.session().is_some(), tracking.is_untracked()];
            snapshot::tracking(scrape, tracking.pushes(), serves);
        }
    });
    metrics
}
