//! A stored entry, as it comes from Redis: as it is, and as a head with the right lengths and checksum.
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
    stored::{Compression, Stored},
};
use xxhash_rust::xxh3::xxh3_64;

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
    let bytes = entry.encode(Offset::NONE, Compression::Off).expect("it is small");
    *bytes.first_chunk().expect("it has a preamble")
});

/// This head, and a body, as they would be written.
fn sealed(head: &[u8]) -> Bytes {
    let body = b"body";
    let lengths =
        [&MAGIC[..], &(head.len() as u32).to_le_bytes(), &(body.len() as u64).to_le_bytes(), &[0]].concat();
    let sum = xxh3_64(&[&lengths, head, body].concat()).to_le_bytes();
    [&lengths, &sum[..], head, body].concat().into()
}

fuzz_target!(|data: &[u8]| {
    let _ = Stored::decode(&Bytes::copy_from_slice(data), Offset::NONE);
    if let Ok(entry) = Stored::decode(&sealed(data), Offset::NONE) {
        assert_eq!(&entry.body[..], b"body");
        // It can be written again, and then means the same.
        if let Ok(bytes) = entry.encode(Offset::NONE, Compression::Off) {
            let again = Stored::decode(&bytes.into(), Offset::NONE).expect("it was just written");
            assert_eq!((&again.lines, &again.variant), (&entry.lines, &entry.variant));
        }
    }
});
