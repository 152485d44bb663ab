//! `/stats` and `/resources`: their shape, to the last field.

use bytes::Bytes;
use http::StatusCode;
use sidecache::{
    admit::{Head, HeadLimits, Scheme},
    headers::Peer,
    identity::Identity,
    interim::Interims,
    message::Request,
    observe::Exchange,
    status::{Detail, Forward, Fwd, Outcome, Own},
    telemetry::window::STEP,
};

use super::*;

const HIT: Outcome = Outcome::Hit { ttl: 9, detail: None };

fn request(host: &str, path: &str) -> Request {
    let text = Bytes::from(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let head = Head::parse(&text, Scheme::Http, &HeadLimits { bytes: 4000, fields: 10, target: 1000 });
    let (head, identity, interims) = (head.unwrap(), Identity::default(), Interims::default());
    Request { head, peer: Peer::Local, identity, expectation: None, interims }
}

/// A request for which 10 bytes were sent in 3 ms; a hit spares the origin 250 ms.
fn count(metrics: &Metrics, path: &str, outcome: Outcome, status: u16) {
    let is_hit = matches!(outcome, Outcome::Hit { .. });
    metrics.count(&Exchange {
        request: Some(&request("shop", path)),
        unread: None,
        peer: Peer::Local,
        status: StatusCode::from_u16(status).unwrap(),
        outcome,
        rule: None,
        spared: Duration::from_millis(if is_hit { 250 } else { 0 }),
        failed: None,
        body_bytes: 10,
        duration: Duration::from_millis(3),
        complete: true,
    });
}

fn a_bit_of_everything(metrics: &Metrics) {
    let collapsed = Forward { collapsed: true, ..Forward::because(Fwd::UriMiss, None) };
    (0..3).for_each(|_| count(metrics, "/a?x", HIT, 200));
    count(metrics, "/a?x", Outcome::Forward(collapsed), 200);
    count(metrics, "/b", Outcome::Forward(Forward::because(Fwd::Bypass, Some(Detail::Cookie))), 200);
    count(metrics, "/c", Outcome::Own(Own::OriginFailed), 502);
    count(metrics, "/d", Outcome::Own(Own::Refused), 400);
}

/// Without what depends on when it was asked.
fn timeless(mut stats: Value) -> Value {
    for name in ["now", "version"] {
        assert!(stats.as_object_mut().unwrap().remove(name).is_some_and(|value| value.is_string()), "{name}");
    }
    stats
}

#[tokio::test]
async fn stats_tell_the_last_minutes_and_all_since_the_start() {
    let rig = rig("127.0.0.1:0", None).await;
    let (start, began) = (SystemTime::now() - 3 * STEP, Instant::now());
    rig.metrics.step(start, began);
    a_bit_of_everything(&rig.metrics);
    rig.metrics.step(start + STEP, began + STEP);
    rig.metrics.step(start + 2 * STEP, began + 2 * STEP);

    let stats = parsed(&rig.get("/stats").await);
    let points = stats["window"]["points"].as_array().unwrap();
    let mut first = points[0].clone();
    let at = first.as_object_mut().unwrap().remove("at").unwrap();
    assert!(at.as_str().unwrap().ends_with('Z') && at.as_str() < points[1]["at"].as_str(), "{points:?}");
    let took = json!({ "p50": 3.75, "p99": 4.975 });
    assert_eq!(
        first,
        json!({
            "requests": 7, "hits": 3, "forwarded": 2, "own": 2, "errors": 1, "bytes": 70,
            "hit_ms": took, "forwarded_ms": took, "origin_saved_seconds": 0.75,
        })
    );
    assert_eq!((points.len(), &points[1]["requests"], &points[1]["hit_ms"]), (2, &json!(0), &Value::Null));

    let mut stats = timeless(stats);
    stats["window"]["points"] = json!([]);
    assert_eq!(
        stats,
        json!({
            "started": "1970-01-01T00:00:00Z",
            "health": { "status": "ready", "reasons": [] },
            "window": { "step_seconds": 5, "points": [] },
            "totals": {
                "requests": 7, "hits": 3, "forwarded": 2, "own": 2, "errors": 1, "bytes": 70, "collapsed": 1,
                "origin_saved_seconds": 0.75,
            },
            "rules": [{
                "name": null, "cache": "off", "requests": 7, "hits": 3, "forwarded": 2, "own": 2,
                "hit_ratio": 3.0 / 7.0, "would_hit": 0, "bytes": 70,
                "details": { "cookie": 1, "origin-failed": 1, "refused": 1 },
                "hit_ms": took, "forwarded_ms": took, "origin_saved_seconds": 0.75,
                "recent": { "requests": 7, "hits": 3, "forwarded": 2, "hit_ratio": 3.0 / 7.0 },
            }],
            "store": { "memory": { "resources": 0, "bytes": 0, "budget_bytes": 0 }, "redis": null },
            "upstream": { "busy": 0, "idle": 0, "queued": 0 },
            "config": parsed(&rig.get("/config").await),
        })
    );
}

#[tokio::test]
async fn resources_tell_what_is_asked_for_and_why_it_is_fetched() {
    let rig = rig("127.0.0.1:0", None).await;
    a_bit_of_everything(&rig.metrics);
    count(&rig.metrics, "/b", Outcome::Forward(Forward::because(Fwd::Bypass, Some(Detail::Cookie))), 200);
    let mut told = parsed(&rig.get("/resources").await);
    assert_eq!(told["since"], "1970-01-01T00:00:00Z");
    let hottest = told["hottest"].as_array().unwrap();
    assert_eq!(hottest.len(), 4);
    assert_eq!(
        hottest[0],
        json!({ "url": "http://shop/a?…", "headers": [], "rule": null, "requests": 4, "hits": 3 })
    );
    assert_eq!(
        hottest[1],
        json!({ "url": "http://shop/b", "headers": [], "rule": null, "requests": 2, "hits": 0 })
    );
    let misses = told["misses"].as_array_mut().unwrap();
    let last = misses[0].as_object_mut().unwrap().remove("last").unwrap();
    assert!(last.as_str().unwrap().starts_with("20"), "{last}");
    let most = json!({ "url": "http://shop/b", "headers": [], "rule": null, "forwarded": 2, "outcome": "bypass", "detail": "cookie" });
    assert_eq!(misses[0], most);
    let outcomes: Vec<_> = misses[1..].iter().map(|miss| miss["outcome"].as_str().unwrap()).collect();
    // What was refused is nobody's miss.
    assert!(
        outcomes.len() == 2 && outcomes.contains(&"uri-miss") && outcomes.contains(&"origin-failed"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn nothing_is_told_without_the_token() {
    let rig = rig("127.0.0.1:0", Some(SECRET)).await;
    for path in ["/stats", "/resources", "/metrics"] {
        assert_eq!(rig.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn ten_thousand_urls_and_hosts_add_no_series() {
    let rig = rig("127.0.0.1:0", None).await;
    a_bit_of_everything(&rig.metrics);
    let series = async || {
        let page = rig.get("/metrics").await.body;
        page.lines().filter(|line| !line.starts_with('#')).count()
    };
    let before = series().await;
    for n in 0..10_000 {
        let (host, path) = (format!("shop-{n}.example"), format!("/{n}?{n}"));
        let outcome = if n % 2 == 0 { HIT } else { Outcome::Forward(Forward::because(Fwd::UriMiss, None)) };
        rig.metrics.count(&Exchange {
            request: Some(&request(&host, &path)),
            unread: None,
            peer: Peer::Ip([10, 0, u8::try_from(n / 256).unwrap(), u8::try_from(n % 256).unwrap()].into()),
            status: StatusCode::OK,
            outcome,
            rule: Some(&format!("/{n}").into()),
            spared: Duration::ZERO,
            failed: None,
            body_bytes: n,
            duration: Duration::from_micros(n * 7),
            complete: true,
        });
    }
    assert_eq!(series().await, before);
    assert_eq!(parsed(&rig.get("/stats").await)["totals"]["requests"], 10_007);
    assert_eq!(parsed(&rig.get("/resources").await)["hottest"].as_array().unwrap().len(), 20);
}
