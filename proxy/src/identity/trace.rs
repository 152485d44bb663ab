//! `traceparent` (W3C Trace Context, Level 1): which trace a request is part of, and below which span.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

use http::{HeaderMap, HeaderValue};

use super::random;
use crate::headers::TRACEPARENT;

/// The flag by which a caller says that it may have recorded its part.
const SAMPLED: u8 = 1;
/// Bytes of a value of version 00: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// `trace-id`, §3.2.2.3: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// `parent-id`, §3.2.2.4: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// Where a request stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The span of who sent the request here; nothing where the trace begins here.
    pub parent: Option<SpanId>,
    /// Our own part of it.
    pub span: SpanId,
    /// Whether it is said to be recorded.
    pub sampled: bool,
    /// Whether we take part in it: then our span is recorded if it is sampled.
    pub is_ours: bool,
}

impl Trace {
    /// The trace that a request says it is part of, if it says so once and as §3.2 has it.
    #[must_use]
    pub fn told(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let (id, parent, sampled) = parse(line.as_bytes())?;
        Some(Self { id, parent: Some(parent), span: SpanId::make(), sampled, is_ours: false })
    }

    /// One that begins here, and that nobody records yet.
    #[must_use]
    pub fn begin() -> Self {
        Self { id: TraceId::make(), parent: None, span: SpanId::make(), sampled: false, is_ours: false }
    }

    /// The field for whoever is asked next. Where we take no part, that is below the sender's span, as if we were
    /// not here: a span that nobody knows would tear the trace in two.
    #[must_use]
    pub fn to_value(&self) -> Option<HeaderValue> {
        self.below(self.parent.filter(|_| !self.is_ours).unwrap_or(self.span))
    }

    /// The field for what is done below this span. Of the flags only the one that Level 1 knows (§3.2.2.5.2).
    #[must_use]
    pub fn below(&self, span: SpanId) -> Option<HeaderValue> {
        let flags = if self.sampled { SAMPLED } else { 0 };
        HeaderValue::try_from(format!("00-{}-{span}-{flags:02x}", self.id)).ok()
    }
}

impl TraceId {
    fn make() -> Self {
        Self(NonZeroU128::new(random::number()).unwrap_or(NonZeroU128::MIN))
    }
}

impl SpanId {
    /// A new one.
    #[must_use]
    pub fn make() -> Self {
        let number = u64::try_from(random::number() >> 64).ok().and_then(NonZeroU64::new);
        Self(number.unwrap_or(NonZeroU64::MIN))
    }
}

impl From<TraceId> for u128 {
    fn from(id: TraceId) -> Self {
        id.0.get()
    }
}

impl From<SpanId> for u64 {
    fn from(id: SpanId) -> Self {
        id.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// §3.2: of a version that is not known yet, what it begins with is read as version 00, if more follows on a dash.
fn parse(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut parts = std::str::from_utf8(known).ok()?.split('-');
    let version = u8::try_from(number(parts.next()?, 2)?).ok()?;
    let id = NonZeroU128::new(number(parts.next()?, 32)?)?;
    let parent = NonZeroU64::new(u64::try_from(number(parts.next()?, 16)?).ok()?)?;
    let flags = u8::try_from(number(parts.next()?, 2)?).ok()?;
    let whole = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|&next| next == b'-'),
    };
    whole.then_some((TraceId(id), SpanId(parent), flags & SAMPLED != 0))
}

/// So many hexadecimal digits, in lower case.
fn number(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && text.len() == digits).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn told(lines: &[&str]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(TRACEPARENT, line.parse().unwrap());
        }
        Trace::told(&headers)
    }

    fn passed_on(line: &str) -> Option<String> {
        told(&[line])?.to_value().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn section_3_2_what_is_valid_is_passed_on_as_it_is() {
        let trace = told(&[EXAMPLE]).unwrap();
        assert_eq!(trace.id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent.unwrap().to_string(), "00f067aa0ba902b7");
        assert!(trace.sampled && Some(trace.span) != trace.parent);
        for valid in [EXAMPLE, "00-00000000000000000000000000000001-0000000000000001-00"] {
            assert_eq!(passed_on(valid).as_deref(), Some(valid));
        }
    }

    #[test]
    fn section_3_2_what_is_not_valid_is_no_trace() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ] {
            assert_eq!(told(&[wrong]), None, "{wrong}");
        }
        assert_eq!((told(&[]), told(&[EXAMPLE, EXAMPLE])), (None, None), "none, or twice");
    }

    #[test]
    fn section_3_2_4_a_later_version_is_read_as_far_as_it_is_known() {
        for later in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more",
        ] {
            assert_eq!(passed_on(later).as_deref(), Some(EXAMPLE), "{later}");
        }
        let unknown_flags = EXAMPLE.replace("-01", "-fe");
        assert_eq!(passed_on(&unknown_flags), Some(EXAMPLE.replace("-01", "-00")));
    }

    #[test]
    fn one_that_begins_here_is_valid_and_not_sampled() {
        let begun = Trace::begin();
        let value = begun.to_value().unwrap();
        let read = told(&[value.to_str().unwrap()]).unwrap();
        assert_eq!((read.id, read.parent, read.sampled), (begun.id, Some(begun.span), false));
        assert_ne!(Trace::begin().id, begun.id);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_passed_on_in_one_form_or_not_at_all(line in "[0-9a-f-]{50,60}|[ -~]{0,80}") {
            if let Some(passed) = passed_on(&line) {
                prop_assert_eq!(passed.len(), LENGTH);
                prop_assert_eq!(&passed[2..53], &line[2..53]);
            }
        }
    }
}
