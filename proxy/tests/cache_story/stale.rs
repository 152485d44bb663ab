//! Stale responses are served where somebody allows it (RFC 9111 §4.2.4, RFC 5861).
//!
//! Where the origin states the lifetime, age counts from `Date`, which has no fractions: up to a second
//! more than has passed.

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, ok},
    redis::eventually,
    story::{On, Story},
};

on_both_stores![
    stale_while_revalidate_serves_at_once_and_refreshes_once,
    a_refresh_carries_what_selects_and_nothing_else,
    beyond_the_window_the_client_waits,
    a_refresh_that_fails_costs_nobody_anything,
    stale_if_error_stands_in_for_errors_within_its_window,
    an_origin_that_hangs_is_waited_for_once,
    stale_if_error_stands_in_for_an_origin_that_is_gone,
    what_must_be_revalidated_is_never_served_stale,
    an_outage_of_a_minute_goes_unseen,
    a_stored_error_does_not_stand_in_for_itself,
    a_client_may_take_stale,
    a_head_is_answered_stale_too,
    a_refresh_is_stored_for_what_it_sent,
    a_refresh_says_how_a_trusted_proxy_was_asked,
    failures_of_one_user_are_not_the_origins,
    no_refresh_takes_the_place_of_what_credentials_selected,
];

async fn stale_while_revalidate_serves_at_once_and_refreshes_once(on: On) {
    let gate = Gate::shut();
    let behind = gate.clone();
    let origin = Origin::start(move |asked: &Asked| {
        let mut steps = ok("ETag: \"a\"\r\nCache-Control: max-age=10, stale-while-revalidate=30\r\n", "old");
        if asked.number > 1 {
            steps = answer("304 Not Modified", "X-New: 1\r\n", "");
            steps.insert(0, Step::Wait(behind.clone()));
        }
        steps
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(15_000);
    let mut browser = story.browser().await;
    for _ in 0..5 {
        let stale = browser.ask("GET /a", &[]).await;
        assert_eq!(stale.says(), "hit; ttl=-5; detail=stale-while-revalidate");
        assert_eq!((stale.body.as_str(), stale.field("age")), ("old", "15"));
    }
    story.asked(2).await;
    gate.open();
    story.settled().await;
    let fresh = story.get("/a").await;
    assert!(fresh.says().starts_with("hit; ttl=9"), "{}", fresh.says());
    assert_eq!(fresh.field("x-new"), "1");
    assert_eq!(story.origin.count(), 2);
}

async fn a_refresh_carries_what_selects_and_nothing_else(on: On) {
    let origin = Origin::start(|_| ok("Vary: X-Tenant\r\nCache-Control: public\r\n", "body"));
    let cache = "{ ttl: 10s, stale_while_revalidate: 30s, key: { headers: [x-version], cookies: [lang] } }";
    let story = Story::cached(on, origin.await, cache).await;
    let fields = [
        ("x-tenant", "t"),
        ("x-version", "v"),
        ("cookie", "lang=de; session=secret"),
        ("authorization", "Bearer secret"),
        ("user-agent", "me"),
        ("cache-control", "no-cache"),
        ("if-none-match", "\"mine\""),
    ];
    story.get_with("/a", &fields).await;
    story.stores(1).await;
    story.pass_millis(10_500);
    // The first fetch belonged to one client alone: it may still be landing, which looks like a refresh.
    eventually("it is refreshed", async || {
        let stale = story.get_with("/a", &fields).await;
        assert!(stale.is_hit(), "{}", stale.says());
        story.origin.count() == 2
    })
    .await;
    let refresh = story.origin.last();
    let named: Vec<_> = refresh.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(refresh.field("x-tenant"), Some("t"));
    assert_eq!(refresh.field("x-version"), Some("v"));
    assert_eq!(refresh.field("cookie"), Some("lang=de"));
    for absent in ["authorization", "user-agent", "cache-control", "if-none-match"] {
        assert!(!named.iter().any(|name| name == absent), "{named:?}");
    }
    story.settled().await;
    let fresh = story.get_with("/a", &fields).await;
    assert!(fresh.is_hit() && !fresh.says().contains("detail"), "{}", fresh.says());
}

async fn beyond_the_window_the_client_waits(on: On) {
    let origin = Origin::start(|asked| {
        ok("Cache-Control: max-age=10, stale-while-revalidate=5\r\n", &asked.number.to_string())
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(15_000);
    let waited = story.get("/a").await;
    assert_eq!((waited.fine(), waited.body.as_str()), ("fwd=stale; stored", "2"));
}

async fn a_refresh_that_fails_costs_nobody_anything(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "old"),
        2 => answer("500 No", "", "trouble"),
        _ => ok("", "new"),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_while_revalidate: 30s }").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    for _ in 0..50 {
        assert_eq!(story.get("/a").await.body, "old");
    }
    assert_eq!(story.origin.count(), 2, "it is not asked again at once");
    eventually("it is asked again, and stored", async || story.get("/a").await.body == "new").await;
    assert_eq!(story.origin.count(), 3);
    assert_eq!(story.app.refreshes.by_result(), [("stored", 1), ("not-stored", 0), ("failed", 1)]);
}

async fn stale_if_error_stands_in_for_errors_within_its_window(on: On) {
    let origin = Origin::start(|asked| match asked.target.strip_prefix('/').unwrap() {
        _ if asked.number <= 5 => ok("ETag: \"a\"\r\n", "old"),
        status => answer(&format!("{status} No"), "", "trouble"),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    let errors = ["/500", "/502", "/503", "/504"];
    for target in ["/501", "/500", "/502", "/503", "/504"] {
        story.get(target).await;
    }
    story.pass_millis(10_500);
    for target in errors {
        let status = &target[1..];
        let stale = story.get(target).await;
        assert_eq!(stale.fine(), format!("fwd=stale; fwd-status={status}; detail=stale-if-error"));
        assert_eq!((stale.body.as_str(), stale.field("age")), ("old", "10"));
        // The next ones do not wait for it again.
        assert_eq!(story.get(target).await.fine(), "hit; ttl=0; detail=stale-if-error");
    }
    let other = story.get("/501").await;
    assert_eq!((other.status, other.body.as_str()), (501, "trouble"), "no outage");
}

async fn an_origin_that_hangs_is_waited_for_once(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "old"),
        _ => vec![Step::Hang],
    });
    let yaml = "timeouts: { first_byte: 300ms }
routes:
  - { match: /**, cache: { ttl: 10s, stale_if_error: 60s } }
";
    let story = Story::start(on, origin.await, yaml).await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; detail=stale-if-error");
    let mut browser = story.browser().await;
    for _ in 0..20 {
        let next = browser.ask("GET /a", &[]).await;
        assert_eq!(next.fine(), "hit; ttl=0; detail=stale-if-error");
    }
}

async fn stale_if_error_stands_in_for_an_origin_that_is_gone(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "old"),
        _ => vec![Step::Reset],
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let stale = story.get("/a").await;
    assert_eq!(stale.fine(), "fwd=stale; detail=stale-if-error");
    assert_eq!((stale.status, stale.body.as_str(), stale.field("age")), (200, "old", "10"));
    story.pass_millis(60_000);
    let error = story.get("/a").await;
    assert_eq!(error.status, 502);
    assert!(error.body.contains("closed the connection"), "{}", error.body);
}

async fn a_stored_error_does_not_stand_in_for_itself(on: On) {
    for status in ["500", "502", "503", "504"] {
        let origin = Origin::start(move |asked: &Asked| match asked.number {
            1 | 2 => answer(&format!("{status} No"), "Cache-Control: max-age=10\r\n", "trouble"),
            _ => ok("", "recovered"),
        });
        let story = Story::cached(on, origin.await, "{ stale_if_error: 60s }").await;
        for _ in 0..2 {
            let error = story.get("/a").await;
            assert_eq!((error.status.to_string().as_str(), error.body.as_str()), (status, "trouble"));
            story.pass_millis(10_500);
        }
        assert_eq!(story.get("/a").await.body, "recovered");
    }
}

async fn an_outage_of_a_minute_goes_unseen(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "old"),
        number if number % 2 == 0 => answer("503 No", "", "trouble"),
        _ => vec![Step::Close],
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    story.get("/a").await;
    story.pass_millis(9_500);
    for second in 10..70 {
        story.pass_millis(1_000);
        let (one, other) = tokio::join!(story.get("/a"), story.get("/a"));
        for answer in [one, other] {
            assert_eq!((answer.status, answer.body.as_str()), (200, "old"), "{second}: {}", answer.says());
        }
    }
    story.pass_millis(1_000);
    let over = story.get("/a").await;
    match over.status {
        503 => assert_eq!(over.says(), "fwd=stale; detail=stale-not-allowed"),
        status => assert_eq!(status, 502, "{over:?}"),
    }
}

async fn what_must_be_revalidated_is_never_served_stale(on: On) {
    for directive in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=10"] {
        let fields = format!("ETag: \"a\"\r\nCache-Control: max-age=10, {directive}\r\n");
        let origin = Origin::start(move |asked: &Asked| match asked.number {
            1 => ok(&fields, "old"),
            _ => vec![Step::Reset],
        });
        let cache = "{ stale_if_error: 60s, stale_while_revalidate: 60s }";
        let story = Story::cached(on, origin.await, cache).await;
        story.get("/a").await;
        story.pass_millis(10_500);
        let asked = story.get_with("/a", &[("cache-control", "max-stale")]).await;
        assert_eq!(asked.status, 502, "{directive}: {}", asked.says());
    }
}

async fn a_client_may_take_stale(on: On) {
    let origin = Origin::start(|_| ok("Cache-Control: max-age=10\r\n", "old"));
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(15_000);
    let takes = async |control| story.get_with("/a", &[("cache-control", control)]).await;
    for enough in ["max-stale=6", "max-stale"] {
        let says = takes(enough).await.says().to_owned();
        assert_eq!(says, "hit; ttl=-5; detail=max-stale", "{enough}");
    }
    assert_eq!(story.origin.count(), 1);
    assert_eq!(takes("max-stale=5").await.fine(), "fwd=stale; stored");
}

async fn a_head_is_answered_stale_too(on: On) {
    let origin = Origin::start(|_| ok("Cache-Control: max-age=10, stale-while-revalidate=30\r\n", "old"));
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(15_000);
    assert!(story.ask("HEAD /a", &[]).await.is_hit());
    story.asked(2).await;
    assert_eq!(story.origin.last().method, "GET", "a refresh brings the body");
    story.settled().await;
    assert_eq!(story.get("/a").await.says(), "hit; ttl=9");
}

async fn a_refresh_is_stored_for_what_it_sent(on: On) {
    let origin = Origin::start(|asked| {
        let vary = if asked.number > 1 { "Vary: Accept-Language\r\n" } else { "" };
        ok(vary, asked.field("accept-language").unwrap_or("en"))
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_while_revalidate: 30s }").await;
    let german = [("accept-language", "de")];
    story.get_with("/a", &german).await;
    story.pass_millis(10_500);
    assert_eq!(story.get_with("/a", &german).await.body, "de");
    story.asked(2).await;
    story.settled().await;
    assert_eq!(story.get_with("/a", &german).await.fine(), "fwd=vary-miss; stored");
    assert_eq!(story.get("/a").await.body, "en");
}

async fn a_refresh_says_how_a_trusted_proxy_was_asked(on: On) {
    let origin = Origin::start(|asked| match asked.field("x-forwarded-proto") {
        Some("https") => ok("", "page"),
        _ => answer("301 Moved", "Location: https://shop.example/a\r\nCache-Control: max-age=10\r\n", ""),
    });
    let yaml = "trusted_proxies: [127.0.0.0/8]
routes:
  - { match: /**, cache: { ttl: 10s, stale_while_revalidate: 30s, status: { 301: 10s } } }
";
    let story = Story::start(on, origin.await, yaml).await;
    let fields = [("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example")];
    story.get_with("/a", &fields).await;
    story.pass_millis(10_500);
    assert_eq!(story.get_with("/a", &fields).await.body, "page");
    story.asked(2).await;
    assert_eq!(story.origin.last().field("x-forwarded-host"), Some("shop.example"));
    story.settled().await;
    let fresh = story.get_with("/a", &fields).await;
    assert!(fresh.is_hit() && !fresh.says().contains("detail"), "{}", fresh.says());
    assert_eq!(fresh.body, "page");
}

async fn failures_of_one_user_are_not_the_origins(on: On) {
    let origin = Origin::start(|asked| match asked.field("authorization") {
        Some(_) => answer("500 No", "", "trouble"),
        None => ok("", &asked.number.to_string()),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    assert_eq!(story.get_with("/a", &[("authorization", "garbage")]).await.status, 500);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
}

async fn no_refresh_takes_the_place_of_what_credentials_selected(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("Vary: Cookie\r\nCache-Control: public\r\n", "alice's"),
        2 => answer("503 No", "", "trouble"),
        _ => ok("Vary: Cookie\r\nCache-Control: public\r\n", asked.field("cookie").unwrap_or("nobody's")),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    let alice = [("cookie", "alice")];
    story.get_with("/a", &alice).await;
    story.stores(1).await;
    story.pass_millis(10_500);
    assert_eq!(story.get_with("/a", &alice).await.body, "alice's");
    assert_eq!(story.get_with("/a", &alice).await.body, "alice", "asked for, not refreshed behind");
}
