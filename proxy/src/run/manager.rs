//! What the service manager is told (`sd_notify(3)`): a datagram for each change, to the socket that
//! `NOTIFY_SOCKET` names. Without the variable, nobody is told.

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, net::SocketAddr, net::UnixDatagram},
    sync::Arc,
};

use rustix::time::{ClockId, clock_gettime};

use crate::wrap::NOTIFY_SOCKET;

/// Whoever started us and wants to know how we fare.
#[derive(Clone, Debug, Default)]
pub(super) struct Manager(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Manager {
    /// That of this process, where it has one. One that cannot be reached is told of in the log: it may
    /// take us for one that never got ready.
    pub(super) fn of_this_process() -> Self {
        let Some(name) = std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        Self::at(&name).unwrap_or_else(|error| {
            tracing::warn!(%error, socket = %name.display(), "the service manager cannot be told how we fare");
            Self::default()
        })
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // It is nobody's business here how busy the manager is.
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new((socket, address(name)?)))))
    }

    /// Requests are taken.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The file is read again; [`Self::ready`] says when that is over.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// No more requests are taken.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what runs");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = self.0.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, "the service manager was not told: {}", state.lines().next().unwrap_or_default());
        }
    }
}

/// A path, or after `@` a name that no file has.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as SocketAddrExt>::from_abstract_name(name),
        _ if name.as_bytes().starts_with(b"/") => SocketAddr::from_pathname(OsString::from(name)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract socket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 200];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn is_told(name: &OsStr, socket: &UnixDatagram) {
        let manager = Manager::at(name).unwrap();
        manager.ready("serving");
        assert_eq!(heard(socket), "READY=1\nSTATUS=serving");
        manager.reloading();
        let (first, at) = heard(socket).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(first, "RELOADING=1");
        assert!(at.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0, "{at}");
        manager.stopping();
        assert!(heard(socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        is_told(path.as_os_str(), &UnixDatagram::bind(&path).unwrap());

        let name = format!("sidecache-test-{}", std::process::id());
        let abstract_name = <SocketAddr as SocketAddrExt>::from_abstract_name(&name).unwrap();
        is_told(OsStr::new(&format!("@{name}")), &UnixDatagram::bind_addr(&abstract_name).unwrap());
    }

    #[test]
    fn no_manager_is_no_error_and_an_odd_one_is_told_of() {
        Manager::default().ready("serving");
        for odd in ["vsock:2:1", "run/notify", ""] {
            assert!(address(OsStr::new(odd)).is_err(), "{odd}");
        }
        // Gone meanwhile: a line in the log.
        let folder = tempfile::tempdir().unwrap();
        Manager::at(folder.path().join("gone").as_os_str()).unwrap().stopping();
    }
}
