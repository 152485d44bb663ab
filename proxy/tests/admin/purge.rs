//! `/purge` with a function behind it that does as the test says, and the description of it all.

use std::future::pending;

use sidecache::{
    admin::purge::command,
    cli::{Action, Cli},
    epoch::{Epoch, Mode},
    purge::{PurgeRequest, PurgeUrl},
};
use tokio::sync::{Notify, mpsc, watch};

use super::*;

pub(super) const JSON: &str = "Content-Type: application/json\r\n";

fn report(reached: Reached) -> PurgeReport {
    PurgeReport {
        epoch: Epoch::from_number(1_790_000_000_000_000),
        reached,
        members: 3,
        waited: Duration::from_micros(4200),
        elsewhere: vec![],
    }
}

/// Reports this of each purge, and tells what was asked for.
fn scripted(reached: Reached) -> (Purge, mpsc::UnboundedReceiver<PurgeRequest>) {
    let (asked, requests) = mpsc::unbounded_channel();
    let purge: Purge = Arc::new(move |request| {
        asked.send(request).unwrap();
        Box::pin(std::future::ready(report(reached.clone())))
    });
    (purge, requests)
}

async fn purging(reached: Reached) -> (Rig, mpsc::UnboundedReceiver<PurgeRequest>) {
    let (purge, requests) = scripted(reached);
    (rig_that(purge, "127.0.0.1:0", None).await, requests)
}

impl Rig {
    async fn post(&self, fields: &str, body: &str) -> Answer {
        self.post_to("/purge", fields, body).await
    }

    pub(super) async fn post_to(&self, path: &str, fields: &str, body: &str) -> Answer {
        self.send(&self.posting(path, fields, body)).await
    }

    fn posting(&self, path: &str, fields: &str, body: &str) -> String {
        let (port, length) = (self.address.port(), body.len());
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        )
    }
}

/// The problem that was answered.
pub(super) fn problem(answer: &Answer) -> String {
    assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    let problem = parsed(answer);
    assert_eq!(problem.pointer("/status").unwrap(), answer.status);
    assert!(problem.pointer("/title").unwrap().is_string(), "{problem}");
    problem.pointer("/detail").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn is_200_when_every_live_sidecar_has_applied_it() {
    let (rig, mut requests) = purging(Reached::Fleet).await;
    let body = json!({ "urls": ["http://shop.example/a?b"], "tags": ["t"], "rules": ["home"], "soft": true });
    let answer = rig.post(JSON, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = json!({
        "reached": "fleet", "soft": true, "epoch": 1_790_000_000_000_000_u64, "members": 3, "waited_ms": 4.2, "elsewhere": [],
        "purged": { "urls": ["http://shop.example/a?b"], "tags": ["t"], "rules": ["home"], "all": false },
    });
    assert_eq!(parsed(&answer), expected);
    let asked = PurgeRequest {
        urls: vec![PurgeUrl::parse("http://shop.example/a?b").unwrap()],
        tags: vec!["t".to_owned()],
        rules: vec!["home".to_owned()],
        everything: false,
        mode: Mode::Soft,
        wait: true,
    };
    assert_eq!(requests.recv().await.unwrap(), asked);
}

#[tokio::test]
async fn is_202_when_nobody_waits() {
    let (rig, mut requests) = purging(Reached::Asked).await;
    let answer =
        rig.post("content-type: Application/JSON; charset=utf-8\r\n", r#"{"all":true,"wait":false}"#).await;
    assert_eq!((answer.status, &parsed(&answer)["reached"]), (202, &json!("asked")));
    let asked = requests.recv().await.unwrap();
    assert_eq!((asked.everything, asked.wait, asked.mode), (true, false, Mode::Hard));
}

#[tokio::test]
async fn is_503_with_what_was_purged_here_when_the_others_cannot_hear_of_it() {
    let (rig, _requests) = purging(Reached::LocalOnly("Redis does not answer".to_owned())).await;
    for body in [r#"{"tags":["t"]}"#, r#"{"tags":["t"],"wait":false}"#] {
        let answer = rig.post(JSON, body).await;
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
        let told = problem(&answer);
        assert!(told.contains("on this sidecar alone: Redis does not answer"), "{told}");
        let problem = parsed(&answer);
        assert_eq!((&problem["reached"], &problem["purged"]["tags"]), (&json!("local"), &json!(["t"])));
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_purged() {
    let (rig, mut requests) = purging(Reached::Fleet).await;
    for (body, told) in [
        ("", "no JSON object"),
        ("{", "EOF"),
        (r#"{"url": "http://a/"}"#, "unknown field `url`"),
        (r#"{"urls": ["/products"]}"#, "urls[0]: `/products` names no host: write http://HOST/products"),
        (
            r#"{"rules": ["Home"], "all": true}"#,
            "no rule is called `Home`; there are `/cached_products`, `home`",
        ),
    ] {
        let answer = rig.post(JSON, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(problem(&answer).contains(told), "{body}: {}", answer.body);
    }
    for fields in
        ["", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\nContent-Type: text/plain\r\n"]
    {
        let answer = rig.post(fields, r#"{"all":true}"#).await;
        assert_eq!(answer.status, 415, "{fields}");
        assert!(problem(&answer).contains("application/json"), "{}", answer.body);
    }
    assert_eq!(rig.get("/purge").await.status, 405);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    let (rig, mut requests) = purging(Reached::Fleet).await;
    let fields = format!("{JSON}Expect: 100-continue\r\nContent-Length: 1000000000\r\n");
    let answer = rig.ask("POST", "/purge", &fields).await;
    assert_eq!(answer.status, 413);
    assert!(problem(&answer).contains("at most 65536 bytes"), "{}", answer.body);

    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let chunks = format!("{JSON}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}1\r\n \r\n");
    let answer = rig.ask("POST", "/purge", &chunks).await;
    assert_eq!(answer.status, 413);

    let padded = format!("{}{}", r#"{"all":true}"#, " ".repeat(65536 - 12));
    assert_eq!(rig.post(JSON, &padded).await.status, 200);
    assert!(requests.recv().await.unwrap().everything);
}

#[tokio::test]
async fn pages_of_other_sites_purge_nothing() {
    let (rig, mut requests) = purging(Reached::Fleet).await;
    let port = rig.address.port();
    for fields in [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        // Another port of this machine.
        format!("Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-site\r\n"),
    ] {
        let answer = rig.post(&format!("{JSON}{fields}"), r#"{"all":true}"#).await;
        assert_eq!(answer.status, 403, "{fields}");
        assert!(problem(&answer).contains("other sites"), "{}", answer.body);
    }
    let preflight = rig.ask("OPTIONS", "/purge", "Origin: http://evil.example\r\n").await;
    assert_eq!(preflight.status, 405);
    assert!(!preflight.head.contains("access-control"), "{}", preflight.head);
    assert!(requests.try_recv().is_err());
    let own = format!("{JSON}Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(rig.post(&own, r#"{"all":true}"#).await.status, 200);
}

#[tokio::test]
async fn a_purge_takes_the_token() {
    let (purge, mut requests) = scripted(Reached::Fleet);
    let rig = rig_that(purge, "127.0.0.1:0", Some(SECRET)).await;
    let answer = rig.post(JSON, r#"{"all":true}"#).await;
    assert_eq!(answer.status, 401);
    assert!(problem(&answer).contains("token"), "{}", answer.body);
    assert!(requests.try_recv().is_err());
    let with = format!("{JSON}Authorization: Bearer {SECRET}\r\n");
    assert_eq!(rig.post(&with, r#"{"all":true}"#).await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_a_purge() {
    let (begun, go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (began, went, finished) = (Arc::clone(&begun), Arc::clone(&go), Arc::clone(&done));
    let purge: Purge = Arc::new(move |_| {
        let (began, went, finished) = (Arc::clone(&began), Arc::clone(&went), Arc::clone(&finished));
        Box::pin(async move {
            began.notify_one();
            went.notified().await;
            finished.notify_one();
            report(Reached::Fleet)
        })
    });
    let mut rig = rig_that(purge, "127.0.0.1:0", None).await;
    let left = timeout(LONG, async {
        tokio::select! {
            answer = rig.post(JSON, r#"{"all":true}"#) => panic!("{}", answer.body),
            () = begun.notified() => {}
        }
    });
    left.await.unwrap();
    // The listener's end of the connection goes too.
    rig.stop.take().unwrap().send(()).unwrap();
    timeout(LONG, &mut rig.served).await.expect("stops").unwrap();
    go.notify_one();
    timeout(LONG, done.notified()).await.expect("the purge goes on");
}

/// More purges than may wait, and then more than there are connections.
const CROWD: usize = 300;
/// So many may wait.
const WAITING: usize = 256;

#[tokio::test]
async fn purges_that_wait_leave_room_for_whoever_asks_whether_the_process_lives() {
    let (open, gate) = watch::channel(false);
    let purge: Purge = Arc::new(move |_| {
        let mut gate = gate.clone();
        Box::pin(async move {
            gate.wait_for(|open| *open).await.unwrap();
            report(Reached::Fleet)
        })
    });
    let rig = rig_that(purge, "127.0.0.1:0", None).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(rig.begin(&rig.posting("/purge", JSON, r#"{"all":true}"#)).await);
    }
    assert_eq!(rig.get("/livez").await.status, 200);
    // An explanation may wait for the app.
    let answer = rig.post_to("/explain", JSON, r#"{"url":"http://a/"}"#).await;
    assert_eq!(answer.status, 503, "{}", answer.body);

    open.send(true).unwrap();
    let (mut done, mut refused) = (0, 0);
    for stream in crowd {
        let answer = rig.finish(stream).await;
        if answer.status == 200 {
            done += 1;
        } else {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
            assert!(problem(&answer).contains("nothing was done"), "{}", answer.body);
            refused += 1;
        }
    }
    assert_eq!((done, refused), (WAITING, CROWD - WAITING));
    assert_eq!(rig.post(JSON, r#"{"all":true}"#).await.status, 200, "there is room again");
}

#[tokio::test]
async fn a_purge_that_breaks_is_a_500() {
    let purge: Purge = Arc::new(|_| Box::pin(async { panic!("on purpose") }));
    let rig = rig_that(purge, "127.0.0.1:0", None).await;
    let answer = rig.post(JSON, r#"{"all":true}"#).await;
    assert_eq!(answer.status, 500);
    assert!(problem(&answer).contains("repeat it"), "{}", answer.body);
}

#[tokio::test]
async fn the_description_names_the_methods_there_are() {
    let rig = rig("127.0.0.1:0", None).await;
    let answer = rig.get("/openapi.json").await;
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let description = parsed(&answer);
    assert_eq!(description["openapi"], "3.1.0");
    for (path, methods) in description["paths"].as_object().unwrap() {
        let allowed = rig.ask("BREW", path, "").await;
        assert_eq!(allowed.status, 405, "{path}");
        let allowed = allowed.head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap().to_owned();
        let mut described: Vec<&str> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        if described.contains(&"get") {
            described.push("head");
        }
        assert_eq!(allowed.split(',').collect::<Vec<_>>(), described, "{path}");
    }
}

#[tokio::test]
async fn the_description_names_what_the_checks_answer() {
    let rig = rig("127.0.0.1:0", Some(SECRET)).await;
    let port = rig.address.port();
    let token = format!("Authorization: Bearer {SECRET}\r\n");
    let description = parsed(&rig.ask("GET", "/openapi.json", &token).await);
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let line = format!("{} {path} HTTP/1.1\r\n", method.to_uppercase());
            let (ours, other) = (format!("Host: 127.0.0.1:{port}\r\n"), "Host: sidecar.example\r\n");
            let needs_token = !["/livez", "/readyz"].contains(&path.as_str());
            let no_token = (ours.as_str(), if needs_token { 401 } else { 200 });
            for (fields, expected) in [(other, 421), ("", 400), no_token] {
                let answer = rig.send(&format!("{line}{fields}\r\n")).await;
                assert_eq!(answer.status, expected, "{line}{fields}");
                assert!(described["responses"][expected.to_string()].is_object(), "{line}{expected}");
            }
        }
    }
}

#[tokio::test]
async fn the_command_and_the_listener_understand_each_other() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("admin.sock");
    let (purge, mut requests) = scripted(Reached::Fleet);
    let admin = Admin::bind(&Listen::Unix(path.clone()), None).await.unwrap();
    tokio::spawn(admin.serve(state(purge).0, pending()));
    let line = format!(
        "sidecache purge --admin unix:{} --url http://a/b --tag t --tag u --rule home --soft",
        path.display()
    );
    let Ok(Action::Purge(options)) = Cli::read(line.split(' ').map(Into::into)) else { panic!("{line}") };
    let done = command::ask(options.admin.as_ref().unwrap(), &options).await.unwrap();
    assert_eq!(
        done.to_string(),
        "marked stale on every live sidecar (3): URL http://a/b, 2 tags, rule home; 4.2 ms"
    );
    let asked = requests.recv().await.unwrap();
    assert_eq!((asked.tags.len(), asked.everything, asked.mode, asked.wait), (2, false, Mode::Soft, true));
}
