//! How a Redis lets us in: TLS, users, passwords that are replaced, databases and sockets. Each on a
//! server of the test's own, by what the file says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use http::HeaderMap;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use redis::Value;
use sidecache::{
    clock::Clock,
    config::Config,
    store::redis::{Health, RedisStore, Settings, SettingsError},
};
use support::{
    echo::Echo,
    entries::{KEEP, TIERS, body, commit, entry, fleet, resource},
    redis::{PATIENCE, RedisServer, eventually},
    sentinel::Sentinel,
    spawned::Spawned,
    users::Rights,
    wire::Wire,
};
use tempfile::TempDir;

/// The settings by a file with this `store.redis`.
fn settings(redis: &str) -> Result<Settings, SettingsError> {
    let text = format!(
        "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: []\nstore: {{ prefix: test, redis: {redis} }}"
    );
    let config = Config::parse(&text, "c.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    Settings::of(&config.store.redis.unwrap(), &config.store.prefix.unwrap())
}

fn start(redis: &str) -> RedisStore {
    RedisStore::start(settings(redis).unwrap(), Clock::System)
}

/// It is let in, and stores.
async fn works(store: &RedisStore) {
    let up = async || store.health() == Health::Up && store.takes_writes();
    tokio::time::timeout(PATIENCE / 2, eventually("the store is up", up))
        .await
        .unwrap_or_else(|_| panic!("{:?}", store.health()));
    let key = resource("/one");
    let stored = async || commit(store, &key, entry(&key, &HeaderMap::new(), &[], "one"), KEEP).await.is_ok();
    eventually("it is stored", stored).await;
    assert_eq!(body(store, &key, &HeaderMap::new()).await, "one");
}

fn why_down(store: &RedisStore) -> String {
    match store.health() {
        Health::Up => String::new(),
        Health::Down { reason, .. } => reason,
    }
}

/// A folder with an authority, a server's certificate and one for us.
struct Papers {
    folder: TempDir,
}

impl Papers {
    fn new() -> Self {
        let papers = Self { folder: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        papers.write("ca.pem", &authority.pem());
        for (name, use_of) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.extended_key_usages = vec![use_of];
            params.distinguished_name.push(DnType::CommonName, name);
            papers.write(&format!("{name}.pem"), &params.signed_by(&key, &authority).unwrap().pem());
            papers.write(&format!("{name}.key"), &key.serialize_pem());
        }
        papers
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What a server is told of TLS, and whether its clients have to show who they are.
    fn of_a_server(&self, clients: &str) -> [(&'static str, String); 4] {
        let file = |key, name| (key, self.shown(name));
        [
            file("tls-cert-file", "server.pem"),
            file("tls-key-file", "server.key"),
            file("tls-ca-cert-file", "ca.pem"),
            ("tls-auth-clients", clients.to_owned()),
        ]
    }
}

/// A server that speaks TLS on this port, to whom it knows.
fn tls_server(papers: &Papers) -> (RedisServer, u16) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut arguments = vec!["--tls-port".to_owned(), port.to_string()];
    for (key, value) in papers.of_a_server("yes") {
        arguments.extend([format!("--{key}"), value]);
    }
    let server = RedisServer::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    (server, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_our_own_authority_and_certificate() {
    let (papers, strangers) = (Papers::new(), Papers::new());
    let (server, port) = tls_server(&papers);
    server.command(&["ACL", "SETUSER", "shop", "on", ">canary", "~test:*", "+@all"]);
    papers.write("password", "canary\n");
    let redis = |ca: &str, identity: &str| {
        let password = papers.shown("password");
        format!(
            "{{ url: 'rediss://localhost:{port}', user: shop, password_file: {password}, database: 3, \
             tls: {{ ca: {ca}{identity} }} }}"
        )
    };
    let identity = format!(", cert: {}, key: {}", papers.shown("client.pem"), papers.shown("client.key"));
    let ours = papers.shown("ca.pem");
    let store = start(&redis(&ours, &identity));
    works(&store).await;
    assert!(server.keys().is_empty(), "it is in another database");
    let mut third = server.connect().unwrap();
    redis::cmd("SELECT").arg(3).exec(&mut third).unwrap();
    let stored: Vec<String> = redis::cmd("KEYS").arg("test:v1:r:*").query(&mut third).unwrap();
    assert_eq!(stored.len(), 1);

    let tiers = fleet(store, TIERS);
    eventually("it tells what changes", async || tiers.tracking().session().is_some()).await;

    let unknown = start(&redis(&strangers.shown("ca.pem"), &identity));
    eventually("it is not believed", async || why_down(&unknown).contains("certificate")).await;
    let nobody = start(&redis(&ours, ""));
    eventually("we are not let in", async || why_down(&nobody).contains("ertificate")).await;
    let nodes = format!("{{ nodes: ['127.0.0.1:{port}'], tls: {{ ca: {ours}{identity} }} }}");
    let misnamed = start(&nodes);
    eventually("it is of another name", async || why_down(&misnamed).contains("certificate")).await;
    for store in [&unknown, &nobody, &misnamed] {
        assert!(!format!("{store:?} {:?}", store.health()).contains("canary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redis_without_tls_may_lack_is_said() {
    let server = RedisServer::start_on_tcp();
    let url = server.url().replace("redis://", "rediss://");
    let store = start(&format!("'{url}'"));
    eventually("it is said", async || why_down(&store).contains("does it speak TLS?")).await;
}

/// It serves what others store, and does not hide that nothing of its own is.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_is_ready_and_says_what_is_missing() {
    let server = RedisServer::start_on_tcp();
    server.command(&[
        "ACL", "SETUSER", "shop", "on", ">canary", "~test:*", "+hello", "+time", "+hmget", "+get", "+pttl",
    ]);
    let url = server.url().replace("redis://", "redis://shop:canary@");
    let origin = Echo::start().await;
    let sidecar = Spawned::start(&format!(
        "upstream: http://{}\nstore: {{ redis: '{url}', prefix: test }}\nroutes: [{{ match: /p, cache: 60s }}]\n",
        origin.address
    ))
    .await;
    let reasons = || sidecar.admin("/readyz").to_string();
    eventually("it is said", async || {
        Wire::tcp(sidecar.address).await.send("GET /p HTTP/1.1\r\nHost: a\r\n\r\n").await;
        reasons().contains("takes no writes: NOPERM")
    })
    .await;
    assert!(reasons().contains("degraded"), "{}", reasons());
    // Also once it is no longer asked each time.
    for _ in 0..5 {
        let told = sidecar.admin_post("/purge", r#"{"tags": ["home"]}"#);
        assert!(told.contains("alone: Redis") && told.contains("NOPERM"), "{told}");
    }
    server.command(&["ACL", "SETUSER", "shop", "+@all"]);
    eventually("it is not said any longer", async || {
        Wire::tcp(sidecar.address).await.send("GET /p HTTP/1.1\r\nHost: a\r\n\r\n").await;
        !reasons().contains("takes no writes")
    })
    .await;
}

/// Redis calls that an error of the script.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_within_a_script_is_said_to_be() {
    let server = RedisServer::start_on_tcp();
    let origin = Echo::start().await;
    let sidecar = Spawned::start(&format!(
        "upstream: http://{}\nstore: {{ redis: '{}', prefix: test }}\nroutes: [{{ match: /p, cache: 60s }}]\n",
        origin.address,
        Rights::documented().without("+set").granted(&server)
    ))
    .await;
    let said = "NOPERM The user executing the script can't run this command";
    eventually("it is said", async || {
        Wire::tcp(sidecar.address).await.send("GET /p HTTP/1.1\r\nHost: a\r\n\r\n").await;
        sidecar.admin("/readyz").to_string().contains(&format!("takes no writes: {said}"))
    })
    .await;
}

/// It would take writes yet, of others.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_nearly_full_is_said_to_be() {
    let (server, origin) = (RedisServer::start(), Echo::start().await);
    let sidecar = Spawned::start(&format!(
        "upstream: http://{}\nstore: {{ redis: '{}', prefix: test }}\nroutes: [{{ match: /p, cache: 60s }}]\n",
        origin.address,
        server.url()
    ))
    .await;
    let reasons = || sidecar.admin("/readyz").to_string();
    eventually("all is well", async || !reasons().contains("degraded")).await;
    server.fill_nearly();
    let said = "nothing new is stored: Redis evicts nothing and is nearly full";
    eventually("it is said", async || reasons().contains(said)).await;
    server.make_room();
    eventually("it is said no longer", async || !reasons().contains("degraded")).await;
}

/// Full, or a replica: with the rights that are documented, not one more.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_writes_is_degraded_says_why_and_counts_as_dropped() {
    let server = RedisServer::start_on_tcp();
    let origin = Echo::start().await;
    let sidecar = Spawned::start(&format!(
        "upstream: http://{}\nstore: {{ redis: '{}', prefix: test }}\nroutes: [{{ match: /p, cache: 60s }}]\n",
        origin.address,
        Rights::documented().granted(&server)
    ))
    .await;
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (full, empty) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
    let (replica, master) = (["REPLICAOF", "127.0.0.1", nowhere.as_str()], ["REPLICAOF", "NO", "ONE"]);
    let dropped = || {
        let metrics = sidecar.admin_text("/metrics");
        let line = metrics.lines().find(|line| line.contains("redis_writes_total{result=\"dropped\"}"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let asked = AtomicU64::new(0);
    let says = async |reason: Option<&str>| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let request = format!("GET /p?{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut client = Wire::tcp(sidecar.address).await;
        client.send(&request).await;
        assert_eq!(client.response().await.status(), 200);
        let told = sidecar.admin("/readyz").to_string();
        assert!(!told.contains("script"), "{told}");
        reason.map_or(!told.contains("takes no writes"), |reason| {
            told.contains("degraded") && told.contains(&format!("takes no writes: {reason}"))
        })
    };
    for (does, undoes, reason) in [
        (&full[..], &empty[..], "OOM command not allowed"),
        (&replica[..], &master[..], "READONLY You can't write against a read only replica"),
    ] {
        let before = dropped();
        server.command(does);
        eventually("it is said", async || says(Some(reason)).await).await;
        eventually("what is not stored is counted", async || dropped() > before).await;
        server.command(undoes);
        eventually("it is said no longer", async || says(None).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_speak_tls_and_ask_for_a_password_of_their_own() {
    let papers = Papers::new();
    let (server, master) = tls_server(&papers);
    server.command(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    server.command(&["ACL", "SETUSER", "shop", "on", ">canary", "~test:*", "+@all"]);
    let told: String =
        papers.of_a_server("no").iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    // The certificate is of a name, so the sentinel has to name it too.
    let sentinel = Sentinel::start_with(|port| {
        format!(
            "port 0\ntls-port {port}\n{told}tls-replication yes\nrequirepass guard\n\
             sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
             sentinel monitor shop localhost {master} 1\n"
        )
    });
    papers.write("password", "canary");
    papers.write("guard", "guard");
    papers.write("wrong", "other");
    let redis = |guard: &str, tls: &str| {
        let (port, password, guard) = (sentinel.port, papers.shown("password"), papers.shown(guard));
        format!(
            "{{ mode: sentinel, nodes: ['localhost:{port}'], user: shop, password_file: {password}{tls}, \
             sentinel: {{ master: shop, password_file: {guard} }} }}"
        )
    };
    let tls = format!(", tls: {{ ca: {} }}", papers.shown("ca.pem"));
    works(&start(&redis("guard", &tls))).await;
    let refused = format!("sentinel localhost:{}: ", sentinel.port);
    let stranger = start(&redis("wrong", &tls));
    eventually("it is not let in", async || {
        why_down(&stranger).strip_prefix(&*refused).is_some_and(|why| why.contains("authentication failed"))
    })
    .await;
    let clear = start(&redis("guard", ""));
    eventually("nothing else is spoken", async || why_down(&clear).starts_with(&*refused)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_replaced_while_we_run() {
    let (server, papers) = (RedisServer::start_on_tcp(), Papers::new());
    let mut operator = server.connect().unwrap();
    let mut tell = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut operator).unwrap();
    tell(&["ACL", "SETUSER", "shop", "on", ">older", "~test:*", "+@all"]);
    papers.write("password", "older\n");
    let url = server.url();
    let redis = format!("{{ url: '{url}', user: shop, password_file: {} }}", papers.shown("password"));
    let store = start(&redis);
    works(&store).await;

    // The user's connections are closed with its password.
    tell(&["ACL", "SETUSER", "shop", "<older", ">newer"]);
    tell(&["CLIENT", "KILL", "USER", "shop"]);
    eventually("the older one is refused", async || why_down(&store).contains("WRONGPASS")).await;
    fs::remove_file(papers.path("password")).unwrap();
    eventually("that it is gone is said", async || why_down(&store).contains("cannot be read")).await;
    papers.write("password", "newer");
    works(&store).await;
    assert!(!format!("{store:?} {:?}", store.health()).contains("newer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_socket_in_another_database() {
    let (server, papers) = (RedisServer::start(), Papers::new());
    server.command(&["ACL", "SETUSER", "shop", "on", ">canary", "~test:*", "+@all"]);
    papers.write("password", "canary");
    let (url, password) = (server.url(), papers.shown("password"));
    let store = start(&format!("{{ url: '{url}', user: shop, password_file: {password}, database: 2 }}"));
    works(&store).await;
    assert_eq!(server.command(&["DBSIZE"]), Value::Int(0));
    let whole = start(&format!("'{url}?db=2&user=shop&pass=canary'"));
    works(&whole).await;
}

#[test]
fn files_that_are_of_no_use_are_told_of_at_the_start() {
    let papers = Papers::new();
    papers.write("empty", "\n");
    fs::write(papers.path("binary"), [0xff]).unwrap();
    let refused = |redis: String| settings(&redis).unwrap_err().to_string();
    let named = |name: &str, why: &str| format!("{}: {why}", papers.shown(name));
    for (name, why) in [
        ("none", "cannot be read: No such file or directory (os error 2)"),
        ("empty", "is empty"),
        ("binary", "is not UTF-8"),
    ] {
        let path = papers.shown(name);
        assert_eq!(refused(format!("{{ url: 'redis://h', password_file: {path} }}")), named(name, why));
        let of_sentinels =
            format!("{{ mode: sentinel, nodes: [h], sentinel: {{ master: m, password_file: {path} }} }}");
        assert_eq!(refused(of_sentinels), named(name, why));
    }
    let tls = |keys: &str| refused(format!("{{ nodes: [h], tls: {{ {keys} }} }}"));
    let (certificate, key) = (papers.shown("client.pem"), papers.shown("client.key"));
    let no_certificate = named("client.key", "holds no certificate in PEM form");
    assert_eq!(tls(&format!("ca: {key}")), no_certificate);
    assert_eq!(tls(&format!("cert: {key}, key: {key}")), no_certificate);
    let no_key = named("client.pem", "holds no private key in PEM form");
    assert_eq!(tls(&format!("cert: {certificate}, key: {certificate}")), no_key);
    assert!(Path::new(&certificate).exists());
}
