//! The program itself: flags, signals, exit status.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::get;

/// The program, killed if its test fails.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails for one that has ended already, as it should have.
        self.child.kill().ok();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_origin"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Starts the program and waits until it listens.
fn start(command: &mut Command) -> Program {
    let mut child = command.env("ORIGIN_LISTEN", "127.0.0.1:0").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening address=") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended before it listened");
    }
    let address = line.trim_end().rsplit('=').next().unwrap().parse().unwrap();
    Program { child, log, address }
}

impl Program {
    /// Sends `signal` and expects a clean end; returns the rest of the log.
    fn stop(mut self, signal: Signal) -> Vec<String> {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
        let log = self.log.by_ref().lines().map(Result::unwrap).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        log
    }
}

fn healthcheck(address: &str) -> Output {
    program().args(["healthcheck", "--listen", address]).output().unwrap()
}

#[tokio::test]
async fn either_signal_ends_it_cleanly_and_nothing_is_left() {
    for signal in [Signal::TERM, Signal::INT] {
        let temporary = TempDir::new().unwrap();
        let origin = start(program().env("TMPDIR", temporary.path()).env("ORIGIN_PRODUCTS", "7"));
        assert_eq!(get(origin.address, "/products").await.json().as_array().unwrap().len(), 7);
        assert_eq!(temporary.path().read_dir().unwrap().count(), 1);

        let log = origin.stop(signal);
        assert!(log.iter().any(|line| line.contains("GET") && line.contains("status=200")), "{log:?}");
        assert!(log.last().unwrap().contains("stopped"), "{log:?}");
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_database_that_was_asked_for_stays() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kept.db");
    for count in ["5", "6"] {
        let origin = start(program().arg("--database").arg(&file).args(["--products", count]));
        assert_eq!(get(origin.address, "/products").await.json().as_array().unwrap().len(), 5);
        origin.stop(Signal::TERM);
        assert!(file.exists());
    }
}

#[test]
fn the_health_check_tells_a_running_service_from_none() {
    let origin = start(&mut program());
    let address = origin.address.to_string();
    let well = healthcheck(&address);
    assert_eq!((well.status.code(), well.stderr), (Some(0), vec![]));
    origin.stop(Signal::TERM);

    let gone = healthcheck(&address);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains(&format!("no answer from {address}")));
}

#[test]
fn the_health_check_does_not_believe_any_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            request.read_line(&mut line).unwrap();
        }
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
    });
    let output = healthcheck(&address.to_string());
    answering.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("503 Service Unavailable"));
}

#[test]
fn a_database_that_cannot_be_opened_is_said_so() {
    for (file, reason) in
        [(":memory:", "write-ahead logging is needed"), ("/nowhere/products.db", "unable to open")]
    {
        let output = program().args(["--listen", "127.0.0.1:0", "--database", file]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains(&format!("cannot open the database {file}")) && error.contains(reason),
            "{error}"
        );
    }
}

#[test]
fn wrong_flags_are_refused() {
    for arguments in [["--delay", "25"], ["--products", "-1"], ["--listen", "8000"]] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
