//! Edits of the configuration file, as editors, people and Kubernetes make them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use sidecache::reload::{Cause, Change, LARGEST_FILE, Reloader};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for anything that works, on a busy machine too.
const LONG: Duration = Duration::from_secs(10);

/// Long enough for every notice, and for two looks without one.
const NOTHING: Duration = Duration::from_millis(1200);

fn file(dir: &TempDir, text: &str) -> (PathBuf, Reloader) {
    let path = dir.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    let reloader = Reloader::watch(&path, text).unwrap();
    (path, reloader)
}

async fn change(reloader: &mut Reloader) -> Change {
    timeout(LONG, reloader.next()).await.expect("the change is noticed")
}

async fn assert_edit(reloader: &mut Reloader, text: &str) {
    let change = change(reloader).await;
    assert_eq!((change.cause, change.text.unwrap().as_str()), (Cause::Edit, text));
}

async fn assert_nothing(reloader: &mut Reloader) {
    if let Ok(change) = timeout(NOTHING, reloader.next()).await {
        panic!("{change:?}");
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn an_edit_in_place() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    for text in ["two", "three", "TWO"] {
        fs::write(&path, text).unwrap();
        assert_edit(&mut reloader, text).await;
    }
    assert_nothing(&mut reloader).await;
}

#[tokio::test]
async fn an_edit_before_the_watch_began() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, "two").unwrap();
    let mut reloader = Reloader::watch(&path, "one").unwrap();
    assert_edit(&mut reloader, "two").await;
}

#[tokio::test]
async fn a_replacement_by_rename_again_and_again() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    for text in ["two", "three", "four"] {
        replace(&path, text);
        assert_edit(&mut reloader, text).await;
    }
}

#[tokio::test]
async fn a_file_written_in_pieces_is_read_when_complete() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    let writer = thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        let mut longest_pause = Duration::ZERO;
        for piece in ["a", "b", "c", "d"] {
            let begun = Instant::now();
            file.write_all(piece.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
            longest_pause = longest_pause.max(begun.elapsed());
        }
        longest_pause
    });
    let text = change(&mut reloader).await.text.unwrap();
    // A machine so busy that the pieces lay far apart proves nothing.
    if writer.join().unwrap() < Duration::from_millis(60) {
        assert_eq!(text, "abcd");
    }
}

#[tokio::test]
async fn a_file_left_half_written_is_read_and_its_rest_too() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    fs::write(&path, "routes: [").unwrap();
    assert_edit(&mut reloader, "routes: [").await;
    fs::write(&path, "routes: []").unwrap();
    assert_edit(&mut reloader, "routes: []").await;
}

#[tokio::test]
async fn a_touch_a_neighbour_and_the_same_text_are_nothing() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    fs::File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::write(dir.path().join("neighbour"), "two").unwrap();
    replace(&path, "one");
    assert_nothing(&mut reloader).await;
}

#[tokio::test]
async fn an_edit_beside_a_restless_neighbour() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    let neighbour = dir.path().join("log");
    let restless = tokio::spawn(async move {
        for line in 0.. {
            fs::write(&neighbour, format!("{line}")).unwrap();
            sleep(Duration::from_millis(10)).await;
        }
    });
    fs::write(&path, "two").unwrap();
    assert_edit(&mut reloader, "two").await;
    restless.abort();
}

#[tokio::test]
async fn a_deletion_is_said_once_and_a_return_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    fs::remove_file(&path).unwrap();
    let gone = change(&mut reloader).await;
    assert_eq!(gone.text.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_nothing(&mut reloader).await;
    // The text is the old one, but whoever was told that it is gone must learn that it is not.
    fs::write(&path, "one").unwrap();
    assert_edit(&mut reloader, "one").await;
}

#[tokio::test]
async fn an_editor_that_deletes_and_writes_anew_is_one_edit() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "two").unwrap();
    assert_edit(&mut reloader, "two").await;
}

#[tokio::test]
async fn a_directory_that_comes_back() {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("inner");
    let path = inner.join("config.yaml");
    fs::create_dir(&inner).unwrap();
    fs::write(&path, "one").unwrap();
    let mut reloader = Reloader::watch(&path, "one").unwrap();
    fs::remove_dir_all(&inner).unwrap();
    change(&mut reloader).await.text.unwrap_err();
    fs::create_dir(&inner).unwrap();
    for text in ["two", "three"] {
        fs::write(&path, text).unwrap();
        assert_edit(&mut reloader, text).await;
    }
}

/// Writes a version of a mounted ConfigMap and makes it the current one, as the kubelet does.
fn publish(dir: &Path, version: &str, text: &str) {
    fs::create_dir(dir.join(version)).unwrap();
    fs::write(dir.join(version).join("config.yaml"), text).unwrap();
    symlink(version, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn a_config_map_is_swapped() {
    let dir = TempDir::new().unwrap();
    publish(dir.path(), "..1", "one");
    let path = dir.path().join("config.yaml");
    symlink("..data/config.yaml", &path).unwrap();
    let mut reloader = Reloader::watch(&path, "one").unwrap();
    for (old, new) in [(1, 2), (2, 3), (3, 4)] {
        publish(dir.path(), &format!("..{new}"), &format!("text {new}"));
        fs::remove_dir_all(dir.path().join(format!("..{old}"))).unwrap();
        assert_edit(&mut reloader, &format!("text {new}")).await;
    }
}

#[tokio::test]
async fn the_target_of_a_link_elsewhere_is_edited_and_then_the_link() {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (first, second) = (elsewhere.path().join("first"), elsewhere.path().join("second"));
    fs::write(&first, "one").unwrap();
    fs::write(&second, "second").unwrap();
    let path = dir.path().join("config.yaml");
    symlink(&first, &path).unwrap();
    let mut reloader = Reloader::watch(&path, "one").unwrap();
    fs::write(&first, "two").unwrap();
    assert_edit(&mut reloader, "two").await;
    symlink(&second, dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_edit(&mut reloader, "second").await;
    fs::write(&second, "third").unwrap();
    assert_edit(&mut reloader, "third").await;
}

#[tokio::test]
async fn what_is_no_text_file_is_an_error_and_waits_for_nobody() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(change(&mut reloader).await.text.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    fs::write(&path, "two").unwrap();
    assert_edit(&mut reloader, "two").await;
    fs::File::create(&path).unwrap().set_len(LARGEST_FILE + 1).unwrap();
    assert_eq!(change(&mut reloader).await.text.unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    fs::write(&path, "three").unwrap();
    assert_edit(&mut reloader, "three").await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(change(&mut reloader).await.text.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_edit_is_noticed_well_before_the_slow_look() {
    let dir = TempDir::new().unwrap();
    let (path, mut reloader) = file(&dir, "one");
    // The quickest of some, for a busy machine. Each begins right after a look, which alone would take
    // half a second to come again.
    let mut quickest = LONG;
    for round in 0..5 {
        assert!(timeout(Duration::from_millis(20), reloader.next()).await.is_err());
        let begun = Instant::now();
        fs::write(&path, format!("{round}")).unwrap();
        change(&mut reloader).await;
        quickest = quickest.min(begun.elapsed());
    }
    assert!(quickest < Duration::from_millis(250), "{quickest:?}");
}
