//! A stored entry, as it comes from Redis: as it is, and as a head with the right lengths and checksums, with
//! its body and without. And as one with these lines, which somebody wrote who knows how: none of them frames
//! an answer.
#![no_main]

use std::{sync::LazyLock, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use sidecache::{
    clock::Offset,
    headers::Lines,
    key::{KeyPolicy, VariantKey},
    policy::{facts::ResponseFacts, freshness::Lot},
    stored::{APART, Compression, Encoded, Entry, Seal, Stored},
};
use xxhash_rust::xxh3::xxh3_128;

/// With a checksum, which whoever writes to Redis can make.
static SUMMED: LazyLock<Seal> = LazyLock::new(Seal::default);

/// What every entry of this version begins with.
static MAGIC: LazyLock<[u8; 4]> = LazyLock::new(|| {
    let entry = with(Lines::default());
    let Encoded { entry, .. } = entry.encode(Offset::NONE, Compression::Off, &SUMMED).expect("it is small");
    *entry.first_chunk().expect("it has a preamble")
});

/// An entry with these lines.
fn with(lines: Lines) -> Stored {
    let none = HeaderMap::new();
    Stored {
        part: None,
        key: Bytes::new(),
        variant: VariantKey::new(&none, &KeyPolicy::default(), &[]),
        nominated: [].into(),
        fingerprint: 0,
        request_time: SystemTime::UNIX_EPOCH,
        response_time: SystemTime::UNIX_EPOCH,
        lot: Lot::default(),
        epoch: sidecache::epoch::Epoch::FIRST,
        tags: Box::default(),
        lines,
        hidden: Lines::default(),
        facts: ResponseFacts::of(StatusCode::OK, &none),
        body: Bytes::new(),
    }
}

/// Fields that say where an answer ends, or what becomes of its connection.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What was read says nothing of where it ends.
fn is_harmless(entry: &Stored) {
    for lines in [&entry.lines, &entry.hidden] {
        let fields = lines.to_map();
        for name in FRAMING {
            assert!(!fields.contains_key(name), "an entry with {name}");
        }
    }
}

/// A body that is apart.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; APART].into());

/// This head, and what it says of its body.
fn sealed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_le_bytes();
    let told = [&MAGIC[..], &length, &length, &[0], &xxh3_128(body).to_le_bytes()].concat();
    let before = [&told, &(head.len() as u32).to_le_bytes()[..], head].concat();
    [&before, &xxh3_128(&before).to_le_bytes()[..]].concat()
}

/// It can be written again, and then means the same.
fn comes_back(entry: &Stored) {
    is_harmless(entry);
    let Ok(Encoded { entry: bytes, body }) = entry.encode(Offset::NONE, Compression::Off, &SUMMED) else {
        return;
    };
    let again =
        match (Stored::decode(&bytes.into(), Offset::NONE, &SUMMED).expect("it was just written"), body) {
            (Entry::Whole(stored), None) => stored,
            (Entry::Apart(apart), Some(body)) => apart.with(body, &SUMMED).expect("it is its own"),
            _ => panic!("the body is elsewhere"),
        };
    assert_eq!((&again.lines, &again.variant, &again.body), (&entry.lines, &entry.variant, &entry.body));
}

fuzz_target!(|data: &[u8]| {
    let _ = Stored::decode(&Bytes::copy_from_slice(data), Offset::NONE, &SUMMED);
    if let Some(lines) = Lines::checked(Bytes::copy_from_slice(data)) {
        let Ok(Encoded { entry, .. }) = with(lines).encode(Offset::NONE, Compression::Off, &SUMMED) else {
            return;
        };
        if let Ok(Entry::Whole(entry)) = Stored::decode(&entry.into(), Offset::NONE, &SUMMED) {
            is_harmless(&entry);
        }
    }
    let together = [&sealed(data, b"body"), &b"body"[..]].concat();
    if let Ok(entry) = Stored::decode(&together.into(), Offset::NONE, &SUMMED) {
        let Entry::Whole(entry) = entry else { panic!("it has its body") };
        assert_eq!(&entry.body[..], b"body");
        comes_back(&entry);
    }
    if let Ok(entry) = Stored::decode(&sealed(data, &LARGE).into(), Offset::NONE, &SUMMED) {
        let Entry::Apart(entry) = entry else { panic!("it has no body") };
        comes_back(&entry.with(LARGE.clone(), &SUMMED).expect("it is its own"));
    }
});
