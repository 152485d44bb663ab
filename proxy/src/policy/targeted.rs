//! Targeted fields (RFC 9213): `Cache-Control` for one kind of cache, as a Structured Field.
//!
//! Unlike `Cache-Control` they are read by a strict grammar: "if a targeted field in a given response is
//! empty, or a parsing error is encountered, that field MUST be ignored" (§2.1).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::CDN_CACHE_CONTROL};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::cache_control::{CacheControl, MALFORMED, Reading};

/// The fields that govern where a rule names no others, the first of them that says anything (§2.2).
pub static DEFAULT_TARGETS: [HeaderName; 2] =
    [HeaderName::from_static("sidecache-cache-control"), CDN_CACHE_CONTROL];

/// Most targeted fields of one response that are read. The default ones go before others.
pub const MAX_TARGETED: usize = 8;

/// The targeted fields of a response that say anything.
///
/// The name alone makes none of them govern (§2.3), which is for the rule to say; this reads whatever it
/// may name. The result does not depend on the order of the fields.
#[must_use]
pub fn targeted(headers: &HeaderMap) -> Vec<(HeaderName, CacheControl)> {
    let mut names: Vec<_> = headers.keys().filter(|name| is_targeted(name)).collect();
    names.sort_unstable_by_key(|name| (!DEFAULT_TARGETS.contains(name), name.as_str()));
    let fields = names.into_iter().filter_map(|name| Some((name.clone(), control(headers, name)?)));
    fields.take(MAX_TARGETED).collect()
}

/// Whether a field has the name of a targeted one: by convention (§2.3), they end so.
#[must_use]
pub fn is_targeted(name: &HeaderName) -> bool {
    name.as_str().strip_suffix("-cache-control").is_some_and(|target| !target.is_empty())
}

/// What a targeted field says; `None` if it is absent, empty or no dictionary.
#[must_use]
pub fn control(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut reading = Reading::default();
    for (name, member) in &dictionary {
        let name = name.as_str();
        match argument(name, member) {
            Argument::Absent => {}
            Argument::None => reading.add(name.as_bytes(), None),
            Argument::Some(value) => reading.add(name.as_bytes(), Some(&value)),
        }
    }
    Some(reading.finish())
}

/// What a directive comes with.
enum Argument<'d> {
    /// `?0`: it is not there at all.
    Absent,
    /// Nothing, as `no-store` should.
    None,
    /// The argument as it would stand in `Cache-Control`.
    Some(Cow<'d, [u8]>),
}

/// §2.1: types are those that the directives imply, and "implementations SHOULD NOT consume values that
/// violate these inferred constraints". A wrong type is treated like what cannot be understood in
/// `Cache-Control`: it makes a response stale, and what restricts still does. Parameters are ignored.
fn argument<'d>(name: &str, member: &'d ListEntry) -> Argument<'d> {
    let ListEntry::Item(Item { bare_item, .. }) = member else { return Argument::Some(MALFORMED.into()) };
    let names_fields = matches!(name, "no-cache" | "private");
    match bare_item {
        BareItem::Boolean(false) => Argument::Absent,
        BareItem::Boolean(true) => Argument::None,
        BareItem::Integer(seconds) if !names_fields => {
            Argument::Some(seconds.to_string().into_bytes().into())
        }
        BareItem::String(fields) if names_fields => Argument::Some(fields.as_str().as_bytes().into()),
        _ => Argument::Some(MALFORMED.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{
        facts::{Expires, ResponseFacts},
        rule::CacheRule,
    };

    const OWN: &str = "sidecache-cache-control";
    const CDN: &str = "cdn-cache-control";

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        fields.iter().map(|(field, value)| (name(field), value.parse().unwrap())).collect()
    }

    fn cdn(lines: &[&str]) -> Option<CacheControl> {
        let fields: Vec<_> = lines.iter().map(|line| (CDN, *line)).collect();
        control(&map(&fields), &CDN_CACHE_CONTROL)
    }

    fn max_age(seconds: u64) -> CacheControl {
        CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() }
    }

    #[test]
    fn rfc_9213_section_2_1_what_is_empty_or_no_dictionary_is_ignored() {
        for ignored in [
            "",
            "  ",
            "max-age=10000, &&&&&",
            "max-age=60,",
            "max-age =60",
            "max-age= 60",
            "Max-Age=60",
            "max-age='60'",
            "max-age=60; private",
            "max-age=60;;",
            "max-age=1234567890123456",
            "no-cache=\"a",
            "no-store;=",
            "\u{e9}",
        ] {
            let wanted = (ignored == "max-age=60; private").then(|| max_age(60)); // A parameter.
            assert_eq!(cdn(&[ignored]), wanted, "{ignored}");
        }
        assert_eq!(cdn(&[]), None);
        assert_eq!(cdn(&["max-age=60", "&"]), None);
    }

    #[test]
    fn rfc_9213_section_2_1_directives_are_members() {
        assert_eq!(cdn(&["max-age=60"]), Some(max_age(60)));
        assert_eq!(cdn(&["foobar, max-age=60;x=1, y=(1 2), z=@9"]), Some(max_age(60)));
        assert_eq!(cdn(&["max-age=60", "max-age=5"]), Some(max_age(5))); // Of a dictionary the last counts.
        assert_eq!(cdn(&["max-age=5, max-age=60"]), Some(max_age(60)));
        assert_eq!(cdn(&["max-age=99999999999"]), Some(max_age(1 << 31)));
        assert_eq!(cdn(&["none"]), Some(CacheControl::default()));
        let all = cdn(&["no-store, no-cache, private, must-revalidate, public, s-maxage=7"]).unwrap();
        assert!(all.no_store && all.no_cache && all.private && all.must_revalidate && all.public);
        assert_eq!(all.s_maxage, Some(Duration::from_secs(7)));
        assert_eq!(cdn(&["private=\"a, b\""]).unwrap().withheld, ["a", "b"]);
        assert_eq!(cdn(&["max-age=?0, no-store=?0, private=?0"]), Some(CacheControl::default()));
    }

    #[test]
    fn rfc_9213_section_2_1_a_wrong_type_is_stale_and_restricts() {
        for wrong in ["\"60\"", "-1", "60.0", "x", "?1", "(60)", "@60", ":NjA=:"] {
            assert_eq!(cdn(&[&format!("max-age={wrong}")]), Some(max_age(0)), "{wrong}");
        }
        for wrong in ["1", "a", "1.5", "(\"a\")", "\"\"", "\"vary\"", ":YQ==:"] {
            let control = cdn(&[&format!("no-store={wrong}, private={wrong}, no-cache={wrong}")]).unwrap();
            assert!(control.no_store && control.private && control.no_cache, "{wrong}");
            assert!(!cdn(&[&format!("public={wrong}")]).unwrap().public, "{wrong}");
        }
    }

    fn facts(fields: &[(&str, &str)]) -> ResponseFacts {
        ResponseFacts::of(StatusCode::OK, &map(fields))
    }

    #[test]
    fn rfc_9213_section_2_2_the_first_that_says_anything_governs() {
        let rule = CacheRule::new(None);
        let mut fields = vec![("cache-control", "no-store"), ("expires", "0"), (CDN, "max-age=5")];
        let governed = facts(&fields);
        assert_eq!(governed.control(&rule), &max_age(5));
        assert_eq!(governed.expires(&rule), None);
        fields.push((OWN, "max-age=9"));
        assert_eq!(facts(&fields).control(&rule), &max_age(9));
        fields[3].1 = "max-age=9, &";
        assert_eq!(facts(&fields).control(&rule), &max_age(5));
        fields[2].1 = "";
        let fallen_back = facts(&fields);
        assert!(fallen_back.control(&rule).no_store);
        assert_eq!(fallen_back.expires(&rule), Some(Expires::Invalid));
    }

    #[test]
    fn rfc_9213_section_2_2_a_field_that_is_not_on_the_list_changes_nothing() {
        let other = [("other-cache-control", "no-store"), ("cache-control", "max-age=5"), ("expires", "0")];
        let mut rule = CacheRule::new(None);
        assert_eq!(facts(&other).control(&rule), &max_age(5));
        assert_eq!(facts(&other).expires(&rule), Some(Expires::Invalid));
        rule.targeted = [HeaderName::from_static("other-cache-control")].into();
        assert!(facts(&other).control(&rule).no_store);
        rule.targeted = [].into();
        assert_eq!(facts(&[(CDN, "no-store"), other[1]]).control(&rule), &max_age(5));
    }

    #[test]
    fn the_fields_that_govern_by_default_are_read_before_any_others() {
        let others = (0..2 * MAX_TARGETED).map(|n| (format!("a{n}-cache-control"), "no-store".to_owned()));
        let all: Vec<_> = others.chain([(OWN.to_owned(), "max-age=5".to_owned())]).collect();
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let read = targeted(&map(&all));
        assert_eq!(read.len(), MAX_TARGETED);
        assert_eq!(read[0], (DEFAULT_TARGETS[0].clone(), max_age(5)));
        for other in ["cache-control", "xcache-control", "-cache-control"] {
            assert!(targeted(&map(&[(other, "no-store")])).is_empty(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn rfc_9213_any_bytes_are_read(
            lines in prop::collection::vec(
                prop_oneof!["[\t -~]{0,40}", "(max-age|private|no-cache|x)(=[-0-9.?:@\"a-z, ()]{0,9})?(, [a-z]{0,3})?"],
                0..4,
            ),
            high in prop::collection::vec(128_u8.., 0..3),
        ) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                let value = [line.as_bytes(), &high[..]].concat();
                headers.append(CDN_CACHE_CONTROL, HeaderValue::from_bytes(&value).unwrap());
            }
            let read = control(&headers, &CDN_CACHE_CONTROL);
            prop_assert!(read.is_none() || (high.is_empty() && !lines.is_empty()));
            prop_assert_eq!(targeted(&headers).len(), usize::from(read.is_some()));
        }
    }
}
