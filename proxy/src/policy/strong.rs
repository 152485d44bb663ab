//! Strong validators (RFC 9110 §8.8.1): those that change whenever a byte of the body may.

use std::time::Duration;

use http::HeaderValue;

use super::facts::ResponseFacts;

/// By how much a response must be younger than what it is a response of. §8.8.2.2 asks for a second
/// by one clock, or "enough difference between the values to make clock synchronization issues
/// unlikely": a `Date` may be by another clock than `Last-Modified`, ours for one.
const APART: Duration = Duration::from_secs(60);

/// §8.8.3.2, strong comparison: "two entity tags are equivalent if both are not weak and their
/// opaque-tags match character-by-character".
#[must_use]
pub fn same_tag(one: &HeaderValue, other: &HeaderValue) -> bool {
    is_strong_tag(one) && one == other
}

/// Whether this is an entity tag, and not a weak one.
#[must_use]
pub fn is_strong_tag(tag: &HeaderValue) -> bool {
    let opaque = tag.as_bytes().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    opaque.is_some_and(|opaque| !opaque.contains(&b'"'))
}

/// Whether the two share a strong validator: the entity tag, or, where neither has one, the date.
#[must_use]
pub fn same_version(one: &ResponseFacts, other: &ResponseFacts) -> bool {
    match (&one.etag, &other.etag) {
        (Some(tag), Some(same)) => same_tag(tag, same),
        (None, None) => {
            one.last_modified == other.last_modified && has_strong_date(one) && has_strong_date(other)
        }
        _ => false,
    }
}

/// Whether it has such a validator at all. §13.1.5 wants a date only where there is no entity tag.
#[must_use]
pub fn has_strong_validator(facts: &ResponseFacts) -> bool {
    match &facts.etag {
        Some(tag) => is_strong_tag(tag),
        None => has_strong_date(facts),
    }
}

/// §8.8.2.2: whether `Last-Modified` tells two versions apart that were made in the same second.
#[must_use]
pub fn has_strong_date(facts: &ResponseFacts) -> bool {
    let since =
        facts.date.zip(facts.last_modified).and_then(|(date, modified)| date.duration_since(modified).ok());
    since.is_some_and(|since| since >= APART)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, StatusCode};

    use super::*;

    #[test]
    fn section_8_8_3_2_strong_comparison() {
        for (one, other, same) in [
            ("\"1\"", "\"1\"", true),
            ("\"\"", "\"\"", true),
            ("\"1\"", "\"2\"", false),
            ("W/\"1\"", "W/\"1\"", false),
            ("W/\"1\"", "\"1\"", false),
            ("\"1\"", "W/\"1\"", false),
            ("1", "1", false),
            ("\"", "\"", false),
            ("\"1\", \"2\"", "\"1\", \"2\"", false),
        ] {
            let tag = HeaderValue::from_static;
            assert_eq!(same_tag(&tag(one), &tag(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn section_8_8_2_2_a_date_is_strong_when_it_is_well_past() {
        for (date, strong) in [
            ("Sun, 06 Nov 1994 08:50:36 GMT", false),
            ("Sun, 06 Nov 1994 08:50:37 GMT", true),
            ("Sun, 06 Nov 1994 08:00:00 GMT", false),
            ("yesterday", false),
        ] {
            let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
            let headers: HeaderMap = [("date", date), ("last-modified", modified)]
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .into_iter()
                .collect();
            assert_eq!(has_strong_date(&ResponseFacts::of(StatusCode::OK, &headers)), strong, "{date}");
        }
    }
}
