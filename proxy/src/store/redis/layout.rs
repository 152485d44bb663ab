//! Where a resource is in Redis. Pure.
//!
//! ```text
//! prefix:v1:r:{<hash of the resource key>}:<readable tail>     a hash of
//!     m            the nominated fields of all its variants
//!     i            the variants, the oldest first: of one with an entity tag the length of its body;
//!                  its field; when it may go
//!     e            the epoch of the earliest of them
//!     s            the epoch of the last soft purge: what was fetched before it is stale
//!     v<variant>   one stored response
//!     V<variant>   its body, where that is apart
//!     u            until when nobody need wait for a fetch (Redis' time in milliseconds), and why: `u`,
//!                  what came last is not for others, or `f`, nothing came
//!
//! prefix:v1:l:{<the same hash>}        its leases, a hash of
//!     v<variant>   who fills it: a token; until when; `f`, a flight, or `a`, one alone
//!
//! prefix:v1:t:{<tag>}                  the epochs of a tag's latest purges, hard and soft
//! prefix:v1:p:{<what>}:<how>:<epoch>   the announcement of a purge, for a minute
//! prefix:v1:e                          the last epoch
//! prefix:v1:m                          the members of the fleet: for how long each trusts its memory, and since
//!                                      when they are noted here
//! prefix:v1:a:<epoch>                  who has applied a purge, for some seconds
//! ```
//!
//! One key for all variants, so that one `UNLINK` misses none. The braces keep what belongs to
//! a resource in one slot of a cluster; the tail is for people who read `redis-cli --scan`.

use std::fmt::Write;

use http::HeaderName;

use super::announcement::{Announcement, hex};
use crate::{
    epoch::Epoch,
    key::{ResourceKey, VariantKey},
    store::MAX_VARIANTS,
    tags::Tag,
};

/// The field that names what a resource's variants are selected by.
pub(super) const NOMINATED: &str = "m";
/// The field that lists a resource's variants.
pub(super) const INDEX: &str = "i";
/// The field with the epoch of the last soft purge.
pub(super) const MARKED: &str = "s";
/// Bytes of the readable tail.
const TAIL: usize = 120;
/// Bytes of the names that a resource may nominate, commas included.
const MAX_NAMES: usize = 4 * 1024;
/// Bytes of a line of the index: two numbers of up to twenty digits, and a field.
const MAX_LINE: usize = 80;

/// A resource's place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// 128 bits of the hash of its key.
    pub(super) hash: u128,
    /// The name of its Redis key.
    pub(super) name: String,
}

impl Place {
    /// Where `key` is.
    pub(super) fn of(prefix: &str, key: &ResourceKey) -> Self {
        let hash = key.wide_hash();
        let mut name = String::with_capacity(prefix.len() + 42 + TAIL);
        name.push_str(prefix);
        // Writing to a string cannot fail.
        let _ = write!(name, ":v1:r:{{{hash:032x}}}:");
        push_tail(&mut name, key.readable());
        Self { hash, name }
    }
}

/// Where the leases are of the resource with this hash.
pub(super) fn leases(prefix: &str, hash: u128) -> String {
    format!("{prefix}:v1:l:{{{hash:032x}}}")
}

/// What the names begin with that the fleet hears of when they change: resources, and announcements.
pub(super) fn tracked(prefix: &str) -> [String; 2] {
    ["r", "p"].map(|kind| format!("{prefix}:v1:{kind}:"))
}

/// The key that announces a purge.
pub(super) fn announcement(prefix: &str, announcement: &Announcement) -> String {
    format!("{prefix}:v1:p:{announcement}")
}

/// What a name is of that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// The resource of this hash.
    Resource(u128),
    /// A purge is announced, or its announcement has expired.
    Announcement(Announcement),
    /// The name is like that of an announcement, and says nothing. Who would have it say more writes another
    /// version into it.
    Junk,
    /// Nothing of ours.
    Nothing,
}

impl Changed {
    /// What has changed with the key of this name.
    pub(super) fn of(prefix: &str, name: &[u8]) -> Self {
        let ours = name.strip_prefix(prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b":v1:"));
        match ours.and_then(|rest| rest.split_at_checked(2)) {
            Some((b"r:", rest)) => resource(rest).map_or(Self::Nothing, Self::Resource),
            Some((b"p:", rest)) => Announcement::parse(rest).map_or(Self::Junk, Self::Announcement),
            _ => Self::Nothing,
        }
    }
}

/// The hash in the rest of a resource's name.
fn resource(rest: &[u8]) -> Option<u128> {
    let (digits, tail) = rest.strip_prefix(b"{")?.split_at_checked(32)?;
    tail.starts_with(b"}:").then(|| hex(std::str::from_utf8(digits).ok()?, 32))?
}

/// The key that a probe reads: in our namespace, never there, and on the node that has this tag.
pub(super) fn probe(prefix: &str, tag: &str) -> String {
    format!("{prefix}:v1:r:{{{tag}}}:")
}

/// The record of a tag's purges.
pub(super) fn record(prefix: &str, tag: Tag) -> String {
    format!("{prefix}:v1:t:{{{:032x}}}", tag.bits())
}

/// An epoch in 16 hexadecimal digits.
pub(super) fn epoch_of(digits: &[u8]) -> Option<Epoch> {
    let digits =
        str::from_utf8(digits).ok().filter(|digits| digits.len() == 16 && !digits.starts_with('+'))?;
    Epoch::from_number(u64::from_str_radix(digits, 16).ok()?)
}

/// The same, written.
pub(super) fn digits(epoch: Epoch) -> String {
    format!("{:016x}", epoch.number())
}

/// The last epoch of the fleet.
pub(super) fn epoch(prefix: &str) -> String {
    format!("{prefix}:v1:e")
}

/// Who shares this Redis.
pub(super) fn members(prefix: &str) -> String {
    format!("{prefix}:v1:m")
}

/// Who has applied a purge.
pub(super) fn acknowledgements(prefix: &str, epoch: Epoch) -> String {
    format!("{prefix}:v1:a:{:016x}", epoch.number())
}

/// The field of one variant.
pub(super) fn field(variant: &VariantKey) -> String {
    format!("v{:032x}", variant.id())
}

/// The field of its body, where that is apart.
pub(super) fn body_field(variant: &VariantKey) -> String {
    format!("V{:032x}", variant.id())
}

/// The variants of an index that have an entity tag, the newest first: their bodies' lengths and
/// their fields. Nothing of what is not an index.
pub(super) fn tagged(index: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let index = index.get(..index.len().min(MAX_VARIANTS * MAX_LINE)).unwrap_or_default();
    str::from_utf8(index).unwrap_or_default().lines().rev().filter_map(|line| {
        let mut words = line.split(' ');
        let length = words.next()?.parse().ok()?;
        let is_field = |name: &&str| {
            let digits = name.strip_prefix('v').unwrap_or_default();
            digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        };
        Some((length, words.next().filter(is_field)?))
    })
}

/// How many variants an index lists.
pub(super) fn variants(index: &[u8]) -> usize {
    index.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count().min(MAX_VARIANTS)
}

/// Whether this can begin every key: no blanks, no braces, nothing that a pattern would read.
pub(super) fn is_prefix(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%=&:;,+@!$".contains(&byte)
}

/// The readable part, percent-encoded where it is not plain, cut between two characters.
fn push_tail(name: &mut String, readable: &[u8]) {
    let end = name.len() + TAIL;
    for &byte in readable {
        if name.len() + if is_plain(byte) { 1 } else { 3 } > end {
            break;
        }
        if is_plain(byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
}

/// What the variants of a resource are selected by: the names, and as Redis has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nominated {
    pub(super) names: Box<[HeaderName]>,
    pub(super) bytes: Box<[u8]>,
}

impl Nominated {
    /// What an entry nominates.
    pub(super) fn of(names: &[HeaderName]) -> Self {
        let text = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(",");
        Self { names: names.into(), bytes: text.into_bytes().into() }
    }

    /// Reads the field; `None` if it is not what [`Nominated::of`] writes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NAMES)?;
        let names: Box<[HeaderName]> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let parsed = Self::of(&names);
        (*parsed.bytes == *bytes).then_some(parsed)
    }

    /// Whether Redis would give it back.
    pub(super) fn fits(&self) -> bool {
        self.bytes.len() <= MAX_NAMES
    }

    /// Bytes of memory it holds.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.names) + 2 * self.bytes.len()
    }
}

#[cfg(test)]
mod tests {

    use http::header::{ACCEPT, ACCEPT_ENCODING};
    use proptest::prelude::*;

    use super::*;

    fn place(path: &str) -> Place {
        Place::of("sidecache", &ResourceKey::of_path(path))
    }

    #[test]
    fn people_can_read_it() {
        let name = place("/list?page=2&q={a}*").name;
        let (hash, tail) = name.strip_prefix("sidecache:v1:r:{").unwrap().split_once("}:").unwrap();
        assert_eq!(hash.len(), 32);
        assert_eq!(tail, "/list%3Fpage=2&q=%7Ba%7D%2A");
    }

    #[test]
    fn a_long_tail_is_cut_but_the_hash_is_of_the_whole() {
        let (one, other) =
            (place(&format!("/{}a", "x".repeat(300))), place(&format!("/{}b", "x".repeat(300))));
        assert_ne!(one.hash, other.hash);
        assert_ne!(one.name, other.name);
        assert_eq!(one.name.rsplit(':').next().unwrap().len(), TAIL);
    }

    #[test]
    fn an_index_names_what_has_a_tag() {
        let [one, two, three] = ["a", "b", "c"].map(|digit| format!("v{}", digit.repeat(32)));
        let index = format!("70 {one} 1\n{two} 2\n0 {three} 3\n");
        assert_eq!(tagged(index.as_bytes()).collect::<Vec<_>>(), [(0, &*three), (70, &*one)]);
        for bad in ["", "x", "7 m 1\n", "7 i 1\n", "7 vabc 1\n", "-7 va 1\n", "7\n", &format!("7  {one} 1")] {
            assert_eq!(tagged(bad.as_bytes()).next(), None, "{bad:?}");
        }
        assert_eq!(tagged(b"\xff").next(), None);
        assert_eq!((variants(index.as_bytes()), variants(b""), variants(&[b'\n'; 99])), (3, 0, 0));
    }

    #[test]
    fn nominated_names_come_back_and_nothing_else_does() {
        for names in [&[][..], &[ACCEPT], &[ACCEPT, ACCEPT_ENCODING]] {
            let written = Nominated::of(names);
            assert_eq!(Nominated::parse(&written.bytes), Some(written));
        }
        let long = vec!["accept"; 1000].join(",");
        for bad in ["Accept", "accept,", ",accept", "a b", "accept, cookie", "a\0", &long] {
            assert_eq!(Nominated::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Nominated::parse(b"\xff"), None);
    }

    #[test]
    fn a_name_tells_what_has_changed() {
        let Place { hash, name } = place("/list?page=2");
        assert_eq!(Changed::of("sidecache", name.as_bytes()), Changed::Resource(hash));
        assert_eq!(Changed::of("other", name.as_bytes()), Changed::Nothing);
        let text = b"{0123456789abcdef0123456789abcdef}:uhn:00000000000000ff";
        let announced = Announcement::parse(text).unwrap();
        let of = |name: &str| Changed::of("a", name.as_bytes());
        assert_eq!(of(&announcement("a", &announced)), Changed::Announcement(announced));
        assert_eq!(of("a:v1:p:{0}:new"), Changed::Junk);
        let short = &name["sidecache".len()..name.len() - "}:/list%3Fpage=2".len()];
        for other in
            ["a", "a:v1:", "a:v1:r", "a:v1:m", "a:v1:t:{0}", "a:v1:r:{}:", &format!("a{short}"), "b:v1:r:"]
        {
            assert_eq!(of(other), Changed::Nothing, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_name_can_be_heard_of(raw in proptest::collection::vec(any::<u8>(), 0..80), kind in "[rpx]") {
            let name = [format!("a:v1:{kind}:").as_bytes(), &raw].concat();
            let _ = Changed::of("a", &name);
        }

        #[test]
        fn names_are_printable_with_one_pair_of_braces(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut name = String::from("p:v1:r:{0}:");
            push_tail(&mut name, &raw);
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b"*?[]\\\"'".contains(&b)));
            prop_assert_eq!(name.matches('{').count() + name.matches('}').count(), 2);
            prop_assert!(name.len() <= 11 + TAIL);
        }

        #[test]
        fn reading_names_never_fails_hard(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(read) = Nominated::parse(&raw) {
                prop_assert_eq!(&*read.bytes, &raw[..]);
            }
        }
    }
}
