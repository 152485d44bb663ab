//! The command, the listener and the store together: what is purged is fetched anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{
    process::Output,
    time::{Duration, Instant},
};

use support::{
    browser::{Answer, Browser},
    origin::Origin,
    redis::{RedisServer, eventually},
    spawned::Spawned,
};
use tokio::process::Command;

/// `sidecache purge`, asked of this sidecar.
async fn purge(sidecar: &Spawned, args: &[&str]) -> Output {
    let socket = sidecar.file().with_file_name("admin.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.arg("purge").args(args).env("SIDECACHE_ADMIN", format!("unix:{}", socket.display()));
    command.env_remove("SIDECACHE_ADMIN_TOKEN").output().await.unwrap()
}

#[tokio::test]
async fn a_url_goes_with_all_its_variants_and_no_other() {
    let origin = Origin::saying("vary: accept-language\r\n").await;
    let yaml = format!(
        "upstream: http://{}\ntrusted_proxies: [127.0.0.1]\nroutes:\n  - {{ match: /**, cache: {{ ttl: 300s, key: \
         {{ query: {{ except: [utm_*] }} }} }} }}\n",
        origin.address
    );
    let sidecar = Spawned::start(&yaml).await;
    let requests = [
        ("GET /a?x=1", &[("host", "shop.example"), ("accept-language", "de")][..]),
        ("GET /a?x=1", &[("host", "shop.example"), ("accept-language", "fr")]),
        ("GET /a?x=1", &[("host", "shop.example"), ("x-forwarded-proto", "https")]),
        ("GET /a?x=2", &[("host", "shop.example")]),
        ("GET /a?x=1", &[("host", "other.example")]),
    ];
    let hits = async || {
        let mut hits = Vec::new();
        for (line, fields) in requests {
            hits.push(Browser::connect(sidecar.address).await.ask(line, fields).await.is_hit());
        }
        hits
    };
    assert_eq!(hits().await, [false; 5]);
    assert_eq!(hits().await, [true; 5]);
    let output = purge(&sidecar, &["--url", "https://Shop.example/a?x=1&utm_source=mail"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = b"purged on every live sidecar (1): URL https://Shop.example/a?x=1&utm_source=mail; ";
    assert!(output.stdout.starts_with(told), "{output:?}");
    assert_eq!(hits().await, [false, false, false, true, true]);
    assert_eq!(hits().await, [true; 5]);
}

#[tokio::test]
async fn a_purge_of_nothing_that_there_is_changes_nothing() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\nroutes: [{{ match: /a, cache: 300s }}]\n", origin.address);
    let sidecar = Spawned::start(&yaml).await;
    let output = purge(&sidecar, &["--rule", "/b"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no rule is called `/b`; there are `/a`"), "{said}");
}

#[tokio::test]
async fn who_names_the_host_of_the_app_is_told_with_which_clients_ask() {
    let origin = Origin::saying("").await;
    let yaml = format!("upstream: http://{}\nroutes: [{{ match: /**, cache: 300s }}]\n", origin.address);
    let sidecar = Spawned::start(&yaml).await;
    for host in ["shop.example", "www.shop.example", "shop.example"] {
        Browser::connect(sidecar.address).await.ask("GET /a?x", &[("host", host)]).await.fine();
    }
    // Hits are not noted: of the two the last one that was none comes first.
    let hosts = "www.shop.example or shop.example";
    let hint = format!(
        "\nnothing was stored for http://{}/a?y: clients ask for that path with the host {hosts}; purge it with that\n",
        origin.address
    );
    let wrong = format!("http://{}/a?y", origin.address);
    eventually("the requests are noted", async || {
        let output = purge(&sidecar, &["--url", &wrong]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap().ends_with(&hint)
    })
    .await;
    for right in ["http://shop.example/a?y", "http://www.shop.example/a?x", "http://shop.example/b"] {
        let output = purge(&sidecar, &["--url", right]).await;
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "{right}");
    }
}

#[tokio::test]
async fn who_purges_what_was_forwarded_under_another_host_is_told_that_it_stays() {
    let origin = Origin::saying("").await;
    let rest = "trusted_proxies: [127.0.0.1]\nroutes: [{ match: /**, name: all, cache: 300s }]\n";
    let sidecar = Spawned::start(&format!("upstream: http://{}\n{rest}", origin.address)).await;
    let ask = async |fields: &[(&str, &str)]| {
        Browser::connect(sidecar.address).await.ask("GET /a", fields).await.is_hit()
    };
    let forwarded = [("host", "shop.internal"), ("x-forwarded-host", "shop.example")];
    ask(&forwarded).await;
    let by_url = async |host: &str| {
        let output = purge(&sidecar, &["--url", &format!("http://{host}/a")]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = |host: &str| {
        format!(
            "\nhttp://{host}/a does not name what a trusted proxy asks for with the host shop.internal and \
             X-Forwarded-Host shop.example: purge that by tag or rule\n"
        )
    };
    eventually("the request is noted", async || {
        by_url("shop.example").await.ends_with(&told("shop.example"))
    })
    .await;
    for host in ["shop.internal", "localhost:8000"] {
        let said = by_url(host).await;
        assert!(said.ends_with(&told(host)) && said.lines().count() == 2, "{said}");
    }
    assert!(ask(&forwarded).await, "it stays");

    // What is asked for without a proxy goes, and what is not so is said all the same, of these hosts alone.
    let plain = [("host", "shop.example")];
    ask(&plain).await;
    assert!(ask(&plain).await);
    assert!(by_url("shop.example").await.ends_with(&told("shop.example")));
    assert!(!ask(&plain).await);
    let other = [("host", "other.example")];
    ask(&other).await;
    eventually("the request is noted", async || by_url("other.example").await.lines().count() == 1).await;
    assert!(!ask(&other).await);

    purge(&sidecar, &["--rule", "all"]).await;
    assert!(!ask(&forwarded).await, "it is gone");
}

#[tokio::test]
async fn who_purges_without_redis_is_told_what_is_wrong_with_it() {
    let origin = Origin::saying("").await;
    let rest = "store: { redis: redis://127.0.0.1:1, prefix: a }\nroutes: [{ match: /a, cache: 300s }]\n";
    let sidecar = Spawned::start(&format!("upstream: http://{}\n{rest}", origin.address)).await;
    eventually("Redis is away", async || {
        let output = purge(&sidecar, &["--all"]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        said.contains("purged on this sidecar alone: Redis is away: Connection refused")
    })
    .await;
}

/// Two sidecars on one Redis, before one origin.
struct Pair {
    origin: Origin,
    redis: RedisServer,
    sidecars: [Spawned; 2],
}

const RULES: &str = "routes:
  - { match: /soft, name: soft, cache: { ttl: 300s, stale_while_revalidate: 300s, tags: [both] } }
  - { match: /**, name: rest, cache: { ttl: 300s, tags: [t, both] } }
";

impl Pair {
    async fn start() -> Self {
        let (origin, redis) = (Origin::saying("").await, RedisServer::start());
        let file = format!(
            "upstream: http://{}\nstore: {{ redis: \"{}\", prefix: pair }}\n{RULES}",
            origin.address,
            redis.url()
        );
        let sidecars = [Spawned::start(&file).await, Spawned::start(&file).await];
        eventually("both are members", async || redis.members("pair").len() == 2).await;
        Self { origin, redis, sidecars }
    }

    async fn get(&self, sidecar: usize, target: &str) -> Answer {
        Browser::connect(self.sidecars[sidecar].address).await.ask(&format!("GET {target}"), &[]).await
    }

    /// Both have hits for these.
    async fn warm(&self, targets: &[&str]) {
        for sidecar in [0, 1, 0, 1] {
            for target in targets {
                let is_hit = async || {
                    let told = self.get(sidecar, target).await;
                    told.is_hit() && !told.says().contains("detail")
                };
                eventually("there are hits", is_hit).await;
            }
        }
    }

    /// Whether each of these is a hit of something that was there before, asked of one of them.
    async fn asked_after(&self, sidecar: usize, targets: &[&str]) -> Vec<bool> {
        let before = self.origin.count();
        let mut old = Vec::new();
        for target in targets {
            let told = self.get(sidecar, target).await;
            told.fine();
            let number: usize = told.body.strip_prefix("answer ").unwrap().parse().unwrap();
            old.push(number <= before);
        }
        old
    }
}

fn says(output: &Output) -> String {
    let told = if output.status.success() { &output.stdout } else { &output.stderr };
    String::from_utf8(told.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_command_names_goes_on_every_sidecar() {
    let pair = Pair::start().await;
    let targets = ["/a", "/b", "/soft"];
    for (round, (args, told, left)) in [
        (&["--url", "http://shop/a"][..], "(2): URL http://shop/a; ", [false, true, true]),
        (&["--url", "http://shop/a", "--url", "https://shop/a"], "(2): 2 URLs; ", [false, true, true]),
        (&["--tag", "t", "--tag", "unheard of"], "(2): 2 tags; ", [false, false, true]),
        (&["--rule", "soft"], "(2): rule soft; ", [true, true, false]),
        (
            &["--tag", "both", "--url", "http://shop/a"],
            "(2): URL http://shop/a, tag both; ",
            [false, false, false],
        ),
        (&["--all"], "(2): everything; ", [false, false, false]),
    ]
    .into_iter()
    .enumerate()
    {
        pair.warm(&targets).await;
        let output = purge(&pair.sidecars[round % 2], args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        let said = says(&output);
        assert!(said.starts_with(&format!("purged on every live sidecar {told}")), "{args:?}: {said}");
        assert_eq!(pair.asked_after((round + 1) % 2, &targets).await, left, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn softly_means_stale() {
    let pair = Pair::start().await;
    for args in [&["--url", "http://shop/soft"][..], &["--tag", "both"], &["--rule", "soft"], &["--all"]] {
        pair.warm(&["/soft"]).await;
        let fetches = pair.origin.count();
        let output = purge(&pair.sidecars[0], &[args, &["--soft"]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(says(&output).starts_with("marked stale on every live sidecar (2): "), "{}", says(&output));
        let stale = pair.get(1, "/soft").await;
        assert!(
            stale.is_hit() && stale.says().ends_with("; detail=stale-while-revalidate"),
            "{}",
            stale.says()
        );
        eventually("it is refreshed", async || pair.origin.count() == fetches + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_is_told_so() {
    let pair = Pair::start().await;
    pair.warm(&["/a"]).await;
    let output = purge(&pair.sidecars[0], &["--tag", "t", "--no-wait"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(says(&output).starts_with("on its way to every sidecar, to be purged: tag "), "{output:?}");
    assert_eq!(pair.asked_after(0, &["/a"]).await, [false], "here it is done");
    let newest = pair.origin.count();
    eventually("and there too", async || pair.get(1, "/a").await.body == format!("answer {newest}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_purges_nothing() {
    let pair = Pair::start().await;
    pair.warm(&["/a", "/b"]).await;
    for (args, code, told) in [
        (&["--rule", "unheard of", "--all"][..], 1, "no rule is called `unheard of`; there are "),
        (&["--url", "/a"], 2, "names no host"),
        (&["--url", "http://shop/a#b"], 2, "fragment"),
        (&[], 2, "required"),
        (&["--tag", "t", "--admin", "unix:/no/such/socket"], 1, "cannot ask unix:/no/such/socket"),
    ] {
        let output = purge(&pair.sidecars[0], args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(says(&output).contains(told), "{args:?}: {}", says(&output));
    }
    assert_eq!(pair.asked_after(0, &["/a", "/b"]).await, [true, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_nothing_is_purged() {
    let origin = Origin::saying("").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, secret: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (right, wrong) = (file("right", "sesame-open-sesame\n"), file("wrong", "open-sesame-please\n"));
    let yaml = format!("upstream: http://{}\n{RULES}", origin.address);
    let sidecar = Spawned::start_with(&yaml, &["--admin-token-file", &right], &[]).await;
    let get = async || Browser::connect(sidecar.address).await.ask("GET /a", &[]).await;
    get().await;
    eventually("it is stored", async || get().await.is_hit()).await;
    for (args, said) in
        [(&["--all"][..], "wants its token"), (&["--all", "--token-file", &wrong], "not its token")]
    {
        let output = purge(&sidecar, args).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(says(&output).contains(said), "{}", says(&output));
    }
    assert!(get().await.is_hit());
    let output = purge(&sidecar, &["--all", "--token-file", &right]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!get().await.is_hit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_it_fails_with_what_the_sidecar_said_and_is_made_up_for() {
    let mut pair = Pair::start().await;
    pair.warm(&["/a"]).await;
    pair.redis.command(&["SAVE"]);
    pair.redis.kill();
    let begun = Instant::now();
    let output = purge(&pair.sidecars[0], &["--tag", "t", "--url", "http://shop/a"]).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = says(&output);
    assert!(said.contains("503") && said.contains("on this sidecar alone"), "{said}");
    assert_eq!(pair.asked_after(0, &["/a"]).await, [false]);
    let newest = pair.origin.count();
    pair.redis.restart_as_saved();
    let is_new = async |sidecar| {
        let told = pair.get(sidecar, "/a").await;
        told.fine();
        told.body.strip_prefix("answer ").unwrap().parse::<usize>().unwrap() >= newest
    };
    eventually("the other one has obeyed", async || {
        assert!(is_new(0).await, "here it was done");
        is_new(1).await
    })
    .await;
    pair.warm(&["/a"]).await;
    assert!(is_new(0).await && is_new(1).await);
    eventually("a purge is done on both", async || {
        purge(&pair.sidecars[1], &["--tag", "t"]).await.status.success()
    })
    .await;
}
