//! What a URI reference in an answer (`Location`, `Content-Location`) means, seen from the target that
//! was asked for (RFC 3986 §5.2).

use bytes::Bytes;
use http::HeaderValue;

use super::{
    path::RawPath,
    target::{Target, absolute_form, normalise_field},
};

impl Target {
    /// The target that `reference` names, if it is on the same origin (RFC 9110 §4.3.1).
    ///
    /// The authority tells origins apart here, not the scheme: before TLS that somebody else ends, the
    /// app says `https` of what comes to us as `http`.
    #[must_use]
    pub fn refers_to(&self, reference: &HeaderValue) -> Option<Self> {
        let text = reference.as_bytes().split(|&b| b == b'#').next()?.trim_ascii();
        let relative = match text.strip_prefix(b"//") {
            Some(rest) => self.on_this_authority(&[b"http://", rest].concat().into())?,
            None if has_scheme(text) => self.on_this_authority(&Bytes::copy_from_slice(text))?,
            None => Bytes::copy_from_slice(text),
        };
        let mut named = self.clone();
        named.path = RawPath::read(self.resolve(&relative).into()).ok()?;
        Some(named)
    }

    /// The rest of an absolute URL, `/` at least, if it is on this authority.
    fn on_this_authority(&self, url: &Bytes) -> Option<Bytes> {
        let (authority, rest) = absolute_form(url).ok()?;
        let stated = HeaderValue::from_maybe_shared(authority).ok()?;
        if normalise_field(&stated, self.scheme())? != *self.host_field() {
            return None;
        }
        Some(if rest.starts_with(b"/") { rest } else { [b"/", rest.as_ref()].concat().into() })
    }

    /// RFC 3986 §5.2.2, for a reference without scheme and authority.
    fn resolve(&self, reference: &[u8]) -> Vec<u8> {
        let query_at = memchr::memchr(b'?', reference).unwrap_or(reference.len());
        let (relative, query) = reference.split_at(query_at);
        let base = self.path().as_bytes();
        let mut resolved = match relative.first() {
            None => base.to_vec(),
            Some(b'/') => without_dots(relative),
            Some(_) => {
                let folder = memchr::memrchr(b'/', base).map_or(0, |slash| slash + 1);
                without_dots(&[base.get(..folder).unwrap_or_default(), relative].concat())
            }
        };
        match (self.query(), reference) {
            (Some(own), b"") => {
                resolved.push(b'?');
                resolved.extend_from_slice(own.as_bytes());
            }
            _ => resolved.extend_from_slice(query),
        }
        resolved
    }
}

/// RFC 3986 §3.1: a colon before anything that ends a first segment, behind what can be a scheme.
fn has_scheme(text: &[u8]) -> bool {
    let end = text.iter().position(|&b| matches!(b, b':' | b'/' | b'?')).unwrap_or_default();
    text.get(end) == Some(&b':') && text.first().is_some_and(u8::is_ascii_alphabetic)
}

/// RFC 3986 §5.2.4, for an absolute path.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
        if last && matches!(segment, b"." | b"..") {
            kept.push(b"");
        }
    }
    [&b"/"[..], &kept.join(&b'/')].concat()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::HOST};
    use proptest::prelude::*;

    use super::*;
    use crate::admit::Scheme;

    fn target(raw: &str) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "shop.example".parse().unwrap());
        Target::parse(&Bytes::copy_from_slice(raw.as_bytes()), &headers, Scheme::Http, true).unwrap()
    }

    fn from(base: &str, reference: &str) -> Option<String> {
        let reference = HeaderValue::from_str(reference).unwrap();
        target(base).refers_to(&reference).map(|target| target.path_and_query().to_string())
    }

    #[test]
    fn rfc_3986_section_5_4_references_are_resolved() {
        for (reference, wanted) in [
            ("", "/b/c/d;p?q"),
            ("#s", "/b/c/d;p?q"),
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            (";x", "/b/c/;x"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("./g/.", "/b/c/g/"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("//shop.example/g", "/g"),
            ("http://shop.example", "/"),
            ("http://shop.example?y", "/?y"),
            ("HTTPS://Shop.Example:80/g#f", "/g"),
        ] {
            assert_eq!(from("/b/c/d;p?q", reference).as_deref(), Some(wanted), "{reference}");
        }
    }

    #[test]
    fn rfc_9111_section_4_4_other_origins_are_none_of_ours() {
        for other in [
            "http://elsewhere.example/g",
            "//elsewhere.example/g",
            "http://shop.example:8080/g",
            "http://user@shop.example/g",
            "http://shop.example.evil/g",
            "ftp://shop.example/g",
            "mailto:me",
            "http:/g",
            "/with space",
        ] {
            assert_eq!(from("/b", other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_reference_panics_and_each_stays_on_the_origin(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(reference) = HeaderValue::from_bytes(&raw)
                && let Some(named) = target("/b/c?q").refers_to(&reference)
            {
                prop_assert_eq!(named.authority(), "shop.example");
                prop_assert!(named.path().starts_with('/'));
            }
        }
    }
}
