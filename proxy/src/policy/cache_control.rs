//! `Cache-Control` (RFC 9111 §5.2), read the way peers write it.
//!
//! The field is not a structured one, so the reading is tolerant of form and strict in meaning:
//! what cannot be understood as a number makes a response stale, never fresh (§4.2.1).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The directives that a shared cache acts on, of a request or of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a directive of the RFC's, present or not")]
pub struct CacheControl {
    /// §5.2.1.1, §5.2.2.1.
    pub max_age: Option<Duration>,
    /// §5.2.2.10.
    pub s_maxage: Option<Duration>,
    /// §5.2.1.3.
    pub min_fresh: Option<Duration>,
    /// §5.2.1.4, §5.2.2.4; also with an argument, which only narrows it.
    pub no_cache: bool,
    /// §5.2.1.5, §5.2.2.5.
    pub no_store: bool,
    /// §5.2.2.7; also with an argument, which only narrows it.
    pub private: bool,
    /// §5.2.2.9.
    pub public: bool,
    /// §5.2.2.2.
    pub must_revalidate: bool,
    /// §5.2.1.7.
    pub only_if_cached: bool,
    /// §5.2.1.2: for how long beyond its lifetime a response may be stale; without an argument, for
    /// ever.
    pub max_stale: Option<Duration>,
    /// §5.2.2.8.
    pub proxy_revalidate: bool,
    /// §5.2.2.3.
    pub must_understand: bool,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
    /// The fields that the qualified forms of `no-cache` (§5.2.2.4) and `private` (§5.2.2.7) name:
    /// not stored, so that nobody is served them without asking the origin.
    pub withheld: Vec<HeaderName>,
}

/// Delta-seconds are clamped here (RFC 9111 §1.2.2): 2^31 seconds, 68 years.
const LONGEST: Duration = Duration::from_secs(1 << 31);

impl CacheControl {
    /// Reads all lines of `name`.
    #[must_use]
    pub fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(name) {
            Directives(line.as_bytes()).for_each(|(name, value)| directives.add(name, value));
        }
        directives
    }

    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        match () {
            () if is("max-age") => shortest(&mut self.max_age, value),
            () if is("s-maxage") => shortest(&mut self.s_maxage, value),
            () if is("min-fresh") => shortest(&mut self.min_fresh, value),
            () if is("max-stale") => {
                self.max_stale = value.map_or(Some(Duration::MAX), delta_seconds);
            }
            () if is("stale-while-revalidate") => shortest(&mut self.stale_while_revalidate, value),
            () if is("stale-if-error") => shortest(&mut self.stale_if_error, value),
            () if is("no-cache") => self.no_cache = true,
            () if is("no-store") => self.no_store = true,
            () if is("private") => self.private = true,
            () if is("public") => self.public = true,
            () if is("must-revalidate") => self.must_revalidate = true,
            () if is("proxy-revalidate") => self.proxy_revalidate = true,
            () if is("must-understand") => self.must_understand = true,
            () if is("only-if-cached") => self.only_if_cached = true,
            () => {} // §5.2.3: a cache ignores directives that it does not recognise.
        }
    }

    /// Whether it says anything of how long a response stays fresh, or that it does not.
    #[must_use]
    pub fn states_lifetime(&self) -> bool {
        self.max_age.is_some() || self.s_maxage.is_some() || self.no_cache || self.no_store || self.private
    }
}

/// §4.2.1: of several values the shortest counts; one that is no number counts as zero.
fn shortest(slot: &mut Option<Duration>, value: Option<&[u8]>) {
    let seconds = value.and_then(delta_seconds).unwrap_or_default();
    *slot = Some(slot.map_or(seconds, |known| known.min(seconds)));
}

/// RFC 9111 §1.2.2: a non-negative decimal number of seconds, clamped; `None` for anything else.
#[must_use]
pub fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds =
        text.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// The directives of one line: name, and the argument without its quotes.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let element = self.next_element().trim_ascii();
            if element.is_empty() {
                continue;
            }
            let mut halves = element.splitn(2, |&b| b == b'=');
            let name = halves.next().unwrap_or_default().trim_ascii_end();
            return Some((name, halves.next().map(|value| unquote(value.trim_ascii_start()))));
        }
        None
    }
}

impl<'a> Directives<'a> {
    /// Up to the next comma outside quotes.
    fn next_element(&mut self) -> &'a [u8] {
        let mut quoted = false;
        let mut escaped = false;
        let end = self.0.iter().position(|&b| {
            quoted ^= b == b'"' && !escaped;
            escaped = quoted && b == b'\\' && !escaped;
            b == b',' && !quoted
        });
        let at = end.unwrap_or(self.0.len());
        let (element, rest) = self.0.split_at(at);
        self.0 = rest.get(1..).unwrap_or_default();
        element
    }
}

fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").map_or(value, |inner| inner.strip_suffix(b"\"").unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CACHE_CONTROL};

    use super::*;

    fn parse(lines: &[&str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        CacheControl::of(&headers, &CACHE_CONTROL)
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn section_5_2_reads_directives_in_any_case_quotes_and_lines() {
        assert_eq!(parse(&["max-age=60"]).max_age, seconds(60));
        assert_eq!(parse(&["MAX-AGE=60 , Public"]), parse(&["public", "max-age=\"60\""]));
        assert!(parse(&["max-age=60, private=\"x, no-store\""]).private);
        assert!(!parse(&["max-age=60, private=\"x, no-store\""]).no_store);
        assert!(parse(&["max-age=60", "no-store"]).no_store);
        assert!(parse(&["x=\"\\\", no-store\", no-cache"]).no_cache);
        assert!(!parse(&["x=\"\\\", no-store\""]).no_store);
    }

    #[test]
    fn section_4_2_1_takes_what_is_no_number_as_stale_and_the_shortest_of_several() {
        for bad in
            ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age='1'", "max-age=1;x", "max-age=x"]
        {
            assert_eq!(parse(&[bad]).max_age, seconds(0), "{bad}");
        }
        assert_eq!(parse(&["max-age=60, max-age=5"]).max_age, seconds(5));
        assert_eq!(parse(&["s-max-age=60"]).s_maxage, None);
    }

    #[test]
    fn section_1_2_2_clamps_numbers_too_large() {
        for huge in ["2147483649", "9223372036854775808", "99999999999999999999999999"] {
            assert_eq!(parse(&[&format!("max-age={huge}")]).max_age, Some(LONGEST), "{huge}");
        }
    }
}
