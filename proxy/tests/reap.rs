//! As PID 1, orphans are taken in. Alone in its file, because the whole process waits for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![cfg(target_os = "linux")]

use std::{ffi::OsString, time::Duration};

use rustix::process::{Pid, getpid, set_child_subreaper, test_kill_process};
use sidecache::wrap::{Ended, Probe, Reap, Wrapped, probe::Address};
use tokio::time::{Instant, sleep};

/// Its child ends and leaves a grandchild behind, which ends once it is an orphan.
const SCRIPT: &str = r"
import os, socket, sys
os.chdir(sys.argv[1])
told, tell = os.pipe()
hold, let_go = os.pipe()
child = os.fork()
if child == 0:
    if os.fork() == 0:
        os.close(let_go)
        os.write(tell, str(os.getpid()).encode())
        os.read(hold, 1)
    os._exit(0)
os.waitpid(child, 0)
with open('orphan', 'wb') as orphan:
    orphan.write(os.read(told, 16))
os.close(let_go)
listener = socket.socket(socket.AF_UNIX)
listener.bind('app')
listener.listen()
listener.accept()
listener.accept()
os._exit(9)
";

#[tokio::test]
async fn orphans_are_taken_in_and_the_app_keeps_its_status() {
    // Orphans below us come to us, as they come to PID 1.
    set_child_subreaper(Some(getpid())).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let args = ["-c".into(), SCRIPT.into(), OsString::from(dir.path())];
    let mut app = Wrapped::start("python3".as_ref(), &args, Reap::All).unwrap();
    let probe = Probe::Connect(Address::Unix(dir.path().join("app")));
    app.wait_ready(&probe, Duration::from_secs(20)).await.unwrap();

    let orphan = std::fs::read_to_string(dir.path().join("orphan")).unwrap();
    let orphan = Pid::from_raw(orphan.parse().unwrap()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // A process that has ended is there until somebody waits for it.
    while test_kill_process(orphan).is_ok() {
        assert!(Instant::now() < deadline, "nobody waited for {orphan:?}");
        sleep(Duration::from_millis(5)).await;
    }
    app.wait_ready(&probe, Duration::from_secs(20)).await.unwrap();
    assert_eq!(app.exited().await, Ended::Exited(9));
}
