//! Which values of a field select the same variant.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*};

use super::{super::variant::tests::variant, MAX_MEMBERS};

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
}
