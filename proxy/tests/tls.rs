//! TLS in front: who is shown what, what changes for HTTP and what does not, and how a session ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use sidecache::{address::TlsPair, tls::Certificates};

use crate::support::{
    echo::Echo,
    papers::{Papers, shown},
    rig::{OK, Rig, message},
    sidecar::{Sidecar, eventually},
    spawned::Spawned,
    wire::{Wire, soon},
};

const LISTEN: &str = "listen: [127.0.0.1:0, 'tls://127.0.0.1:0']";

/// A sidecar with a plain listener and one that speaks TLS with these certificates.
fn start(origin: SocketAddr, pairs: &str, rest: &str) -> Sidecar {
    Sidecar::start(origin, &format!("{LISTEN}\ntls: {pairs}\n{rest}"))
}

/// One with a certificate for `a.test`, and an origin that the test plays.
async fn rig(papers: &Papers, rest: &str) -> Rig {
    papers.issue("a", &["a.test"]);
    Rig::new(&format!("{LISTEN}\ntls: {}\n{rest}", papers.pair("a"))).await
}

fn get(path: &str) -> String {
    message(&format!("GET {path} HTTP/1.1"), &["Host: a.test"], "")
}

#[tokio::test]
async fn http_1_1_is_spoken_to_who_does_not_offer_http_2() {
    let papers = Papers::new();
    papers.issue("a", &["a.test"]);
    let origin = Echo::start().await;
    let sidecar = start(origin.address, &papers.pair("a"), "");
    for (offered, chosen) in [
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["spdy/3", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = papers.connect(sidecar.addresses[1], "a.test", offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
        let mut client = Wire::new(stream);
        for path in ["/1", "/2"] {
            client.send(get(path)).await;
            assert_eq!(client.response().await.text(), format!("GET {path}"));
        }
        // What was agreed upon is what is spoken.
        let mut client = Wire::new(papers.connect(sidecar.addresses[1], "a.test", offered).await);
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 505);
    }
    let refused = papers.try_connect(sidecar.addresses[1], "a.test", &["spdy/3"]).await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    eventually("it is counted", || sidecar.places.stats().handshakes == 1).await;
    assert_eq!(sidecar.get("/plain").await.text(), "GET /plain", "beside it");
}

#[tokio::test]
async fn who_has_not_shaken_hands_holds_up_no_drain() {
    let papers = Papers::new();
    let rig = rig(&papers, "timeouts: { header: 15s }").await;
    let _silent = TcpStream::connect(rig.sidecar.addresses[1]).await.unwrap();
    let mut slow = TcpStream::connect(rig.sidecar.addresses[1]).await.unwrap();
    slow.write_all(&[22, 3, 1]).await.unwrap();
    // It has shaken hands, and says nothing in HTTP/2.
    let stream = papers.connect(rig.sidecar.addresses[1], "a.test", &["h2"]).await;
    eventually("all are there", || rig.sidecar.places.stats().held == 3).await;
    let begun = Instant::now();
    assert!(rig.sidecar.ended().await);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(stream);
}

#[tokio::test]
async fn http_2_is_spoken_to_who_offers_it() {
    let papers = Papers::new();
    papers.issue("a", &["a.test"]);
    let origin = Echo::start().await;
    let sidecar = start(origin.address, &papers.pair("a"), "");
    for offered in [&["h2", "http/1.1"][..], &["http/1.1", "h2"], &["h2"]] {
        let stream = papers.connect(sidecar.addresses[1], "a.test", offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "{offered:?}");
        let (mut client, connection) = soon("the preface", h2::client::handshake(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        for path in ["/1", "/2"] {
            let request = http::Request::get(format!("https://a.test{path}")).body(()).unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let mut body = soon("an answer", answer).await.unwrap().into_body();
            let came = soon("its body", body.data()).await.unwrap().unwrap();
            assert_eq!(came, format!("GET {path}"));
        }
        drop(client);
        soon("the end", connection).await.unwrap().unwrap();
    }
    assert!(origin.requests().iter().all(|asked| asked.all("x-forwarded-proto") == ["https"]));
}

#[tokio::test]
async fn the_app_is_told_and_what_is_stored_is_kept_apart() {
    let papers = Papers::new();
    let rig = rig(&papers, "routes: [{ match: /p, cache: 60s }]").await;
    let mut secure = papers.wire(rig.sidecar.addresses[1], "a.test").await;
    secure.send(message("GET /p HTTP/1.1", &["Host: A.test:443", "X-Forwarded-Proto: http"], "")).await;
    let mut app = rig.called().await;
    let asked = app.head().await;
    assert_eq!((asked.field("host"), asked.field("x-forwarded-proto")), (Some("a.test"), Some("https")));
    assert!(asked.field("forwarded").unwrap().contains("proto=https"), "{asked:?}");
    app.send(OK).await;
    assert!(secure.response().await.field("cache-status").unwrap().contains("uri-miss"));
    let mut plain = rig.sidecar.connect().await;
    plain.send(get("/p")).await;
    assert_eq!(app.head().await.field("x-forwarded-proto"), Some("http"));
    app.send(OK).await;
    assert!(
        plain.response().await.field("cache-status").unwrap().contains("uri-miss"),
        "not what https stored"
    );
    for client in [&mut plain, &mut secure] {
        client.send(get("/p")).await;
        assert!(client.response().await.field("cache-status").unwrap().contains("; hit"));
    }
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let papers = Papers::new();
    let a = papers.issue("a", &["a.test"]);
    let b = papers.issue("b", &["b.test", "*.b.test", "127.0.0.1"]);
    let origin = Echo::start().await;
    let pairs = format!("[{}, {}]", papers.pair("a"), papers.pair("b"));
    let sidecar = start(origin.address, &pairs, "");
    for (name, expected) in [("a.test", &a), ("b.test", &b), ("x.b.test", &b)] {
        assert_eq!(&shown(&papers.connect(sidecar.addresses[1], name, &[]).await), expected, "{name}");
    }
    // Without a name (RFC 6066 §3 knows no addresses), or with one that no certificate has: the first.
    for name in ["127.0.0.1", "c.test"] {
        assert!(papers.try_connect(sidecar.addresses[1], name, &[]).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn certificates_are_replaced_while_it_runs_and_bad_ones_are_not_taken() {
    let papers = Papers::new();
    let first = papers.issue("a", &["a.test"]);
    let origin = Echo::start().await;
    let sidecar = Spawned::start(&format!(
        "listen: 'tls://127.0.0.1:0'\nupstream: http://{}\ntls: {}\nroutes: []\n",
        origin.address,
        papers.pair("a")
    ))
    .await;
    let said = |what: &str| sidecar.messages().iter().filter(|line| line.contains(what)).count();
    let old = papers.connect(sidecar.address, "a.test", &[]).await;
    assert_eq!(shown(&old), first);
    let mut old = Wire::new(old);

    // Another certificate without its key, as in the middle of a renewal that got stuck.
    let stale_key = fs::read(papers.path("a.key")).unwrap();
    let second = papers.issue("a", &["a.test"]);
    let key = fs::read(papers.path("a.key")).unwrap();
    fs::write(papers.path("a.key"), stale_key).unwrap();
    eventually("it is refused", || said("a.pem: is not for the key beside it") == 1).await;
    assert_eq!(shown(&papers.connect(sidecar.address, "a.test", &[]).await), first);
    fs::write(papers.path("a.key"), key).unwrap();
    eventually("it is taken", || said("the certificates in the files are presented") == 1).await;
    assert_eq!(shown(&papers.connect(sidecar.address, "a.test", &[]).await), second);

    for (spoiled, reason) in [("", "holds no private key"), ("rubbish", "holds no private key")] {
        fs::write(papers.path("a.key"), spoiled).unwrap();
        eventually("it is refused", || said(reason) >= 1).await;
    }
    assert!(sidecar.admin_text("/metrics").contains("sidecache_tls_last_reload_success 0"));
    fs::remove_file(papers.path("a.pem")).unwrap();
    eventually("it is refused", || said("a.pem: cannot be read") == 1).await;
    assert_eq!(shown(&papers.connect(sidecar.address, "a.test", &[]).await), second);
    let third = papers.issue("a", &["a.test"]);
    eventually("it is taken", || said("the certificates in the files are presented") == 2).await;
    assert_eq!(shown(&papers.connect(sidecar.address, "a.test", &[]).await), third);
    // Who was there before goes on.
    old.send(get("/old")).await;
    assert_eq!(old.response().await.text(), "GET /old");
    let page = sidecar.admin_text("/metrics");
    assert!(page.contains("sidecache_tls_certificate_reloads_total{result=\"taken\"} 2"), "{page}");
    assert!(page.contains("sidecache_tls_last_reload_success 1"), "{page}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_keeps_it_from_starting() {
    let papers = Papers::new();
    papers.issue("a", &["a.test"]);
    papers.issue("b", &["a.test"]);
    fs::copy(papers.path("b.key"), papers.path("a.key")).unwrap();
    let config = papers.path("config.yaml");
    let text = "listen: 'tls://127.0.0.1:0'\nupstream: http://127.0.0.1:1\nroutes: []\ntls: ";
    fs::write(&config, format!("{text}{}\n", papers.pair("a"))).unwrap();
    let bin = env!("CARGO_BIN_EXE_sidecache");
    let ended = std::process::Command::new(bin).arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let [cert, key] = ["a.pem", "a.key"].map(|name| papers.path(name).display().to_string());
    let expected = format!("tls: {cert}: is not for the key beside it, {key}");
    assert!(said.contains(&expected), "{said}");

    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(papers.path("a.key"), encrypted).unwrap();
    let ended = std::process::Command::new(bin).arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains(&format!("tls: {key}: is encrypted: ")), "{said}");
}

/// Clients refuse them, and nobody else would say so.
#[tokio::test]
async fn certificates_out_of_their_time_are_warned_of() {
    let papers = Papers::new();
    papers.issue_for("a", 2020..2021);
    let [past, future] =
        ["has expired on Fri, 01 Jan 2021 00:00:00 GMT", "is valid only from Sat, 01 Jan 2095"];
    let file = format!(
        "listen: 'tls://127.0.0.1:0'\nupstream: http://127.0.0.1:1\ntls: {}\nroutes: []\n",
        papers.pair("a")
    );
    let config = papers.path("config.yaml");
    fs::write(&config, &file).unwrap();
    let bin = env!("CARGO_BIN_EXE_sidecache");
    let checked = std::process::Command::new(bin).arg("check").arg(&config).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && said.contains(past), "{said}");

    let sidecar = Spawned::start(&file).await;
    let warned = |what: &str| sidecar.messages().iter().any(|line| line.contains(what));
    eventually("the log has it", || warned(past)).await;
    papers.issue_for("a", 2095..2096);
    eventually("of those that take its place as well", || warned(future)).await;

    papers.issue_for("a", 2020..2090);
    let pair = TlsPair { cert: papers.path("a.pem"), key: papers.path("a.key") };
    let certificates = Certificates::load(vec![pair]).unwrap();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(3_786_912_000); // 2090-01-01
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(certificates.warnings(end - 15 * day), Vec::<String>::new());
    let soon = certificates.warnings(end - 13 * day);
    assert!(
        soon.len() == 1 && soon[0].ends_with("a.pem: expires on Sun, 01 Jan 2090 00:00:00 GMT: renew it"),
        "{soon:?}"
    );
}

#[tokio::test]
async fn a_handshake_has_as_long_as_a_head() {
    let papers = Papers::new();
    let rig = rig(&papers, "timeouts: { header: 500ms }").await;
    let begun = Instant::now();
    let mut silent = Wire::tcp(rig.sidecar.addresses[1]).await;
    let mut slow = Wire::tcp(rig.sidecar.addresses[1]).await;
    // The head of a record that never comes.
    slow.send([22, 3, 1, 2, 0, 1]).await;
    silent.is_closed().await;
    slow.is_closed().await;
    assert!(begun.elapsed() >= Duration::from_millis(500));
    // Who leaves without a word, as a health check does, is no failure.
    drop(Wire::tcp(rig.sidecar.addresses[1]).await);
    let mut plain = Wire::tcp(rig.sidecar.addresses[1]).await;
    plain.send(get("/")).await;
    assert_eq!(plain.rest().await[0], 21, "an alert, and no answer in cleartext");
    eventually("all are gone", || rig.sidecar.places.stats().held == 0).await;
    assert_eq!(rig.sidecar.places.stats().handshakes, 3);
}

#[tokio::test]
async fn who_has_not_begun_to_shake_hands_makes_room() {
    let papers = Papers::new();
    let rig = rig(&papers, "limits: { connections: 1 }").await;
    let mut silent = Wire::tcp(rig.sidecar.addresses[1]).await;
    let mut client = papers.wire(rig.sidecar.addresses[1], "a.test").await;
    silent.is_closed().await;
    client.send(get("/")).await;
    let _app = rig.called().await;
    // At work: the next one is refused, without an answer that it could not read.
    Wire::tcp(rig.sidecar.addresses[1]).await.is_closed().await;
    assert_eq!(rig.sidecar.places.stats().refused, 1);
}

#[tokio::test]
async fn a_large_answer_and_a_large_request_arrive_whole() {
    let papers = Papers::new();
    let rig = rig(&papers, "").await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = papers.connect(rig.sidecar.addresses[1], "a.test", &[]).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let head = message("POST / HTTP/1.1", &["Host: a.test", &format!("Content-Length: {}", body.len())], "");
    let upload = body.clone();
    tokio::spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&upload).await.unwrap();
        write.flush().await.unwrap();
        // Kept open: the answer is still to come.
        std::future::pending::<()>().await;
    });
    let mut app = rig.called().await;
    app.head().await;
    assert!(app.bytes(body.len()).await == body);
    let answer = body.clone();
    let answering = tokio::spawn(async move {
        app.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len())).await;
        app.send(&answer).await;
        app
    });
    // A reader that lets everything fill up first, so that the last bytes have to wait in the session.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut got = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    while got.len() < body.len() || !got.ends_with(&body[body.len() - 100..]) {
        let count = soon("more of the answer", read.read(&mut piece)).await.unwrap();
        assert!(count > 0, "closed");
        got.extend_from_slice(&piece[..count]);
    }
    assert!(got.ends_with(&body));
    drop(answering.await.unwrap());
}

/// Reads to the end of the session. Whether that was in order.
async fn ends_in_order(client: &mut tokio_rustls::client::TlsStream<TcpStream>) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    let end = soon("the end", client.read_to_end(&mut got)).await;
    (got, end.is_ok())
}

#[tokio::test]
async fn section_6_1_only_what_is_whole_ends_in_order() {
    let papers = Papers::new();
    let rig = rig(&papers, "").await;
    for (whole, expected) in [(true, "4\r\npart\r\n0\r\n\r\n"), (false, "4\r\npart\r\n")] {
        // To a client of HTTP/1.0 the end of the connection is the end of the answer.
        let mut client = papers.connect(rig.sidecar.addresses[1], "a.test", &[]).await;
        client.write_all(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut app = rig.called().await;
        app.head().await;
        app.send(message("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], expected)).await;
        drop(app);
        let (got, in_order) = ends_in_order(&mut client).await;
        assert!(got.ends_with(b"\r\n\r\npart"), "{}", got.escape_ascii());
        assert_eq!(in_order, whole);
    }
}

#[tokio::test]
async fn a_tunnel_passes_through() {
    let papers = Papers::new();
    let rig = rig(&papers, "").await;
    let mut client = papers.wire(rig.sidecar.addresses[1], "a.test").await;
    let fields = ["Host: a.test", "Connection: Upgrade", "Upgrade: websocket"];
    client.send(message("GET /ws HTTP/1.1", &fields, "")).await;
    let mut app = rig.called().await;
    app.head().await;
    let fields = ["Connection: Upgrade", "Upgrade: websocket"];
    app.send(message("HTTP/1.1 101 Switching Protocols", &fields, "")).await;
    assert_eq!(client.head().await.status(), 101);
    for word in [&b"ping"[..], b"pong"] {
        client.send(word).await;
        assert_eq!(app.bytes(word.len()).await, word);
        app.send(word).await;
        assert_eq!(client.bytes(word.len()).await, word);
    }
    client.finish().await;
    assert_eq!(app.rest().await, b"");
}

#[tokio::test]
async fn a_drain_answers_what_runs_and_ends_in_order() {
    let papers = Papers::new();
    let mut rig = rig(&papers, "").await;
    let mut client = papers.connect(rig.sidecar.addresses[1], "a.test", &[]).await;
    client.write_all(get("/").as_bytes()).await.unwrap();
    let mut app = rig.called().await;
    app.head().await;
    rig.sidecar.stop();
    app.send(OK).await;
    let (got, in_order) = ends_in_order(&mut client).await;
    assert!(got.ends_with(b"ok") && in_order, "{}", got.escape_ascii());
    drop(client);
    assert!(rig.sidecar.ended().await);
}
