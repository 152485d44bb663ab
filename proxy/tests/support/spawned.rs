//! The sidecar as it is run: the binary, its file, its log, its admin listener.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::redis::eventually;

const BIN: &str = env!("CARGO_BIN_EXE_sidecache");

/// A running `sidecache`; it ends with this value.
pub struct Spawned {
    pub address: SocketAddr,
    folder: TempDir,
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Spawned {
    /// Starts it in a folder of its own, where its file is.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[], &[]).await
    }

    /// The same, with these arguments beside its own and these in its environment.
    pub async fn start_with(yaml: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(BIN), yaml, arguments, environment).await
    }

    /// The same where only so many files may be open.
    pub async fn start_with_few_files(yaml: &str, most: u32) -> Self {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), BIN]);
        Self::start_by(limited, yaml, &[], &[]).await
    }

    async fn start_by(
        mut command: Command,
        yaml: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), with_listeners(&folder, yaml)).unwrap();
        let mut child = command
            .args(["--log-format", "json"])
            .args(if arguments.contains(&"--log") { &[][..] } else { &["--log", "info,access=off"] })
            .args(arguments)
            .current_dir(folder.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (lines, told) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                told.lock().unwrap().push(line);
            }
        });
        let mut spawned = Self { address: ([127, 0, 0, 1], 0).into(), folder, child, log };
        let ready = async || {
            let ended = spawned.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {:?}", spawned.log.lock().unwrap());
            spawned.listening().is_some()
        };
        eventually("the sidecar is ready", ready).await;
        spawned.address = spawned.listening().unwrap();
        spawned
    }

    fn listening(&self) -> Option<SocketAddr> {
        let log = self.log.lock().unwrap();
        let ready = log.iter().find(|line| line["message"] == "ready")?;
        ready["listening"].as_str()?.parse().ok()
    }

    /// The text of a file with these lines and the listeners of this sidecar, on two lines before.
    pub fn text(&self, yaml: &str) -> String {
        with_listeners(&self.folder, yaml)
    }

    /// Its file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// The messages of its log so far.
    pub fn messages(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// All of its log so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// What its admin listener answers to `GET path`.
    pub fn admin(&self, path: &str) -> Value {
        let body = self.admin_text(path);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The body of that answer.
    pub fn admin_text(&self, path: &str) -> String {
        let answer = self.admin_asked(&format!("GET {path} HTTP/1.1\r\n"), "");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// What it answers to `POST path` with this, from the status line on.
    pub fn admin_post(&self, path: &str, json: &str) -> String {
        let length = json.len();
        let head =
            format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
        self.admin_asked(&head, json)
    }

    fn admin_asked(&self, head: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(self.admin_socket()).unwrap();
        write!(stream, "{head}host: localhost\r\nconnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Where its admin listener is.
    pub fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let has_ended = async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        };
        eventually("the sidecar ends", has_ended).await;
        status.unwrap()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_listeners(folder: &TempDir, yaml: &str) -> String {
    format!("listen: 127.0.0.1:0\nadmin: unix:{}/admin.sock\n{yaml}", folder.path().display())
}
