//! A stored entry, as it comes from Redis: as it is, and as a head with the right lengths and checksums, with
//! its body and without.
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
    let none = HeaderMap::new();
    let entry = Stored {
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
        lines: Lines::default(),
        hidden: Lines::default(),
        facts: ResponseFacts::of(StatusCode::OK, &none),
        body: Bytes::new(),
    };
    let Encoded { entry, .. } = entry.encode(Offset::NONE, Compression::Off, &SUMMED).expect("it is small");
    *entry.first_chunk().expect("it has a preamble")
});

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
    let Ok(Encoded { entry: bytes, body }) = entry.encode(Offset::NONE, Compression::Off, &SUMMED) else { return };
    let again = match (Stored::decode(&bytes.into(), Offset::NONE, &SUMMED).expect("it was just written"), body) {
        (Entry::Whole(stored), None) => stored,
        (Entry::Apart(apart), Some(body)) => apart.with(body, &SUMMED).expect("it is its own"),
        _ => panic!("the body is elsewhere"),
    };
    assert_eq!((&again.lines, &again.variant, &again.body), (&entry.lines, &entry.variant, &entry.body));
}

fuzz_target!(|data: &[u8]| {
    let _ = Stored::decode(&Bytes::copy_from_slice(data), Offset::NONE, &SUMMED);
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
