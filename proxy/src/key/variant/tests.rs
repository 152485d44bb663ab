//! That no two variants share a key, and that what is said of one can be read back.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{KeyPolicy, tests::texts},
    VariantKey,
};

/// The variant of a request with these lines of one field, which is nominated.
pub(in crate::key) fn variant(name: &'static str, lines: &[impl AsRef<[u8]>]) -> VariantKey {
    let name = HeaderName::from_static(name);
    let lines = lines.iter().map(|line| HeaderValue::from_bytes(line.as_ref()).unwrap());
    let headers = lines.map(|line| (name.clone(), line)).collect::<HeaderMap>();
    VariantKey::new(&headers, &KeyPolicy::default(), &[name])
}

#[test]
fn fields_and_lines_keep_their_borders() {
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    };
    let nominated = ["a", "b"].map(HeaderName::from_static);
    let of = |pairs: &[_]| VariantKey::new(&headers(pairs), &KeyPolicy::default(), &nominated);
    assert_ne!(of(&[("a", "1")]), of(&[("b", "1")]));
    assert_ne!(of(&[("a", "1"), ("b", "2")]), of(&[("a", "1, 2")]));
    assert_ne!(of(&[("a", "1"), ("b", "2")]), of(&[("a", "2"), ("b", "1")]));
    assert_eq!(of(&[("b", "2"), ("a", "1")]), of(&[("a", "1"), ("b", "2")]));
}

/// What the material says, read back: no two materials of one field say the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Line(Vec<u8>),
    Member(Vec<u8>),
    Preference(u16, Vec<u8>),
}

fn read_back(name: &str, variant: &VariantKey) -> Vec<Said> {
    let mut rest = &variant.material()[5 + name.len()..];
    let mut said = Vec::new();
    let part = |from: &[u8]| {
        let length = u32::from_le_bytes(from[..4].try_into().unwrap()) as usize;
        (from[4..4 + length].to_vec(), 4 + length)
    };
    loop {
        rest = match rest[0] {
            b';' => {
                assert_eq!(rest.len(), 1, "the end");
                return said;
            }
            b'p' => &rest[1..],
            b'q' => {
                let (name, length) = part(&rest[3..]);
                said.push(Said::Preference(u16::from_le_bytes([rest[1], rest[2]]), name));
                &rest[3 + length..]
            }
            mark => {
                let (value, length) = part(&rest[1..]);
                said.push(if mark == b'=' { Said::Line(value) } else { Said::Member(value) });
                &rest[1 + length..]
            }
        };
    }
}

/// The same, spelled as one would who read it back.
fn respelled(said: &[Said]) -> Vec<Vec<u8>> {
    let spelled = said.iter().map(|one| match one {
        Said::Line(value) | Said::Member(value) => value.clone(),
        Said::Preference(weight, name) => {
            [&name[..], format!(" ; Q={}.{:03}", weight / 1000, weight % 1000).as_bytes()].concat()
        }
    });
    spelled.collect()
}

const NAMES: [&str; 4] = ["foo", "accept-language", "accept", "user-agent"];

const PIECES: [&str; 16] =
    ["a", "B", "b/c", "gzip", "x-", ",", ",", ";q=", "0", "1", ".5", " ", "\t", "\"", "\\", ";"];

/// Lines in which each byte matters to somebody.
fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let line = vec(select(&PIECES[..]), 0..8).prop_map(|pieces| pieces.concat().trim().as_bytes().to_vec());
    vec(line, 0..4)
}

#[test]
fn no_two_of_many_variants_share_a_key() {
    // Values in the shape of the material itself: marks, lengths and names.
    let values = texts(&["a", ";", "=", "h", "\u{e9}", "h\u{e9}referer"], 3);
    let nominated = ["user-agent", "referer"].map(HeaderName::from_static);
    let mut seen = HashMap::new();
    for one in &values {
        for other in &values {
            let pair = [one, other].map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let headers: HeaderMap = nominated.iter().cloned().zip(pair).collect();
            let variant = VariantKey::new(&headers, &KeyPolicy::default(), &nominated);
            assert_eq!(seen.insert(variant.material().clone(), (one, other)), None, "{one} {other}");
        }
    }
    assert!(seen.len() > 50_000, "only {}", seen.len());
}

proptest! {
    #[test]
    fn section_4_1_any_lines_say_one_thing_that_can_be_said_again(lines in lines(), at in 0..NAMES.len()) {
        let name = NAMES[at];
        let first = variant(name, &lines);
        let said = read_back(name, &first);
        prop_assert_eq!(said.is_empty(), lines.is_empty() || lines.iter().all(|line| {
            name.starts_with("accept") && line.iter().all(|b| b", \t".contains(b))
        }));
        let mut again = respelled(&said);
        if again.is_empty() && !lines.is_empty() {
            again.push(Vec::new());
        }
        prop_assert_eq!(variant(name, &again), first);
    }

    #[test]
    fn section_4_1_nothing_is_lost_of_what_is_not_understood(lines in lines(), at in 0..NAMES.len()) {
        let name = NAMES[at];
        let kept = |bytes: &[u8]| bytes.iter().filter(|b| !b" \t,".contains(b)).copied().collect::<Vec<_>>();
        let said = read_back(name, &variant(name, &lines));
        if !said.iter().any(|one| matches!(one, Said::Preference(..))) {
            prop_assert_eq!(kept(&respelled(&said).concat()), kept(&lines.concat()));
        }
    }

    #[test]
    fn any_bytes_have_a_variant(lines in vec(vec(32..=255_u8, 0..200), 0..4), at in 0..NAMES.len()) {
        let lines: Vec<Vec<u8>> =
            lines.into_iter().map(|line| line.into_iter().filter(|b| *b != 127).collect()).collect();
        let own = variant(NAMES[at], &lines);
        prop_assert_eq!(VariantKey::from_material(own.material().clone()), own);
    }
}
