//! `sidecache explain`, of a running binary and of a file.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{browser::Browser, origin::Origin, redis::eventually, spawned::Spawned};

fn explain(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.arg("explain").args(arguments).stdin(Stdio::null());
    for name in ["SIDECACHE_ADMIN", "SIDECACHE_ADMIN_TOKEN"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_is_asked() {
    let origin = Origin::saying("Set-Cookie: session=s3cret\r\n").await;
    let rest = "routes:\n  - { match: /off, cache: off }\n  - { match: /a, cache: 5m }\n";
    let sidecar = Spawned::start(&format!("upstream: http://{}\n{rest}", origin.address)).await;
    let admin = format!("unix:{}", sidecar.admin_socket().display());
    Browser::connect(sidecar.address).await.ask("GET /a", &[]).await.fine();
    let asked = || sidecar.admin_post("/explain", r#"{"url": "http://shop/a"}"#);
    eventually("the request is noted", async || asked().contains("set-cookie")).await;
    let text = printed(&explain(&["http://shop/a", "--admin", &admin]));
    for line in [
        "GET http://shop/a",
        "rule     /a, cache: 300s",
        "not /off: the path is not /off",
        "stored   nothing that this request selects",
        "now      uri-miss: the app is asked",
        "to do    `set_cookie: strip`",
        "last     uri-miss (set-cookie), status 200",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("\nbut "), "{text}");
    let text = printed(&explain(&["http://127.0.0.1:8000/a", "--admin", &admin]));
    assert!(text.contains("but      clients ask for this path with the host shop: write"), "{text}");
    let line = ["GET", "http://shop/a", "-H", "Cookie: a=1", "--json", "--ask-origin", "--admin", &admin];
    let told: Value = serde_json::from_str(&printed(&explain(&line))).unwrap();
    assert_eq!(
        (&told["decision"]["outcome"], &told["decision"]["detail"]),
        (&"bypass".into(), &"cookie".into())
    );
    assert_eq!(told["origin"]["would_store"], false);
    let posted = sidecar.admin_post("/explain", r#"{"url": "http://shop/off"}"#);
    assert!(posted.starts_with("HTTP/1.1 200") && posted.contains("\"rule-off\""), "{posted}");
}

#[test]
fn a_file_is_asked_where_no_sidecar_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    let text = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: [{ match: /a, cache: 5m }]\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let shown = printed(&explain(&["http://shop/a", "--config", file]));
    for line in [
        "rule     /a, cache: 300s",
        "stored for 5m unless the app states a lifetime itself",
        "now      uri-miss",
        "by the file alone",
    ] {
        assert!(shown.contains(line), "{line}:\n{shown}");
    }
    let none: Value =
        serde_json::from_str(&printed(&explain(&["http://shop/b", "-c", file, "--json"]))).unwrap();
    assert_eq!(none["decision"]["detail"], "no-rule");
}

#[test]
fn who_cannot_be_asked_is_1_and_a_wrong_line_is_2() {
    let code = |arguments: &[&str]| {
        let output = explain(arguments);
        assert!(!output.stderr.is_empty(), "{output:?}");
        output.status.code().unwrap()
    };
    assert_eq!(code(&["http://a/", "--admin", "unix:/none/admin.sock"]), 1);
    for wrong in [
        &[][..],
        &["/a"],
        &["G T", "http://a/"],
        &["GET", "http://a/", "more"],
        &["http://a/", "-H", "no colon"],
        &["http://a/", "-H", "a b: c"],
        &["http://a/", "--config", "/none.yaml"],
        &["http://a/", "--config", "x", "--ask-origin"],
    ] {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
}
