//! What a process takes, as the system tells it.

use std::fs;

use rustix::process::Pid;

/// A figure of `/proc/PID/status`, in bytes. Nothing of a process that is no more.
pub fn memory(pid: Pid, name: &str) -> Option<u64> {
    let status = fs::read_to_string(of(pid, "status")).ok()?;
    let figure = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(figure.split_whitespace().next()?.parse::<u64>().expect("a number") * 1024)
}

/// How many descriptors it has open. Nothing of a process that is no more.
pub fn descriptors(pid: Pid) -> Option<usize> {
    Some(fs::read_dir(of(pid, "fd")).ok()?.count())
}

fn of(pid: Pid, what: &str) -> String {
    format!("/proc/{}/{what}", pid.as_raw_nonzero())
}
