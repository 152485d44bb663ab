//! Which types of content a rule stores (RFC 9110 §8.3).

use std::fmt;

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

/// A type, `text/css`, or all of a kind, `image/*`; in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange(Box<str>);

impl MediaRange {
    /// Nothing for what is neither; `*/*` is no range, because it says nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, subtype) = text.split_once('/')?;
        let fine = is_token(kind) && (subtype == "*" || is_token(subtype));
        fine.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn takes(&self, essence: &[u8]) -> bool {
        match self.0.strip_suffix('*') {
            Some(kind) => {
                essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
                    && essence.len() > kind.len()
            }
            None => essence.eq_ignore_ascii_case(self.0.as_bytes()),
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 9110 §5.6.2, without the star, which is a wildcard here.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b))
}

/// RFC 9110 §8.3.1: a media type without its parameters.
#[must_use]
pub fn essence(media_type: &[u8]) -> &[u8] {
    media_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether the content is of one of these types by each line that says so, and one does. Whoever reads the
/// content may go by any of them.
#[must_use]
pub fn is_of(headers: &HeaderMap, ranges: &[MediaRange]) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes).peekable();
    lines.peek().is_some() && lines.map(essence).all(|own| ranges.iter().any(|range| range.takes(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_it_is_of_the_type_is() {
        let ranges = ["image/*", "Text/CSS"].map(|text| MediaRange::parse(text).unwrap());
        let of = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (CONTENT_TYPE, HeaderValue::try_from(*line).unwrap()));
            is_of(&lines.collect(), &ranges)
        };
        for fine in [&["image/png"][..], &["IMAGE/svg+xml; charset=utf-8"], &["text/css"], &["text/css;a=b"]]
        {
            assert!(of(fine), "{fine:?}");
        }
        for other in [
            &[][..],
            &[""],
            &["text/html"],
            &["text/cssx"],
            &["image/"],
            &["image"],
            &["imagex/png"],
            &["text/html; image/png"],
            &["text/css, text/html"],
            &["text/css", "text/html"],
        ] {
            assert!(!of(other), "{other:?}");
        }
    }

    #[test]
    fn a_range_is_a_type_or_all_of_a_kind() {
        for bad in [
            "",
            "image",
            "image/",
            "/png",
            "*/*",
            "*/png",
            "image/p*",
            "a/b;c=d",
            "a/b/c",
            "a /b",
            "text/css,a/b",
        ] {
            assert_eq!(MediaRange::parse(bad), None, "{bad}");
        }
    }
}
