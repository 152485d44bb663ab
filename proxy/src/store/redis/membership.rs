//! Who belongs to the fleet, for those who wait until all have heard of a purge.
//!
//! `prefix:v1:m` is a hash: a field for each sidecar, which it writes with each renewal, see [`Renewal`]; and one
//! that says since when there is such a hash, see [`MADE`].

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use redis::Cmd;

use super::{journal::eval, layout};

/// For how long the members are kept when none renews: a day.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// So many members are told of each other.
const TOLD: usize = 512;

/// The field that says when the roll was made, and when somebody wrote there last, in milliseconds of Redis' time. The
/// first renewal makes it that does not find it, or finds it after a [`GAP`]. The roll may have been lost before, and
/// then who is missing has not renewed since.
pub(super) const MADE: &str = "0";
/// A roll in which nobody has written for so long may be older than it seems: of a Redis that has come back with what
/// it had some time ago.
pub(super) const GAP: Duration = Duration::from_secs(1);

/// A sidecar's own number, drawn when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(u128);

impl Member {
    /// One that no other sidecar has.
    pub(super) fn new() -> Self {
        let half = || u128::from(RandomState::new().build_hasher().finish());
        Self(half() << 64 | half())
    }

    /// Renews the membership, and asks for the roll.
    pub(super) fn renewal(self, prefix: &str, renewal: &Renewal) -> Cmd {
        let mut write = eval(include_str!("member.lua"), &[&layout::members(prefix)]);
        write.arg(self.to_string()).arg(renewal.to_string());
        write.arg(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX)).arg(TOLD).arg(MADE);
        write.arg(u64::try_from(GAP.as_millis()).unwrap_or(u64::MAX));
        write
    }
}

/// What a member says of itself: `<bound> <count> <clients>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    /// For how long after it the member may serve what it has not heard to be obsolete.
    pub(super) bound: Duration,
    /// Which renewal it is: one that stays the same is a member that has fallen silent.
    pub(super) count: u64,
    /// The connections on which it is told of changes, as far as it may know them.
    pub(super) clients: Vec<Client>,
}

/// A connection, as Redis calls it: `<number>`, in a cluster `<node>@<number>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The id of the node; empty, where there is one alone.
    pub(super) node: String,
    pub(super) number: u64,
}

impl Renewal {
    /// What one writes that leaves, and trusts nothing any more.
    pub(super) const fn farewell() -> Self {
        Self { bound: Duration::ZERO, count: 0, clients: Vec::new() }
    }

    /// Reads what is written so; nothing for anything else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let bound = Duration::from_millis(words.next()?.parse().ok()?);
        let (count, clients) = (words.next()?.parse().ok()?, words.next()?);
        let clients = match clients {
            "-" => Vec::new(),
            clients => clients.split(',').map(Client::read).collect::<Option<_>>()?,
        };
        words.next().is_none().then_some(Self { bound, count, clients })
    }
}

impl Client {
    fn read(text: &str) -> Option<Self> {
        let (node, number) = text.split_once('@').unwrap_or(("", text));
        Some(Self { node: node.to_owned(), number: number.parse().ok()? })
    }
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.bound.as_millis(), self.count)?;
        if self.clients.is_empty() {
            return f.write_str("-");
        }
        for (place, Client { node, number }) in self.clients.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let at = if node.is_empty() { "" } else { "@" };
            write!(f, "{comma}{node}{at}{number}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_member_writes_is_read(
            millis: u64,
            count: u64,
            clients in proptest::collection::vec(("[0-9a-f]{0,40}", any::<u64>()), 0..4),
        ) {
            let clients = clients.into_iter().map(|(node, number)| Client { node, number }).collect();
            let renewal = Renewal { bound: Duration::from_millis(millis), count, clients };
            prop_assert_eq!(Renewal::read(&renewal.to_string()), Some(renewal));
        }

        #[test]
        fn reading_never_fails_hard(text in "[0-9a @,-]{0,20}|.{0,20}") {
            let _ = Renewal::read(&text);
        }
    }
}
