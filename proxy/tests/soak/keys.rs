//! What is in Redis: every key has a name of the layout, and a TTL that is not longer than its kind needs.

use std::{collections::BTreeMap, fmt, time::Duration};

use redis::{Connection, Pipeline};
use sidecache::store::redis::Announcement;

use crate::{
    pages::kept,
    sidecars::{PREFIX, TTLS},
    support::redis::RedisServer,
};

/// Keys that Redis is asked for at once.
const BATCH: usize = 500;
/// How much longer than its TTL a key may be there: Redis looks for what has expired, some of it at a time.
pub(crate) const SWEPT: Duration = Duration::from_secs(10);
const DAY: u64 = 24 * 60 * 60;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Resource,
    Leases,
    Announcement,
    Acknowledgements,
    /// The record of a tag.
    Record,
    Members,
    Epoch,
}

impl Kind {
    /// Those of which nothing stays when nobody asks for anything any more.
    pub(crate) const PASSING: [Self; 4] =
        [Self::Resource, Self::Leases, Self::Announcement, Self::Acknowledgements];

    /// What a key of this name is for.
    fn of(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?.strip_prefix(":v1:")?;
        let (letter, rest) = rest.split_once(':').unwrap_or((rest, ""));
        let braced = |rest: &str| is_number(rest.strip_prefix('{')?.strip_suffix('}')?, 32);
        match letter {
            "r" => rest.split_once(":/").filter(|(hash, _)| braced(hash) == Some(())).map(|_| Self::Resource),
            "l" => braced(rest).map(|()| Self::Leases),
            "p" => Announcement::parse(rest.as_bytes()).map(|_| Self::Announcement),
            "a" => is_number(rest, 16).map(|()| Self::Acknowledgements),
            "t" => braced(rest).map(|()| Self::Record),
            "m" if rest.is_empty() => Some(Self::Members),
            "e" if rest.is_empty() => Some(Self::Epoch),
            _ => None,
        }
    }

    /// Its longest TTL, and half a second for clocks.
    pub(crate) fn lasts(self) -> Duration {
        let seconds = match self {
            Self::Resource => kept(TTLS.into_iter().max().unwrap_or_default().into()),
            Self::Leases => 2,
            Self::Announcement => 60,
            Self::Acknowledgements => 70,
            Self::Record | Self::Members => DAY,
            Self::Epoch => 365 * DAY,
        };
        Duration::from_secs(seconds) + Duration::from_millis(500)
    }

    /// How long after the last request there is none any more. An announcement is heard of once more when it
    /// expires; a sidecar that came after the purge hears of it for the first time, and acknowledges it.
    pub(crate) fn goes_after(self) -> Duration {
        match self {
            Self::Acknowledgements => self.lasts() + Self::Announcement.lasts(),
            _ => self.lasts(),
        }
    }
}

fn is_number(digits: &str, length: usize) -> Option<()> {
    (digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())
}

/// All keys of a moment.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    counts: BTreeMap<Kind, usize>,
    /// Those that should not be as they are.
    pub(crate) litter: Vec<String>,
    /// Who is believed to be of the fleet.
    pub(crate) members: usize,
}

impl Keys {
    /// Asks Redis for the name and the TTL of each. Blocks.
    pub(crate) fn of(redis: &RedisServer) -> Self {
        let (mut connection, mut keys, mut cursor) = (redis.connect().unwrap(), Self::default(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("COUNT").arg(BATCH);
            let (next, names): (u64, Vec<String>) = scan.query(&mut connection).unwrap();
            for (name, left) in names.iter().zip(lefts(&mut connection, &names)) {
                keys.add(name, left);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        keys.members = redis.members(PREFIX).len();
        keys
    }

    /// `left` is what `PTTL` says: -1 without a TTL, -2 of a key that is no more.
    fn add(&mut self, name: &str, left: i64) {
        match (Kind::of(name), u64::try_from(left).map(Duration::from_millis)) {
            (_, Err(_)) if left == -2 => {}
            (None, _) => self.litter.push(format!("{name} is no name of ours")),
            (Some(_), Err(_)) => self.litter.push(format!("{name} has no TTL")),
            (Some(kind), Ok(left)) => {
                *self.counts.entry(kind).or_default() += 1;
                if left > kind.lasts() {
                    self.litter.push(format!("{name} stays for {left:?}"));
                }
            }
        }
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or_default()
    }
}

fn lefts(connection: &mut Connection, names: &[String]) -> Vec<i64> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut ask = Pipeline::new();
    for name in names {
        ask.cmd("PTTL").arg(name);
    }
    ask.query(connection).unwrap()
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys {:?}, {} members", self.counts.values().sum::<usize>(), self.counts, self.members)
    }
}

#[test]
fn what_is_not_of_the_layout_is_found() {
    let (hash, epoch) = ("{0123456789abcdef0123456789abcdef}", "00063f0123456789");
    for (name, kind) in [
        (format!("soak:v1:r:{hash}:/once/1"), Some(Kind::Resource)),
        (format!("soak:v1:l:{hash}"), Some(Kind::Leases)),
        (format!("soak:v1:t:{hash}"), Some(Kind::Record)),
        (format!("soak:v1:p:{hash}:uhw:{epoch}"), Some(Kind::Announcement)),
        (format!("soak:v1:a:{epoch}"), Some(Kind::Acknowledgements)),
        ("soak:v1:m".to_owned(), Some(Kind::Members)),
        ("soak:v1:e".to_owned(), Some(Kind::Epoch)),
        ("soak:v1:r:{}:".to_owned(), None),
        (format!("soak:v1:l:{hash}x"), None),
        (format!("soak:v1:a:{epoch}0"), None),
        (format!("soak:v1:x:{hash}"), None),
        (format!("soak:v2:l:{hash}"), None),
        (format!("other:v1:l:{hash}"), None),
        ("soak:v1:m:more".to_owned(), None),
    ] {
        assert_eq!(Kind::of(&name), kind, "{name}");
    }
}

#[test]
fn what_stays_or_stays_too_long_is_found() {
    let mut keys = Keys::default();
    for left in [60_000, -2] {
        keys.add("soak:v1:e", left);
    }
    assert!(keys.litter.is_empty(), "{keys:?}");
    for (name, left) in [("soak:v1:e", -1), ("soak:v1:m", 2 * 86_400_000), ("soak", 60_000)] {
        keys.add(name, left);
    }
    assert_eq!(keys.litter.len(), 3, "{keys:?}");
}
