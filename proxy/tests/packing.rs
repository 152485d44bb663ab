//! What it costs to pack the bodies of JSON, and what it saves.
//!
//! `SIDECACHE_SCALE=full cargo test --release -p sidecache --test packing -- --nocapture` prints figures that can
//! be quoted.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end here, and this one prints")]

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use sidecache::{
    clock::Offset,
    stored::{Compression, Encoded, Entry, Seal, Stored},
};
use support::entries::{entry_with, resource};

/// Each figure is the best of so many rounds.
fn rounds() -> u32 {
    if std::env::var("SIDECACHE_SCALE").as_deref() == Ok("full") { 40 } else { 1 }
}

/// A list of products, as a shop's API sends it, of at least so many bytes. The words differ from row to
/// row, by a generator that has no other use.
fn products(bytes: usize) -> String {
    const WORDS: [&str; 16] = [
        "steel", "oak", "small", "blue", "lamp", "chair", "desk", "garden", "light", "round", "shelf",
        "glass", "wool", "grey", "table", "frame",
    ];
    let mut state: u64 = 42;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut rows = String::from("[");
    for id in 1.. {
        let mut words = |count| {
            let words: Vec<_> =
                (0..count).filter_map(|_| WORDS.get(usize::try_from(next(16)).ok()?)).collect();
            words.iter().map(|word| (**word).to_owned()).collect::<Vec<_>>().join(" ")
        };
        let (name, description) = (words(3), words(12));
        rows.push_str(&format!(
            r#"{{"id":{id},"name":"{name}","description":"{description}","price":"{}.{:02}","stock":{}}},"#,
            next(1000),
            next(100),
            next(500)
        ));
        if rows.len() >= bytes {
            break;
        }
    }
    rows.truncate(bytes);
    rows
}

/// How long it takes once, at best.
fn best<T>(mut once: impl FnMut() -> T) -> Duration {
    let repeat = 20;
    let round = |_| {
        let begun = Instant::now();
        (0..repeat).for_each(|_| drop(black_box(once())));
        begun.elapsed() / repeat
    };
    (0..rounds()).map(round).min().unwrap()
}

#[test]
fn what_packing_costs_and_saves() {
    println!("| JSON | stored | packed | written, plain | packed | read, plain | packed |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for kibibytes in [4, 64, 256] {
        let body = products(kibibytes * 1024);
        let fields = [(CONTENT_TYPE, "application/json")];
        let mut entry = entry_with(&resource("/products"), &HeaderMap::new(), &[], &body, &[]);
        let told = support::entries::request(&fields);
        std::sync::Arc::get_mut(&mut entry).unwrap().lines = sidecache::headers::Lines::from_map(&told);
        let [plain, packed] = [Compression::Off, Compression::Zstd].map(|compression| {
            let Encoded { entry: bytes, body } =
                entry.encode(Offset::NONE, compression, &Seal::default()).unwrap();
            let bytes = Bytes::from(bytes);
            let writing = best(|| entry.encode(Offset::NONE, compression, &Seal::default()).unwrap());
            let reading =
                best(|| match (Stored::decode(&bytes, Offset::NONE, &Seal::default()).unwrap(), &body) {
                    (Entry::Whole(stored), None) => stored,
                    (Entry::Apart(apart), Some(body)) => apart.with(body.clone(), &Seal::default()).unwrap(),
                    other => unreachable!("{other:?}"),
                });
            (
                bytes.len() + body.map_or(0, |body| body.len()),
                writing.as_nanos() / 100,
                reading.as_nanos() / 100,
            )
        });
        let micros = |tenths: u128| format!("{}.{} µs", tenths / 10, tenths % 10);
        println!(
            "| {kibibytes} KiB | {} B | {} B | {} | {} | {} | {} |",
            plain.0,
            packed.0,
            micros(plain.1),
            micros(packed.1),
            micros(plain.2),
            micros(packed.2)
        );
        assert!(packed.0 < plain.0 / 2, "{} of {}", packed.0, plain.0);
    }
}
