//! The `sidecache` command as a process of its own.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    sidecar::eventually,
    usage,
    wire::{Message, PATIENCE, Wire, soon},
};

/// All lines that a process has written so far.
pub type Lines = Arc<Mutex<Vec<String>>>;

/// Collects lines as they are written.
pub fn collect(output: impl AsyncRead + Unpin + Send + 'static) -> Lines {
    let lines = Lines::default();
    let all = Arc::clone(&lines);
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            all.lock().unwrap().push(line);
        }
    });
    lines
}

/// A running command. Killed when dropped.
pub struct Process {
    child: Child,
    folder: TempDir,
    lines: Lines,
    /// Where it answers, once it does.
    pub address: SocketAddr,
}

impl Process {
    /// Starts it with this file, and `command` behind `--`, and waits until it is ready.
    pub async fn ready(yaml: &str, command: &[&str]) -> Self {
        let mut process = Self::start(yaml, command);
        process.wait_for_log("ready", 1).await;
        let ready = process.logged("ready").swap_remove(0);
        process.address = ready["listening"].as_str().unwrap().trim_start_matches("tls://").parse().unwrap();
        process
    }

    /// Starts it, and waits for nothing.
    pub fn start(yaml: &str, command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let listen = if yaml.contains("listen:") { "" } else { "listen: 127.0.0.1:0\n" };
        std::fs::write(&file, format!("{listen}{yaml}")).unwrap();
        let mut sidecache = Command::new(env!("CARGO_BIN_EXE_sidecache"));
        sidecache.args(["--log-format", "json", "--config"]).arg(&file);
        if !command.is_empty() {
            sidecache.arg("--").args(command);
        }
        sidecache.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = sidecache.spawn().unwrap();
        let lines = collect(child.stderr.take().unwrap());
        Self { child, folder, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// Its configuration.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("it runs")).unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The log lines whose message begins with `message`.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with(message))).collect()
    }

    /// Waits until it has logged this so often.
    pub async fn wait_for_log(&self, message: &str, times: usize) {
        let so_often = timeout(PATIENCE, async {
            while self.logged(message).len() < times {
                sleep(Duration::from_millis(2)).await;
            }
        });
        if so_often.await.is_err() {
            panic!("never logged: {message:?}, but {:#?}", self.lines.lock().unwrap());
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        soon("the end of the process", self.child.wait()).await.unwrap()
    }

    pub async fn connect(&self) -> Wire {
        Wire::tcp(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Message {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.response_to(request.split(' ').next().unwrap_or_default()).await
    }

    /// One `GET` on a connection of its own.
    pub async fn get(&self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }

    /// A figure of `/proc/PID/status`, in bytes.
    pub fn memory(&self, name: &str) -> u64 {
        usage::memory(self.pid(), name).expect("it runs")
    }
}

/// A port on which nobody listens: it was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether a process is there.
pub fn is_alive(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

/// Waits until it is not.
pub async fn gone(pid: Pid) {
    eventually("the end of the app", || !is_alive(pid)).await;
}
