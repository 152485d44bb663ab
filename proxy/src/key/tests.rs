//! Which requests select the same variant, and that no others do.

use std::collections::{BTreeMap, HashMap};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{KeyPolicy, QueryPolicy, ResourceKey, VariantKey, meaning::MAX_MEMBERS, origin};
use crate::admit::{Scheme, Target};

/// The variant of a request with these lines of one field, which is nominated.
fn variant(name: &'static str, lines: &[impl AsRef<[u8]>]) -> VariantKey {
    let name = HeaderName::from_static(name);
    let lines = lines.iter().map(|line| HeaderValue::from_bytes(line.as_ref()).unwrap());
    let headers = lines.map(|line| (name.clone(), line)).collect::<HeaderMap>();
    VariantKey::new(&headers, &KeyPolicy::default(), &[name])
}

type Lines<'l> = &'l [&'l str];

fn assert_same(name: &'static str, spellings: &[Lines<'_>]) {
    for pair in spellings.windows(2) {
        assert_eq!(variant(name, pair[0]), variant(name, pair[1]), "{name}: {pair:?}");
    }
}

fn assert_apart(name: &'static str, values: &[Lines<'_>]) {
    for (at, one) in values.iter().enumerate() {
        for other in &values[at + 1..] {
            assert_ne!(variant(name, one), variant(name, other), "{name}: {one:?} {other:?}");
        }
    }
}

#[test]
fn section_4_1_lines_are_combined_and_space_around_commas_is_nothing() {
    assert_same("foo", &[&["1, 2"], &["1", "2"], &["1,2"], &["1 ,\t2"], &[" 1 , 2 "]]);
    assert_same("foo", &[&["a, b,c"], &["a,b", "c"], &["a", "b,c"]]);
    assert_same("foo", &[&["\"a, b\",c"], &["\"a, b\"", "c"]]);
    assert_apart(
        "foo",
        &[
            &[],
            &[""],
            &["1"],
            &["2"],
            &["1, 2"],
            &["2, 1"],
            &["12"],
            &["1 2"],
            &["1  2"],
            &["1;2"],
            &["A"],
            &["a"],
            // What drops an empty member may be an app's `unknown`.
            &["1,"],
            &[",1"],
            &["1,,2"],
            &["1,2,"],
            &[","],
        ],
    );
}

#[test]
fn section_4_1_a_comma_within_quotes_separates_nothing() {
    assert_apart(
        "foo",
        &[
            &["\"a,b\""],
            &["\"a, b\""],
            &["a,b"],
            &["\"a\\\", b\""],
            &["\"a\\\",b\""],
            // These do not end, so that nobody knows what they separate.
            &["\"a, b"],
            &["\"a,b"],
            &["\"a", "b\""],
            &["\"a\\\", b"],
            &["\"a\\\",b"],
            &["\"\\"],
        ],
    );
}

#[test]
fn section_4_1_what_is_no_list_is_compared_as_it_was_sent() {
    for name in ["user-agent", "cookie", "authorization", "if-modified-since", "origin"] {
        assert_apart(
            name,
            &[&[], &[""], &["a, b"], &["a,b"], &["a", "b"], &["b", "a"], &["A, b"], &["a,b,"], &["a, b", ""]],
        );
    }
}

#[test]
fn section_12_4_2_one_weight_has_many_spellings() {
    assert_same("accept-language", &[&["de"], &["de;q=1"], &["de;Q=1."], &["de ; q=1.0"], &["de;\tq=1.000"]]);
    assert_same("accept-language", &[&["de;q=0.5"], &["de;q=0.50"], &["DE;q=0.500"], &["de;q=0.5,de;Q=0.5"]]);
    assert_same("accept-language", &[&["de;q=0"], &["de;q=0."], &["de;q=0.000"]]);
    let one_each = [
        "de",
        "de;q=0",
        "de;q=0.001",
        "de;q=0.01",
        "de;q=0.1",
        "de;q=0.9",
        "de;q=0.99",
        "de;q=0.999",
        // Malformed, each in its way: as it was sent.
        "de;q=0.9999",
        "de;q=1.001",
        "de;q=1.1",
        "de;q=2",
        "de;q=",
        "de;q=.5",
        "de;q=a",
        "de;q=0.a",
        "de;q=-1",
        "de;q =1",
        "de;q= 1",
        "de;q",
        "de;",
        "de;q=1;q=1",
        "de;p=1",
        ";q=1",
        "de de",
        "de_DE",
        "de_de",
        "de;q=00",
        "de;q=\"1\"",
        "de/de",
    ];
    let values = one_each.map(|value| [value]);
    assert_apart("accept-language", &values.each_ref().map(|value| &value[..]));
}

#[test]
fn section_12_5_4_languages_have_no_order_and_no_case() {
    assert_same(
        "accept-language",
        &[&["en, de"], &["de, en"], &["eN , De"], &["de", "en"], &["de,,en,", ""], &["en;q=1.0,de,EN"]],
    );
    assert_same("accept-language", &[&["de;q=0.5, en"], &["en, de;q=0.5"]]);
    assert_same("accept-language", &[&[""], &[","], &["", ""]]);
    assert_apart(
        "accept-language",
        &[
            &[],
            &[""],
            &["*"],
            &["en"],
            &["en, de"],
            &["en, de;q=0.9"],
            &["en;q=0.9, de"],
            &["en, de;q=0"],
            &["en-de"],
            &["x-gzip"],
            &["gzip"],
            // Said twice in two ways: which one counts is anybody's guess.
            &["en, en;q=0"],
            &["en;q=0, en"],
            &["en;q=0, en, en"],
        ],
    );
}

#[test]
fn section_12_5_3_of_codings_only_those_count_that_are_common() {
    assert_same(
        "accept-encoding",
        &[
            &["gzip, br"],
            &["br,x-gzip"],
            &["X-GZip;q=0.1", "BR, gzip, xyz, compress, *"],
            &["zstd;q=0,gzip,br"],
        ],
    );
    assert_same(
        "accept-encoding",
        &[&[""], &["identity"], &["xyz"], &["gzip;q=0"], &["gzip;q=x"], &["\"gzip"]],
    );
    assert_apart(
        "accept-encoding",
        &[
            &[],
            &[""],
            &["gzip"],
            &["br"],
            &["deflate"],
            &["zstd"],
            &["gzip, br"],
            &["identity;q=0"],
            &["gzip, identity;q=0"],
        ],
    );
    let junk = (0..1000).map(|n| [format!("gzip, xyz{n};q=0.{n:03}")]);
    let one = variant("accept-encoding", &["gzip"]);
    assert!(junk.into_iter().all(|lines| variant("accept-encoding", &lines) == one));
}

#[test]
fn section_12_5_1_media_ranges_have_an_order_that_servers_read() {
    assert_same(
        "accept",
        &[&["text/html, */*;q=0.8"], &["Text/HTML,*/*; q=0.80"], &["text/html;q=1", "", "*/*;q=0.8"]],
    );
    assert_same("accept", &[&["text/html;level=1, a/b"], &["text/html;level=1,a/b"]]);
    assert_apart(
        "accept",
        &[
            &[],
            &[""],
            &["text/html, a/b"],
            &["a/b, text/html"],
            &["a/b, text/html;q=0.9"],
            &["text/html;level=1, a/b"],
            &["text/html;LEVEL=1, a/b"],
            &["text/html;level=2, a/b"],
            &["a, b"],
            &["A, b"],
            &["a/b/c"],
            &["a/b/C"],
        ],
    );
}

#[test]
fn a_long_list_is_compared_as_it_was_sent() {
    let list =
        |names: usize, comma: &str| (0..names).map(|n| format!("x{n}")).collect::<Vec<_>>().join(comma);
    for name in ["foo", "accept-language"] {
        let of = |names, comma| variant(name, &[list(names, comma)]);
        assert_eq!(of(MAX_MEMBERS, ","), of(MAX_MEMBERS, " , "));
        assert_ne!(of(MAX_MEMBERS + 1, ","), of(MAX_MEMBERS + 1, " , "));
        assert_eq!(of(MAX_MEMBERS + 1, ",").material().len(), 5 + name.len() + 5 + list(65, ",").len() + 1);
    }
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

/// A spelling of a list of preferences: what is said twice, in which order, and how.
fn spelled(meaning: &BTreeMap<String, u16>, seed: &[usize]) -> Vec<String> {
    let mut dice = seed.iter().cycle().copied();
    let mut roll = move |sides: usize| dice.next().unwrap_or(0) % sides;
    let mut members: Vec<_> = meaning.iter().collect();
    if !members.is_empty() {
        let (turn, again) = (roll(members.len()), roll(members.len()));
        members.rotate_left(turn);
        members.push(members[again]);
    }
    let mut lines = vec![String::new()];
    for (name, weight) in members {
        let name = if roll(2) == 0 { name.clone() } else { name.to_uppercase() };
        let space = ["", " ", "\t"][roll(3)];
        let member = match (weight, roll(3)) {
            (1000, 0) => name,
            (_, 1) => format!("{name}{space};{space}Q={}.{:03}", weight / 1000, weight % 1000),
            _ => format!("{name};q={}", f64::from(*weight) / 1000.0),
        };
        let line = lines.last_mut().unwrap();
        line.push_str(&[member, space.to_owned(), ",".to_owned(), space.to_owned()].concat());
        if roll(3) == 0 {
            lines.push(String::new());
        }
    }
    lines
}

#[test]
fn section_4_3_1_an_origin_is_scheme_host_and_port_and_every_key_begins_with_it() {
    let target = |scheme, host: &str, path: &str, proto: Option<&str>| {
        let mut headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_str(host).unwrap())]);
        headers.extend(proto.map(|proto| {
            (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_str(proto).unwrap())
        }));
        let mut target = Target::parse(&path.to_owned().into(), &headers, scheme, true).unwrap();
        target.trust(&headers);
        target
    };
    let ours = target(Scheme::Http, "shop.example", "/a", None);
    for (same, policy) in [
        (target(Scheme::Http, "SHOP.example:80", "/", None), QueryPolicy::All),
        (target(Scheme::Http, "shop.example", "/b/c?d", None), QueryPolicy::All),
        (target(Scheme::Http, "shop.example", "/b/c?d", None), QueryPolicy::None),
    ] {
        assert_eq!(origin(&same), origin(&ours), "{same:?}");
        assert_eq!(ResourceKey::new(&same, &policy).origin(), origin(&ours), "{same:?}");
    }
    for other in [
        target(Scheme::Https, "shop.example", "/a", None),
        target(Scheme::Http, "shop.example:8080", "/a", None),
        target(Scheme::Http, "other.example", "/a", None),
        target(Scheme::Http, "shop.example", "/a", Some("https")),
    ] {
        assert_ne!(origin(&other), origin(&ours), "{other:?}");
        assert_eq!(ResourceKey::new(&other, &QueryPolicy::All).origin(), origin(&other), "{other:?}");
    }
}

/// All texts of up to so many of these pieces.
fn texts(pieces: &[&str], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = 0;
    for _ in 0..longest {
        let longer =
            all[last..].iter().flat_map(|text| pieces.iter().map(move |piece| format!("{text}{piece}")));
        let longer: Vec<_> = longer.collect();
        last = all.len();
        all.extend(longer);
    }
    all
}

#[test]
fn no_two_of_many_resources_share_a_key() {
    // Pieces that look like what a key is made of: every pair of them is compared, more than 10^9 in all.
    let paths = texts(&["/", "a", "b", "?", "&", "=", ":", "a:81", "%2f", "{a}", "s"], 4);
    let mut seen = HashMap::new();
    for host in ["a", "b", "aa", "a.b", "a:81", "a:8"] {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(host))]);
        for (path, scheme) in paths.iter().zip([Scheme::Http, Scheme::Https].into_iter().cycle()) {
            let raw = format!("/{path}");
            let Ok(target) = Target::parse(&raw.clone().into(), &headers, scheme, true) else { continue };
            let key = ResourceKey::new(&target, &QueryPolicy::All);
            let before = seen.insert(key.as_bytes().to_vec(), (host, raw.clone()));
            assert_eq!(before, None, "{host} {raw}");
        }
    }
    assert!(seen.len() > 50_000, "only {}", seen.len());
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
    fn section_4_1_preferences_select_alike_exactly_if_they_mean_the_same(
        one in proptest::collection::btree_map("[a-c*]{1,2}", 0..=1000_u16, 0..4),
        other in option::of(proptest::collection::btree_map("[a-c*]{1,2}", 0..=1000_u16, 0..4)),
        (seed, again) in (vec(0..60_usize, 1..20), vec(0..60_usize, 1..20)),
    ) {
        let other = other.unwrap_or_else(|| one.clone());
        let of = |meaning, seed: &[usize]| variant("accept-language", &spelled(meaning, seed));
        prop_assert_eq!(of(&one, &seed) == of(&other, &again), one == other);
    }

    #[test]
    fn section_4_1_lists_select_alike_exactly_if_their_members_are_the_same(
        one in vec("[a-cA \"]{0,3}".prop_map(|m| m.trim().to_owned()), 1..4),
        other in vec("[a-cA \"]{0,3}".prop_map(|m| m.trim().to_owned()), 1..4),
        cut in 0..4_usize,
    ) {
        let quotes_end = |members: &[String]| members.iter().all(|m| m.matches('"').count() % 2 == 0);
        prop_assume!(quotes_end(&one) && quotes_end(&other));
        let (left, right) = one.split_at(cut.min(one.len()));
        let parts = [left, right].into_iter().filter(|part| !part.is_empty());
        let lines: Vec<_> = parts.map(|part| part.join(" ,\t")).collect();
        prop_assert_eq!(variant("foo", &lines) == variant("foo", &[other.join(",")]), one == other);
    }

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
