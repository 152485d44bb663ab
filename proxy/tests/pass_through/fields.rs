//! Fields: which pass, which are for one connection only, which the proxy writes anew.

use crate::support::{
    origin::Origin,
    rig::{OK, Rig, message, request},
    sidecar::Sidecar,
    wire::Message,
};

const GET: &str = "GET / HTTP/1.1";

/// What the origin gets of a `GET` with these fields.
async fn arriving(rest: &str, fields: &[&str]) -> Message {
    Rig::new(rest).await.exchange(&request(GET, fields, ""), OK).await.0
}

/// What the client gets of an answer with these fields.
async fn returning(fields: &[&str]) -> Message {
    let answer = message("HTTP/1.1 200 OK", &[&["Content-Length: 2"], fields].concat(), "ok");
    Rig::new("").await.exchange(&request(GET, &[], ""), &answer).await.1
}

#[tokio::test]
async fn what_is_for_one_connection_stays_on_it() {
    let fields = [
        "Connection: , X-Foo , keep-alive",
        "X-Foo: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "Proxy-Authenticate: Basic",
        "TE: gzip",
        "Trailer: X",
        "Upgrade: h2c",
        "X-Kept: yes",
    ];
    let got = arriving("", &fields).await;
    for gone in fields.iter().filter_map(|line| line.split(':').next()).filter(|name| *name != "X-Kept") {
        assert_eq!(got.field(gone), None, "request {gone}");
    }
    assert_eq!(got.field("x-kept"), Some("yes"));
    let got = returning(&fields.map(|line| if line.starts_with("TE") { "TE: x" } else { line })).await;
    for gone in fields.iter().filter_map(|line| line.split(':').next()).filter(|name| *name != "X-Kept") {
        assert_eq!(got.field(gone), None, "answer {gone}");
    }
    assert_eq!(got.field("x-kept"), Some("yes"));
}

#[tokio::test]
async fn connection_cannot_take_away_what_a_request_means() {
    for line in ["Authorization: x", "Cookie: a=b", "Cache-Control: no-cache", "Age: 1"] {
        let name = line.split(':').next().unwrap();
        let got = arriving("", &[line, &format!("Connection: {name}")]).await;
        assert!(got.field(name).is_some(), "{name}");
    }
    let names = "Host, Via, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded";
    let got = arriving("", &[&format!("Connection: close, {names}")]).await;
    for name in names.split(", ") {
        assert!(got.field(name).is_some(), "{name}");
    }
    let fields = ["Connection: Content-Length, Transfer-Encoding", "Content-Length: 2"];
    let (got, _) = Rig::new("").await.exchange(&request("POST / HTTP/1.1", &fields, "ab"), OK).await;
    assert_eq!((got.field("content-length"), got.text().as_str()), (Some("2"), "ab"));
}

#[tokio::test]
async fn repeated_fields_keep_their_lines_and_their_order() {
    assert_eq!(arriving("", &["X: 1", "Y: a", "x: 2"]).await.all("x"), ["1", "2"]);
    let answer = returning(&["Set-Cookie: a=1", "Vary: a", "Set-Cookie: b=2", "Vary: b"]).await;
    assert_eq!((answer.all("set-cookie"), answer.all("vary")), (vec!["a=1", "b=2"], vec!["a", "b"]));
}

#[tokio::test]
async fn host_is_sent_on_in_one_spelling() {
    for (sent, got) in [
        ("A", "a"),
        ("a.", "a"),
        ("a:80", "a"),
        ("a:", "a"),
        ("Shop.Example.ORG.:8080", "shop.example.org:8080"),
        ("[::1]:80", "[::1]"),
        ("127.0.0.1", "127.0.0.1"),
    ] {
        let plain = message(GET, &[&format!("Host: {sent}")], "");
        let (arrived, _) = Rig::new("").await.exchange(&plain, OK).await;
        assert_eq!(arrived.field("host"), Some(got), "{sent}");
        assert_eq!(arrived.field("x-forwarded-host"), Some(got), "{sent}");
    }
    let absolute = message("GET http://A.:80/p HTTP/1.1", &["Host: a"], "");
    let (arrived, _) = Rig::new("").await.exchange(&absolute, OK).await;
    assert_eq!((arrived.asked(), arrived.field("host")), ("GET /p", Some("a")));
}

#[tokio::test]
async fn via_is_one_line_in_order() {
    assert_eq!(arriving("", &[]).await.field("via"), Some("1.1 sidecache"));
    let got = arriving("", &["Via: 1.0 a", "Via: 1.1 b (x)"]).await;
    assert_eq!(got.field("via"), Some("1.0 a, 1.1 b (x), 1.1 sidecache"));
    let (old, _) = Rig::new("").await.exchange(&message("GET / HTTP/1.0", &[], ""), OK).await;
    assert_eq!(old.field("via"), Some("1.0 sidecache"));
}

/// What a client may say of itself, and nobody should believe.
const SPOOFED: [&str; 5] = [
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil",
    "Forwarded: for=1.2.3.4;proto=https;host=evil",
    "X-Real-IP: 1.2.3.4",
];

#[tokio::test]
async fn what_a_stranger_says_of_the_way_it_came_is_replaced() {
    for rest in ["", "trusted_proxies: [10.0.0.0/8]"] {
        let got = arriving(rest, &SPOOFED).await;
        assert_eq!(got.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(got.field("x-forwarded-proto"), Some("http"));
        assert_eq!(got.field("x-forwarded-host"), Some("a"));
        assert_eq!(got.field("forwarded"), Some("for=127.0.0.1;host=\"a\";proto=http"));
        assert_eq!(got.field("x-real-ip"), None);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let got = arriving("trusted_proxies: [127.0.0.0/8]", &SPOOFED).await;
    assert_eq!(got.field("x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(got.field("x-forwarded-proto"), Some("https"));
    assert_eq!(got.field("x-forwarded-host"), Some("evil"));
    let both = "for=1.2.3.4;proto=https;host=evil, for=127.0.0.1;host=\"a\";proto=http";
    assert_eq!(got.field("forwarded"), Some(both));
    assert_eq!(got.field("x-real-ip"), Some("1.2.3.4"));
}

#[tokio::test]
async fn what_an_app_may_take_for_a_field_that_matters_is_dropped() {
    let lookalikes = [
        "Content_Length: 9",
        "Transfer_Encoding: chunked",
        "Proxy_Connection: close",
        "X_Forwarded_For: 1.2.3.4",
        "X_Forwarded-Host: evil",
        "X_Real_IP: 1.2.3.4",
        "X_Original_URL: /admin",
        "X_HTTP_Method_Override: DELETE",
        "Proxy_Authorization: x",
        "If_None_Match: *",
        "X.Forwarded.For: 1.2.3.4",
        "Proxy: http://evil",
    ];
    let got = arriving("", &[&lookalikes[..], &["api_key: 1", "X-Original-URL: /a"]].concat()).await;
    for line in lookalikes {
        let name = line.split(':').next().unwrap();
        assert_eq!(got.field(name), None, "{name}");
    }
    // It is for this client alone: what nothing here would have looked at passes.
    assert_eq!((got.field("api_key"), got.field("x-original-url")), (Some("1"), Some("/a")));
}

#[tokio::test]
async fn section_7_6_2_an_options_goes_no_further_than_it_may() {
    let options = async |fields: &[&str]| {
        Rig::new("").await.exchange(&request("OPTIONS /a HTTP/1.1", fields, ""), OK).await.0
    };
    for (sent, got) in [("1", "0"), ("007", "6"), ("99999999999999999999999", "18446744073709551614")] {
        assert_eq!(options(&[&format!("Max-Forwards: {sent}")]).await.all("max-forwards"), [got], "{sent}");
    }
    let twice = options(&["Max-Forwards: 5", "Max-Forwards: 3"]).await;
    assert_eq!(twice.all("max-forwards"), ["2"]);
    assert_eq!(options(&["Max-Forwards: -1"]).await.field("max-forwards"), Some("-1"));
    assert_eq!(arriving("", &["Max-Forwards: 0"]).await.field("max-forwards"), Some("0"), "of a GET");
}

#[tokio::test]
async fn section_7_6_2_an_options_that_may_go_no_further_is_answered_here() {
    let origin = Origin::saying("").await;
    for rules in ["", "routes: [{ match: /**, cache: 10s }]"] {
        let sidecar = Sidecar::start(origin.address, rules);
        let mut wire = sidecar.connect().await;
        for target in ["/a", "*"] {
            wire.send(&request(&format!("OPTIONS {target} HTTP/1.1"), &["Max-Forwards: 0"], "")).await;
            let answer = wire.response().await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, ""), "{target}");
            assert!(answer.field("allow").unwrap().contains("OPTIONS"), "{target}");
            assert_eq!(answer.field("content-length"), Some("0"));
            assert_eq!(answer.field("cache-status"), None);
        }
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_date_is_added_where_the_origin_sent_none() {
    let date = "Fri, 15 Jan 2027 08:00:00 GMT"; // What the test's clock shows.
    assert_eq!(returning(&[]).await.field("date"), Some(date));
    let sent = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(returning(&[&format!("Date: {sent}")]).await.field("date"), Some(sent));
}

#[tokio::test]
async fn the_answer_says_why_it_was_not_stored() {
    let answer = returning(&["Cache-Status: origin; hit"]).await;
    let said = answer.all("cache-status");
    assert_eq!(said, ["origin; hit", "sidecache; fwd=bypass; detail=no-rule"]);
}
