//! The wrapped app, with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

use std::{ffi::OsString, time::Duration};

use rustix::process::{Pid, Signal, WaitOptions, getpgid, kill_process, waitpid};
use sidecache::wrap::{
    Ended, Probe, ReadyError, Reap, Wrapped,
    probe::{Address, connect},
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Long enough for anything that works.
const LONG: Duration = Duration::from_secs(20);

/// What the Python apps are written in; `beget` starts a child that knows the same words.
const WORDS: &str = r"
import os, signal, socket, subprocess, sys
def listen(name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen()
    return listener
def accept_forever(listener):
    while True:
        listener.accept()[0].close()
def beget(code):
    return subprocess.Popen([sys.executable, '-c', words + code])
";

const STUBBORN: &str = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n";

fn python(dir: &TempDir, code: &str) -> Wrapped {
    let words = format!("words = {WORDS:?}\n{WORDS}");
    start("python3", &["-c", &format!("import os\nos.chdir({:?})\n{words}\n{code}", dir.path())])
}

fn sh(script: &str) -> Wrapped {
    start("sh", &["-c", script])
}

fn start(program: &str, args: &[&str]) -> Wrapped {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    Wrapped::start(program.as_ref(), &args, Reap::App).unwrap()
}

fn socket(dir: &TempDir, name: &str) -> Address {
    Address::Unix(dir.path().join(name))
}

async fn listening(app: &mut Wrapped, dir: &TempDir, name: &str) {
    app.wait_ready(&Probe::Connect(socket(dir, name)), LONG).await.unwrap();
}

/// A process that listens does so until it ends; one that was killed may take a moment.
async fn assert_gone(address: &Address) {
    let deadline = Instant::now() + LONG;
    while connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "{address} still answers");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn ends_as_the_app_ends() {
    assert_eq!(sh("exit 0").exited().await, Ended::Exited(0));
    let ended = sh("exit 7").exited().await;
    assert_eq!((ended, ended.code()), (Ended::Exited(7), 7));
    let ended = sh("kill -9 $$").exited().await;
    assert_eq!((ended, ended.code()), (Ended::Signalled(9), 137));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let error = Wrapped::start("no-such-program".as_ref(), &[], Reap::App).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn many_apps_at_once_keep_their_own_status() {
    let apps: Vec<_> = (0..20).map(|code| (code, sh(&format!("exit {code}")))).collect();
    for (code, mut app) in apps {
        assert_eq!(app.exited().await, Ended::Exited(code));
    }
}

#[tokio::test]
async fn leads_a_group_of_its_own() {
    let mut app = sh("sleep 100");
    let pid = Pid::from_raw(app.pid());
    assert_eq!(getpgid(pid).ok(), pid);
    assert_eq!(app.kill().await, Ended::Signalled(9));
}

#[tokio::test]
async fn is_ready_once_it_takes_connections() {
    let dir = TempDir::new().unwrap();
    let mut app = python(&dir, "import time; time.sleep(0.2); accept_forever(listen('app'))");
    listening(&mut app, &dir, "app").await;
    app.kill().await;
}

#[tokio::test]
async fn is_ready_once_its_path_answers_well() {
    let dir = TempDir::new().unwrap();
    let mut app = python(
        &dir,
        r"
listener = listen('app')
for status in ['503 No', '404 No', '204 Yes']:
    peer = listener.accept()[0]
    line = peer.recv(4096).split(b'\r\n')[0]
    with open('asked', 'ab') as asked:
        asked.write(line + b'\n')
    peer.sendall(b'HTTP/1.1 ' + status.encode() + b'\r\nContent-Length: 0\r\n\r\n')
    peer.close()
signal.pause()
",
    );
    let probe = Probe::Get { address: socket(&dir, "app"), path: "/up?x=1".to_owned() };
    app.wait_ready(&probe, LONG).await.unwrap();
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, "GET /up?x=1 HTTP/1.1\n".repeat(3));
    app.kill().await;
}

#[tokio::test]
async fn an_app_that_ends_at_once_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let error = sh("exit 4").wait_ready(&Probe::Connect(socket(&dir, "app")), LONG).await.unwrap_err();
    assert!(matches!(error, ReadyError::Ended(Ended::Exited(4))), "{error:?}");
    assert_eq!(error.to_string(), "the app ended with exit status 4 before it was ready");
}

#[tokio::test]
async fn an_app_that_never_answers_is_named_and_still_runs() {
    let dir = TempDir::new().unwrap();
    let mut app = sh("sleep 100");
    let probe = Probe::Connect(socket(&dir, "app"));
    let error = app.wait_ready(&probe, Duration::from_millis(200)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the app did not get ready within 200ms: nothing answers at unix:/"),
        "{error}"
    );
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(app.kill().await, Ended::Signalled(9));
}

#[tokio::test]
async fn is_asked_before_it_is_killed() {
    let dir = TempDir::new().unwrap();
    let handler = "signal.signal(signal.SIGTERM, lambda *_: os._exit(3))";
    let mut app = python(&dir, &format!("{handler}\naccept_forever(listen('app'))"));
    listening(&mut app, &dir, "app").await;
    assert_eq!(app.terminate(LONG).await, Ended::Exited(3));
}

#[tokio::test]
async fn what_does_not_listen_is_killed_after_the_grace() {
    let dir = TempDir::new().unwrap();
    let mut app = python(&dir, &format!("{STUBBORN}accept_forever(listen('app'))"));
    listening(&mut app, &dir, "app").await;
    let (begun, grace) = (Instant::now(), Duration::from_millis(300));
    assert_eq!(app.terminate(grace).await, Ended::Signalled(9));
    assert!(begun.elapsed() >= grace);
}

#[tokio::test]
async fn the_grace_can_be_cut_short() {
    let dir = TempDir::new().unwrap();
    let mut app = python(&dir, &format!("{STUBBORN}accept_forever(listen('app'))"));
    listening(&mut app, &dir, "app").await;
    let begun = Instant::now();
    tokio::select! {
        ended = app.terminate(LONG) => panic!("it did not ignore the signal: {ended}"),
        () = sleep(Duration::from_millis(100)) => {}
    }
    assert_eq!(app.kill().await, Ended::Signalled(9));
    assert!(begun.elapsed() < LONG);
}

#[tokio::test]
async fn an_app_that_stands_still_is_ended_too() {
    let mut app = sh("exec sleep 100");
    let pid = Pid::from_raw(app.pid());
    kill_process(pid.unwrap(), Signal::STOP).unwrap();
    // Returns once it stands still.
    let (_, status) = waitpid(pid, WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped());
    assert_eq!(app.terminate(LONG).await.code(), 143);
}

#[tokio::test]
async fn what_the_app_started_ends_with_it() {
    for manners in ["", STUBBORN] {
        let dir = TempDir::new().unwrap();
        let child = format!("{manners}accept_forever(listen('child'))");
        let mut app = python(&dir, &format!("beget({child:?}); accept_forever(listen('app'))"));
        listening(&mut app, &dir, "app").await;
        listening(&mut app, &dir, "child").await;
        assert_eq!(app.terminate(Duration::from_millis(500)).await, Ended::Signalled(15));
        assert_gone(&socket(&dir, "child")).await;
    }
}

#[tokio::test]
async fn what_an_ended_app_left_behind_is_ended() {
    let dir = TempDir::new().unwrap();
    let child = "accept_forever(listen('child'))";
    let mut app = python(&dir, &format!("beget({child:?}); listen('app').accept(); os._exit(5)"));
    listening(&mut app, &dir, "child").await;
    listening(&mut app, &dir, "app").await;
    assert_eq!(app.exited().await, Ended::Exited(5));
    connect(&socket(&dir, "child")).await.unwrap();
    assert_eq!(app.terminate(LONG).await, Ended::Exited(5));
    assert_gone(&socket(&dir, "child")).await;
}

#[tokio::test]
async fn is_killed_when_nobody_holds_it() {
    let dir = TempDir::new().unwrap();
    let mut app = python(&dir, "accept_forever(listen('app'))");
    listening(&mut app, &dir, "app").await;
    drop(app);
    assert_gone(&socket(&dir, "app")).await;
}
