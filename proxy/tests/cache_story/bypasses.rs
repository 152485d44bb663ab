//! What goes past the store, both ways: neither read from it nor kept in it.

use crate::support::{
    browser::request,
    origin::{Asked, Origin, answer, ok, send},
    story::{On, Story},
};

on_both_stores![
    a_precondition_goes_past,
    a_get_with_a_body_goes_past,
    an_upgrade_goes_past,
    other_methods_go_past,
    a_purge_by_a_client_is_the_apps_to_answer,
    the_apps_paths_are_the_apps,
];

async fn a_precondition_goes_past(on: On) {
    let script = |asked: &Asked| match asked.field("if-match") {
        Some("\"old\"") => answer("412 Precondition Failed", "", ""),
        _ => ok("ETag: \"new\"\r\n", "answer"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    for _ in 0..2 {
        let failed = story.get_with("/a", &[("if-match", "\"old\"")]).await;
        assert_eq!((failed.status, failed.says()), (412, "fwd=request; detail=precondition"));
        let since = [("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(story.get_with("/a", &since).await.fine(), "fwd=request; detail=precondition");
        assert_eq!(story.origin.last().field(since[0].0), Some(since[0].1));
        story.get("/a").await;
    }
    assert!(story.get("/a").await.is_hit());
}

async fn a_get_with_a_body_goes_past(on: On) {
    let origin = Origin::start(|asked| ok("", &format!("{}: {}", asked.number, asked.body.escape_ascii())));
    let story = Story::cached(on, origin.await, "10s").await;
    for (round, stored) in [(1, false), (2, true)] {
        let own = story.post("GET /a", &format!("body {round}")).await;
        assert_eq!(own.fine(), "fwd=bypass; detail=request-body");
        assert!(own.body.ends_with(&format!(": body {round}")), "{own:?}");
        let mut browser = story.browser().await;
        let head = request("GET /a", &[("transfer-encoding", "chunked")], "");
        browser.send(&format!("{head}3\r\nabc\r\n0\r\n\r\n")).await;
        let own = browser.answer("GET /a").await;
        assert_eq!(own.fine(), "fwd=bypass; detail=request-body");
        assert!(own.body.ends_with(": abc"), "{own:?}");
        assert_eq!(story.get("/a").await.is_hit(), stored);
    }
}

async fn an_upgrade_goes_past(on: On) {
    let script = |asked: &Asked| match asked.field("upgrade") {
        Some("echo") => {
            vec![send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")]
        }
        _ => ok("", "answer"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    for stored in [false, true] {
        let mut browser = story.browser().await;
        browser.send(&request("GET /a", &[("connection", "upgrade"), ("upgrade", "echo")], "")).await;
        let switched = browser.head().await.unwrap();
        assert_eq!((switched.status, switched.field("upgrade")), (101, "echo"));
        assert_eq!(switched.says(), "fwd=bypass; detail=upgrade");
        assert_eq!(browser.bytes(5).await.unwrap(), b"hello");
        assert_eq!(story.get("/a").await.is_hit(), stored);
    }
}

async fn other_methods_go_past(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    story.get("/a").await;
    for method in ["OPTIONS", "PROPFIND", "POST", "BREW"] {
        let answer = story.ask(&format!("{method} /a"), &[]).await;
        assert_eq!(answer.fine(), "fwd=method", "{method}");
        assert_eq!(story.origin.last().method, method);
    }
}

async fn a_purge_by_a_client_is_the_apps_to_answer(on: On) {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "GET" => ok("", "answer"),
        _ => answer("405 Method Not Allowed", "", ""),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get("/a").await;
    for method in ["PURGE", "BAN", "REFRESH", "INVALIDATE", "UNLINK"] {
        let refused = story.ask(&format!("{method} /a"), &[]).await;
        assert_eq!((refused.status, refused.says()), (405, "fwd=method"), "{method}");
        assert!(story.get("/a").await.is_hit(), "{method}");
    }
}

async fn the_apps_paths_are_the_apps(on: On) {
    let story = Story::start(on, Origin::saying("").await, "routes: []\n").await;
    for path in ["/metrics", "/livez", "/readyz", "/health", "/config", "/purge", "/openapi.json"] {
        assert_eq!(story.get(path).await.fine(), "fwd=bypass; detail=no-rule", "{path}");
        let posted = story.post(&format!("POST {path}"), "{}").await;
        assert_eq!(posted.fine(), "fwd=bypass; detail=no-rule", "{path}");
        assert_eq!(story.origin.last().target, path);
    }
}
