//! A real sentinel, in a folder of its own.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use redis::Client;
use tempfile::TempDir;

/// One who watches a master and calls it `shop`; ends with this value.
pub struct Sentinel {
    /// Where it listens.
    pub port: u16,
    child: Child,
    _folder: TempDir,
}

impl Sentinel {
    /// One who agrees with another that the master on this port is dead.
    pub fn start(master: u16) -> Self {
        Self::start_with(|port| {
            format!(
                "bind 127.0.0.1\nport {port}\nsentinel monitor shop 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 2000\n"
            )
        })
    }

    /// One with these lines in its file, for a port that is free.
    pub fn start_with(lines: impl FnOnce(u16) -> String) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let text = format!("dir {}\nlogfile {0}/sentinel.log\n{}", folder.path().display(), lines(port));
        fs::write(&file, text).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { port, child: command.spawn().unwrap(), _folder: folder }
    }

    /// What it says of the master in this field.
    pub fn says(&self, field: &str) -> Option<String> {
        let mut connection =
            Client::open(format!("redis://127.0.0.1:{}", self.port)).ok()?.get_connection().ok()?;
        let said: Vec<String> =
            redis::cmd("SENTINEL").arg("MASTER").arg("shop").query(&mut connection).ok()?;
        said.chunks(2).find(|pair| pair[0] == field).map(|pair| pair[1].clone())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
