//! A connection to the admin listener, through the real one's HTTP, guard and router. What is purged, and
//! that nothing else is, is judged by a reading of the request that shares nothing with the guard's.
#![no_main]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sidecache::{
    admin::{self, AdminState, Health, Token, stats::Numbers},
    config::Config,
    explain,
    purge::{PurgeReport, PurgeRequest, Reached},
    reload::status::Report,
    routes::Rules,
    telemetry::metrics::Metrics,
};
use sidecache_fuzz::{
    grammar::{Words, connection},
    strict::{self, Message, Read},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::timeout,
};

const TOKEN: &str = "0123456789abcdef";
const LOCAL: &str = "127.0.0.1:9090";
/// When nothing more is answered. The clock goes on only where all wait for it: none of it is waited for.
const SETTLED: Duration = Duration::from_millis(3);
const BODY_BYTES: usize = 64 * 1024;

const WORDS: Words = Words {
    methods: &["GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "PURGE"],
    targets: &[
        "/purge",
        "/purge",
        "/",
        "/livez",
        "/readyz",
        "/config",
        "/metrics",
        "/stats",
        "/resources",
        "/openapi.json",
        "/explain",
        "/explain",
        "/explain/",
        "/dashboard/app.js",
        "/dashboard/main.js",
        "/dashboard/style.css",
        "/dashboard/../config",
        "/purge/",
        "//purge",
        "/purge?all=true",
        "http://localhost:9090/purge",
        "http://evil.example:9090/purge",
    ],
    hosts: &[
        "localhost:9090",
        "127.0.0.1:9090",
        "[::1]:9090",
        "LOCALHOST:9090",
        "localhost",
        "evil.example:9090",
        "192.0.2.1:9090",
        "evil@localhost:9090",
        "127.0.0.1.evil.example:9090",
        "localhost.evil.example:9090",
        "0.0.0.0:9090",
    ],
    fields: &[
        (
            "Content-Type",
            &["application/json", "application/json; charset=utf-8", "text/plain", "Application/JSON"],
        ),
        ("Content-Type", &["application/json"]),
        (
            "Authorization",
            &["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "Bearer 0123456789abcdeF", "Basic x"],
        ),
        ("Origin", &["http://localhost:9090", "http://evil.example", "null", "https://127.0.0.1:9090", ""]),
        ("Sec-Fetch-Site", &["same-origin", "none", "cross-site", "same-site"]),
        ("Expect", &["100-continue"]),
        ("Host", &["localhost:9090"]),
        ("Connection", &["close", "keep-alive", "upgrade"]),
        ("X-Forwarded-Host", &["localhost:9090"]),
    ],
    bodies: &[
        r#"{"all": true}"#,
        r#"{"urls": ["http://a/b"]}"#,
        r#"{"urls": ["http://a/b?c", "https://a:1/"], "soft": true, "wait": false}"#,
        r#"{"tags": ["x"], "rules": ["/**"]}"#,
        r#"{"rules": ["none"]}"#,
        r#"{"urls": ["/b"]}"#,
        r#"{"all": false}"#,
        r#"[[], [], [], true, false, true]"#,
        r#"{"all": true, "all": false}"#,
        r#"{"url": "http://a/b?c"}"#,
        r#"{"url": "https://a:1/b", "method": "POST", "headers": [["Cookie", "a=1"], ["host", "b"]], "ask_origin": true}"#,
        r#"{"url": "http://a/ä//..", "headers": [["Content-Length", "x"], ["X-Forwarded-Proto", "https"]]}"#,
        r#"{"url": "/b", "headers": [["a"]]}"#,
    ],
};

/// The file that is asked for explanations.
fn config() -> Config {
    let text = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: [{ match: /**, cache: 1m }]\n";
    Config::parse(text, "config.yaml", &|_| None).expect("it is right")
}

/// Nothing that is shown is looked at; what is purged is kept.
fn state(purged: &Arc<Mutex<Vec<PurgeRequest>>>) -> AdminState {
    let purged = Arc::clone(purged);
    let report = Report {
        file: PathBuf::from("config.yaml"),
        generation: 1,
        loaded: SystemTime::UNIX_EPOCH,
        needs_restart: Vec::new(),
        last_reload: None,
    };
    AdminState {
        health: Arc::new(|| Health::Ready),
        config: Arc::new(move || report.clone()),
        metrics: Arc::new(|| Ok(String::new())),
        stats: Arc::new(|| {
            let start = SystemTime::UNIX_EPOCH;
            Numbers::of(&Metrics::new(start), &Rules::default(), start)
        }),
        resources: Arc::new(|| Metrics::new(SystemTime::UNIX_EPOCH).resources()),
        rules: Arc::new(|| vec!["/**".into()]),
        purge: Arc::new(move |request| {
            purged.lock().expect("it is not poisoned").push(request);
            let report = PurgeReport {
                epoch: None,
                reached: Reached::Fleet,
                members: 1,
                waited: Duration::ZERO,
                elsewhere: Vec::new(),
            };
            Box::pin(async move { report })
        }),
        explain: Arc::new(|question| Box::pin(std::future::ready(explain::on_paper(&config(), &question)))),
    }
}

/// The listener's end of a connection.
#[derive(Clone, Copy)]
struct Setting {
    local: Option<SocketAddr>,
    token: bool,
}

/// Sends these bytes, and nothing more. What is answered.
async fn converse(bytes: &[u8], setting: Setting, purged: &Arc<Mutex<Vec<PurgeRequest>>>) -> Vec<u8> {
    let (mut client, ours) = duplex(256 * 1024);
    let token = setting.token.then(|| Token::new(TOKEN).expect("it is one"));
    let listener = admin::converse(ours, setting.local, token, state(purged));
    let client = async move {
        let _ = client.write_all(bytes).await;
        let mut answer = Vec::new();
        // hyper takes a client that says no more for one that has gone; half a request is never answered.
        loop {
            match timeout(SETTLED, client.read_buf(&mut answer)).await {
                Ok(Ok(1..)) if status(&answer).is_none_or(|status| status < 200) => {}
                _ => break,
            }
        }
        drop(client);
        answer
    };
    tokio::join!(client, listener).0
}

/// Whether this may purge: read anew, and strictly.
fn may_purge(message: &Message, setting: Setting) -> Result<(), &'static str> {
    let path = String::from_utf8_lossy(&message.target).into_owned();
    let (authority, path) = match path.split_once("://") {
        Some((_, rest)) if !path.starts_with('/') => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(authority.to_owned()), format!("/{path}"))
        }
        _ => (None, path),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if message.method != "POST" || path != "/purge" {
        return Err("another path or method");
    }
    let text = |value: &&[u8]| String::from_utf8_lossy(value).into_owned();
    let values = |name: &str| message.values(name).iter().map(text).collect::<Vec<_>>();
    let asked =
        authority.or_else(|| values("host").first().cloned()).unwrap_or_default().to_ascii_lowercase();
    let authorization = values("authorization");
    let known = authorization.len() == 1
        && authorization[0].split_once(' ').is_some_and(|(scheme, secret)| {
            scheme.eq_ignore_ascii_case("bearer") && secret.trim_ascii_start() == TOKEN
        });
    if setting.token && !known {
        return Err("no token");
    }
    let own = ["localhost:9090", "127.0.0.1:9090", "[::1]:9090"];
    if !known && setting.local.is_some() && values("host").len() > 1 {
        return Err("two hosts");
    }
    let nameless = message.minor == 0 && asked.is_empty();
    if !setting.token
        && setting.local.is_some()
        && !nameless
        && !own.contains(&&*asked)
        && !is_loopback(&asked)
    {
        return Err("another host");
    }
    if values("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none") {
        return Err("another site");
    }
    let from = |origin: &String| {
        origin.to_ascii_lowercase().split_once("://").is_some_and(|(_, from)| from == asked)
    };
    if !values("origin").iter().all(from) {
        return Err("another origin");
    }
    let types = values("content-type");
    let essence = types.first().and_then(|line| line.split(';').next()).unwrap_or_default();
    if types.len() != 1 || !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err("no JSON by its type");
    }
    Ok(())
}

/// Other ways to write the same two addresses, or none: with zeros left out of the port, or put before it.
fn is_loopback(asked: &str) -> bool {
    let Some((host, port)) = asked.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host =
        host == "localhost" || host == "127.0.0.1" || host.parse() == Ok(std::net::Ipv6Addr::LOCALHOST);
    is_host && port.parse() == Ok(9090_u16)
}

fn says_something(body: &[u8]) -> Result<(), &'static str> {
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(body) else { return Err("no JSON object") };
    let lists =
        ["urls", "tags", "rules"].map(|name| body.get(name).and_then(Value::as_array).map_or(0, Vec::len));
    let something = lists.iter().sum::<usize>() > 0 || body.get("all") == Some(&Value::Bool(true));
    if something { Ok(()) } else { Err("nothing to purge") }
}

/// The statuses that the description of the listener, and HTTP itself, have for this state.
const STATUSES: [u16; 12] = [200, 400, 401, 403, 404, 405, 413, 414, 415, 417, 421, 431];

fn status(answer: &[u8]) -> Option<u16> {
    let mut rest = answer;
    while let Some(after) = rest.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
        rest = after;
    }
    let digits = rest.get(9..12)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fuzz_target!(|data: &[u8]| {
    let Some((setting, data)) = data.split_first() else { return };
    let local = (setting & 1 == 0).then(|| LOCAL.parse().expect("it is an address"));
    let setting = Setting { local, token: setting & 2 == 2 };
    let mut bytes = connection(data, &WORDS);
    if data.first().is_some_and(|first| first & 0x40 != 0) {
        // More than a body may have, of what would be one.
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        bytes.splice(at..at, [b' '; BODY_BYTES]);
    }
    let purged = Arc::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let answer = runtime.block_on(converse(&bytes, setting, &purged));
    let purged = purged.lock().expect("it is not poisoned").len();
    let status = status(&answer);
    assert!(status.is_none_or(|status| STATUSES.contains(&status)), "answered {status:?}");
    assert!(purged <= 1, "{purged} purges by one connection");
    if purged == 1 {
        assert_eq!(status, Some(200), "purged, and answered otherwise");
        // hyper takes line ends and lengths less strictly: then the head alone is judged.
        let (message, _) = strict::lines(&bytes).expect("purged by what is no request");
        let consent = may_purge(&message, setting);
        assert!(consent.is_ok(), "purged, though: {consent:?}");
        if let Read::Whole(message, _) = strict::request(&bytes) {
            assert!(message.body.len() <= BODY_BYTES, "purged by a body of {} bytes", message.body.len());
            let purge = says_something(&message.body);
            assert!(purge.is_ok(), "purged, though: {purge:?}");
        }
    }
});
