//! `match:` of a rule: a path, by whole segments.

use std::{fmt, str::FromStr};

use http::HeaderMap;
use thiserror::Error;

use crate::admit::{Scheme, Target};

/// A path to match, on raw bytes and case-sensitive: `/a` is not `/a/`, `%41` is not `A`.
///
/// `*` stands for one segment that is not empty. `**`, which comes last, stands for all the rest
/// after a slash: `/a/**` matches `/a/` and `/a/b/c`, neither `/a` nor `/ab`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    /// Ends in `**`.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<[u8]>),
    Any,
}

/// Why a text is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Longer than [`Pattern::MAX_LENGTH`].
    #[error("longer than {} bytes", Pattern::MAX_LENGTH)]
    TooLong,
    /// The first byte is no slash.
    #[error("a path begins with a slash")]
    NoSlash,
    /// A `?`: the query takes no part in matching.
    #[error("a query cannot be matched")]
    Query,
    /// A `#`, which no request target has.
    #[error("a fragment never reaches a server")]
    Fragment,
    /// A byte that has to be percent-encoded in a path.
    #[error("`{0}` must be percent-encoded")]
    Unencoded(char),
    /// `a*`: only whole segments.
    #[error("`*` stands for a whole segment, not for a part of one")]
    PartialWildcard,
    /// `/**/a`.
    #[error("`**` can only be the last segment")]
    InnerRest,
    /// Dot segments, empty segments, encoded slashes.
    #[error("servers disagree on what this path means, so it is never cached")]
    Ambiguous,
}

impl Pattern {
    /// The longest pattern, in bytes.
    pub const MAX_LENGTH: usize = 2048;

    /// Reads a pattern.
    ///
    /// # Errors
    /// What could never match a request that may be cached, or could be read in two ways.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_bytes(text)?;
        let path = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        let mut names: Vec<&str> = path.split('/').collect();
        let open = names.last() == Some(&"**");
        if open {
            names.pop();
        }
        let segments = names.into_iter().map(segment).collect::<Result<Box<[_]>, _>>()?;
        let pattern = Self { text: text.into(), segments, open };
        if pattern.example().is_none_or(|target| target.is_ambiguous()) {
            return Err(PatternError::Ambiguous);
        }
        Ok(pattern)
    }

    /// Whether it matches a raw path (without the query).
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut rest = Some(path);
        for segment in &self.segments {
            let Some(path) = rest else { return false };
            let (name, tail) = split_segment(path);
            if !segment.matches(name) {
                return false;
            }
            rest = tail;
        }
        rest.is_some() == self.open
    }

    /// Whether everything that `other` matches, this matches too.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let longer = other.segments.len().checked_sub(self.segments.len());
        let same_shape = match (self.open, other.open) {
            (true, true) => longer.is_some(),
            (true, false) => longer.is_some_and(|more| more > 0),
            (false, open) => longer == Some(0) && !open,
        };
        same_shape && self.segments.iter().zip(&other.segments).all(|(ours, theirs)| ours.includes(theirs))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches one path only: its own text.
    pub(super) fn is_exact(&self) -> bool {
        !self.open && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// The first segment, where it is a literal.
    pub(super) fn first_literal(&self) -> Option<&[u8]> {
        match self.segments.first()? {
            Segment::Literal(name) => Some(name),
            Segment::Any => None,
        }
    }

    /// A target that it matches.
    fn example(&self) -> Option<Target> {
        let path = self.text.replace("**", "x").replace('*', "x");
        Target::parse(&path, &HeaderMap::new(), Scheme::Http, false).ok()
    }
}

impl Segment {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Any => !name.is_empty(),
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (_, Self::Literal(name)) => self.matches(name),
            (Self::Literal(_), Self::Any) => false,
        }
    }
}

/// The first segment, and what follows its slash.
pub(super) fn split_segment(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'/', path).and_then(|slash| path.split_at_checked(slash)) {
        Some((name, rest)) => (name, rest.strip_prefix(b"/")),
        None => (path, None),
    }
}

fn check_bytes(text: &str) -> Result<(), PatternError> {
    if text.len() > Pattern::MAX_LENGTH {
        return Err(PatternError::TooLong);
    }
    match text.chars().find(|&c| !c.is_ascii_graphic() || "?#\"<>\\^`{|}".contains(c)) {
        Some('?') => Err(PatternError::Query),
        Some('#') => Err(PatternError::Fragment),
        Some(other) => Err(PatternError::Unencoded(other)),
        None => Ok(()),
    }
}

fn segment(name: &str) -> Result<Segment, PatternError> {
    match name {
        "*" => Ok(Segment::Any),
        "**" => Err(PatternError::InnerRest),
        _ if name.contains('*') => Err(PatternError::PartialWildcard),
        _ => Ok(Segment::Literal(name.as_bytes().into())),
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn matches_by_whole_segments_on_raw_bytes() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("/a", &["/a"], &["/a/", "/A", "/ab", "/", "", "/a/b", "a", "/%61"]),
            ("/a/", &["/a/"], &["/a", "/a//", "/a/b"]),
            ("/", &["/"], &["", "//", "/a", "*"]),
            ("/*", &["/a", "/*"], &["/", "/a/", "/a/b", "*"]),
            ("/a/*/c", &["/a/b/c"], &["/a//c", "/a/b/b/c", "/a/b/c/", "/a/c"]),
            ("/a/*/", &["/a/b/"], &["/a/b", "/a//"]),
            ("/static/**", &["/static/a/b", "/static/a", "/static/", "/static//"], &["/static", "/staticx"]),
            ("/*/b/**", &["/a/b/c"], &["//b/c", "/a/b", "/a/c/d"]),
            ("/**", &["/", "/a", "/a/b/", "//"], &["", "*"]),
        ];
        for (text, yes, no) in table {
            for path in *yes {
                assert!(pattern(text).matches(path.as_bytes()), "{text} {path}");
            }
            for path in *no {
                assert!(!pattern(text).matches(path.as_bytes()), "{text} {path}");
            }
        }
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        use PatternError::*;
        for (text, error) in [
            ("", NoSlash),
            ("products", NoSlash),
            ("*", NoSlash),
            ("/a?b=1", Query),
            ("/a#b", Fragment),
            ("/caf\u{e9}", Unencoded('\u{e9}')),
            ("/a b", Unencoded(' ')),
            ("/a\\b", Unencoded('\\')),
            ("/*.css", PartialWildcard),
            ("/a/***", PartialWildcard),
            ("/**/a", InnerRest),
            ("/**/", InnerRest),
            ("/a//b", Ambiguous),
            ("/a/../b", Ambiguous),
            ("/a/%2e/b", Ambiguous),
            ("/a%2fb", Ambiguous),
            ("/a%zz", Ambiguous),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
        assert_eq!(Pattern::parse(&format!("/{}", "a".repeat(3000))), Err(TooLong));
    }

    #[test]
    fn inclusion_by_table() {
        for (wide, narrow) in [
            ("/a", "/a"),
            ("/*", "/a"),
            ("/*", "/*"),
            ("/**", "/"),
            ("/**", "/a"),
            ("/**", "/*/b/**"),
            ("/a/**", "/a/"),
            ("/a/**", "/a/b/**"),
            ("/a/**", "/a/**"),
            ("/*/b", "/a/b"),
        ] {
            assert!(pattern(wide).includes(&pattern(narrow)), "{wide} {narrow}");
        }
        for (first, second) in
            [("/a", "/*"), ("/a/**", "/a"), ("/*", "/"), ("/*", "/**"), ("/a/b/**", "/a/**"), ("/*/**", "/a")]
        {
            assert!(!pattern(first).includes(&pattern(second)), "{first} {second}");
        }
    }
}
