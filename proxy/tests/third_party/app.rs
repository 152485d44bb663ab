//! Apps in Python, unmodified or of the standard library alone.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::support::{
    process::{Lines, collect},
    wire::soon,
};

/// A running app. Killed when dropped.
pub(crate) struct App {
    _child: Child,
    pub(crate) port: u16,
    /// What it says of its requests.
    pub(crate) log: Lines,
}

/// One of `tests/apps`.
pub(crate) fn script(name: &str) -> String {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps");
    apps.join(name).to_str().unwrap().to_owned()
}

impl App {
    /// Starts Python with these arguments; the first line it prints has its port.
    pub(crate) async fn start(args: &[&str], folder: &Path) -> Self {
        let mut python = Command::new("python3");
        python.arg("-u").args(args).current_dir(folder).kill_on_drop(true);
        python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().expect("python3 is installed");
        let log = collect(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the app's port", lines.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("the app ended: {:?}", log.lock().unwrap()));
        let port = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a port");
        Self { _child: child, port, log }
    }

    pub(crate) fn upstream(&self) -> String {
        format!("upstream: http://127.0.0.1:{}", self.port)
    }
}
