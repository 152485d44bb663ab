//! Spans as a collector gets them, from a build with the feature `otel`.
#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use support::{
    browser::Browser,
    origin::{Asked, Origin, ok},
    redis::eventually,
    spawned::Spawned,
    story::everything,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that takes everything.
async fn collector() -> Origin {
    Origin::start(|_| ok("", "")).await
}

async fn exporting(app: &Origin, collector: &Origin, more: &[(&str, &str)]) -> Spawned {
    let yaml = format!("upstream: http://{}\n{}", app.address, everything("10s"));
    let endpoint = format!("http://{}", collector.address);
    let mut environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    environment.extend(more);
    Spawned::start_with(&yaml, &[], &environment).await
}

/// The bytes of an id.
fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// Whether this stands somewhere in what the collector got.
fn got(collector: &Origin, what: &[u8]) -> bool {
    let has = |asked: &Asked| asked.body.windows(what.len()).any(|part| part == what);
    collector.asked().iter().any(has)
}

/// Trace, span and flags in the `traceparent` that the app got last.
fn told(app: &Origin) -> (String, String, String) {
    let asked = app.last();
    let parts: Vec<_> = asked.field("traceparent").unwrap().split('-').map(str::to_owned).collect();
    (parts[1].clone(), parts[2].clone(), parts[3].clone())
}

#[tokio::test]
async fn a_request_and_its_fetch_are_spans_of_the_caller_s_trace() {
    let (app, collector) = (Origin::saying("").await, collector().await);
    let sidecar = exporting(&app, &collector, &[]).await;
    let mut client = Browser::connect(sidecar.address).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let fields = [("traceparent", traceparent.as_str())];
    assert!(client.ask("GET /a?token=s3cret", &fields).await.fine().starts_with("fwd=uri-miss"));
    let (trace, fetch, flags) = told(&app);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_ne!(fetch, PARENT, "the app's span is below that of the fetch");

    for what in [bytes(TRACE), bytes(PARENT), bytes(&fetch)] {
        eventually("the span", async || got(&collector, &what)).await;
    }
    for word in ["uri-miss", "sidecache.rule", "/**", "sidecache.request_id", "service.name"] {
        assert!(got(&collector, word.as_bytes()), "{word}");
    }
    let export = &collector.asked()[0];
    assert_eq!((export.method.as_str(), export.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(export.field("x-tenant"), Some("shop"));
    assert_eq!(export.field("content-type"), Some("application/x-protobuf"));
    assert!(!got(&collector, b"s3cret"), "the query is in no span");

    assert!(client.ask("GET /a?token=s3cret", &fields).await.is_hit());
    eventually("the span of a hit", async || got(&collector, b"hit")).await;
}

#[tokio::test]
async fn a_trace_begins_here_and_is_sampled_as_the_environment_says() {
    let (app, collector) = (Origin::saying("").await, collector().await);
    for (sampler, expected) in [("parentbased_always_on", "01"), ("parentbased_always_off", "00")] {
        let sidecar = exporting(&app, &collector, &[("OTEL_TRACES_SAMPLER", sampler)]).await;
        Browser::connect(sidecar.address).await.ask("GET /a", &[]).await.fine();
        let (trace, _, flags) = told(&app);
        assert_eq!(flags, expected, "{sampler}");
        if expected == "01" {
            eventually("the span", async || got(&collector, &bytes(&trace))).await;
        }
    }
}

#[tokio::test]
async fn what_a_caller_does_not_sample_is_not_exported_and_the_rest_is_sent_at_the_end() {
    let (app, collector) = (Origin::saying("").await, collector().await);
    let mut sidecar = exporting(&app, &collector, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    let mut client = Browser::connect(sidecar.address).await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    client.ask("GET /a", &[("traceparent", unsampled.as_str())]).await.fine();
    assert_eq!(told(&app).2, "00");
    client.ask("GET /b", &[]).await.fine();
    let (begun, ..) = told(&app);
    drop(client);
    sidecar.signal(rustix::process::Signal::TERM);
    assert!(sidecar.ended().await.success());
    assert!(got(&collector, &bytes(&begun)) && !got(&collector, &bytes(TRACE)));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_answer() {
    let (app, away) = (Origin::saying("").await, collector().await);
    let address = away.address;
    drop(away);
    let endpoint = format!("http://{address}");
    let sidecar = exporting(&app, &app, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let mut client = Browser::connect(sidecar.address).await;
    for path in ["GET /a", "GET /b", "GET /a"] {
        client.ask(path, &[]).await.fine();
    }
    assert_eq!(app.count(), 2);
}
