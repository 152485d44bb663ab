//! What a running sidecar shows to those who watch it: metrics that Prometheus' own tool finds nothing wrong with, under
//! the names that the dashboard and the alerts use, and `sidecache top`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "this is how a test fails"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Child, time::sleep};

use crate::support::{
    origin::{Origin, ok},
    papers::Papers,
    process::{Process, free_port},
    redis::{RedisServer, eventually},
    wire::{Wire, soon},
};

/// A sidecar in front of an app whose `/a` it caches, and the port of its admin listener.
async fn sidecar(more: &str) -> (Process, Origin, u16) {
    let origin = Origin::start(|_| ok("", "hello")).await;
    let admin = free_port();
    let yaml = format!(
        "upstream: http://{}\nadmin: 127.0.0.1:{admin}\n{more}\nroutes: [{{ match: /a, cache: 60s }}, {{ match: /off/**, cache: off }}, {{ match: /s, cache: {{ ttl: 60s, shadow: true }} }}]",
        origin.address
    );
    (Process::ready(&yaml, &[]).await, origin, admin)
}

/// What the admin listener answers.
async fn asked(port: u16, path: &str) -> String {
    let mut wire = Wire::tcp(([127, 0, 0, 1], port).into()).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")).await;
    wire.response().await.text()
}

async fn stats(port: u16) -> Value {
    serde_json::from_str(&asked(port, "/stats").await).unwrap()
}

/// The page once so many requests are counted: that is done after their answers are sent.
async fn metrics_after(admin: u16, requests: u64) -> String {
    loop {
        if stats(admin).await["totals"]["requests"].as_u64().unwrap() >= requests {
            return asked(admin, "/metrics").await;
        }
    }
}

/// The series of a page.
fn series(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

/// The file of the repository.
fn file(path: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(top.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All names in a text that are those of metrics of ours.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("sidecache_")).collect()
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let (sidecar, _origin, admin) = sidecar("store: { redis: redis://127.0.0.1:1, prefix: a }").await;
    for path in ["/a", "/a", "/off/b", "/c"] {
        sidecar.get(path).await;
    }
    let page = metrics_after(admin, 4).await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is there: `make promtool` installs it");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
fn promtool_takes_the_configuration_of_the_stack() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut promtool = Command::new("promtool");
    let checked = promtool.args(["check", "config"]).arg(top.join("observe/prometheus.yml")).output();
    let checked = checked.expect("promtool is there: `make promtool` installs it");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn promtool_takes_the_two_lines_for_a_token() {
    let config = file("observe/prometheus.yml").replace("# authorization:", "authorization:");
    let config = config.replace("#   credentials_file:", "  credentials_file:");
    assert!(config.contains("\n    authorization:\n      credentials_file: admin-token\n"), "{config}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    fs::write(folder.path().join("alerts.yml"), file("observe/alerts.yml")).unwrap();
    let check = || {
        let mut promtool = Command::new("promtool");
        let checked = promtool.args(["check", "config"]).arg(folder.path().join("prometheus.yml")).output();
        checked.expect("promtool is there: `make promtool` installs it").status.success()
    };
    assert!(!check(), "the file of the token is read from beside this one, and is not there");
    fs::write(folder.path().join("admin-token"), "0123456789abcdef\n").unwrap();
    assert!(check());
}

/// Prometheus with the configuration of the stack, but for whom it asks and how often.
fn prometheus(folder: &TempDir, admin: u16, port: u16) -> Child {
    let config = file("observe/prometheus.yml").replace("127.0.0.1:9090", &format!("127.0.0.1:{admin}"));
    let config = config.replace("scrape_interval: 5s", "scrape_interval: 1s");
    let path = folder.path().join("prometheus.yml");
    fs::write(&path, config).unwrap();
    fs::write(folder.path().join("alerts.yml"), file("observe/alerts.yml")).unwrap();
    let mut prometheus = tokio::process::Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", path.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    prometheus.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    prometheus.spawn().expect("prometheus is there: `make promtool` installs it")
}

#[tokio::test]
async fn prometheus_sees_what_is_counted() {
    let (sidecar, _origin, admin) = sidecar("").await;
    for path in ["/a", "/a"] {
        sidecar.get(path).await;
    }
    metrics_after(admin, 2).await;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let _prometheus = prometheus(&folder, admin, port);
    let query = "/api/v1/query?query=sidecache_requests_total%7Brule=%22/a%22,outcome=%22hit%22%7D";
    let seen = async {
        loop {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                let answer: Value = serde_json::from_str(&asked(port, query).await).unwrap_or_default();
                if let Some(sample) = answer["data"]["result"][0]["value"][1].as_str() {
                    break sample.to_owned();
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(soon("a scrape", seen).await, "1");
    let targets = asked(port, "/api/v1/targets").await;
    assert!(targets.contains(r#""lastError":"","#) && targets.contains(r#""health":"up""#), "{targets}");
}

#[tokio::test]
async fn dashboard_and_alerts_name_metrics_that_there_are() {
    let redis = RedisServer::start();
    // Each is shown only where there is what it counts: a store, certificates.
    let papers = Papers::new();
    papers.issue("a", &["a.test"]);
    let store = format!("store: {{ redis: '{}', prefix: a }}", redis.url());
    let tls = format!("listen: 'tls://127.0.0.1:0'\ntls: {}", papers.pair("a"));
    let (_sidecar, _origin, admin) = sidecar(&format!("{tls}\n{store}")).await;
    eventually("Redis is asked what it holds", async || {
        asked(admin, "/metrics").await.contains("sidecache_store_redis_memory_bytes")
    })
    .await;
    let page = asked(admin, "/metrics").await;
    // The words of details are there only once they have come up.
    let shown: BTreeSet<&str> = names(&page);
    for path in ["observe/grafana/dashboards/sidecache.json", "observe/alerts.yml"] {
        let text = file(path);
        let used = names(&text);
        assert!(used.len() >= 5, "{path}: {used:?}");
        let unknown: Vec<_> = used.difference(&shown).collect();
        assert!(unknown.is_empty(), "{path} uses {unknown:?}");
    }
}

#[tokio::test]
async fn other_urls_and_hosts_add_no_series() {
    let (sidecar, _origin, admin) = sidecar("").await;
    let mut wire = sidecar.connect().await;
    let mut ask = async |host: &str, path: &str| {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {path}\r\n\r\n")).await;
        assert_eq!(wire.response().await.status(), 200);
    };
    for path in ["/a", "/a", "/off/x", "/elsewhere"] {
        ask("shop", path).await;
    }
    let before = metrics_after(admin, 4).await;
    for n in 0..10_000 {
        let path = ["/a?", "/off/", "/elsewhere/"][n % 3];
        ask(&format!("shop-{n}"), &format!("{path}{n}")).await;
    }
    let after = metrics_after(admin, 10_004).await;
    assert_eq!(series(&after).difference(&series(&before)).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[tokio::test]
async fn each_rule_is_told_with_what_came_of_its_requests() {
    let (sidecar, _origin, admin) = sidecar("").await;
    for path in ["/a", "/s"] {
        sidecar.get(path).await;
    }
    // What is noted in shadow is so after its client has it.
    while stats(admin).await["store"]["memory"]["resources"] != 2 {}
    for path in ["/a", "/a", "/off/b", "/s", "/s", "/c?token=s3cret"] {
        sidecar.get(path).await;
    }
    metrics_after(admin, 8).await;
    let stats = stats(admin).await;
    let told = stats["rules"].as_array().unwrap().iter();
    let told =
        told.map(|rule| [&rule["name"], &rule["cache"], &rule["hits"], &rule["forwarded"], &rule["details"]]);
    let told: Vec<_> = told.map(|fields| Value::from(fields.map(Value::clone).to_vec())).collect();
    let expected = [
        serde_json::json!(["/a", "60s", 2, 1, {}]),
        serde_json::json!(["/off/**", "off", 0, 1, { "rule-off": 1 }]),
        serde_json::json!(["/s", "60s, in shadow", 0, 3, { "shadow-hit": 2 }]),
        serde_json::json!([null, "off", 0, 1, { "no-rule": 1 }]),
    ];
    assert_eq!(told, expected);
    assert_eq!(stats["rules"][2]["would_hit"], 2);
    assert_eq!((&stats["store"]["memory"]["resources"], &stats["store"]["redis"]), (&2.into(), &Value::Null));
    // The origin took some time to answer, which two hits have spared it.
    assert!(stats["totals"]["origin_saved_seconds"].as_f64().unwrap() > 0.0, "{stats}");
    let resources = asked(admin, "/resources").await;
    assert!(resources.contains("/c?…") && !resources.contains("s3cret"), "{resources}");
}

#[tokio::test]
async fn what_is_made_obsolete_is_counted_and_what_the_app_took() {
    let more = "purge_on: [{ match: /off/**, tags: [x, y], rules: [/a] }]";
    let (sidecar, origin, admin) = sidecar(more).await;
    sidecar.get("/a").await;
    for path in ["/a", "/off/b"] {
        let head = "Host: a\r\nConnection: close\r\nContent-Length: 0";
        sidecar.ask(&format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n")).await;
    }
    let purge = r#"{"urls": ["http://a/a", "http://a/b"], "all": true}"#;
    let length = purge.len();
    let mut wire = Wire::tcp(([127, 0, 0, 1], admin).into()).await;
    let head =
        format!("Host: localhost:{admin}\r\nContent-Type: application/json\r\nContent-Length: {length}");
    wire.send(format!("POST /purge HTTP/1.1\r\n{head}\r\n\r\n{purge}")).await;
    assert_eq!(wire.response().await.status(), 200);

    let page = metrics_after(admin, 3).await;
    let counted = |cause: &str, of: &str, count: u64| {
        format!("sidecache_invalidations_total{{cause=\"{cause}\",of=\"{of}\"}} {count}")
    };
    for line in [
        counted("write", "url", 1), // No rule has ever cached the other one.
        counted("write", "tag", 0),
        counted("purge-on", "tag", 2),
        counted("purge-on", "rule", 1),
        counted("purge", "url", 2),
        counted("purge", "all", 1),
        "sidecache_upstream_head_seconds_count 3".to_owned(),
        "sidecache_upstream_fetch_seconds_count 3".to_owned(),
    ] {
        assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
    }
    assert_eq!(origin.count(), 3);
}

/// The command in an empty folder, and so without a file.
fn top(folder: &TempDir, admin: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.current_dir(folder.path()).args(["top", "--admin"]).arg(format!("127.0.0.1:{admin}"));
    command.env_remove("SIDECACHE_ADMIN_TOKEN");
    command
}

#[tokio::test]
async fn top_prints_one_page() {
    let (sidecar, _origin, admin) = sidecar("").await;
    for path in ["/a", "/a", "/off/b"] {
        sidecar.get(path).await;
    }
    metrics_after(admin, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let once = top(&folder, admin).arg("--once").output().unwrap();
        // Where nobody watches, neither.
        let piped = top(&folder, admin).stdin(Stdio::null()).output().unwrap();
        [once, piped]
    });
    for output in output.await.unwrap() {
        let page = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        for part in [
            "ready",
            "IN 10 MINUTES",
            "/a ",
            "50.0%",
            "rule-off 1",
            "HOTTEST",
            "http://a/a",
            "bypass, rule-off",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        assert!(page.lines().count() <= 24 && page.lines().all(|line| line.chars().count() <= 80), "{page}");
        assert!(!page.contains('\x1b'), "{page:?}");
    }
}

#[test]
fn top_says_why_there_is_nothing_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let output = top(&folder, free_port()).arg("--once").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("does a sidecar run with this `admin`?"), "{said}");
}

/// Runs it at a terminal, presses `key` when the page is there, and gives what was written.
fn at_a_terminal(command: &Command, key: &'static str) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    // It makes a pseudo-terminal, and passes on what is typed.
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &format!("exec {}", line.join(" ")), "/dev/null"]);
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut typing, mut out) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let (mut text, mut piece, mut typed) = (String::new(), [0; 4096], false);
        while let Ok(length @ 1..) = out.read(&mut piece) {
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
            if !typed && text.contains("FETCHED MOST") {
                typing.write_all(key.as_bytes()).unwrap();
                typing.flush().unwrap();
                typed = true;
            }
        }
        text
    });
    let text = reader.join().unwrap();
    assert!(script.wait().unwrap().success(), "{text:?}");
    text
}

#[tokio::test]
async fn top_gives_the_terminal_back() {
    let (_sidecar, _origin, admin) = sidecar("").await;
    for key in ["q", "\x03"] {
        let shown = tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            at_a_terminal(&top(&folder, admin), key)
        });
        let shown = shown.await.unwrap();
        let [begin, end] = ["\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"].map(|part| shown.rfind(part));
        assert!(begin.is_some() && end > begin, "{shown:?}");
    }
}

#[tokio::test]
async fn a_step_of_the_window_ends_every_five_seconds() {
    let (sidecar, _origin, admin) = sidecar("").await;
    sidecar.get("/a").await;
    metrics_after(admin, 1).await;
    let first = async {
        loop {
            let points = stats(admin).await["window"]["points"].clone();
            match points.as_array().unwrap().first() {
                Some(first) => break first.clone(),
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let first = soon("the end of the first step", first).await;
    assert_eq!((&first["requests"], &first["forwarded"]), (&1.into(), &1.into()));
}
