//! What a sidecar as it is run tells of those who use it, and what they can do to it.

use std::{collections::BTreeSet, fs, time::Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::{net::UnixStream, task::JoinSet};

use crate::support::{
    browser::Browser,
    load::Load,
    origin::{Origin, Step, ok},
    redis::{RedisServer, eventually},
    spawned::Spawned,
    story::everything,
    wire::Wire,
};

/// In every secret, and nowhere else.
const CANARY: &str = "cafe4711";

/// An app that sets cookies, and at `/gone` gives no answer.
async fn app() -> Origin {
    Origin::start(|asked| match asked.target.split('?').next() {
        Some("/gone") => vec![Step::Close],
        _ => ok(&format!("Set-Cookie: id={CANARY}\r\nX-Api-Key: {CANARY}\r\n"), "body"),
    })
    .await
}

/// Traffic with a secret wherever one may be: hits, misses, what goes past, fails, and is refused.
async fn send_secrets(sidecar: &Spawned) {
    let fields = format!(
        "Host: a\r\nAuthorization: Bearer {CANARY}\r\nCookie: id={CANARY}\r\nX-Api-Key: {CANARY}\r\n\
         Proxy-Authorization: Basic {CANARY}\r\nReferer: http://a/?token={CANARY}\r\n"
    );
    let mut requests = Vec::new();
    for path in ["/a", "/a", "/gone", "/%zz"] {
        requests.push(format!("GET {path}?token={CANARY} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"));
    }
    let length = CANARY.len();
    requests.push(format!("POST /a HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{CANARY}"));
    requests.push(format!("GET /?token={CANARY} HTTP/1.1\r\n{fields}X\x01: {CANARY}\r\n\r\n"));
    requests.push(format!("{CANARY}\r\n\r\n"));
    requests.push(format!("GET /a HTTP/1.1\r\nHost: user:{CANARY}@a\r\n\r\n"));
    requests.push(format!("GET /a#{CANARY} HTTP/1.1\r\n{fields}\r\n"));
    for request in requests {
        let mut wire = Wire::tcp(sidecar.address).await;
        wire.send(request).await;
        wire.next_head().await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_told_to_anybody() {
    let (origin, redis) = (app().await, RedisServer::start_on_tcp());
    redis.command(&["CONFIG", "SET", "requirepass", CANARY]);
    let url = redis.url().replace("redis://", &format!("redis://:{CANARY}@"));
    let rules = everything("{ ttl: 1h, set_cookie: strip, credentials: ignore }");
    let yaml = format!(
        "upstream: http://{}\nstore: {{ redis: \"{url}\", prefix: secret }}\n{rules}",
        origin.address
    );
    let sidecar = Spawned::start_with(&yaml, &["--log", "trace"], &[]).await;
    send_secrets(&sidecar).await;
    // Another password, so that ours is wrong, and an edit that cannot be understood where the password is.
    let mut client = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "another"]).exec(&mut client).unwrap();
    let _: redis::RedisResult<()> =
        redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "no"]).exec(&mut client);
    let told = |what: &str| sidecar.log().iter().any(|line| line.to_string().contains(what));
    eventually("a password that is wrong is told of", async || told("WRONGPASS")).await;
    send_secrets(&sidecar).await;
    fs::write(sidecar.file(), sidecar.text(&yaml.replace("store: {", "store: { nonsense: [, "))).unwrap();
    sidecar.signal(Signal::HUP);
    eventually("the edit is refused", async || told("is not taken")).await;

    assert!(told("/gone"), "the requests are in it");
    assert_tells_no_secret(&sidecar);
}

/// Neither in its log, nor to who may see the admin listener or its command line.
fn assert_tells_no_secret(sidecar: &Spawned) {
    let mut all: Vec<_> = sidecar.log().iter().map(ToString::to_string).collect();
    all.extend(["/config", "/metrics", "/readyz", "/livez"].map(|path| sidecar.admin_text(path)));
    all.push(fs::read_to_string(format!("/proc/{}/cmdline", sidecar.pid().as_raw_nonzero())).unwrap());
    let told: Vec<_> = all.iter().filter(|text| text.contains(CANARY)).collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// A Redis without `HELLO` says with what arguments it was asked for it: the password is one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_redis_repeats_of_a_command_is_told_to_nobody() {
    let (origin, redis) = (app().await, RedisServer::start_on_tcp_with(&["--rename-command", "HELLO", ""]));
    redis.command(&["CONFIG", "SET", "requirepass", CANARY]);
    let url = redis.url().replace("redis://", &format!("redis://:{CANARY}@"));
    let yaml = format!(
        "upstream: http://{}\nstore: {{ redis: \"{url}\", prefix: secret }}\n{}",
        origin.address,
        everything("1h")
    );
    let sidecar = Spawned::start_with(&yaml, &["--log", "trace"], &[]).await;
    let told = |what: &str| sidecar.log().iter().any(|line| line.to_string().contains(what));
    eventually("it is told why", async || told("unknown command 'HELLO'")).await;
    assert_tells_no_secret(&sidecar);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_writes_one_line_and_steers_nothing() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\n{}", origin.address, everything("1h"));
    let sidecar = Spawned::start_with(&yaml, &["--log", "info"], &[]).await;
    let lines = [
        "GET /%1b[2J%0d%0aINFO%20fake HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\x1b[2J\r\n\r\n",
        "\x1b[2J /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\"},{\"level\":\"INFO HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b]0;evil\x07\r\nConnection: close\r\n\r\n",
    ];
    let before = sidecar.log().len();
    for request in lines {
        let mut wire = Wire::tcp(sidecar.address).await;
        wire.send(request).await;
        wire.next_head().await.expect("an answer");
    }
    eventually("each is logged", async || sidecar.log().len() >= before + lines.len()).await;
    let log = sidecar.log().split_off(before);
    assert_eq!(log.len(), lines.len(), "{log:#?}");
    assert!(log.iter().all(Value::is_object), "{log:#?}");
}

/// The names and labels of all series.
fn series(sidecar: &Spawned) -> BTreeSet<String> {
    let metrics = sidecar.admin_text("/metrics");
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
}

/// Sends these one behind the other, and reads as many answers.
async fn pipelined(sidecar: &Spawned, requests: &[String]) {
    let mut wire = Wire::tcp(sidecar.address).await;
    for some in requests.chunks(50) {
        wire.send(some.concat()).await;
        for request in some {
            wire.response_to(request.split(' ').next().unwrap()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_urls_hosts_and_methods_make_no_series() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\n{}", origin.address, everything("1h"));
    let sidecar = Spawned::start(&yaml).await;
    let request = |n: usize, method: &str| {
        format!("{method} /{n}?{n} HTTP/1.1\r\nHost: h{n}\r\nUser-Agent: u{n}\r\n\r\n")
    };
    // One of each kind: a miss, a hit, another method.
    pipelined(&sidecar, &[request(0, "GET"), request(0, "GET"), request(0, "FROB")]).await;
    let before = series(&sidecar);
    assert!(before.len() > 20, "{before:?}");
    let method = |n: usize| if n.is_multiple_of(4) { format!("M{n}") } else { "GET".to_owned() };
    let requests: Vec<_> = (1..=10_000).map(|n| request(n, &method(n))).collect();
    pipelined(&sidecar, &requests).await;
    let after = series(&sidecar);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
}

/// A hundred at once, each of which would send a gigabyte to the admin listener.
async fn flood(sidecar: &Spawned) {
    let mut floods = JoinSet::new();
    for _ in 0..100 {
        let socket = UnixStream::connect(sidecar.admin_socket()).await.unwrap();
        floods.spawn(async move {
            let mut wire = Wire::new(socket);
            let head = "POST /purge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
            let mut open =
                wire.try_send(format!("{head}content-length: 1000000000\r\n\r\n").as_bytes()).await;
            let piece = vec![b' '; 1 << 20];
            let mut sent = 0;
            while open && sent < 1000 {
                open = wire.try_send(&piece).await;
                sent += 1;
            }
            (sent, wire.next_head().await.map(|answer| answer.status()))
        });
    }
    for (sent, status) in floods.join_all().await {
        assert!(sent < 1000 && matches!(status, None | Some(413)), "{sent} MiB, {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_the_admin_listener_does_not_reach_the_app() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\n{}", origin.address, everything("1h"));
    let sidecar = Spawned::start(&yaml).await;
    let load = Load::start(sidecar.address, 4, &["/a", "/b"]);
    eventually("the app is asked", async || load.said("hit") > 0).await;
    let before = load.said("hit");
    // A flood is over soon; on a busy machine before anybody has had a turn.
    let is_served = async || {
        flood(&sidecar).await;
        load.said("hit") > before + 10
    };
    eventually("there are hits while it is flooded", is_served).await;
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(sidecar.admin_text("/livez").contains("live"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_that_multiply_are_refused_while_the_rules_in_force_go_on() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\n{}", origin.address, everything("1h"));
    let sidecar = Spawned::start(&yaml).await;
    let load = Load::start(sidecar.address, 4, &["/a", "/b"]);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let begun = Instant::now();
    fs::write(sidecar.file(), sidecar.text(&format!("{bomb}{yaml}"))).unwrap();
    let refused = async || sidecar.messages().iter().any(|message| message.contains("is not taken"));
    eventually("it is refused", refused).await;
    let took = begun.elapsed();
    assert!(took.as_secs() < 3, "{took:?}");
    assert!(Browser::connect(sidecar.address).await.ask("GET /a", &[]).await.is_hit());
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
}
