//! What a request is called: its id and its trace, at the app, in the log and in errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{fs, process::Command};

use serde_json::Value;
use support::{
    browser::Browser,
    origin::{Asked, Origin, ok},
    redis::eventually,
    sidecar::Sidecar,
    spawned::Spawned,
    story::everything,
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRUSTING: &str = "trusted_proxies: [127.0.0.1]\n";

/// What the app gets of a `GET` with these fields, under these lines of the file.
async fn told(yaml: &str, fields: &[(&str, &str)]) -> Asked {
    let origin = Origin::saying("").await;
    let sidecar = Sidecar::start(origin.address, yaml);
    let answer = Browser::connect(sidecar.address).await.ask("GET /a", fields).await;
    assert_eq!(answer.status, 200);
    origin.last()
}

fn is_ours(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

#[tokio::test]
async fn what_a_client_calls_a_request_reaches_no_app() {
    for cache in ["off", "10s"] {
        let claims = [("x-request-id", "forged"), ("x_request_id", "forged"), ("X-REQUEST_ID", "forged")];
        let asked = told(&everything(cache), &claims).await;
        assert!(is_ours(asked.field("x-request-id").unwrap()), "{asked:?}");
        assert!(!asked.fields.iter().any(|(_, value)| value == "forged"), "{asked:?}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_calls_it_stays_if_it_is_harmless() {
    for cache in ["off", "10s"] {
        let yaml = format!("{TRUSTING}{}", everything(cache));
        let asked = told(&yaml, &[("x-request-id", "edge-7")]).await;
        assert_eq!(asked.field("x-request-id"), Some("edge-7"));
        for wrong in [&[("x-request-id", "a b")][..], &[("x-request-id", "a"), ("x-request-id", "b")]] {
            let asked = told(&yaml, wrong).await;
            assert!(is_ours(asked.field("x-request-id").unwrap()), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn section_3_a_trace_goes_on_and_what_is_none_is_dropped() {
    let passing = everything("off");
    let asked = told(&passing, &[("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")]).await;
    let state: Vec<_> = asked.fields.iter().filter(|(name, _)| name == "tracestate").collect();
    assert_eq!((asked.field("traceparent"), state.len()), (Some(TRACE), 2));
    for broken in ["00-0-0-0", "garbage"] {
        let asked = told(&passing, &[("traceparent", broken), ("tracestate", "a=1")]).await;
        assert_eq!((asked.field("traceparent"), asked.field("tracestate")), (None, None), "{broken}");
    }
    let asked = told(&passing, &[("traceparent", TRACE), ("traceparent", TRACE)]).await;
    assert_eq!(asked.field("traceparent"), None, "it must be one");
}

#[tokio::test]
async fn a_fill_tells_of_a_trace_in_its_one_form_and_nothing_else() {
    let later = format!("cc{}-whatever", &TRACE[2..]);
    let asked = told(&everything("10s"), &[("traceparent", &later), ("tracestate", "a=1")]).await;
    assert_eq!((asked.field("traceparent"), asked.field("tracestate")), (Some(TRACE), None));
}

#[tokio::test]
async fn a_trace_begins_here_only_where_that_is_asked_for() {
    for cache in ["off", "10s"] {
        let asked = told(&everything(cache), &[("tracestate", "a=1")]).await;
        assert_eq!((asked.field("traceparent"), asked.field("tracestate")), (None, None));
        let asked =
            told(&format!("traceparent: create\n{}", everything(cache)), &[("tracestate", "a=1")]).await;
        let trace = asked.field("traceparent").unwrap();
        assert!(trace.len() == 55 && trace.starts_with("00-") && trace.ends_with("-00"), "{trace}");
        assert_eq!(asked.field("tracestate"), None);
    }
}

#[tokio::test]
async fn what_is_keyed_selects_and_stays_as_it_is() {
    let keyed = "{ ttl: 10s, key: { headers: [x-request-id, traceparent, tracestate] } }";
    let fields = [("x-request-id", "one"), ("traceparent", "two"), ("tracestate", "three")];
    let asked = told(&everything(keyed), &fields).await;
    for (name, value) in fields {
        assert_eq!(asked.field(name), Some(value), "{name}");
    }
    let asked = told(&everything(keyed), &[]).await;
    assert_eq!(asked.field("x-request-id"), None, "nor is what selects made up");
}

#[tokio::test]
async fn an_error_of_our_own_says_what_it_is_called_and_nothing_else_does() {
    let origin = Origin::start(|_| ok("X-Request-Id: of-the-app\r\n", "")).await;
    let sidecar = Sidecar::start(origin.address, &format!("hosts: [a]\n{TRUSTING}{}", everything("10s")));
    for expected in ["uri-miss", "hit"] {
        let answer = sidecar
            .ask("GET /a HTTP/1.1\r\nHost: a\r\nX-Request-Id: edge-7\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.field("cache-status").unwrap().contains(expected));
        assert_eq!(answer.all("x-request-id"), ["of-the-app"]);
        eventually("it is stored", async || sidecar.stored() == 1).await;
    }
    let refused =
        sidecar.ask("GET /a HTTP/1.1\r\nHost: b\r\nX-Request-Id: edge-7\r\nConnection: close\r\n\r\n").await;
    assert_eq!((refused.status(), refused.all("x-request-id")), (421, vec!["edge-7"]));
    let unread = sidecar.ask("GET /a HTTP/1.1\r\nX-Request-Id: edge-7\r\n\r\n").await;
    assert_eq!(unread.status(), 400);
    assert!(is_ours(unread.field("x-request-id").unwrap()), "what was not read is not believed");
}

#[tokio::test]
async fn section_4_1_what_an_id_selects_is_for_no_other_request() {
    let origin = Origin::start(|_| ok("Vary: X-Request-Id\r\n", "")).await;
    let sidecar = Sidecar::start(origin.address, &everything("10s"));
    for _ in 0..2 {
        let answer = sidecar.get("/a").await;
        assert_eq!(answer.field("cache-status"), Some("sidecache; fwd=uri-miss; detail=vary-star"));
    }
}

/// The access lines so far.
fn lines(sidecar: &Spawned) -> Vec<Value> {
    sidecar.log().into_iter().filter(|line| line["target"] == "access").collect()
}

async fn logging(origin: &Origin, rest: &str) -> Spawned {
    let yaml = format!("upstream: http://{}\nhosts: [shop]\n{rest}{}", origin.address, everything("off"));
    Spawned::start_with(&yaml, &["--log", "info"], &[]).await
}

#[tokio::test]
async fn the_log_calls_it_what_the_app_and_the_client_are_told() {
    let origin = Origin::saying("").await;
    let sidecar = logging(&origin, "traceparent: create\n").await;
    let mut client = Browser::connect(sidecar.address).await;
    assert_eq!(client.ask("GET /a", &[]).await.status, 200);
    let refused = client.ask("GET /b", &[("host", "elsewhere")]).await;
    assert_eq!(refused.status, 421);
    eventually("both lines", async || lines(&sidecar).len() == 2).await;
    let lines = lines(&sidecar);
    let asked = origin.last();
    assert_eq!(lines[0]["request_id"], asked.field("x-request-id").unwrap());
    assert_eq!(lines[0]["trace_id"], asked.field("traceparent").unwrap()[3..35]);
    assert_eq!(lines[1]["request_id"], refused.field("x-request-id"));
}

#[tokio::test]
async fn the_admin_listener_and_the_health_check_write_no_access_line() {
    let origin = Origin::saying("").await;
    let sidecar = logging(&origin, "").await;
    for path in ["/livez", "/readyz", "/metrics", "/nowhere"] {
        sidecar.admin_text(path);
    }
    let admin = format!("unix:{}", sidecar.admin_socket().display());
    let check =
        Command::new(env!("CARGO_BIN_EXE_sidecache")).args(["healthcheck", "--admin", &admin]).status();
    assert!(check.unwrap().success());
    assert_eq!(Browser::connect(sidecar.address).await.ask("GET /last", &[]).await.status, 200);
    eventually("the line of the last", async || !lines(&sidecar).is_empty()).await;
    assert_eq!(lines(&sidecar).iter().map(|line| &line["path"]).collect::<Vec<_>>(), ["/last"]);
}

#[tokio::test]
async fn what_is_logged_is_edited_while_it_runs() {
    let origin = Origin::saying("").await;
    let sidecar = logging(&origin, "access_log: { quiet: [/healthz] }\n").await;
    let mut client = Browser::connect(sidecar.address).await;
    for path in ["GET /healthz", "GET /a"] {
        client.ask(path, &[]).await;
    }
    eventually("the line of the second", async || !lines(&sidecar).is_empty()).await;
    let text =
        fs::read_to_string(sidecar.file()).unwrap().replace("quiet: [/healthz]", "sample: 0%, slow: 1h");
    fs::write(sidecar.file(), text).unwrap();
    eventually("the edit", async || sidecar.admin("/config")["generation"] == 2).await;
    for path in ["GET /healthz", "GET /a"] {
        client.ask(path, &[]).await;
    }
    client.ask("GET /a", &[("host", "elsewhere")]).await;
    let gone = origin.address;
    drop(origin);
    eventually("the app is gone", async || std::net::TcpStream::connect(gone).is_err()).await;
    assert_eq!(client.ask("GET /failed", &[]).await.status, 502);
    eventually("the line of the error", async || lines(&sidecar).len() > 1).await;
    let paths: Vec<_> = lines(&sidecar).iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["/a", "/failed"], "one before the edit, and an error after it");
}
