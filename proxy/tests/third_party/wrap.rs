//! `sidecache -- COMMAND`: the app as its child, from start to end.

use rustix::process::{Pid, Signal};

use crate::{
    app::script,
    support::{
        process::{Process, free_port, gone, is_alive},
        sidecar::eventually,
        wire::Wire,
    },
};

/// The sidecar with the stage as its child, ready; and the child.
async fn wrapped(rest: &str) -> (Process, Pid) {
    wrapped_with(rest, "").await
}

/// The same, the stage having such manners.
async fn wrapped_with(rest: &str, manners: &str) -> (Process, Pid) {
    let port = free_port().to_string();
    let yaml = format!("upstream: http://127.0.0.1:{port}\nroutes: []\n{rest}");
    let sidecar = Process::ready(&yaml, &["python3", &script("stage.py"), &port, manners]).await;
    let pid = sidecar.get("/pid").await.text().parse().unwrap();
    (sidecar, Pid::from_raw(pid).unwrap())
}

#[tokio::test]
async fn the_apps_own_status_is_passed_on() {
    let (mut sidecar, _) = wrapped("").await;
    let mut client: Wire = sidecar.connect().await;
    client.send("POST /exit HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n7").await;
    assert_eq!(client.response().await.status(), 502, "the app is gone");
    assert_eq!(sidecar.ended().await.code(), Some(7));
}

#[tokio::test]
async fn an_app_that_ends_before_it_answers_ends_the_sidecar_with_its_status() {
    let yaml = format!("upstream: http://127.0.0.1:{}\nroutes: []", free_port());
    let mut sidecar = Process::start(&yaml, &["sh", "-c", "exit 9"]);
    assert_eq!(sidecar.ended().await.code(), Some(9));
    assert!(sidecar.logged("ready").is_empty());
}

#[tokio::test]
async fn a_command_that_is_not_there_is_an_error() {
    let yaml = format!("upstream: http://127.0.0.1:{}\nroutes: []", free_port());
    let mut sidecar = Process::start(&yaml, &["no-such-program"]);
    assert_eq!(sidecar.ended().await.code(), Some(1));
}

#[tokio::test]
async fn sigterm_drains_first_and_then_ends_the_app() {
    let (mut sidecar, app) = wrapped("").await;
    let mut client = sidecar.connect().await;
    // The first half of a request: it is running, and the app must outlive it.
    client.send("POST /emit HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_log("stopping", 1).await;
    assert!(is_alive(app));
    client.send("lf").await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("sent", Some("close")));
    assert_eq!(sidecar.ended().await.code(), Some(128 + 15));
    gone(app).await;
}

#[tokio::test]
async fn a_second_signal_kills_the_app_too() {
    let (mut sidecar, app) = wrapped("timeouts: { drain: 1h }").await;
    let mut client = sidecar.connect().await;
    client.send("POST /emit HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_log("stopping", 1).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(128 + 9));
    gone(app).await;
}

#[tokio::test]
async fn an_open_stream_costs_the_app_no_asking() {
    let (mut sidecar, app) = wrapped_with("timeouts: { drain: 100ms }", "polite").await;
    let mut client = sidecar.connect().await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(3), "the app was asked, not killed");
    assert_eq!(sidecar.logged("some requests were cut off").len(), 1);
    gone(app).await;
}

#[tokio::test]
async fn a_second_signal_is_heard_while_the_app_takes_its_time_to_end() {
    let (mut sidecar, app) = wrapped_with("timeouts: { drain: 1h }", "stubborn").await;
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_log("the app is asked to end", 1).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(128 + 9));
    gone(app).await;
}

#[tokio::test]
async fn a_signal_before_the_app_is_ready_ends_it_and_a_second_kills_it() {
    let yaml = format!("upstream: http://127.0.0.1:{}\nroutes: []\ntimeouts: {{ drain: 1h }}", free_port());
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("deaf");
    let script = "trap '' TERM; : > \"$0\"; while :; do sleep 1; done";
    let mut sidecar = Process::start(&yaml, &["sh", "-c", script, deaf.to_str().unwrap()]);
    eventually("an app that ignores the signal", || deaf.exists()).await;
    sidecar.signal(Signal::INT);
    sidecar.wait_for_log("the app is asked to end", 1).await;
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.ended().await.code(), Some(128 + 9));
    assert!(sidecar.logged("ready").is_empty());
}

#[tokio::test]
async fn the_grace_is_the_edited_one() {
    let (mut sidecar, app) = wrapped_with("timeouts: { drain: 1h }", "polite").await;
    let mut client = sidecar.connect().await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await;
    let text = std::fs::read_to_string(sidecar.file()).unwrap();
    std::fs::write(sidecar.file(), text.replace("drain: 1h", "drain: 10ms")).unwrap();
    sidecar.wait_for_log("the configuration is in force", 1).await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(3));
    gone(app).await;
}

#[tokio::test]
async fn sighup_reads_the_file_again_and_is_not_passed_on() {
    let (mut sidecar, app) = wrapped("").await;
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log("the configuration is in force", 1).await;
    assert!(is_alive(app), "the app would have ended");
    let text = std::fs::read_to_string(sidecar.file()).unwrap();
    std::fs::write(sidecar.file(), text.replace("routes: []", "hosts: [elsewhere]\nroutes: []")).unwrap();
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_log("the configuration is in force", 2).await;
    assert_eq!(sidecar.get("/pid").await.status(), 421, "the edit is in force");
    assert!(is_alive(app));
    sidecar.signal(Signal::TERM);
    sidecar.ended().await;
    gone(app).await;
}
