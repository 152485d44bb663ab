//! How many files and sockets this process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::Limits;

/// Descriptors for everything but clients and the app: listeners, Redis, the admin listener and its 64
/// connections, the file, its notices and the log.
const RESERVE: usize = 128;

/// Raises the limit as far as this process may: the usual one of 1,024 is for programs that cannot name
/// more. How many may be open then; nothing where there is no limit.
///
/// To be called when the app has been started: it keeps the limit that it would have without us.
pub(super) fn raise() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.map(|open| usize::try_from(open).unwrap_or(usize::MAX))
}

/// How many clients may connect where so many files may be open. Says so if they are fewer than the file
/// says.
pub(super) fn connections(limits: &Limits, open: Option<usize>) -> usize {
    let possible = open.map_or(usize::MAX, |open| possible(limits, open));
    if possible < limits.connections {
        tracing::warn!(
            open_files = open,
            connections = possible,
            "the system lets this process open too few files for limits.connections: fewer are held (ulimit -n)"
        );
    }
    possible.min(limits.connections)
}

/// What is left when the app and all else has its part; at least half, and one.
fn possible(limits: &Limits, open: usize) -> usize {
    let left = open.saturating_sub(RESERVE);
    (left - limits.upstream_connections.min(left / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_rest_does_not_need() {
        let limits = Limits::default();
        for (open, expected) in
            [(Some(1_048_576), 10_000), (Some(10_384), 10_000), (Some(10_383), 9_999), (Some(1024), 640)]
        {
            assert_eq!(connections(&limits, open), expected, "{open:?}");
        }
        assert_eq!(connections(&limits, None), 10_000);
        assert_eq!(connections(&limits, Some(256)), 64);
        assert_eq!(connections(&limits, Some(10)), 1);
    }
}
