//! The command, the listener and the store together: what is purged is fetched anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use std::process::Output;

use support::{browser::Browser, origin::Origin, spawned::Spawned};
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
    assert!(output.stdout.starts_with(b"purged on every live sidecar (1): 1 URL; "), "{output:?}");
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
