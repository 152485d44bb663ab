//! The page: open to every browser, because it is the same for all, and of use only with the token.

use super::*;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

#[tokio::test]
async fn browsers_get_the_page_and_others_the_list() {
    let rig = rig("127.0.0.1:0", None).await;
    let page = rig.ask("GET", "/", BROWSER).await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
    assert!(page.body.starts_with("<!doctype html>"));
    for accept in ["", "Accept: */*\r\n", "Accept: text/plain\r\n"] {
        let list = rig.ask("GET", "/", accept).await;
        assert!(list.head.contains("content-type: text/plain"), "{}", list.head);
        assert!(list.body.contains("/readyz"));
        assert!(list.head.contains("vary: accept"), "{}", list.head);
    }
    let head = rig.ask("HEAD", "/", BROWSER).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(rig.ask("POST", "/", BROWSER).await.status, 405);
}

#[tokio::test]
async fn the_page_runs_nothing_and_loads_nothing_but_its_own_files() {
    let rig = rig("127.0.0.1:0", None).await;
    for (path, kind) in
        [("/", "text/html"), ("/dashboard/main.js", "text/javascript"), ("/dashboard/style.css", "text/css")]
    {
        let answer = rig.ask("GET", path, BROWSER).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{}", answer.head);
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.head.contains(field), "{path}: no {field} in {}", answer.head);
        }
    }
    for path in
        ["/dashboard/", "/dashboard/mod.rs", "/dashboard/../config", "/dashboard/%2e%2e", "/dashboard"]
    {
        assert_eq!(rig.ask("GET", path, BROWSER).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_page_needs_no_token_and_what_it_asks_for_does() {
    let rig = rig("127.0.0.1:0", Some(SECRET)).await;
    for path in ["/", "/dashboard/main.js"] {
        assert_eq!(rig.ask("GET", path, BROWSER).await.status, 200, "{path}");
    }
    for path in ["/config", "/metrics", "/nothing"] {
        assert_eq!(rig.ask("GET", path, BROWSER).await.status, 401, "{path}");
    }
    assert_eq!(rig.ask("POST", "/", BROWSER).await.status, 401);
    assert_eq!(rig.get("/").await.status, 401);
}

/// Under another name the page is served only where a token guards what it would ask for.
#[tokio::test]
async fn a_rebound_name_gets_the_page_only_where_there_is_a_token() {
    let (open, guarded) = (rig("127.0.0.1:0", None).await, rig("127.0.0.1:0", Some(SECRET)).await);
    for path in ["/", "/dashboard/main.js", "/config", "/readyz", "/purge"] {
        let is_page = path == "/" || path.starts_with("/dashboard/");
        for (rig, expected) in [(&open, 421), (&guarded, if is_page { 200 } else { 421 })] {
            let port = rig.address.port();
            let request = format!("GET {path} HTTP/1.1\r\nHost: sidecar.example:{port}\r\n{BROWSER}\r\n");
            let answer = rig.send(&request).await;
            assert_eq!(answer.status, expected, "{path}: {}", answer.head);
        }
    }
    let port = guarded.address.port();
    let with_token = format!("Host: sidecar.example:{port}\r\nAuthorization: Bearer {SECRET}\r\n");
    assert_eq!(guarded.send(&format!("GET /config HTTP/1.1\r\n{with_token}\r\n")).await.status, 200);
}
