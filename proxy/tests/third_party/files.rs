//! `python3 -m http.server`.

use std::fs;

use tempfile::TempDir;

use crate::{
    app::App,
    support::process::{Process, free_port},
};

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.txt"), "a page").unwrap();
    fs::write(folder.path().join("image.bin"), vec![7; 300_000]).unwrap();
    folder
}

const RULE: &str = "routes: [{ match: /page.txt, cache: 1h }]";

#[tokio::test]
async fn a_folder_is_served_and_a_page_of_it_cached() {
    let folder = folder();
    let app = App::start(&["-m", "http.server", "0", "--bind", "127.0.0.1"], folder.path()).await;
    let sidecar = Process::ready(&format!("{}\n{RULE}", app.upstream()), &[]).await;

    let first = sidecar.get("/page.txt").await;
    assert_eq!((first.status(), first.text().as_str()), (200, "a page"));
    assert_eq!(first.field("cache-status"), Some("sidecache; fwd=uri-miss; stored"));
    let second = sidecar.get("/page.txt").await;
    assert_eq!((second.status(), second.text().as_str()), (200, "a page"));
    assert!(second.field("cache-status").unwrap().starts_with("sidecache; hit"), "{second:?}");
    assert!(second.field("age").is_some());
    assert_eq!(second.field("content-type"), first.field("content-type"));

    let modified = first.field("last-modified").unwrap();
    let condition = format!("GET /page.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {modified}\r\n\r\n");
    assert_eq!(sidecar.ask(&condition).await.status(), 304);
    let head = sidecar.ask("HEAD /page.txt HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((head.field("content-length"), head.body.len()), (Some("6"), 0));
    let asked = |what: &str| app.log.lock().unwrap().iter().filter(|line| line.contains(what)).count();
    assert_eq!(asked("GET /page.txt"), 1, "the app was asked once");

    assert_eq!(sidecar.get("/image.bin").await.body, vec![7; 300_000]);
    assert!(sidecar.get("/").await.text().contains("page.txt"), "the list of files");
    assert_eq!(sidecar.get("/no-such-file").await.status(), 404);
    let post = sidecar.ask("POST /page.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    assert_eq!(post.status(), 501, "the app's own refusal");
    assert!(sidecar.get("/page.txt").await.field("age").is_some(), "which makes nothing obsolete");
}

#[tokio::test]
async fn it_runs_wrapped() {
    let (folder, port) = (folder(), free_port().to_string());
    let directory = folder.path().to_str().unwrap();
    let yaml = format!("upstream: http://127.0.0.1:{port}\n{RULE}");
    let command = ["python3", "-m", "http.server", &port, "--bind", "127.0.0.1", "--directory", directory];
    let mut sidecar = Process::ready(&yaml, &command).await;
    assert_eq!(sidecar.get("/page.txt").await.text(), "a page");
    assert!(sidecar.get("/page.txt").await.field("age").is_some());
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.ended().await.code(), Some(128 + 15), "the app's own status: ended by SIGTERM");
}
