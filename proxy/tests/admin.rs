//! The admin listener, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sidecache::{
    address::Listen,
    admin::{
        Admin, AdminError, AdminState, Health, Purge, Token,
        client::AskFailed,
        healthcheck::{self, Question},
        stats::Numbers,
    },
    config::Config,
    explain,
    purge::{PurgeReport, Reached},
    reload::status::Status,
    routes::Rules,
    telemetry::metrics::Metrics,
    wrap::probe::Address,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

const LONG: Duration = Duration::from_secs(20);
const SECRET: &str = "0123456789abcdef";

#[path = "admin/dashboard.rs"]
mod dashboard;
#[path = "admin/explain.rs"]
mod explanations;
#[path = "admin/purge.rs"]
mod purge;
#[path = "admin/stats.rs"]
mod stats;

/// A running listener, and what it shows.
struct Rig {
    address: SocketAddr,
    health: Arc<Mutex<Health>>,
    config: Arc<Status>,
    metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// A purge that reaches nobody.
fn purges_nothing() -> Purge {
    let reached = Reached::LocalOnly("this is a test".to_owned());
    let report = PurgeReport { epoch: None, reached, members: 1, waited: Duration::ZERO, elsewhere: vec![] };
    Arc::new(move |_| Box::pin(std::future::ready(report.clone())))
}

/// A file with one rule.
fn one_rule() -> Config {
    let text = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: [{ match: /a, cache: 5m }]\n";
    Config::parse(text, "config.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

fn state(purge: Purge) -> (AdminState, Arc<Mutex<Health>>, Arc<Status>, Arc<Metrics>) {
    let health = Arc::new(Mutex::new(Health::Ready));
    let config = Arc::new(Status::new(Path::new("/etc/config.yaml"), UNIX_EPOCH));
    let (read_health, read_config) = (Arc::clone(&health), Arc::clone(&config));
    let metrics = Arc::new(Metrics::new(UNIX_EPOCH));
    let (shown, counted, asked) = (Arc::clone(&metrics), Arc::clone(&metrics), Arc::clone(&metrics));
    let state = AdminState {
        health: Arc::new(move || read_health.lock().unwrap().clone()),
        config: Arc::new(move || read_config.report()),
        metrics: Arc::new(move || shown.render()),
        stats: Arc::new(move || Numbers::of(&counted, &Rules::default(), SystemTime::now())),
        resources: Arc::new(move || asked.resources()),
        rules: Arc::new(|| vec!["/cached_products".into(), "home".into()]),
        purge,
        explain: Arc::new(|question| Box::pin(std::future::ready(explain::on_paper(&one_rule(), &question)))),
    };
    (state, health, config, metrics)
}

async fn rig(address: &str, token: Option<&str>) -> Rig {
    rig_that(purges_nothing(), address, token).await
}

/// One that purges so.
async fn rig_that(purge: Purge, address: &str, token: Option<&str>) -> Rig {
    let token = token.map(|secret| Token::new(secret).unwrap());
    let admin = Admin::bind(&Listen::parse(address).unwrap(), token).await.unwrap();
    let address = admin.local_addr().unwrap();
    let (state, health, config, metrics) = state(purge);
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(admin.serve(state, async { drop(stopped.await) }));
    Rig { address, health, config, metrics, stop: Some(stop), served }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Rig {
    async fn send(&self, request: &str) -> Answer {
        self.finish(self.begin(request).await).await
    }

    async fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.address.port())).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn finish(&self, mut stream: TcpStream) -> Answer {
        let mut text = String::new();
        timeout(LONG, stream.read_to_string(&mut text)).await.expect("the connection ends").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let port = self.address.port();
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{fields}\r\n")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn says_what_there_is() {
    let rig = rig("127.0.0.1:0", None).await;
    assert!(rig.get("/").await.body.contains("/readyz"));
    assert_eq!(rig.get("/livez").await.status, 200);
    assert_eq!(rig.get("/nothing").await.status, 404);
    let metrics = rig.get("/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("# TYPE sidecache_requests_total counter\n"));
    let metrics = rig.ask("GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(metrics.body.ends_with("# EOF\n"));
    for answer in [rig.get("/readyz").await, rig.get("/nothing").await] {
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    }
}

#[tokio::test]
async fn readiness_has_reasons() {
    let rig = rig("127.0.0.1:0", None).await;
    let why = || vec!["redis: not connected".to_owned()];
    for (health, status, word) in [
        (Health::Ready, 200, "ready"),
        (Health::Degraded(why()), 200, "degraded"),
        (Health::NotReady(why()), 503, "not ready"),
    ] {
        let reasons = if health == Health::Ready { vec![] } else { why() };
        *rig.health.lock().unwrap() = health;
        let answer = rig.get("/readyz").await;
        assert_eq!(answer.status, status);
        assert_eq!(parsed(&answer), json!({ "status": word, "reasons": reasons }));
    }
}

#[tokio::test]
async fn the_last_reload_is_told_in_full() {
    let rig = rig("127.0.0.1:0", None).await;
    let expected = json!({
        "file": "/etc/config.yaml", "generation": 1, "loaded": "1970-01-01T00:00:00Z",
        "needs_restart": [], "last_reload": null
    });
    assert_eq!(parsed(&rig.get("/config").await), expected);

    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    rig.config.record(Ok(vec!["`listen` changed".to_owned()]), at(60));
    rig.config.record(Err("config.yaml:3:5\n  | tll: 5s\n  = did you mean `ttl`?".to_owned()), at(61));
    let config = parsed(&rig.get("/config").await);
    assert_eq!(config["generation"], 2);
    assert_eq!(config["loaded"], "1970-01-01T00:01:00Z");
    assert_eq!(config["needs_restart"], json!(["`listen` changed"]));
    assert_eq!(
        config["last_reload"],
        json!({
            "at": "1970-01-01T00:01:01Z",
            "result": "refused",
            "error": "config.yaml:3:5\n  | tll: 5s\n  = did you mean `ttl`?",
        })
    );
}

#[tokio::test]
async fn only_get_and_head() {
    let rig = rig("127.0.0.1:0", None).await;
    let head = rig.ask("HEAD", "/config", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for method in ["POST", "PUT", "DELETE", "PURGE", "OPTIONS"] {
        let answer = rig.ask(method, "/config", "Content-Length: 1000000000\r\n").await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get,head"), "{}", answer.head);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_page_under_a_rebound_name_learns_nothing() {
    let rig = rig("127.0.0.1:0", None).await;
    let port = rig.address.port();
    for path in ["/", "/livez", "/readyz", "/config", "/metrics", "/nothing"] {
        let answer = rig.send(&format!("GET {path} HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n")).await;
        assert_eq!(answer.status, 421, "{path}");
        let absolute =
            format!("GET http://evil.example:{port}{path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        assert_eq!(rig.send(&absolute).await.status, 421, "{path}");
    }
    assert_eq!(rig.send("GET / HTTP/1.1\r\n\r\n").await.status, 400);
    assert_eq!(rig.send("GET /livez HTTP/1.0\r\n\r\n").await.status, 200);
    assert_eq!(rig.send(&format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")).await.status, 200);
}

#[tokio::test]
async fn a_token_guards_all_but_health() {
    let rig = rig("127.0.0.1:0", Some(SECRET)).await;
    for path in ["/", "/config", "/metrics", "/nothing"] {
        for fields in
            ["", "Authorization: Bearer 0123456789abcdeF\r\n", "Authorization: Basic 0123456789abcdef\r\n"]
        {
            let answer = rig.ask("GET", path, fields).await;
            assert_eq!(answer.status, 401, "{path} {fields}");
            assert!(answer.head.contains("www-authenticate: bearer realm=\"sidecache\""), "{}", answer.head);
        }
        let answer = rig.ask("GET", path, &format!("Authorization: Bearer {SECRET}\r\n")).await;
        assert_ne!(answer.status, 401, "{path}");
    }
    assert_eq!(rig.get("/livez").await.status, 200);
    assert_eq!(rig.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn other_machines_need_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = Admin::bind(&Listen::parse(address).unwrap(), None).await.unwrap_err();
        assert!(matches!(error, AdminError::TokenNeeded(_)), "{error}");
        assert!(error.to_string().contains("SIDECACHE_ADMIN_TOKEN"), "{error}");
    }
    let rig = rig("0.0.0.0:0", Some(SECRET)).await;
    assert_eq!(rig.get("/metrics").await.status, 401);
    // The address that was dialled is the listener's own.
    let own = format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", rig.address.port());
    assert_eq!(rig.send(&own).await.status, 200);
}

#[tokio::test]
async fn a_slow_head_is_cut_and_does_not_hold_up_others() {
    let rig = rig("127.0.0.1:0", None).await;
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..79 {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(rig.get("/livez").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    for mut stream in slow {
        let mut rest = Vec::new();
        timeout(LONG, stream.read_to_end(&mut rest)).await.expect("cut").unwrap();
    }
}

#[tokio::test]
async fn stops_when_told() {
    let mut rig = rig("127.0.0.1:0", None).await;
    let _idle = TcpStream::connect(rig.address).await.unwrap();
    rig.stop.take().unwrap().send(()).unwrap();
    timeout(LONG, &mut rig.served).await.expect("stops").unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_for_its_user_alone() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("admin.sock");
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = Listen::Unix(path.clone());
    let admin = Admin::bind(&address, None).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = Admin::bind(&address, None).await.unwrap_err();
    assert!(matches!(error, AdminError::Bind { .. }), "{error}");

    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(admin.serve(state(purges_nothing()).0, async { drop(stopped.await) }));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: any\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    healthcheck::ask(&Address::Unix(path.clone()), Question::Ready).await.unwrap();

    stop.send(()).unwrap();
    timeout(LONG, served).await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_in_the_socket_s_place_is_not_removed() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "x").unwrap();
    assert!(Admin::bind(&Listen::Unix(path.clone()), None).await.is_err());
    assert_eq!(fs::read_to_string(path).unwrap(), "x");
}

#[tokio::test]
async fn the_health_check_asks_readiness_or_no_more_than_life() {
    let rig = rig("0.0.0.0:0", Some(SECRET)).await;
    let address = Address::Tcp { host: "127.0.0.1".into(), port: rig.address.port() };
    healthcheck::ask(&address, Question::Ready).await.unwrap();
    *rig.health.lock().unwrap() = Health::NotReady(vec!["draining".to_owned()]);
    let error = healthcheck::ask(&address, Question::Ready).await.unwrap_err();
    assert!(matches!(&error, AskFailed::Answered(_, status, _) if status.as_u16() == 503), "{error}");
    healthcheck::ask(&address, Question::Live).await.unwrap();
    rig.served.abort();
    assert!(rig.served.await.unwrap_err().is_cancelled());
    let error = healthcheck::ask(&address, Question::Ready).await.unwrap_err();
    assert!(matches!(error, AskFailed::Unreachable(..)), "{error}");
}
