//! `SIGHUP` reads the file again. Alone in its file, because the signal reaches the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

use std::{fs, time::Duration};

use rustix::process::{Signal, getpid, kill_process};
use sidecache::reload::{Cause, Reloader};
use tokio::time::timeout;

#[tokio::test]
async fn a_hang_up_reads_the_file_changed_or_not() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, "one").unwrap();
    let mut reloader = Reloader::watch(&path, "one").unwrap();
    for _ in 0..2 {
        kill_process(getpid(), Signal::HUP).unwrap();
        let change = timeout(Duration::from_secs(1), reloader.next()).await.unwrap();
        assert_eq!((change.cause, change.text.unwrap().as_str()), (Cause::Signal, "one"));
    }
}
