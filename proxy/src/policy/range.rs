//! Which bytes of a representation are asked for, and which come (RFC 9110 §14).

use std::{fmt, time::SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_RANGE, IF_RANGE, RANGE},
};

use super::{
    facts::{ResponseFacts, http_date},
    strong,
};

/// Most ranges of one request. §14.2 lets a server ignore "a set of many small ranges", and §17.15
/// says why: an answer would be larger than what it is made of.
pub const MAX_RANGES: usize = 16;
/// A gap between two ranges that is cheaper sent than stated: §15.3.7.2 reckons "around 80 bytes" for
/// each part of a multipart body.
const NARROW: u64 = 80;

/// The bytes from `start` up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
}

impl Span {
    /// These bytes, if there are any.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// How many they are.
    #[must_use]
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of them are in `other`.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        other.start <= self.start && self.end <= other.end
    }

    /// Whether no more than `gap` bytes lie between the two.
    #[must_use]
    pub fn is_near(self, other: Self, gap: u64) -> bool {
        self.start <= other.end.saturating_add(gap) && other.start <= self.end.saturating_add(gap)
    }

    /// Both, and what lies between.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// `Range` and `If-Range` of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// None for what must or may be ignored: another unit, a malformed set, too many ranges.
    specs: Box<[RangeSpec]>,
    condition: Option<Condition>,
}

/// §14.1.1: `range-spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    /// `first-last`, or `first-` for all up to the end.
    Int { first: u64, last: u64 },
    /// `-length`: the last bytes.
    Suffix(u64),
}

/// §13.1.5: `If-Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Tag(HeaderValue),
    Date(SystemTime),
    /// Nothing matches it.
    Malformed,
}

/// What of a representation answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: the ranges do not count.
    Whole,
    /// These, apart from each other, in the order asked.
    Spans(Vec<Span>),
    /// No byte of what was asked for exists (416).
    Unsatisfiable,
}

impl RangeRequest {
    /// Reads them; `None` without `Range`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let range = headers.get(RANGE)?;
        let is_single = headers.get_all(RANGE).iter().nth(1).is_none();
        let specs = specs(range.as_bytes()).filter(|_| is_single).unwrap_or_default();
        Some(Self { specs, condition: Condition::of(headers) })
    }

    /// Whether it asks for ranges of bytes, and not too many. Of anything else only the app knows what it means: what
    /// comes for that may be for nobody else.
    #[must_use]
    pub fn is_of_bytes(&self) -> bool {
        !self.specs.is_empty()
    }

    /// §14.2, §13.1.5: what of a 200 with these facts and a body of `complete` bytes is to be sent.
    #[must_use]
    pub fn select(&self, facts: &ResponseFacts, complete: u64) -> Selection {
        let held = self.condition.as_ref().is_none_or(|condition| condition.holds(facts));
        // Of an empty body there is no part that `Content-Range` could state.
        if !held || self.specs.is_empty() || complete == 0 {
            return Selection::Whole;
        }
        let spans: Vec<_> = self.specs.iter().filter_map(|spec| spec.span(complete)).collect();
        match spans.is_empty() {
            true => Selection::Unsatisfiable,
            false => Selection::Spans(coalesced(spans)),
        }
    }
}

impl RangeSpec {
    /// §14.1.1: `int-range / suffix-range`; one that ends before it begins is invalid.
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = memchr::memchr(b'-', text)?;
        match (text.get(..dash)?, text.get(dash + 1..)?) {
            (b"", length) => number(length).map(Self::Suffix),
            (first, b"") => Some(Self::Int { first: number(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Int { first, last })
            }
        }
    }

    /// §14.1.2: the bytes of it that exist.
    fn span(self, complete: u64) -> Option<Span> {
        match self {
            Self::Int { first, last } => Span::new(first, last.saturating_add(1).min(complete)),
            Self::Suffix(length) => Span::new(complete.saturating_sub(length), complete),
        }
    }
}

/// §14.1.1: `ranges-specifier`, of bytes. One invalid range makes it invalid as a whole.
fn specs(value: &[u8]) -> Option<Box<[RangeSpec]>> {
    let (unit, set) = value.split_at_checked(memchr::memchr(b'=', value)?)?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let members = set.get(1..)?.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let members = members.filter(|member| !member.is_empty()).take(MAX_RANGES + 1);
    let specs: Box<[_]> = members.map(RangeSpec::parse).collect::<Option<_>>()?;
    (specs.len() <= MAX_RANGES).then_some(specs)
}

/// Digits. A number too large for us is beyond the end of any body, and so is the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, digit: &u8| {
        digit.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())
}

/// §15.3.7.2: "a server MAY coalesce any of the ranges that overlap, or that are separated by a gap
/// that is smaller than the overhead of sending multiple parts". So no byte is sent twice.
fn coalesced(spans: Vec<Span>) -> Vec<Span> {
    let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
    for mut span in spans {
        let place = apart.iter().position(|other| other.is_near(span, NARROW)).unwrap_or(apart.len());
        apart.retain(|other| {
            let near = other.is_near(span, NARROW);
            if near {
                span = span.joined(*other);
            }
            !near
        });
        apart.insert(place, span);
    }
    apart
}

impl Condition {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(IF_RANGE).iter();
        let value = lines.next()?;
        // "A valid entity-tag can be distinguished from a valid HTTP-date by examining the first three
        // characters for a DQUOTE."
        let is_tag = value.as_bytes().iter().take(3).any(|&b| b == b'"');
        Some(match (lines.next(), http_date(value)) {
            (None, _) if is_tag => Self::Tag(value.clone()),
            (None, Some(date)) => Self::Date(date),
            _ => Self::Malformed,
        })
    }

    /// §13.1.5: by the strong comparison; a date only where it is a strong validator, and the very one.
    fn holds(&self, facts: &ResponseFacts) -> bool {
        match self {
            Self::Tag(tag) => facts.etag.as_ref().is_some_and(|own| strong::same_tag(own, tag)),
            Self::Date(date) => facts.last_modified == Some(*date) && strong::has_strong_date(facts),
            Self::Malformed => false,
        }
    }
}

/// §14.4: `Content-Range` of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes.
    pub span: Span,
    /// Of how many.
    pub complete: u64,
}

impl ContentRange {
    /// Reads it. `None` where it is not about bytes, invalid, repeated, or without the whole length.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_RANGE).iter();
        let value = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
        let (unit, rest) = value.split_at_checked(value.iter().position(|&b| b == b' ')?)?;
        let (range, complete) = rest.split_at_checked(memchr::memchr(b'/', rest)?)?;
        let (first, last) = range.split_at_checked(memchr::memchr(b'-', range)?)?;
        let (first, last) = (number(first.get(1..)?)?, number(last.get(1..)?)?);
        let complete = number(complete.get(1..)?)?;
        let span = Span::new(first, last.checked_add(1)?).filter(|span| span.end <= complete)?;
        unit.eq_ignore_ascii_case(b"bytes").then_some(Self { span, complete })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.span.start, self.span.end.saturating_sub(1), self.complete)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn facts(fields: &[(&'static str, &str)]) -> ResponseFacts {
        ResponseFacts::of(StatusCode::OK, &map(fields))
    }

    fn select(fields: &[(&'static str, &str)], complete: u64) -> Selection {
        RangeRequest::of(&map(fields)).unwrap().select(&facts(&[]), complete)
    }

    /// `first-last` of each span, or what else it is.
    fn selected(range: &str, complete: u64) -> String {
        match select(&[("range", range)], complete) {
            Selection::Whole => "whole".to_owned(),
            Selection::Unsatisfiable => "416".to_owned(),
            Selection::Spans(spans) => {
                let spans = spans.iter().map(|span| format!("{}-{}", span.start, span.end - 1));
                spans.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn section_14_1_2_ranges_of_bytes() {
        for (range, wanted) in [
            ("bytes=0-0", "0-0"),
            ("bytes=0-499", "0-499"),
            ("bytes=500-", "500-999"),
            ("bytes=-1", "999-999"),
            ("bytes=-1000", "0-999"),
            ("bytes=-1001", "0-999"),
            ("bytes=999-5000", "999-999"),
            ("bytes=1000-", "416"),
            ("bytes=1000-1000", "416"),
            ("bytes=-0", "416"),
            ("bytes=0-0, 5000-", "0-0"),
            ("bytes=5000-,-0", "416"),
            ("BYTES=7-7", "7-7"),
            ("bytes= 7-7\t, ,", "7-7"),
            ("bytes=00007-0000008", "7-8"),
            ("bytes=0-99999999999999999999999", "0-999"),
            ("bytes=-99999999999999999999999", "0-999"),
            ("bytes=99999999999999999999999-", "416"),
        ] {
            assert_eq!(selected(range, 1000), wanted, "{range}");
        }
        for range in ["bytes=0-", "bytes=-5", "bytes=5-"] {
            assert_eq!(selected(range, 0), "whole", "{range}");
        }
    }

    #[test]
    fn section_14_2_what_is_no_set_of_byte_ranges_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=1 -2",
            "bytes=1.5-2",
            "bytes=0-1;2-3",
            "bytes=0-1, x",
            "bytes=0-1, 5-4",
            "bytes 0-1",
            "bytes =0-1",
            " bytes=0-1x",
            "items=0-1",
            "none",
        ] {
            assert_eq!(selected(range, 1000), "whole", "{range}");
        }
        assert_eq!(select(&[("range", "bytes=0-1"), ("range", "bytes=0-1")], 1000), Selection::Whole);
        assert_eq!(RangeRequest::of(&map(&[("if-range", "\"a\"")])), None);
    }

    #[test]
    fn section_15_3_7_2_near_ranges_are_one_and_the_others_keep_their_order() {
        for (range, wanted) in [
            ("bytes=0-9, 500-509", "0-9 500-509"),
            ("bytes=500-509, 0-9", "500-509 0-9"),
            ("bytes=0-9, 10-19", "0-19"),
            ("bytes=0-9, 90-99", "0-99"),
            ("bytes=0-9, 91-99", "0-9 91-99"),
            ("bytes=100-200, 900-, 150-300", "100-300 900-999"),
            ("bytes=0-9, 400-409, 800-809, 0-", "0-999"),
            ("bytes=0-0, 0-0, 0-0", "0-0"),
            ("bytes=-10, 0-0, -5", "990-999 0-0"),
        ] {
            assert_eq!(selected(range, 1000), wanted, "{range}");
        }
    }

    #[test]
    fn section_17_15_too_many_ranges_are_ignored() {
        let ranges = |count: usize| {
            let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
            selected(&format!("bytes={}", ranges.join(",")), 1_000_000)
        };
        assert_eq!(ranges(MAX_RANGES).split(' ').count(), MAX_RANGES);
        assert_eq!(ranges(MAX_RANGES + 1), "whole");
        assert_eq!(ranges(5000), "whole");
    }

    #[test]
    fn section_13_1_5_if_range_is_by_strong_validators_alone() {
        let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
        let strong =
            [("etag", "\"a\""), ("last-modified", modified), ("date", "Mon, 07 Nov 1994 08:49:37 GMT")];
        let fresh = [("last-modified", modified), ("date", "Sun, 06 Nov 1994 08:49:38 GMT")];
        let weak = [("etag", "W/\"a\"")];
        for (stored, condition, held) in [
            (&strong[..], "\"a\"", true),
            (&strong, modified, true),
            (&strong, "Sunday, 06-Nov-94 08:49:37 GMT", true),
            (&strong, "\"b\"", false),
            (&strong, "W/\"a\"", false),
            (&strong, "\"a\", \"b\"", false),
            (&strong, "a", false),
            (&strong, "*", false),
            (&strong, "", false),
            (&strong, "Sun, 06 Nov 1994 08:49:38 GMT", false),
            (&strong, "Sun, 06 Nov 1994 08:49:36 GMT", false),
            (&fresh, modified, false),
            (&weak, "W/\"a\"", false),
            (&weak, "\"a\"", false),
            (&[], "\"a\"", false),
            (&[], modified, false),
        ] {
            let asked = RangeRequest::of(&map(&[("range", "bytes=1-2"), ("if-range", condition)])).unwrap();
            let spans = asked.select(&facts(stored), 10) != Selection::Whole;
            assert_eq!(spans, held, "{stored:?} {condition}");
        }
        let twice = [("range", "bytes=1-2"), ("if-range", "\"a\""), ("if-range", "\"a\"")];
        assert_eq!(RangeRequest::of(&map(&twice)).unwrap().select(&facts(&strong), 10), Selection::Whole);
    }

    #[test]
    fn section_14_4_content_range() {
        let read = |value| ContentRange::of(&map(&[("content-range", value)]));
        for (value, start, end, complete) in
            [("bytes 0-0/1", 0, 1, 1), ("bytes 42-1233/1234", 42, 1234, 1234), ("Bytes 4-9/99", 4, 10, 99)]
        {
            let range = ContentRange { span: Span { start, end }, complete };
            assert_eq!(read(value), Some(range), "{value}");
            assert_eq!(range.to_string(), value.to_ascii_lowercase());
        }
        for value in [
            "",
            "bytes",
            "bytes */10",
            "bytes 0-9/*",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes 0-9",
            "bytes=0-9/10",
            "bytes  0-9/10",
            "bytes 0-9/10, bytes 0-9/10",
            "items 0-9/10",
            "bytes -9/10",
            "bytes 0-18446744073709551615/18446744073709551615",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        let twice = [("content-range", "bytes 0-9/10"), ("content-range", "bytes 0-9/10")];
        assert_eq!(ContentRange::of(&map(&twice)), None);
    }

    proptest! {
        #[test]
        fn reading_never_fails_hard_and_spans_lie_apart_within_the_body(
            raw in proptest::collection::vec(any::<u8>(), 0..64), complete: u64,
        ) {
            check(&raw, complete)?;
            check(&[b"bytes=", &raw[..]].concat(), complete)?;
            if let Ok(value) = HeaderValue::from_bytes(&raw) {
                let headers = HeaderMap::from_iter([(CONTENT_RANGE, value.clone()), (IF_RANGE, value)]);
                let _ = (ContentRange::of(&headers), Condition::of(&headers));
            }
        }

        #[test]
        fn sets_of_ranges_too(text in "bytes=([0-9]{0,3}-[0-9]{0,3},? ?){0,20}", complete in 0u64..400) {
            check(text.as_bytes(), complete)?;
        }
    }

    fn check(raw: &[u8], complete: u64) -> Result<(), TestCaseError> {
        let Ok(value) = HeaderValue::from_bytes(raw) else { return Ok(()) };
        let asked = RangeRequest::of(&HeaderMap::from_iter([(RANGE, value)])).unwrap();
        let Selection::Spans(spans) = asked.select(&facts(&[]), complete) else { return Ok(()) };
        prop_assert!((1..=MAX_RANGES).contains(&spans.len()));
        for (at, span) in spans.iter().enumerate() {
            prop_assert!(span.start < span.end && span.end <= complete, "{span:?}");
            prop_assert!(spans[..at].iter().all(|other| !other.is_near(*span, NARROW)), "{spans:?}");
        }
        for wanted in asked.specs.iter().filter_map(|spec| spec.span(complete)) {
            prop_assert!(
                spans.iter().any(|span| wanted.is_within(*span)),
                "{wanted:?} is in none of {spans:?}"
            );
        }
        Ok(())
    }
}
