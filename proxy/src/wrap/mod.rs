//! The wrapped app: a child in a process group of its own, that lives as long as the proxy needs it.
//!
//! *Its own group*, because a Ctrl-C on the terminal, or its hang-up, reaches every process of the
//! terminal's foreground group at once: the app would be gone while the proxy still drains. So the
//! app sees only the signals sent here, to it and to all that it started.
//!
//! *Its stdin* is ours unless that is a terminal. A process outside the terminal's foreground group
//! that reads from it is stopped (`SIGTTIN`), and an app that stands still is a hard riddle; it gets
//! an empty stdin instead. Handing the terminal over is no way out: Ctrl-C would pass us by.
//!
//! *One reaper.* The child's end is waited for in one place only, so that nobody takes it from
//! another. As PID 1 that place also takes in the orphans that the kernel hands us.

mod ended;
pub mod probe;
mod ready;

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, wait, waitpid},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use crate::admin::TOKEN_VARIABLE;

pub use ended::Ended;
pub use ready::{Probe, ReadyError};

/// Where a service manager listens for how the service fares. The app is not the service.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// How often a group that was asked to end is looked at: nothing announces a group's end.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// How long the kernel may take to end what was killed.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// Whom to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// The app alone.
    App,
    /// All children: orphans are handed to us, and nobody else waits for them.
    All,
}

impl Reap {
    /// What this process has to do: everything as PID 1, as in a container without an init.
    #[must_use]
    pub fn for_this_process() -> Self {
        if std::process::id() == 1 { Self::All } else { Self::App }
    }
}

/// The app. When this is dropped, its process group is killed.
#[derive(Debug)]
pub struct Wrapped {
    group: Pid,
    ended: watch::Receiver<Option<Ended>>,
    /// Nothing of the group is left, and its id may be another's by now.
    gone: bool,
}

impl Wrapped {
    /// Starts `program`, to be found as a shell would. Needs a Tokio runtime.
    ///
    /// With [`Reap::All`], no other child of this process may be waited for by anybody else.
    ///
    /// # Errors
    /// As the system gives them: no such program, not executable, out of processes.
    pub fn start(program: &OsStr, args: &[OsString], reap: Reap) -> io::Result<Self> {
        // Before the child is there, or its end could pass unnoticed.
        let child_ended = signal(SignalKind::child())?;
        let stdin = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let mut command = Command::new(program);
        command.args(args).stdin(stdin).process_group(0);
        command.env_remove(TOKEN_VARIABLE).env_remove(NOTIFY_SOCKET);
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let (tell, ended) = watch::channel(None);
        tokio::spawn(reaper(group, reap, child_ended, tell));
        Ok(Self { group, ended, gone: false })
    }

    /// Its process id, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.group.as_raw_pid()
    }

    /// Waits until the app answers.
    ///
    /// # Errors
    /// The app ended before, or did not answer in time; it still runs then.
    pub async fn wait_ready(&mut self, probe: &Probe, timeout: Duration) -> Result<(), ReadyError> {
        tokio::select! {
            ended = Self::end(&mut self.ended) => Err(ReadyError::Ended(ended)),
            ready = ready::wait(probe, timeout) => ready,
        }
    }

    /// Waits until the app itself has ended; what it started may still run. Safe to cancel.
    pub async fn exited(&mut self) -> Ended {
        Self::end(&mut self.ended).await
    }

    async fn end(ended: &mut watch::Receiver<Option<Ended>>) -> Ended {
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended::Unknown),
            // The reaper is gone, as when the runtime shuts down.
            Err(_) => Ended::Unknown,
        }
    }

    /// Asks the app and all that it started to end, and kills what is left after `grace`. To cut the
    /// grace short, drop the future and call [`Self::kill`]. To be called as well when the app has
    /// ended by itself, for what it may have left behind.
    pub async fn terminate(&mut self, grace: Duration) -> Ended {
        let deadline = Instant::now() + grace;
        self.signal(Signal::TERM);
        // What is stopped would learn of it only when continued.
        self.signal(Signal::CONT);
        if let Ok(ended) = timeout_at(deadline, self.exited()).await {
            self.gone = self.gone || self.group_gone(deadline).await;
            if self.gone {
                return ended;
            }
        }
        self.kill().await
    }

    /// Kills whatever is left of the group, at once.
    pub async fn kill(&mut self) -> Ended {
        self.signal(Signal::KILL);
        let deadline = Instant::now() + KILL_GRACE;
        // Not for ever: a process in an uninterruptible wait cannot be killed.
        let ended = timeout_at(deadline, self.exited()).await.unwrap_or(Ended::Unknown);
        self.gone = true;
        ended
    }

    /// Sends to every process of the group. That there is none left is what is wanted.
    fn signal(&self, signal: Signal) {
        if self.gone {
            return;
        }
        match kill_process_group(self.group, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, group = self.pid(), "cannot signal the app"),
        }
    }

    /// Waits for the group's last process; whether it ended in time. The kernel gives the group's id
    /// to nobody else while one is left.
    async fn group_gone(&self, deadline: Instant) -> bool {
        while test_kill_process_group(self.group).is_ok() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep_until(deadline.min(Instant::now() + GROUP_POLL)).await;
        }
        true
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Waits for children whenever one has ended, until the app has.
///
/// One notice may stand for several ends, hence the inner loop; and the app may have ended before
/// the first notice is looked at, hence the loop before the wait.
async fn reaper(
    app: Pid,
    reap: Reap,
    mut child_ended: tokio::signal::unix::Signal,
    tell: watch::Sender<Option<Ended>>,
) {
    loop {
        while let Some(status) = next_ended(app, reap) {
            if let Some(ended) = status {
                tell.send_replace(Some(ended));
            }
        }
        let over = tell.is_closed() || (reap == Reap::App && tell.borrow().is_some());
        if over || child_ended.recv().await.is_none() {
            return;
        }
    }
}

/// Takes in one ended child: the app with its status, any other without.
fn next_ended(app: Pid, reap: Reap) -> Option<Option<Ended>> {
    loop {
        let ended = match reap {
            Reap::App => waitpid(Some(app), WaitOptions::NOHANG),
            Reap::All => wait(WaitOptions::NOHANG),
        };
        match ended {
            Ok(Some((pid, status))) => return Some((pid == app).then(|| Ended::from(status))),
            Err(Errno::INTR) => {}
            // None has ended, or there is none.
            Ok(None) | Err(_) => return None,
        }
    }
}
