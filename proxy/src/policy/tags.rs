//! What a response's fields tag it with, and which groups they make obsolete (RFC 9875).
//!
//! | field | form | scope |
//! |---|---|---|
//! | `Cache-Tag` | names between commas | the fleet |
//! | `Surrogate-Key` | names between blanks | the fleet |
//! | `Cache-Groups` | a Structured Field: a List of Strings (RFC 9875 §2) | the origin |
//!
//! The first two are conventions of content delivery networks without a grammar: any bytes that a field
//! may have are a name, and case counts.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sfv::{BareItem, List, ListEntry, Parser};

use super::invalidation::invalidates;
use crate::{status::Detail, tags::Tag};

/// Most tags of one stored response, those of its rule included; and most groups that one answer
/// invalidates. RFC 9875 asks for 32 at least (§2).
pub const MAX_TAGS: usize = 256;

/// Longest name of a tag that a response is stored with, in bytes. RFC 9875 asks for 32 at least (§2).
pub const MAX_TAG_BYTES: usize = 1024;

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The fields that tag a response: what `strip_tags` keeps from clients.
pub static TAG_FIELDS: [HeaderName; 3] = [CACHE_TAG, SURROGATE_KEY, CACHE_GROUPS];

/// All tags of a response: those of its fields, and those that its rule gives it. In order, each once,
/// however many lines and in whatever order. `origin` is that of its target, of [`crate::key::origin`].
///
/// # Errors
/// More than [`MAX_TAGS`], or one whose name is longer than [`MAX_TAG_BYTES`]: a response that is stored
/// without one of its tags would outlive a purge of it.
pub fn tags_of(
    headers: &HeaderMap,
    rule_tags: impl IntoIterator<Item = Tag>,
    origin: &[u8],
) -> Result<Box<[Tag]>, Detail> {
    let mut tags = BTreeSet::new();
    for tag in rule_tags {
        insert(&mut tags, tag)?;
    }
    let listed = names(headers, &CACHE_TAG, |byte| byte == b',');
    for name in listed.chain(names(headers, &SURROGATE_KEY, is_blank)) {
        insert(&mut tags, Tag::named(short(name)?))?;
    }
    for group in groups(headers, &CACHE_GROUPS) {
        insert(&mut tags, Tag::group(origin, short(group.as_bytes())?))?;
    }
    Ok(tags.into_iter().collect())
}

/// The names that the fields of a response tag it with, for people: those of [`tags_of`] in the order of the fields.
#[must_use]
pub fn names_of(headers: &HeaderMap) -> Vec<String> {
    let named =
        names(headers, &CACHE_TAG, |byte| byte == b',').chain(names(headers, &SURROGATE_KEY, is_blank));
    let named = named.map(|name| String::from_utf8_lossy(name).into_owned());
    named.chain(groups(headers, &CACHE_GROUPS).into_iter().map(|name| format!("group {name}"))).collect()
}

/// The groups that the answer to an unsafe method makes obsolete (RFC 9875 §3), each once; the first
/// [`MAX_TAGS`] of them. On other answers the field "MUST be ignored". `origin` is as in [`tags_of`].
#[must_use]
pub fn groups_to_invalidate(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    origin: &[u8],
) -> Vec<Tag> {
    if !invalidates(method, status) {
        return Vec::new();
    }
    let groups = groups(headers, &CACHE_GROUP_INVALIDATION);
    // Nothing is stored with a longer one.
    let storable = groups.iter().map(String::as_bytes).filter(|name| name.len() <= MAX_TAG_BYTES);
    let mut seen = BTreeSet::new();
    let once = storable.map(|name| Tag::group(origin, name)).filter(|tag| seen.insert(*tag));
    once.take(MAX_TAGS).collect()
}

fn insert(tags: &mut BTreeSet<Tag>, tag: Tag) -> Result<(), Detail> {
    tags.insert(tag);
    if tags.len() > MAX_TAGS { Err(Detail::TooManyTags) } else { Ok(()) }
}

fn short(name: &[u8]) -> Result<&[u8], Detail> {
    if name.len() > MAX_TAG_BYTES { Err(Detail::TooManyTags) } else { Ok(name) }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What stands between the separators on all lines of a field, without the blanks around it.
fn names<'h>(
    headers: &'h HeaderMap,
    field: &HeaderName,
    separates: fn(u8) -> bool,
) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(field).into_iter().map(HeaderValue::as_bytes);
    let members = lines.flat_map(move |line| line.split(move |&byte| separates(byte)));
    members.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// The members of a List of Strings; their parameters mean nothing (RFC 9875 §2). Nothing of a field that
/// is malformed or has other members: it is ignored as a whole (RFC 9651 §4.2).
fn groups(headers: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let lines: Vec<_> = headers.get_all(field).iter().map(HeaderValue::as_bytes).collect();
    let list: Option<List> = Parser::new(&lines.join(&b", "[..])).parse().ok();
    let strings = list.into_iter().flatten().map(|member| match member {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::String(group) => Some(String::from(group)),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    });
    strings.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &[u8] = b"http://shop.example";

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        fields
            .iter()
            .map(|(field, value)| (name(field), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
            .collect()
    }

    fn tags(fields: &[(&str, &str)]) -> Result<BTreeSet<Tag>, Detail> {
        tags_of(&map(fields), [], ORIGIN).map(|tags| tags.iter().copied().collect())
    }

    fn named(names: &[&str]) -> Result<BTreeSet<Tag>, Detail> {
        Ok(names.iter().map(|name| Tag::named(name.as_bytes())).collect())
    }

    fn grouped(names: &[&str]) -> Result<BTreeSet<Tag>, Detail> {
        Ok(names.iter().map(|name| Tag::group(ORIGIN, name.as_bytes())).collect())
    }

    #[test]
    fn cache_tag_is_separated_by_commas_and_surrogate_key_by_blanks() {
        for (field, value, wanted) in [
            ("cache-tag", "", &[][..]),
            ("cache-tag", " , ,,\t", &[]),
            ("cache-tag", "a", &["a"]),
            ("Cache-Tag", "a,b , A,\ta", &["a", "b", "A"]),
            ("cache-tag", "red shoes,b", &["red shoes", "b"]),
            ("cache-tag", "\"a,b\"", &["\"a", "b\""]),
            ("cache-tag", "caf\u{e9}", &["caf\u{e9}"]),
            ("surrogate-key", "  ", &[]),
            ("surrogate-key", "a b\t A  a", &["a", "b", "A"]),
            ("Surrogate-Key", "a,b c", &["a,b", "c"]),
            ("x-cache-tag", "a", &[]),
            ("cache-group-invalidation", "\"a\"", &[]),
        ] {
            assert_eq!(tags(&[(field, value)]), named(wanted), "{field}: {value}");
        }
        let lines =
            [("cache-tag", "a"), ("surrogate-key", "c a"), ("cache-tag", "b"), ("surrogate-key", "d")];
        assert_eq!(tags(&lines), named(&["a", "b", "c", "d"]));
    }

    #[test]
    fn rfc_9875_section_2_cache_groups_is_a_list_of_strings() {
        for (value, wanted) in [
            ("", &[][..]),
            ("\"a\"", &["a"]),
            ("\"\"", &[""]),
            ("\"a\",\"b\" ,\t\"A\", \"a\"", &["a", "b", "A"]),
            ("\"red, \\\"shoes\\\"\"", &["red, \"shoes\""]),
            ("\"a\";x=1;y, \"b\";z=(", &[]),
            ("\"a\";x=1;y, \"b\"", &["a", "b"]),
        ] {
            assert_eq!(tags(&[("cache-groups", value)]), grouped(wanted), "{value}");
        }
        let lines = [("cache-groups", "\"a\""), ("cache-groups", "\"b\", \"c\"")];
        assert_eq!(tags(&lines), grouped(&["a", "b", "c"]));
        let (many, long) = (format!("\"{}\"", "a".repeat(32)), "a".repeat(32));
        assert_eq!(tags(&[("cache-groups", &many)]), grouped(&[&long]));
    }

    #[test]
    fn rfc_9651_section_4_2_what_is_no_list_of_strings_is_ignored_as_a_whole() {
        for value in [
            "a",
            "\"a\", b",
            "\"a\",",
            ",\"a\"",
            "\"a\" \"b\"",
            "\"a",
            "'a'",
            "(\"a\")",
            "\"a\", (\"b\")",
            "1",
            "?1",
            ":YQ==:",
            "\"a\"; x=",
            "\"caf\u{e9}\"",
            "%\"a\"",
        ] {
            assert_eq!(tags(&[("cache-groups", value), ("cache-tag", "t")]), named(&["t"]), "{value}");
        }
        let one_is_wrong = [("cache-groups", "\"a\""), ("cache-groups", "b")];
        assert_eq!(tags(&one_is_wrong), named(&[]));
    }

    #[test]
    fn rfc_9875_section_2_1_groups_are_the_origin_s_and_case_counts() {
        let headers = map(&[("cache-groups", "\"a\""), ("cache-tag", "a")]);
        let ours = tags_of(&headers, [], ORIGIN).unwrap();
        let theirs = tags_of(&headers, [], b"http://other.example").unwrap();
        let shared: Vec<_> = ours.iter().filter(|tag| theirs.contains(tag)).collect();
        assert_eq!(shared, [&Tag::named(b"a")], "tags are the fleet's");
        assert_ne!(tags(&[("cache-groups", "\"A\"")]), grouped(&["a"]));
    }

    #[test]
    fn a_rule_s_tags_are_added() {
        let rule_tags = [Tag::named(b"a"), Tag::rule("/a")];
        let tags = tags_of(&map(&[("cache-tag", "a, b")]), rule_tags, ORIGIN).unwrap();
        let wanted = BTreeSet::from([Tag::named(b"a"), Tag::named(b"b"), Tag::rule("/a")]);
        assert_eq!(tags.iter().copied().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(tags.len(), 3);
    }

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn more_than_the_limit_keeps_a_response_from_being_stored() {
        let most = numbered(MAX_TAGS);
        for (field, between) in [("cache-tag", ","), ("surrogate-key", " "), ("cache-groups", "\", \"")] {
            let quote = if field == "cache-groups" { "\"" } else { "" };
            let value = |names: &[String]| format!("{quote}{}{quote}", names.join(between));
            let twice = value(&[&most[..], &most[..]].concat());
            assert_eq!(tags(&[(field, &twice)]).map(|tags| tags.len()), Ok(MAX_TAGS), "{field}");
            let more = value(&numbered(MAX_TAGS + 1));
            assert_eq!(tags(&[(field, &more)]), Err(Detail::TooManyTags), "{field}");
            let other = ("cache-tag", "one-more");
            assert_eq!(tags(&[(field, &twice), other]), Err(Detail::TooManyTags), "{field}");
            let long = "a".repeat(MAX_TAG_BYTES);
            assert!(tags(&[(field, &format!("{quote}{long}{quote}"))]).is_ok(), "{field}");
            let too_long = format!("{quote}{long}a{quote}");
            assert_eq!(tags(&[(field, &too_long)]), Err(Detail::TooManyTags), "{field}");
        }
        let of_rule = (0..=MAX_TAGS as u128).map(Tag::from_bits);
        assert_eq!(tags_of(&HeaderMap::new(), of_rule, ORIGIN), Err(Detail::TooManyTags));
    }

    fn invalidated(method: &str, status: u16, value: &str) -> Vec<Tag> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        groups_to_invalidate(&method, status, &map(&[("cache-group-invalidation", value)]), ORIGIN)
    }

    #[test]
    fn rfc_9875_section_3_only_the_answer_to_an_unsafe_method_invalidates() {
        let a = [Tag::group(ORIGIN, b"a")];
        for (method, status, wanted) in [
            ("POST", 200, &a[..]),
            ("PUT", 204, &a),
            ("DELETE", 303, &a),
            ("UNHEARD", 200, &a),
            ("POST", 400, &[]),
            ("POST", 500, &[]),
            ("GET", 200, &[]),
            ("HEAD", 200, &[]),
            ("OPTIONS", 200, &[]),
            ("QUERY", 200, &[]),
        ] {
            assert_eq!(invalidated(method, status, "\"a\""), wanted, "{method} {status}");
        }
        let other = map(&[("cache-groups", "\"a\"")]);
        assert_eq!(groups_to_invalidate(&Method::POST, StatusCode::OK, &other, ORIGIN), []);
    }

    #[test]
    fn rfc_9875_section_3_groups_are_told_as_in_cache_groups_and_bounded() {
        assert_eq!(invalidated("POST", 200, "\"a\", b"), []);
        let both = [Tag::group(ORIGIN, b"b"), Tag::group(ORIGIN, b"a")];
        assert_eq!(invalidated("POST", 200, "\"b\";x, \"a\", \"b\""), both);
        let too_long = format!("\"{}\", \"a\"", "b".repeat(MAX_TAG_BYTES + 1));
        assert_eq!(invalidated("POST", 200, &too_long), both[1..]);
        let many = format!("\"{}\"", numbered(MAX_TAGS + 9).join("\",\""));
        assert_eq!(invalidated("POST", 200, &many).len(), MAX_TAGS);
    }

    /// Any value that a field can have, often one that means something.
    fn value() -> impl Strategy<Value = HeaderValue> {
        let byte = prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..];
        let likely = "[a-c\", \t]{0,9}|(\"[a-c]{0,3}\"[, ]{0,2}){0,4}";
        let bytes = prop_oneof![
            prop::collection::vec(byte, 0..40),
            prop::string::string_regex(likely).unwrap().prop_map(String::into_bytes),
        ];
        bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read(lines in prop::collection::vec((0..4_usize, value()), 0..6)) {
            let fields = [CACHE_TAG, SURROGATE_KEY, CACHE_GROUPS, CACHE_GROUP_INVALIDATION];
            let headers: HeaderMap =
                lines.iter().map(|(field, value)| (fields[*field].clone(), value.clone())).collect();
            let tags = tags_of(&headers, [], ORIGIN);
            prop_assert!(tags.is_ok_and(|tags| tags.windows(2).all(|pair| pair[0] < pair[1])));
            prop_assert!(groups_to_invalidate(&Method::POST, StatusCode::OK, &headers, ORIGIN).len() <= MAX_TAGS);
        }

        #[test]
        fn neither_the_order_of_lines_nor_how_many_they_are_matters(
            names in prop::collection::vec("[a-zA-Z0-9]{1,4}", 1..9),
            turn in any::<prop::sample::Index>(),
        ) {
            let mut turned = names.clone();
            turned.rotate_left(turn.index(names.len()));
            let quoted = |names: &[String]| format!("\"{}\"", names.join("\", \""));
            for (name, together) in
                [("cache-tag", names.join(",")), ("Surrogate-Key", names.join(" ")), ("Cache-Groups", quoted(&names))]
            {
                let apart: Vec<_> = turned
                    .iter()
                    .map(|tag| (name, if name == "Cache-Groups" { quoted(std::slice::from_ref(tag)) } else { tag.clone() }))
                    .collect();
                let apart: Vec<_> = apart.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let shouted = name.to_ascii_uppercase();
                prop_assert_eq!(tags(&apart), tags(&[(&shouted, &together)]));
                prop_assert_eq!(tags(&apart).unwrap().len(), names.iter().collect::<BTreeSet<_>>().len());
            }
        }
    }
}
