//! No bytes that a peer, a file or a store can bring end the process, and what is read is what was
//! meant. The targets in `fuzz/` call the same functions; `Cache-Control`, the targeted fields, dates,
//! `Age` and `Pragma` have their properties beside them in `policy/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, VARY},
};
use proptest::prelude::*;
use sidecache::{
    admit::{Head, HeadLimits, Scan, Scheme, Target, read_trailers, scan},
    clock::Offset,
    config::Config,
    headers::Lines,
    key::{KeyPolicy, VariantKey},
    policy::{facts::ResponseFacts, freshness::Lot, validation::is_not_modified, vary::nominated},
    stored::{APART, Compression, Encoded, Entry, Seal, Stored, TELLING},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20, target: 512 };

/// Any value that a field can have, often one that means something.
fn value(meaning: &'static str) -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..];
    let bytes = prop_oneof![
        prop::collection::vec(byte, 0..24),
        prop::string::string_regex(meaning).unwrap().prop_map(String::into_bytes),
    ];
    bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

fn map(name: &HeaderName, values: &[HeaderValue]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), value.clone())).collect()
}

proptest! {
    #[test]
    fn section_4_1_vary_is_a_set_of_names_however_it_is_written(
        lines in prop::collection::vec(value("[a-cA-C*]{0,2}([ ,]{0,3}[a-c*]){0,4}"), 0..4),
    ) {
        let read = nominated(&map(&VARY, &lines));
        let joined = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b" ,, "[..]);
        let shouted = HeaderValue::from_bytes(&joined.to_ascii_uppercase()).unwrap();
        prop_assert_eq!(&nominated(&map(&VARY, &[shouted])), &read);
        let backwards: Vec<_> = lines.into_iter().rev().collect();
        prop_assert_eq!(&nominated(&map(&VARY, &backwards)), &read);
    }

    #[test]
    fn section_13_1_2_any_entity_tags_are_compared(
        asked in prop::collection::vec(value("(W/)?\"?[a-c, ]{0,3}\"?(, ?(W/)?\"[a-c]{0,2}\"){0,3}"), 1..3),
        tag in "[a-c, ]{0,3}",
        since in value("Sun, 06 Nov 1994 08:49:3[0-9] GMT"),
    ) {
        let strong = HeaderValue::from_str(&format!("\"{tag}\"")).unwrap();
        let facts = |tag: &HeaderValue| ResponseFacts::of(StatusCode::OK, &map(&ETAG, std::slice::from_ref(tag)));
        let weak = HeaderValue::from_str(&format!("W/\"{tag}\"")).unwrap();
        let mut request = map(&IF_NONE_MATCH, &asked);
        request.insert(IF_MODIFIED_SINCE, since);
        let not_modified = is_not_modified(&request, &facts(&strong));
        prop_assert_eq!(is_not_modified(&request, &facts(&weak)), not_modified);
        request.append(IF_NONE_MATCH, strong.clone());
        prop_assert!(is_not_modified(&request, &facts(&strong)));
    }

    #[test]
    fn any_head_is_read_or_refused(
        head in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(GET|POST|get|CONNECT) (/[a-c%2/?]{0,6}|http://a/|\\*) HTTP/1\\.[01]\r\n((Host|Content-Length|Transfer-Encoding|Connection): ?(a|1|chunked|close, x)\r\n){0,4}\r\n"
                .prop_map(String::into_bytes),
        ],
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut changed = head.clone();
        if !changed.is_empty() {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        for bytes in [head, changed] {
            if let Ok(Scan::Whole(length)) = scan(&bytes, 0, &LIMITS) {
                prop_assert!(length <= bytes.len());
                let whole = Bytes::copy_from_slice(&bytes[..length]);
                if let Ok(read) = Head::parse(&whole, Scheme::Http, &LIMITS) {
                    prop_assert!(read.headers.len() <= LIMITS.fields);
                }
            }
            let _ = Head::parse(&Bytes::copy_from_slice(&bytes), Scheme::Http, &LIMITS);
            let _ = read_trailers(&Bytes::from(bytes), &LIMITS);
        }
    }

    #[test]
    fn any_target_is_read_as_it_is_or_refused(
        target in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(http://(a|A\\.)(:80|:x)?)?/?[-a-z%0-9A-F./?&=;]{0,20}".prop_map(String::into_bytes),
        ],
        host in value("[aA]\\.?(:80|:8080)?"),
    ) {
        let raw = Bytes::from(target);
        if let Ok(read) = Target::parse(&raw, &map(&HOST, &[host]), Scheme::Http, true) {
            // Nothing is tidied: what is forwarded and keyed is what was sent.
            prop_assert!(raw.ends_with(read.path_and_query().as_str().as_bytes()) || read.path() == "/");
            prop_assert_eq!(read.authority(), read.authority().to_ascii_lowercase());
        }
    }

    #[test]
    fn any_file_is_a_configuration_or_has_errors_that_can_be_shown(
        text in prop_oneof![
            "[ -~\n\t\u{e9}]{0,120}",
            "upstream: [a-z:/.$\\{\\}\"-]{0,20}\nroutes:\n( ?- (match|cache|name): [/a*0-9smh\\[\\]{},:]{0,9}\n){0,4}",
        ],
    ) {
        let env = |name: &str| (name.len().is_multiple_of(2)).then(|| name.to_lowercase());
        if let Err(errors) = Config::parse(&text, "config.yaml", &env) {
            prop_assert!(errors.to_string().contains("config.yaml"));
        }
    }

    #[test]
    fn any_entry_is_decoded_whole_or_not_at_all(
        body in prop::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        junk in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let entry = entry(&body);
        let bytes = together(&entry, Compression::Off);
        let decoded = whole(&bytes).unwrap();
        prop_assert_eq!(together(&decoded, Compression::Off), &bytes[..]);
        prop_assert_eq!((&decoded.facts, &decoded.body), (&entry.facts, &entry.body));

        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] = byte;
        let unchanged = changed == bytes;
        prop_assert_eq!(Stored::decode(&Bytes::from(changed), Offset::NONE, &Seal::default()).is_ok(), unchanged);
        prop_assert!(Stored::decode(&Bytes::copy_from_slice(&bytes[..at]), Offset::NONE, &Seal::default()).is_err());
        prop_assert!(Stored::decode(&Bytes::from(junk), Offset::NONE, &Seal::default()).is_err());
    }
}

/// An entry that is written with its body.
fn together(entry: &Stored, compression: Compression) -> Vec<u8> {
    let Encoded { entry, body } = entry.encode(Offset::NONE, compression, &Seal::default()).unwrap();
    assert_eq!(body, None);
    entry
}

/// What is read of it.
fn whole(bytes: &[u8]) -> Option<Stored> {
    match Stored::decode(&Bytes::copy_from_slice(bytes), Offset::NONE, &Seal::default()) {
        Ok(Entry::Whole(stored)) => Some(stored),
        _ => None,
    }
}

/// The same bytes under checksums that fit.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let head: [u8; 4] = bytes[TELLING..TELLING + 4].try_into().unwrap();
    let sum = TELLING + 4 + u32::from_le_bytes(head) as usize;
    if sum + 16 <= bytes.len() {
        let of_body = xxh3_128(&bytes[sum + 16..]).to_le_bytes();
        bytes[TELLING - 16..TELLING].copy_from_slice(&of_body);
        let of_entry = xxh3_128(&bytes[..sum]).to_le_bytes();
        bytes[sum..sum + 16].copy_from_slice(&of_entry);
    }
    bytes
}

/// Bytes that are not text, and no two of which are alike for long.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    (0..length as u64).map(|place| xxh3_64(&(place ^ (seed << 32)).to_le_bytes()).to_le_bytes()[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_packed_entry_comes_back_whole_or_not_at_all(
        words in prop::collection::vec("[a-z]{1,9}", 1..600),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let text = words.join(" ").repeat(2);
        let mut entry = entry(text.as_bytes());
        entry.lines = Lines::from_map(&map(&CONTENT_TYPE, &[HeaderValue::from_static("text/plain")]));
        let plain = together(&entry, Compression::Off);
        let packed = together(&entry, Compression::Zstd);
        prop_assert_eq!(packed.len() < plain.len(), text.len() >= 1024, "{} {}", packed.len(), plain.len());
        for bytes in [&plain, &packed] {
            let decoded = whole(bytes).unwrap();
            prop_assert_eq!(&decoded.body, &text);
            prop_assert_eq!(&together(&decoded, Compression::Off), &plain);
        }
        let at = at.index(packed.len());
        let mut damaged = packed;
        damaged[at] ^= 1_u8 << bit;
        prop_assert!(Stored::decode(&Bytes::from(damaged.clone()), Offset::NONE, &Seal::default()).is_err());
        // By somebody who knows how: still of the length that was stated, or nothing.
        let stated = u64::from_le_bytes(damaged[4..12].try_into().unwrap());
        if let Some(forged) = whole(&resealed(damaged)) {
            prop_assert_eq!(forged.body.len() as u64, stated);
        }
    }

    #[test]
    fn only_its_own_body_is_joined_to_an_entry(
        length in APART - 2..APART + 2,
        seed in any::<u64>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let original = noise(length, seed);
        let Encoded { entry: written, body } = entry(&original).encode(Offset::NONE, Compression::Zstd, &Seal::default()).unwrap();
        prop_assert_eq!(body.is_some(), length >= APART);
        let Some(body) = body else { return Ok(()) };
        let join = |bytes: &[u8], body: Bytes| match Stored::decode(&Bytes::copy_from_slice(bytes), Offset::NONE, &Seal::default()) {
            Ok(Entry::Apart(apart)) => apart.with(body, &Seal::default()).ok(),
            _ => None,
        };
        prop_assert_eq!(&join(&written, body.clone()).unwrap().body, &original);
        let mut flipped = body.to_vec();
        flipped[at.index(length)] ^= 1_u8 << bit;
        let longer = [&body[..], b"x"].concat();
        for other in [&flipped[..], &body[..at.index(length)], &longer, &noise(length, !seed), b""] {
            prop_assert!(join(&written, Bytes::copy_from_slice(other)).is_none());
        }
        let mut damaged = written.clone();
        damaged[at.index(written.len())] ^= 1_u8 << bit;
        prop_assert!(join(&damaged, body.clone()).is_none());
        prop_assert!(join(&written[..at.index(written.len())], body.clone()).is_none());
        prop_assert!(join(&[&written[..], &body[..]].concat(), body).is_none());
    }
}

/// A stored response with this body.
fn entry(body: &[u8]) -> Stored {
    let fields = map(&VARY, &[HeaderValue::from_static("accept")]);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
    Stored {
        part: None,
        key: Bytes::from_static(b"key"),
        variant: VariantKey::new(&HeaderMap::new(), &KeyPolicy::default(), &[]),
        nominated: [HeaderName::from_static("accept")].into(),
        fingerprint: 7,
        request_time: now,
        response_time: now,
        lot: Lot::default(),
        epoch: sidecache::epoch::Epoch::FIRST,
        tags: Box::default(),
        lines: Lines::from_map(&fields),
        hidden: Lines::default(),
        facts: ResponseFacts::of(StatusCode::OK, &fields),
        body: Bytes::copy_from_slice(body),
    }
}
