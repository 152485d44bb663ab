//! Whether the client already has what would be sent (RFC 9111 §4.3.2, RFC 9110 §13).

use http::{
    HeaderMap, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH},
};

use super::facts::{ResponseFacts, http_date};

/// Whether a request's own condition makes the answer 304. Only for a 200; `If-None-Match` goes
/// before `If-Modified-Since` (RFC 9110 §13.2.2). Without `Last-Modified`, "a cache SHOULD use the
/// stored response's Date field value" (RFC 9111 §4.3.2).
#[must_use]
pub fn is_not_modified(asked: &HeaderMap, facts: &ResponseFacts) -> bool {
    if facts.status != StatusCode::OK {
        return false;
    }
    if asked.contains_key(IF_NONE_MATCH) {
        return none_match_fails(asked, facts);
    }
    let since = asked.get(IF_MODIFIED_SINCE).and_then(http_date);
    match (since, facts.last_modified.or(facts.date)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// RFC 9110 §13.1.2, with the weak comparison of §8.8.3.2; `*` is met by anything stored.
fn none_match_fails(asked: &HeaderMap, facts: &ResponseFacts) -> bool {
    let tag = facts.etag.as_ref().map(|tag| opaque(tag.as_bytes()));
    asked.get_all(IF_NONE_MATCH).iter().any(|line| {
        line.as_bytes().trim_ascii() == b"*" || EntityTags(line.as_bytes()).any(|asked| Some(asked) == tag)
    })
}

/// The tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The members of a list of entity tags, without their weakness. A comma may stand inside a tag.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let rest = opaque(self.0.get(start..)?);
        let end = match rest.strip_prefix(b"\"") {
            Some(inner) => memchr::memchr(b'"', inner)? + 2,
            None => memchr::memchr(b',', rest).unwrap_or(rest.len()),
        };
        let (tag, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(tag.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn not_modified(asked: &[(&'static str, &str)], stored: &[(&'static str, &str)]) -> bool {
        is_not_modified(&map(asked), &ResponseFacts::of(StatusCode::OK, &map(stored)))
    }

    #[test]
    fn section_13_1_2_tags_are_compared_weakly() {
        let stored = [("etag", "\"a,b\"")];
        for matching in ["\"a,b\"", "W/\"a,b\"", "\"x\", \"a,b\"", "\"x\",W/\"a,b\" ,\"y\"", "*", " * "] {
            assert!(not_modified(&[("if-none-match", matching)], &stored), "{matching}");
        }
        for other in ["\"a\"", "a,b", "\"A,B\"", "", "\"a,b", "\"x\""] {
            assert!(!not_modified(&[("if-none-match", other)], &stored), "{other}");
        }
        assert!(not_modified(&[("if-none-match", "\"a\"")], &[("etag", "W/\"a\"")]));
        assert!(!not_modified(&[("if-none-match", "\"a\"")], &[]));
    }

    #[test]
    fn section_13_1_3_dates_count_only_without_tags() {
        let stored = [("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("etag", "\"a\"")];
        let same = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(not_modified(&[same], &stored));
        assert!(!not_modified(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], &stored));
        assert!(!not_modified(&[("if-modified-since", "yesterday")], &stored));
        assert!(!not_modified(&[same, ("if-none-match", "\"b\"")], &stored));
        assert!(!not_modified(&[same], &[]));
        assert!(not_modified(&[same], &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]));
        assert!(!not_modified(&[same], &[("date", "Sun, 06 Nov 1994 08:49:38 GMT")]));
    }

    #[test]
    fn section_13_2_1_only_a_success_has_a_state_to_compare() {
        let facts = ResponseFacts::of(StatusCode::NOT_FOUND, &map(&[("etag", "\"a\"")]));
        assert!(!is_not_modified(&map(&[("if-none-match", "\"a\"")]), &facts));
    }
}
