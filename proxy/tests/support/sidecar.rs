//! A sidecar in the test's own process: on a port of its own, by a clock that the test moves, and
//! with everything it observes at hand.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use sidecache::{
    app::{App, Live},
    clock::{Clock, ManualClock},
    config::Config,
    observe::{Exchange, Observer},
    places::Places,
    server::Server,
    store::{memory::MemoryStore, tiers::Tiers},
    tls::{Certificates, Tls},
    upstream::{Settings, Upstream},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::wire::{Message, PATIENCE, Wire, soon};

/// A running sidecar. Dropped with the test's runtime.
pub struct Sidecar {
    /// Of the first TCP listener.
    pub address: SocketAddr,
    /// Of all of them.
    pub addresses: Vec<SocketAddr>,
    pub app: Arc<App>,
    pub clock: ManualClock,
    pub seen: Arc<Seen>,
    /// Who holds a place.
    pub places: Arc<Places>,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<bool>,
}

/// One exchange, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Method and path; `-` where there was no request to read.
    pub asked: String,
    pub status: u16,
    pub outcome: &'static str,
    pub rule: Option<String>,
    pub body_bytes: u64,
    pub complete: bool,
}

/// All exchanges so far.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Vec<Observed>>);

impl Seen {
    pub fn all(&self) -> Vec<Observed> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Seen {
    fn observe(&self, exchange: &Exchange<'_>) {
        let asked = exchange.request.map(|r| format!("{} {}", r.head.method, r.head.target.path()));
        self.0.lock().unwrap().push(Observed {
            asked: asked.unwrap_or_else(|| "-".to_owned()),
            status: exchange.status.as_u16(),
            outcome: exchange.outcome.word(),
            rule: exchange.rule.map(ToString::to_string),
            body_bytes: exchange.body_bytes,
            complete: exchange.complete,
        });
    }
}

/// What a file means, `listen` being a free port of the loopback where it says nothing else.
pub fn config(yaml: &str) -> Config {
    let listen = if yaml.contains("listen:") { "" } else { "listen: 127.0.0.1:0\n" };
    let routes = if yaml.contains("routes:") { "" } else { "\nroutes: []\n" };
    let text = format!("{listen}{yaml}{routes}");
    Config::parse(&text, "test.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What of it can change while it runs.
pub fn live(config: &Config) -> Live {
    let settings = Settings::new(config.upstream.clone(), &config.limits, &config.timeouts);
    Live {
        rules: config.rules.clone(),
        purge_on: config.purge_on.clone(),
        upstream: Arc::new(Upstream::new(settings).unwrap()),
        hosts: config.hosts.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        begins_traces: config.begins_traces,
        pseudonym: "sidecache".into(),
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
    }
}

impl Sidecar {
    /// One in front of `upstream`, with the rest of its file and a memory store.
    pub fn start(upstream: SocketAddr, rest: &str) -> Self {
        Self::from_file(&format!("upstream: http://{upstream}\n{rest}"))
    }

    /// One that does what the file says.
    pub fn from_file(yaml: &str) -> Self {
        let config = config(yaml);
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let store = Tiers::Memory(MemoryStore::new(config.store.memory.unwrap(), Arc::default()));
        let app = Arc::new(App::new(live(&config), store, Clock::Manual(clock.clone())));
        let mut server = Server::bind(&config.listen).unwrap();
        if !config.tls.is_empty() {
            let certificates = Arc::new(Certificates::load(config.tls.clone()).unwrap());
            tokio::spawn(Arc::clone(&certificates).follow());
            server = server.with_tls(Tls::new(certificates).unwrap());
        }
        if config.proxy_protocol {
            server = server.with_proxy_protocol();
        }
        let addresses = server.addresses();
        let address = addresses.first().copied();
        let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let (seen, places) = (Arc::new(Seen::default()), server.places());
        let (stop, stopped) = oneshot::channel::<()>();
        let observer: Arc<dyn Observer> = Arc::clone(&seen) as _;
        let serving = server.run(Arc::clone(&app), observer, async {
            let _ = stopped.await;
        });
        let done = tokio::spawn(serving);
        Self { address, addresses, app, clock, seen, places, stop: Some(stop), done }
    }

    pub async fn connect(&self) -> Wire {
        Wire::tcp(self.address).await
    }

    /// One `GET` on a connection of its own.
    pub async fn get(&self, target: &str) -> Message {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Message {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.response_to(request.split(' ').next().unwrap_or_default()).await
    }

    /// How many resources are stored.
    pub fn stored(&self) -> usize {
        match &self.app.store {
            Tiers::Memory(store) => store.stats().entries,
            Tiers::Redis(_) => panic!("a memory store"),
        }
    }

    /// Waits until the exchanges are as they should be.
    pub async fn observed(&self, what: &str, is_so: impl Fn(&[Observed]) -> bool) -> Vec<Observed> {
        eventually(what, || is_so(&self.seen.all())).await;
        self.seen.all()
    }

    /// Begins the drain.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Whether the drain lost nothing.
    pub async fn ended(mut self) -> bool {
        self.stop();
        soon("the end of the drain", self.done).await.unwrap()
    }
}

/// Waits until it is so; a failure says what never came.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
