//! Parts of a response: what a stored part answers, how parts become one, and how the rest is asked
//! for (RFC 9111 §3.3, §3.4).
//!
//! A stored part is a part of a 200: it has that status, the 200's fields and lifetime, and one run of
//! its bytes. It answers only while it is fresh, and never stands in for the whole.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE},
};
use serde::{Deserialize, Serialize};

use super::{
    facts::ResponseFacts,
    freshening::freshen,
    range::{ContentRange, RangeRequest, Selection, Span},
    strong,
};
use crate::{
    headers::{Lines, take_own},
    stored::Stored,
    tags::Tag,
};

/// Where in the whole the bytes of a stored part belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The first byte's place.
    pub start: u64,
    /// How many bytes the whole has; more than are held.
    pub complete: u64,
}

/// What came of what a `Content-Range` announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The whole.
    Whole,
    /// So much of it.
    Part(Part),
    /// Nothing, or more than was announced.
    Nonsense,
}

impl Came {
    /// §3.3: a body that ended well and is shorter than its range is an incomplete one; the bytes that
    /// came are those at the beginning of the range.
    #[must_use]
    pub fn of(range: ContentRange, length: u64) -> Self {
        match length {
            0 => Self::Nonsense,
            _ if length > range.span.length() => Self::Nonsense,
            _ if length == range.complete => Self::Whole,
            _ => Self::Part(Part { start: range.span.start, complete: range.complete }),
        }
    }
}

/// §3.3: "A cache MUST NOT use an incomplete response to answer requests unless the response has been
/// made complete, or the request is partial and specifies a range wholly within the incomplete response."
#[must_use]
pub fn answers(stored: &Stored, asked: Option<&RangeRequest>) -> bool {
    if stored.part.is_none() {
        return true;
    }
    let held = stored.held();
    match asked.map(|asked| asked.select(&stored.facts, stored.complete())) {
        Some(Selection::Spans(spans)) => spans.iter().all(|span| span.is_within(held)),
        _ => false,
    }
}

/// §3.4: "A cache MAY combine these ranges into a single stored response, and reuse that response to
/// satisfy later requests, if they all share the same strong validator", and touch. Not beyond `most`
/// bytes.
#[must_use]
pub fn are_combinable(one: &Stored, other: &Stored, most: u64) -> bool {
    one.variant == other.variant
        && one.nominated == other.nominated
        && one.fingerprint == other.fingerprint
        && one.complete() == other.complete()
        && strong::same_version(&one.facts, &other.facts)
        && one.held().is_near(other.held(), 0)
        && one.held().joined(other.held()).length() <= most
}

/// Both as one, where they are combinable. The fields are those of the newer, and those of the older that
/// it has not (§3.2).
#[must_use]
pub fn combined(one: &Stored, other: &Stored, most: u64) -> Option<Stored> {
    if !are_combinable(one, other, most) {
        return None;
    }
    let both = one.held().joined(other.held());
    let (older, newer) = if one.response_time <= other.response_time { (one, other) } else { (other, one) };
    let mut fields = older.fields();
    freshen(&mut fields, &newer.fields());
    let facts = ResponseFacts { age: newer.facts.age, ..ResponseFacts::of(StatusCode::OK, &fields) };
    let hidden = Lines::from_map(&take_own(&mut fields));
    let part = Part { start: both.start, complete: newer.complete() };
    Some(Stored {
        key: newer.key.clone(),
        variant: newer.variant.clone(),
        nominated: newer.nominated.clone(),
        fingerprint: newer.fingerprint,
        request_time: newer.request_time,
        response_time: newer.response_time,
        lot: newer.lot,
        epoch: older.epoch.min(newer.epoch),
        tags: both_tags(older, newer),
        lines: Lines::from_map(&fields),
        hidden,
        facts,
        part: (both.length() < part.complete).then_some(part),
        body: spliced(older, newer, both)?,
    })
}

/// What covers one of them covers what they make.
fn both_tags(one: &Stored, other: &Stored) -> Box<[Tag]> {
    let all: BTreeSet<Tag> = one.tags.iter().chain(&other.tags).copied().collect();
    all.into_iter().collect()
}

/// A part that adds less than this share of what is held is not worth a growth.
const LEAST_GROWTH: u64 = 8;

/// Whether `held` with `new` is worth its cost: all that is held is read, put together and written anew,
/// which a client could otherwise bring about by asking for one byte after another. What makes it whole
/// always is.
#[must_use]
pub fn is_worth_growing(held: &Stored, new: &Stored) -> bool {
    let both = held.held().joined(new.held()).length();
    let more = both.saturating_sub(held.held().length());
    let becomes_whole = held.part.is_some() && both == held.complete();
    becomes_whole || more >= (held.held().length() / LEAST_GROWTH).max(1)
}

/// The bytes of `both`, from where they are. The older's, where both have them: they are the same.
fn spliced(older: &Stored, newer: &Stored, both: Span) -> Option<Bytes> {
    let (old, new) = (older.held(), newer.held());
    if old == both {
        return Some(older.body.clone());
    }
    if new == both {
        return Some(newer.body.clone());
    }
    let before = newer.slice(Span { start: new.start, end: new.start.max(old.start) })?;
    let after = newer.slice(Span { start: new.end.min(old.end), end: new.end })?;
    Some([before, older.body.clone(), after].concat().into())
}

/// Whether the rest of a stored part can be asked for, and would complete it.
#[must_use]
pub fn is_completable(stored: &Stored) -> bool {
    stored.part.is_some_and(|part| part.start == 0) && strong::has_strong_validator(&stored.facts)
}

/// RFC 9110 §13.1.5, §14.2: asks for what lies behind the first `held` bytes of a response with these
/// fields, or for all of it where that has changed. In the place of the client's own conditions.
pub fn ask_for_rest(request: &mut HeaderMap, stored: &HeaderMap, held: u64) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    let validator = stored.get(ETAG).or_else(|| stored.get(LAST_MODIFIED));
    if let (Some(validator), Ok(range)) = (validator, HeaderValue::try_from(format!("bytes={held}-"))) {
        request.insert(RANGE, range);
        request.insert(IF_RANGE, validator.clone());
    }
}

/// Whether a 206 of these facts, range and length is all that is missing in `stored`.
#[must_use]
pub fn completes(stored: &Stored, facts: &ResponseFacts, range: ContentRange, length: u64) -> bool {
    let missing = Span { start: stored.held().end, end: stored.complete() };
    stored.held().start == 0
        && range == ContentRange { span: missing, complete: stored.complete() }
        && length == missing.length()
        && strong::same_version(&stored.facts, facts)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &[u8] = b"0123456789";
    const TAG: (&str, &str) = ("etag", "\"a\"");
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const LATER: (&str, &str) = ("date", "Mon, 07 Nov 1994 08:49:37 GMT");

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    /// The bytes `start..end` of [`WHOLE`], as they came at that second.
    fn part(start: usize, end: usize, second: u64, fields: &[(&'static str, &str)]) -> Stored {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let place = Part { start: start as u64, complete: WHOLE.len() as u64 };
        Stored {
            part: (end - start < WHOLE.len()).then_some(place),
            body: Bytes::from_static(&WHOLE[start..end]),
            ..Stored::of(&map(fields), at)
        }
    }

    fn range(start: u64, end: u64) -> ContentRange {
        ContentRange { span: Span { start, end }, complete: 10 }
    }

    #[test]
    fn section_3_3_what_is_shorter_than_its_range_is_the_beginning_of_it() {
        let held = |start| Came::Part(Part { start, complete: 10 });
        for (range, length, came) in [
            (range(0, 10), 10, Came::Whole),
            (range(0, 10), 9, held(0)),
            (range(0, 5), 5, held(0)),
            (range(4, 10), 5, held(4)),
            (range(4, 10), 6, held(4)),
            (range(4, 10), 7, Came::Nonsense),
            (range(4, 10), 0, Came::Nonsense),
        ] {
            assert_eq!(Came::of(range, length), came, "{range} {length}");
        }
    }

    #[test]
    fn section_3_3_a_part_answers_for_a_range_wholly_within_it() {
        let held = part(4, 9, 0, &[TAG]);
        for (asked, answered) in [
            ("bytes=4-8", true),
            ("bytes=6-7", true),
            ("bytes=5-5,7-7", true),
            ("bytes=-6", false),
            ("bytes=3-5", false),
            ("bytes=6-", false),
            ("bytes=6-9", false),
            ("bytes=5-5,9-9", false),
            ("bytes=10-", false),
            ("bytes=x", false),
        ] {
            let asked = RangeRequest::of(&map(&[("range", asked)])).unwrap();
            assert_eq!(answers(&held, Some(&asked)), answered, "{asked:?}");
            assert!(answers(&part(0, 10, 0, &[]), Some(&asked)));
        }
        for (condition, answered) in [("\"a\"", true), ("\"b\"", false)] {
            let asked = RangeRequest::of(&map(&[("range", "bytes=4-8"), ("if-range", condition)])).unwrap();
            assert_eq!(answers(&held, Some(&asked)), answered, "{condition}");
        }
        assert!(!answers(&held, None));
        assert!(answers(&part(0, 10, 0, &[]), None));
    }

    #[test]
    fn section_3_4_parts_combine_by_the_same_strong_validator_alone() {
        let dated = [MODIFIED, LATER];
        for (one, other, same) in [
            (&[TAG][..], &[TAG][..], true),
            (&[TAG], &[("etag", "\"b\"")], false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[TAG, MODIFIED, LATER], &[MODIFIED, LATER], false),
            (&dated, &dated, true),
            (&dated, &[MODIFIED, ("date", "Sun, 06 Nov 1994 08:49:38 GMT")], false),
            (&dated, &[("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT"), LATER], false),
            (&[LATER], &[LATER], false),
            (&[], &[], false),
        ] {
            let both = combined(&part(0, 5, 0, one), &part(5, 10, 1, other), 10);
            assert_eq!(both.is_some(), same, "{one:?} {other:?}");
        }
        let apart = |place: &dyn Fn(&mut Stored)| {
            let mut other = part(5, 9, 1, &[TAG]);
            place(&mut other);
            combined(&part(0, 5, 0, &[TAG]), &other, 10).is_none()
        };
        assert!(!apart(&|_| {}));
        assert!(apart(&|other| other.fingerprint = 1));
        assert!(apart(&|other| other.nominated = Box::new([ETAG])));
        assert!(apart(&|other| other.part = Some(Part { start: 5, complete: 11 })));
        assert!(apart(&|other| other.part = Some(Part { start: 6, complete: 10 })));
        assert!(combined(&part(0, 5, 0, &[TAG]), &part(5, 9, 1, &[TAG]), 8).is_none(), "beyond the limit");
    }

    #[test]
    fn section_3_4_fields_are_the_newer_ones_whichever_came_first() {
        let old = part(0, 5, 10, &[TAG, ("x", "old"), ("only-old", "1"), ("cache-control", "max-age=1")]);
        let new = part(5, 10, 20, &[TAG, ("x", "new"), ("cache-control", "max-age=2"), ("sidecache-x", "1")]);
        for (one, other) in [(&old, &new), (&new, &old)] {
            let both = combined(one, other, 10).unwrap();
            let wanted = [TAG, ("x", "new"), ("only-old", "1"), ("cache-control", "max-age=2")];
            assert_eq!(both.lines.to_map(), map(&wanted));
            assert_eq!(both.hidden.to_map(), map(&[("sidecache-x", "1")]), "for no client");
            assert_eq!(both.facts.cache_control.max_age, Some(Duration::from_secs(2)));
            assert_eq!((both.response_time, both.part, &*both.body), (new.response_time, None, WHOLE));
        }
    }

    #[test]
    fn section_3_4_the_rest_is_asked_for_by_a_strong_validator() {
        let weak = ("etag", "W/\"a\"");
        for (start, fields, completable) in [
            (0, &[TAG][..], true),
            (0, &[MODIFIED, LATER], true),
            (0, &[weak, MODIFIED, LATER], false),
            (0, &[LATER], false),
            (1, &[TAG], false),
        ] {
            assert_eq!(is_completable(&part(start, 5, 0, fields)), completable, "{start} {fields:?}");
        }
        assert!(!is_completable(&part(0, 10, 0, &[TAG])));
        let client = [("if-none-match", "\"mine\""), ("if-modified-since", "yesterday"), ("accept", "*/*")];
        for (stored, condition) in [(&[TAG, MODIFIED][..], "\"a\""), (&[MODIFIED], MODIFIED.1)] {
            let mut request = map(&client);
            ask_for_rest(&mut request, &map(stored), 5);
            let wanted = [("accept", "*/*"), ("range", "bytes=5-"), ("if-range", condition)];
            assert_eq!(request, map(&wanted));
        }
    }

    #[test]
    fn section_3_4_just_what_is_missing_completes() {
        let (held, facts) = (part(0, 5, 0, &[TAG]), |fields| ResponseFacts::of(StatusCode::OK, &map(fields)));
        assert!(completes(&held, &facts(&[TAG]), range(5, 10), 5));
        assert!(!completes(&held, &facts(&[("etag", "\"b\"")]), range(5, 10), 5));
        assert!(!completes(&held, &facts(&[]), range(5, 10), 5));
        assert!(!completes(&held, &facts(&[TAG]), range(5, 10), 4));
        assert!(!completes(&held, &facts(&[TAG]), range(4, 10), 6));
        assert!(!completes(&held, &facts(&[TAG]), range(5, 9), 4));
        let longer = ContentRange { span: Span { start: 5, end: 11 }, complete: 11 };
        assert!(!completes(&held, &facts(&[TAG]), longer, 6));
        assert!(!completes(&part(1, 5, 0, &[TAG]), &facts(&[TAG]), range(5, 10), 5));
    }

    #[test]
    fn one_byte_after_another_is_not_worth_growing() {
        let zeros = |start: usize, end: usize| Stored {
            part: (end - start < 100).then_some(Part { start: start as u64, complete: 100 }),
            body: vec![0; end - start].into(),
            ..part(0, 1, 0, &[TAG])
        };
        for (held, new, worth) in [
            ((0, 1), (1, 2), true),
            ((0, 80), (80, 90), true),
            ((0, 80), (80, 89), false),
            ((10, 90), (1, 10), false),
            ((10, 90), (0, 10), true),
            ((10, 90), (0, 100), true),
            ((10, 90), (20, 80), false),
            ((0, 5), (2, 3), false),
            ((0, 99), (99, 100), true),
            ((0, 100), (99, 100), false),
        ] {
            let [one, other] = [held, new].map(|(start, end)| zeros(start, end));
            assert_eq!(is_worth_growing(&one, &other), worth, "{held:?} {new:?}");
        }
    }

    proptest! {
        #[test]
        fn combined_parts_are_the_bytes_of_the_whole(
            (a, b) in span(), (c, d) in span(), reversed: bool,
        ) {
            let (one, other) = (part(a, b, u64::from(reversed), &[TAG]), part(c, d, 1 - u64::from(reversed), &[TAG]));
            let both = combined(&one, &other, 10);
            prop_assert_eq!(both.is_some(), c <= b && a <= d);
            if let Some(both) = both {
                let (start, end) = (a.min(c), b.max(d));
                prop_assert_eq!(both.held(), Span { start: start as u64, end: end as u64 });
                prop_assert_eq!(&*both.body, &WHOLE[start..end]);
                prop_assert_eq!(both.part.is_none(), end - start == WHOLE.len());
            }
        }
    }

    fn span() -> impl Strategy<Value = (usize, usize)> {
        (0..WHOLE.len()).prop_flat_map(|start| (Just(start), start + 1..=WHOLE.len()))
    }
}
