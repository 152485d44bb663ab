//! The command's exit statuses and messages, as scripts and containers see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use tempfile::TempDir;

const GOOD: &str = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\nroutes: []\n";

/// A folder with this `config.yaml` in it.
fn folder(yaml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), yaml).unwrap();
    folder
}

fn sidecache(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command.args(args).current_dir(folder.path()).stdin(Stdio::null());
    for name in ["SIDECACHE_ADMIN", "SIDECACHE_ADMIN_TOKEN", "SIDECACHE_LOG"] {
        command.env_remove(name);
    }
    command
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An admin listener that answers one request with this status.
fn admin(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        write!(peer, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    address
}

#[test]
fn a_health_check_ends_with_0_or_1() {
    let (good, broken, none) = (folder(GOOD), folder("listen: ["), tempfile::tempdir().unwrap());
    for (folder, args) in [
        (&none, &["healthcheck"][..]),
        (&broken, &["healthcheck"]),
        (&good, &["healthcheck"]),
        (&good, &["healthcheck", "--admin", "nonsense"]),
        (&good, &["healthcheck", "--nonsense"]),
    ] {
        let output = sidecache(folder, args).output().unwrap();
        assert_eq!(status(&output), 1, "{args:?}: {output:?}");
        assert!(!said(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_health_check_needs_no_file_where_it_is_told_whom_to_ask() {
    for folder in [folder("listen: ["), tempfile::tempdir().unwrap()] {
        for (answer, expected) in [("200 OK", 0), ("503 Service Unavailable", 1)] {
            let output = sidecache(&folder, &["healthcheck"]).env("SIDECACHE_ADMIN", admin(answer)).output();
            assert_eq!(status(&output.unwrap()), expected);
        }
    }
}

#[test]
fn the_image_asks_the_admin_listener_of_the_demo() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| fs::read_to_string(top.join(path)).unwrap();
    let image = read("proxy/Dockerfile");
    let asked = image.lines().find_map(|line| line.strip_prefix("ENV SIDECACHE_ADMIN=")).expect("a default");
    let demo = sidecache::config::Config::parse(&read("config.yaml"), "config.yaml", &|_| None).unwrap();
    assert_eq!(demo.admin.unwrap().to_string(), asked);
    assert!(read("docker-compose.yml").contains("[CMD, /usr/local/bin/sidecache, healthcheck]"));
    assert!(!read("docker-compose.yml").contains("ADMIN:"), "the stack would ask elsewhere");
}

#[test]
fn nobody_has_to_read_what_check_says() {
    let folder = folder(GOOD);
    let mut check = sidecache(&folder, &["check", "--config", "config.yaml"]);
    let mut child = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((status(&output), said(&output).as_str()), (0, ""));
}

#[test]
fn a_file_that_is_wrong_is_2() {
    let folder = folder("listen: [");
    for args in [&["check"][..], &["check", "none.yaml"], &[], &["python3", "app.py"]] {
        assert_eq!(status(&sidecache(&folder, args).output().unwrap()), 2, "{args:?}");
    }
}

#[test]
fn a_pipe_is_no_configuration_to_run_with() {
    let folder = folder(GOOD);
    let output = sidecache(&folder, &["--config", "/dev/null"]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).starts_with("/dev/null: not a regular file"), "{output:?}");
}

#[test]
fn readiness_is_not_asked_in_cleartext_of_an_app_that_speaks_tls() {
    let folder = folder("listen: 127.0.0.1:0\nupstream: https://127.0.0.1:1\nroutes: []\n");
    let output = sidecache(&folder, &["--ready", "/up", "--", "sleep", "100"]).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("`upstream` is https"), "{output:?}");
}

#[test]
fn a_token_that_is_no_text_opens_nothing() {
    let folder = folder(&format!("{GOOD}admin: 127.0.0.1:0\n"));
    let mut command = sidecache(&folder, &["--", "sleep", "100"]);
    let output = command.env("SIDECACHE_ADMIN_TOKEN", OsStr::from_bytes(b"0123456789abcdef\xff")).output();
    let output = output.unwrap();
    assert_eq!(status(&output), 1);
    assert!(said(&output).contains("the admin token"), "{output:?}");
}

#[test]
fn the_app_is_not_told_the_token() {
    let folder = folder(GOOD);
    let mut command = sidecache(&folder, &["--", "sh", "-c", "exit ${SIDECACHE_ADMIN_TOKEN:+1}${OTHER}"]);
    command.env("SIDECACHE_ADMIN_TOKEN", "0123456789abcdef").env("OTHER", "7");
    assert_eq!(status(&command.output().unwrap()), 7);
}
