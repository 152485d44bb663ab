//! Which node of a cluster a key is on. Pure.
//!
//! A key has one of 16384 slots, by the CRC16 of its name or of what is between its first braces; each slot
//! belongs to one node. A single Redis is a node that all of them belong to.

use std::{collections::HashMap, fmt, iter};

use redis::Value;

use crate::address::RedisNode;

/// How many slots there are.
const SLOTS: u16 = 16 * 1024;
const COUNT: usize = SLOTS as usize;
/// Nodes that a table has room for; a cluster is not recommended to have more than a thousand.
const MAX_NODES: usize = 1024;
/// What stands for no node in a table.
const NONE: u16 = u16::MAX;
/// The numbers that are tried to find a name in a slot of a node that has few.
const TRIED: u32 = 16 * SLOTS as u32;

/// One of the places that keys are divided among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::redis) struct Slot(u16);

/// Some of them; by default every one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Slots(Option<Box<[bool; COUNT]>>);

/// What a key's slot is told by.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::redis) enum Spot<'n> {
    /// What is between its braces, as 32 hexadecimal digits: the hash of a resource, or a tag.
    Of(u128),
    /// Its name.
    Named(&'n str),
}

/// A node as the others know it: another one has another id, and one that has moved counts as another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::redis) struct NodeName {
    /// What it calls itself.
    pub(in crate::store::redis) id: String,
    pub(in crate::store::redis) address: RedisNode,
}

/// Which slots each node owns.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Table {
    /// For each slot the place of its owner among the nodes; absent: the first one owns them all.
    owners: Option<Box<[u16; COUNT]>>,
    nodes: Vec<NodeName>,
}

impl Spot<'_> {
    pub(in crate::store::redis) fn slot(self) -> Slot {
        match self {
            Self::Of(bits) => Slot::of_bits(bits),
            Self::Named(name) => Slot::of(name.as_bytes()),
        }
    }
}

impl Slot {
    /// The slot of the key of this name.
    fn of(name: &[u8]) -> Self {
        Self::of_tag(hash_tag(name).iter().copied())
    }

    /// The slot of the keys that have these bits between their braces, in hexadecimal digits.
    pub(in crate::store::redis) fn of_bits(bits: u128) -> Self {
        let digit = |at: u32| {
            let nibble = (bits >> (4 * at) & 0xf) as u8;
            if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
        };
        Self::of_tag((0..32).rev().map(digit))
    }

    fn of_tag(tag: impl Iterator<Item = u8>) -> Self {
        Self(crc16(tag) % SLOTS)
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What of a name decides: the part between the first brace and the next closing one, unless it is empty.
fn hash_tag(name: &[u8]) -> &[u8] {
    let tag = name.iter().position(|&b| b == b'{').and_then(|open| {
        let rest = name.get(open + 1..)?;
        rest.get(..rest.iter().position(|&b| b == b'}')?)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(name)
}

/// The remainders of half a byte.
const REMAINDERS: [u16; 16] = [
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c,
    0xd1ad, 0xe1ce, 0xf1ef,
];

/// The variant that is called XMODEM: polynomial 0x1021, nothing reflected, from 0.
fn crc16(bytes: impl Iterator<Item = u8>) -> u16 {
    let halves = bytes.flat_map(|byte| [byte >> 4, byte & 0xf]);
    halves.fold(0, |crc: u16, half| {
        let place = usize::from(crc >> 12) ^ usize::from(half);
        crc << 4 ^ REMAINDERS.get(place).copied().unwrap_or_default()
    })
}

impl Slots {
    /// Every one.
    pub(in crate::store::redis) const ALL: Self = Self(None);

    fn none() -> Box<[bool; COUNT]> {
        Box::new([false; COUNT])
    }

    /// Those that are meant.
    pub(in crate::store::redis) fn those(is_meant: impl Fn(usize) -> bool) -> Self {
        let mut slots = Self::none();
        slots.iter_mut().enumerate().for_each(|(slot, meant)| *meant = is_meant(slot));
        Self(Some(slots))
    }

    /// Whether these are all there are, as with a single Redis.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the resource of this hash is in one of them.
    #[must_use]
    pub fn have(&self, hash: u128) -> bool {
        self.0.is_none() || self.contain(Slot::of_bits(hash))
    }

    pub(in crate::store::redis) fn contain(&self, slot: Slot) -> bool {
        self.0.as_ref().is_none_or(|slots| slots.get(slot.index()).copied().unwrap_or_default())
    }

    /// How many these are.
    pub(in crate::store::redis) fn count(&self) -> usize {
        self.0.as_ref().map_or(COUNT, |slots| slots.iter().filter(|meant| **meant).count())
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slots").field(&self.count()).finish()
    }
}

impl Table {
    /// Nobody is known.
    pub(in crate::store::redis) fn empty() -> Self {
        Self { owners: Some(Box::new([NONE; COUNT])), nodes: Vec::new() }
    }

    /// One node, which has everything.
    pub(in crate::store::redis) fn of_one(node: NodeName) -> Self {
        Self { owners: None, nodes: vec![node] }
    }

    /// Reads what a node answers to `CLUSTER SLOTS`. It need not know its own address, which is where it was
    /// `asked`. `None` for what is no such answer, or names nobody.
    pub(in crate::store::redis) fn read(answer: &Value, asked: &RedisNode) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut ranges = ranges.iter().map(|range| read_range(range, asked)).collect::<Option<Vec<_>>>()?;
        // Each node tells them in an order of its own.
        ranges.sort_unstable_by_key(|(from, ..)| *from);
        let mut owners = Box::new([NONE; COUNT]);
        let (mut nodes, mut places) = (Vec::new(), HashMap::new());
        for (from, to, node) in ranges {
            let place = *places.entry(node.clone()).or_insert_with(|| {
                nodes.push(node);
                nodes.len() - 1
            });
            let place = u16::try_from(place).ok().filter(|_| nodes.len() <= MAX_NODES)?;
            owners.get_mut(from..=to)?.fill(place);
        }
        (!nodes.is_empty()).then_some(Self { owners: Some(owners), nodes })
    }

    pub(in crate::store::redis) fn nodes(&self) -> &[NodeName] {
        &self.nodes
    }

    /// Whether one node has everything, so that no slot need be computed.
    pub(in crate::store::redis) fn is_of_one(&self) -> bool {
        self.owners.is_none()
    }

    /// The place among the nodes of who owns a slot, if anybody does.
    pub(in crate::store::redis) fn owner(&self, slot: Slot) -> Option<usize> {
        self.place(slot.index())
    }

    fn place(&self, slot: usize) -> Option<usize> {
        match &self.owners {
            None => Some(0),
            Some(owners) => owners.get(slot).filter(|place| **place != NONE).map(|place| usize::from(*place)),
        }
    }

    fn id(&self, slot: usize) -> Option<&str> {
        self.nodes.get(self.place(slot)?).map(|node| node.id.as_str())
    }

    /// Those of the node that has this place.
    pub(in crate::store::redis) fn slots_of(&self, place: usize) -> Slots {
        match self.owners {
            None => Slots::ALL,
            Some(_) => Slots::those(|slot| self.place(slot) == Some(place)),
        }
    }

    /// How many are nobody's.
    pub(in crate::store::redis) fn missing(&self) -> usize {
        self.owners.as_ref().map_or(0, |owners| owners.iter().filter(|place| **place == NONE).count())
    }

    /// Those that belong to somebody else there; nothing, if there are none.
    pub(in crate::store::redis) fn differing(&self, other: &Self) -> Option<Slots> {
        let differing = Slots::those(|slot| self.id(slot) != other.id(slot));
        (differing.count() > 0).then_some(differing)
    }

    /// Whether the other one gives a node the same slots.
    pub(in crate::store::redis) fn agrees_on(&self, id: &str, other: &Self) -> bool {
        let is_its = |table: &Self, slot| table.id(slot) == Some(id);
        (0..COUNT).all(|slot| is_its(self, slot) == is_its(other, slot))
    }

    /// What between the braces of a name puts the key on the node of this place: nothing, on any.
    pub(in crate::store::redis) fn tag_on(&self, place: usize) -> String {
        if self.is_of_one() {
            return String::new();
        }
        let is_on = |tag: &String| self.owner(Slot::of(tag.as_bytes())) == Some(place);
        (0..TRIED).map(|number| number.to_string()).find(is_on).unwrap_or_default()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// A range of slots, and its master, who comes before its replicas.
fn read_range(range: &Value, asked: &RedisNode) -> Option<(usize, usize, NodeName)> {
    let Value::Array(parts) = range else { return None };
    let [from, to, Value::Array(master), ..] = parts.as_slice() else { return None };
    let (from, to) = (number(from)?, number(to)?);
    let [host, port, Value::BulkString(id), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::Nil => asked.host.clone(),
        Value::BulkString(host) if host.is_empty() || host == b"?" => asked.host.clone(),
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    let port = u16::try_from(number(port)?).ok().filter(|port| *port > 0)?;
    let id = String::from_utf8(id.clone()).ok().filter(|id| is_id(id))?;
    (from <= to).then_some((from, to, NodeName { id, address: RedisNode { host, port } }))
}

fn number(value: &Value) -> Option<usize> {
    let Value::Int(number) = value else { return None };
    usize::try_from(*number).ok()
}

/// Letters and digits, so that it can be part of what is written of it.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Where a `MOVED` sends us: `host:port`, or `:port`, on the host that said so.
pub(in crate::store::redis) fn read_address(text: &str, asked: &RedisNode) -> Option<RedisNode> {
    let (host, port) = text.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { &asked.host } else { host };
    Some(RedisNode { host: host.to_owned(), port: port.parse().ok().filter(|port| *port > 0)? })
}

/// The table that most of them give; if several do, `present` if it is one of them.
pub(in crate::store::redis) fn most_named(tables: &[Table], present: &Table) -> Option<Table> {
    let named = |table: &Table| tables.iter().filter(|other| *other == table).count();
    let all = iter::once(present).filter(|present| named(present) > 0).chain(tables);
    let mut best: Option<(usize, &Table)> = None;
    for table in all {
        let times = named(table);
        if best.is_none_or(|(most, _)| times > most) {
            best = Some((times, table));
        }
    }
    best.map(|(_, table)| table.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(port: u16) -> RedisNode {
        RedisNode { host: "10.0.0.9".to_owned(), port }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// A range of slots of the node of this id.
    fn range(from: i64, to: i64, id: &str) -> Value {
        let node =
            |id, port| Value::Array(vec![text("10.0.0.1"), Value::Int(port), text(id), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(from), Value::Int(to), node(id, 7000), node("replica", 7001)])
    }

    fn table(ranges: &[(i64, i64, &str)]) -> Table {
        let ranges = ranges.iter().map(|(from, to, id)| range(*from, *to, id)).collect();
        Table::read(&Value::Array(ranges), &at(1)).unwrap()
    }

    #[test]
    fn the_slot_is_that_of_the_hash_tag() {
        // As a server computes them.
        for (name, slot) in
            [("123456789", 0x31c3), ("foo", 12182), ("{foo}.bar", 12182), ("", 0), ("somekey", 11058)]
        {
            assert_eq!(Slot::of(name.as_bytes()).0, slot, "{name}");
        }
        for (name, tag) in
            [("a{b}c", "b"), ("a{}{b}", "a{}{b}"), ("a{{b}}", "{b"), ("{b", "{b"), ("}{b}{c}", "b")]
        {
            assert_eq!(hash_tag(name.as_bytes()), tag.as_bytes(), "{name}");
        }
    }

    #[test]
    fn what_a_node_answers_is_read() {
        let read = table(&[(8000, 16383, "b"), (0, 7999, "a")]);
        assert_eq!(read.nodes().iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((read.owner(Slot(7999)), read.owner(Slot(8000))), (Some(0), Some(1)));
        assert_eq!((read.slots_of(0).count(), read.slots_of(1).count()), (8000, 8384));
        let partly = table(&[(0, 9, "a"), (20, 29, "a")]);
        assert_eq!((partly.owner(Slot(9)), partly.owner(Slot(10))), (Some(0), None));
        for unknown in [Value::Nil, text(""), text("?")] {
            let node = Value::Array(vec![unknown, Value::Int(7000), text("a")]);
            let answer = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(0), node])]);
            assert_eq!(Table::read(&answer, &at(1)).unwrap().nodes()[0].address, at(7000));
        }
    }

    #[test]
    fn what_is_no_table_is_none() {
        let range = |from, to, id| Value::Array(vec![range(from, to, id)]);
        for bad in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            range(0, 16384, "a"),
            range(-1, 3, "a"),
            range(4, 3, "a"),
            range(0, 1, ""),
            range(0, 1, "a b"),
        ] {
            assert_eq!(Table::read(&bad, &at(1)), None, "{bad:?}");
        }
    }

    #[test]
    fn tables_differ_by_who_owns_what() {
        let (one, other) = (table(&[(0, 16383, "a")]), table(&[(0, 99, "b"), (100, 16383, "a")]));
        assert_eq!(one.differing(&other).unwrap().count(), 100);
        assert_eq!(one.differing(&one), None);
        assert!(!one.agrees_on("a", &other) && one.agrees_on("c", &other));
        let third = table(&[(0, 99, "c"), (100, 16383, "a")]);
        assert!(other.agrees_on("a", &third), "others' slots do not matter");
        assert_eq!(Table::empty().differing(&one).unwrap().count(), COUNT);
    }

    #[test]
    fn the_word_of_most_counts() {
        let (one, other) = (table(&[(0, 16383, "a")]), table(&[(0, 16383, "b")]));
        let of = |tables: &[&Table], present| {
            most_named(&tables.iter().map(|table| (*table).clone()).collect::<Vec<_>>(), present)
        };
        assert_eq!(of(&[], &one), None);
        assert_eq!(of(&[&other], &one), Some(other.clone()));
        assert_eq!(of(&[&other, &one], &one), Some(one.clone()));
        assert_eq!(of(&[&other, &one, &other], &one), Some(other.clone()));
    }

    #[test]
    fn every_node_has_a_name_of_its_own() {
        let table = table(&[(0, 5000, "a"), (5001, 5001, "b"), (5002, 16383, "c")]);
        for place in 0..3 {
            let tag = table.tag_on(place);
            let name = format!("p:v1:r:{{{tag}}}:");
            assert_eq!(table.owner(Slot::of(name.as_bytes())), Some(place), "{name}");
        }
    }

    #[test]
    fn where_a_slot_has_moved() {
        assert_eq!(read_address("10.0.0.2:7000", &at(1)).unwrap().to_string(), "10.0.0.2:7000");
        assert_eq!(read_address(":7000", &at(1)), Some(at(7000)));
        assert_eq!(read_address("::1:7000", &at(1)).unwrap().to_string(), "[::1]:7000");
        for bad in ["", "a", "a:", "a:0", "a:b", "a:70000"] {
            assert_eq!(read_address(bad, &at(1)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bits_are_hashed_as_they_are_written(bits: u128) {
            let name = format!("p:v1:r:{{{bits:032x}}}:/tail");
            prop_assert_eq!(Slot::of_bits(bits), Slot::of(name.as_bytes()));
        }

        #[test]
        fn any_name_has_a_slot(name in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Slot::of(&name).index() < COUNT);
        }
    }
}
