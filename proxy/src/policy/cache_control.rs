//! `Cache-Control` (RFC 9111 §5.2), read the way peers write it.
//!
//! The field is not a structured one, so the reading is tolerant of form and strict in meaning:
//! what cannot be understood as a number makes a response stale, never fresh (§4.2.1). What is not of
//! the grammar is searched for words that restrict, so that a missing comma or quote hides no
//! `no-store`.

use std::{mem, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, CACHE_CONTROL, CONNECTION, DATE, ETAG, EXPIRES, LAST_MODIFIED, LOCATION, PRAGMA, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VARY,
    },
};

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
    /// §5.2.1.4, §5.2.2.4, without field names; those of a response's go to `withheld`.
    pub no_cache: bool,
    /// §5.2.1.5, §5.2.2.5.
    pub no_store: bool,
    /// §5.2.2.7, without field names; those go to `withheld`.
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
    /// not stored, so that nobody is served them without asking the origin. In order, each once.
    pub withheld: Vec<HeaderName>,
}

/// Delta-seconds are clamped here (RFC 9111 §1.2.2): 2^31 seconds, 68 years.
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// Most fields that one qualified directive may name; one with more counts as unqualified.
pub const MAX_WITHHELD: usize = 16;

impl CacheControl {
    /// Reads all lines of `name`, as of a request: there `no-cache` knows no field names (§5.2.1.4), and
    /// with some it means the same as without.
    #[must_use]
    pub fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let reading = Reading::of(headers, name);
        Self { no_cache: reading.no_cache.is_anything(), withheld: Vec::new(), ..reading.finish() }
    }

    /// Reads all lines of `name`, as of a response.
    #[must_use]
    pub fn of_response(headers: &HeaderMap, name: &HeaderName) -> Self {
        Reading::of(headers, name).finish()
    }
}

/// Directives as they are read, one after the other.
#[derive(Default)]
pub(super) struct Reading {
    control: CacheControl,
    no_cache: Reach,
    private: Reach,
}

/// An argument that no directive can have: what stands there was not understood.
pub(super) const MALFORMED: &[u8] = b"";

impl Reading {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut reading = Self::default();
        for line in headers.get_all(name) {
            Elements(line.as_bytes()).for_each(|element| reading.add_element(element));
        }
        reading
    }

    /// Adds one element of the list. Of one that is not a directive, every word counts as a malformed
    /// one: what restricts is taken at its word, a lifetime is zero, and nothing is allowed.
    fn add_element(&mut self, element: &[u8]) {
        if let Some((name, argument)) = directive(element) {
            return self.add(name, argument);
        }
        for word in element.split(|&b| !is_token_char(b)) {
            self.add(word, Some(MALFORMED));
        }
    }

    /// Adds one directive. Of several that conflict the stricter one counts (§4.2.1).
    pub(super) fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let control = &mut self.control;
        match () {
            () if is("max-age") => shortest(&mut control.max_age, argument),
            () if is("s-maxage") => shortest(&mut control.s_maxage, argument),
            () if is("min-fresh") => {
                control.min_fresh = control.min_fresh.max(argument.and_then(delta_seconds));
            }
            () if is("max-stale") => limit(&mut control.max_stale, argument),
            () if is("stale-while-revalidate") => shortest(&mut control.stale_while_revalidate, argument),
            () if is("stale-if-error") => shortest(&mut control.stale_if_error, argument),
            () if is("no-cache") => self.no_cache.widen(argument),
            () if is("private") => self.private.widen(argument),
            () if is("no-store") => control.no_store = true,
            () if is("must-revalidate") => control.must_revalidate = true,
            () if is("proxy-revalidate") => control.proxy_revalidate = true,
            () if is("only-if-cached") => control.only_if_cached = true,
            // These two allow something, so they must be exactly what they are.
            () if is("public") => control.public |= argument.is_none(),
            () if is("must-understand") => control.must_understand |= argument.is_none(),
            () => {} // §5.2.3: a cache ignores directives that it does not recognise.
        }
    }

    /// What they say together.
    pub(super) fn finish(self) -> CacheControl {
        let Self { mut control, no_cache, private } = self;
        control.no_cache = no_cache.is_everything();
        control.private = private.is_everything();
        control.withheld = [no_cache, private].into_iter().flat_map(Reach::into_fields).collect();
        control.withheld.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        control.withheld.dedup();
        control
    }
}

/// How far `no-cache` or `private` reaches.
#[derive(Default)]
enum Reach {
    #[default]
    Nothing,
    /// The qualified form: these fields only.
    Fields(Vec<HeaderName>),
    /// The unqualified form, and whatever of the qualified one was not understood.
    Everything,
}

impl Reach {
    /// Adds what one more directive names.
    fn widen(&mut self, argument: Option<&[u8]>) {
        let before = mem::replace(self, Self::Everything);
        let Some(mut names) = argument.and_then(field_names) else { return };
        match before {
            Self::Nothing => {}
            Self::Fields(known) => names.extend(known),
            Self::Everything => return,
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.len() <= MAX_WITHHELD {
            *self = Self::Fields(names);
        }
    }

    fn is_anything(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn is_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }

    fn into_fields(self) -> Vec<HeaderName> {
        match self {
            Self::Fields(names) => names,
            Self::Nothing | Self::Everything => Vec::new(),
        }
    }
}

/// A list of field names. `None` if it has none, or one that is no field name or that a stored response
/// needs.
fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let members = list.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let withheld = |member| {
        let name = HeaderName::from_bytes(member).ok()?;
        (is_token(member) && !is_needed(&name)).then_some(name)
    };
    let names: Option<Vec<_>> = members.map(withheld).collect();
    names.filter(|names| !names.is_empty())
}

/// Fields without which a stored response could not be framed, understood, selected, dated or asked
/// about. A response that would have to be stored without one is treated as if the directive named none.
fn is_needed(name: &HeaderName) -> bool {
    static NEEDED: [HeaderName; 12] = [
        AGE,
        CONNECTION,
        DATE,
        ETAG,
        EXPIRES,
        LAST_MODIFIED,
        LOCATION,
        PRAGMA,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        VARY,
    ];
    let text = name.as_str();
    let of_caching = text.starts_with("cache-") || text.ends_with(CACHE_CONTROL.as_str());
    of_caching || text.starts_with("content-") || NEEDED.contains(name)
}

/// §4.2.1: of several values the shortest counts; one that is no number counts as zero.
fn shortest(slot: &mut Option<Duration>, argument: Option<&[u8]>) {
    let seconds = argument.and_then(delta_seconds).unwrap_or_default();
    *slot = Some(slot.map_or(seconds, |known| known.min(seconds)));
}

/// §5.2.1.2: without an argument there is no limit; one that is no number allows nothing.
fn limit(slot: &mut Option<Duration>, argument: Option<&[u8]>) {
    if let Some(limit) = argument.map_or(Some(Duration::MAX), delta_seconds) {
        *slot = Some(slot.map_or(limit, |known| known.min(limit)));
    }
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

/// The elements of one line: what stands between commas outside quotes.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let (element, rest) = self.0.split_at_checked(end_of_element(self.0))?;
            self.0 = rest.get(1..).unwrap_or_default();
            let element = element.trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Where the first comma outside quotes is, or the end. Where a quote is not closed, nobody can tell
/// what is inside: all the rest is one element.
fn end_of_element(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b',', b'"', text.get(at..).unwrap_or_default()) {
        at += found;
        if text.get(at) == Some(&b',') {
            return at;
        }
        let Some(closing) = closing_quote(text.get(at + 1..).unwrap_or_default()) else { break };
        at += closing + 2;
    }
    text.len()
}

/// Where a quoted string ends whose opening quote stands before `text` (RFC 9110 §5.6.4).
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })
}

/// §5.2: `token [ "=" ( token / quoted-string ) ]`, with white space around the `=`, which does no harm.
/// The argument comes without its quotes. `None` for anything else.
fn directive(element: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut halves = element.splitn(2, |&b| b == b'=');
    let name = halves.next().map(<[u8]>::trim_ascii_end).filter(|name| is_token(name))?;
    let Some(argument) = halves.next().map(<[u8]>::trim_ascii_start) else { return Some((name, None)) };
    let argument = if is_token(argument) { argument } else { unquote(argument)? };
    Some((name, Some(argument)))
}

/// The inside of a quoted string; `None` if it is not one, or more than one.
fn unquote(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"\"")?;
    let (inside, end) = rest.split_at_checked(closing_quote(rest)?)?;
    (end == b"\"").then_some(inside)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token_char(b))
}

/// RFC 9110 §5.6.2, less the `'`: no directive has one, but those who take it for a quote do.
fn is_token_char(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let values = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
        values.map(|value| (CACHE_CONTROL, value)).collect()
    }

    fn parse(lines: &[&str]) -> CacheControl {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        CacheControl::of_response(&headers(&lines), &CACHE_CONTROL)
    }

    fn parse_request(line: &str) -> CacheControl {
        CacheControl::of(&headers(&[line.as_bytes()]), &CACHE_CONTROL)
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn section_5_2_reads_directives_in_any_case_quotes_and_lines() {
        assert_eq!(parse(&["max-age=60"]).max_age, seconds(60));
        assert_eq!(parse(&["MAX-AGE=60 , Public"]), parse(&["public", "max-age=\"60\""]));
        assert_eq!(parse(&[",, max-age = 60 ,\t,public,"]), parse(&["public, max-age=60"]));
        assert!(!parse(&["max-age=60, private=\"x, no-store\""]).no_store);
        assert!(!parse(&["x=\"no-store, private\", max-age=60"]).no_store);
        assert!(parse(&["max-age=60", "no-store"]).no_store);
        assert!(parse(&["x=\"\\\", no-store\", no-cache"]).no_cache);
        assert!(!parse(&["x=\"\\\", no-store\""]).no_store);
        assert_eq!(parse(&["x=\"max-age=9\", max-age=1"]).max_age, seconds(1));
    }

    #[test]
    fn section_4_2_1_takes_what_is_no_number_as_stale_and_the_shortest_of_several() {
        for bad in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=+1",
            "max-age=1.5",
            "max-age=1e3",
            "max-age='1'",
            "max-age=1;x",
            "max-age=1 2",
            "max-age=\"1",
            "max-age=\"1\"2",
            "max-age=\" 1\"",
            "max-age=x",
            "max-age:1",
        ] {
            assert_eq!(parse(&[bad]).max_age, seconds(0), "{bad}");
        }
        assert_eq!(parse(&["max-age=60, max-age=5"]).max_age, seconds(5));
        assert_eq!(parse(&["max-age=5", "max-age=60"]).max_age, seconds(5));
        assert_eq!(parse(&["max-age=60, max-age=x"]).max_age, seconds(0));
        assert_eq!(parse(&["s-max-age=60, maxage=60"]), CacheControl::default());
    }

    #[test]
    fn section_1_2_2_clamps_numbers_too_large() {
        for huge in ["2147483648", "2147483649", "9223372036854775808", "99999999999999999999999999"] {
            assert_eq!(parse(&[&format!("max-age={huge}")]).max_age, Some(LONGEST), "{huge}");
        }
        assert_eq!(parse(&["max-age=2147483647"]).max_age, seconds(2_147_483_647));
        assert_eq!(parse(&["max-age=0060"]).max_age, seconds(60));
    }

    #[test]
    fn what_is_not_of_the_grammar_hides_nothing_that_restricts_and_allows_nothing() {
        for broken in [
            "public; private; max-age=60",
            "public private max-age=60",
            "max-age=60; private",
            "x=\"public, max-age=60, private",
            "public;, \"private\", max-age=\"60",
            "'public, private', 'max-age=60'",
            "private=, max-age=60;, public=yes",
        ] {
            let control = parse(&[broken]);
            assert!(control.private && !control.public, "{broken}");
            assert_eq!(control.max_age, seconds(0), "{broken}");
        }
        assert!(!parse(&["must-understand=1, public=x"]).must_understand);
        assert!(parse(&["no-store=x, must-revalidate=x, proxy-revalidate;x"]).proxy_revalidate);
    }

    #[test]
    fn section_5_2_2_4_and_7_with_field_names_withhold_those_alone() {
        let names = |lines: &[&str]| {
            let control = parse(lines);
            assert!(!control.no_cache && !control.private, "{lines:?}");
            control.withheld.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&["no-cache=\"Set-Cookie\""]), "set-cookie");
        assert_eq!(names(&["private=\"b, A,,a\", no-cache=c", "Private=\"a\""]), "a b c");
        assert_eq!(names(&[&format!("private=\"{}\"", list(MAX_WITHHELD))]).split(' ').count(), MAX_WITHHELD);
    }

    fn list(length: usize) -> String {
        (0..length).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn section_5_2_2_4_and_7_what_cannot_be_withheld_is_not_qualified() {
        for argument in [
            "",
            " , ",
            "a b",
            "a;b",
            "a\\\"",
            "a, \u{e9}",
            "'a'",
            "a, Cache-Control",
            "CDN-Cache-Control",
            "vary",
            "date",
            "etag",
            "content-type",
            "transfer-encoding",
            "age",
            &list(MAX_WITHHELD + 1),
        ] {
            let control = parse(&[&format!("private=\"{argument}\", no-cache=\"b\"")]);
            assert!(control.private && !control.no_cache, "{argument}");
            assert_eq!(control.withheld, ["b"], "{argument}");
            assert!(parse(&[&format!("no-cache=\"{argument}\"")]).no_cache, "{argument}");
        }
    }

    #[test]
    fn section_4_2_1_an_unqualified_directive_wins_wherever_it_stands() {
        for both in ["no-cache=\"a\", no-cache", "no-cache, no-cache=\"a\"", "no-cache=\"a\", no-cache=\"b"] {
            let control = parse(&[both]);
            assert!(control.no_cache && control.withheld.is_empty(), "{both}");
        }
        let (first, second) = (list(10), list(20));
        let sum = parse(&[&format!("private=\"{first}\""), &format!("private=\"{second}\"")]);
        assert!(sum.private && sum.withheld.is_empty());
    }

    #[test]
    fn section_5_2_1_4_no_cache_of_a_request_is_never_qualified() {
        for asked in ["no-cache", "no-cache=\"a\"", "no-cache=a", "no-cache=\"\""] {
            let control = parse_request(asked);
            assert!(control.no_cache && control.withheld.is_empty(), "{asked}");
        }
        assert_eq!(parse_request("private=\"a\""), CacheControl::default());
    }

    #[test]
    fn section_5_2_1_2_max_stale_has_a_limit_or_none_at_all() {
        for (asked, wanted) in [
            ("max-stale", Some(Duration::MAX)),
            ("max-stale=5", seconds(5)),
            ("max-stale, max-stale=5", seconds(5)),
            ("max-stale=9, max-stale=5, max-stale", seconds(5)),
            ("max-stale=x, max-stale=5", seconds(5)),
            ("max-stale=x", None),
            ("max-stale=", None),
            ("max-stale;", None),
        ] {
            assert_eq!(parse_request(asked).max_stale, wanted, "{asked}");
        }
    }

    #[test]
    fn section_5_2_1_3_the_longest_min_fresh_counts() {
        assert_eq!(parse_request("min-fresh=5, min-fresh=60, min-fresh=x").min_fresh, seconds(60));
        assert_eq!(parse_request("min-fresh=x").min_fresh, None);
    }

    /// Any value that a field can have.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..],
            prop::sample::select(b"\"\\,;= '".to_vec()),
        ];
        let text = prop_oneof![
            prop::collection::vec(byte, 0..8),
            spelled().prop_map(|(name, argument)| format!("{name}{argument}").into_bytes()),
        ];
        prop::collection::vec(text, 0..8).prop_map(|texts| texts.concat())
    }

    /// A directive, and its argument if it has one.
    fn spelled() -> impl Strategy<Value = (&'static str, &'static str)> {
        let names = vec![
            "max-age",
            "s-maxage",
            "min-fresh",
            "max-stale",
            "no-cache",
            "no-store",
            "private",
            "public",
            "must-revalidate",
            "must-understand",
            "stale-while-revalidate",
            "x",
        ];
        let arguments = vec!["", "=0", "=60", "=\"90\"", "=\"a, b\"", "=\"no-store\"", "=c", "=vary"];
        (prop::sample::select(names), prop::sample::select(arguments))
    }

    proptest! {
        #[test]
        fn section_5_2_any_bytes_are_read(lines in prop::collection::vec(value(), 0..4)) {
            let headers = headers(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let control = CacheControl::of_response(&headers, &CACHE_CONTROL);
            prop_assert!(control.withheld.len() <= 2 * MAX_WITHHELD);
            prop_assert!(control.withheld.is_sorted_by(|a, b| a.as_str() < b.as_str()));
            prop_assert!(!control.withheld.iter().any(is_needed));
            let asked = CacheControl::of(&headers, &CACHE_CONTROL);
            prop_assert!(asked.withheld.is_empty());
            prop_assert_eq!(asked.max_age, control.max_age);
        }

        #[test]
        fn nothing_before_or_behind_hides_a_directive_that_restricts(junk in value()) {
            for line in [[&junk[..], b", no-store, max-age=0"].concat(), [b"no-store, max-age=0, ", &junk[..]].concat()] {
                let control = CacheControl::of_response(&headers(&[&line]), &CACHE_CONTROL);
                prop_assert!(control.no_store);
                prop_assert_eq!(control.max_age, Some(Duration::ZERO));
            }
        }

        #[test]
        fn section_5_2_case_space_lines_and_order_do_not_matter(
            directives in prop::collection::vec((spelled(), any::<bool>(), " {0,2}", any::<bool>()), 1..6),
            turn in 0_usize..6,
        ) {
            let plain: Vec<_> = directives.iter().map(|((name, argument), ..)| format!("{name}{argument}")).collect();
            let mut spelled = vec![String::new()];
            let start = turn % directives.len();
            for ((name, argument), capital, space, ends_line) in directives[start..].iter().chain(&directives[..start]) {
                let name = if *capital { name.to_ascii_uppercase() } else { (*name).to_owned() };
                let argument = argument.replace('=', &format!("{space}={space}"));
                spelled.last_mut().unwrap().push_str(&format!("{space}{name}{argument}{space},"));
                spelled.extend(ends_line.then(String::new));
            }
            let spelled: Vec<_> = spelled.iter().map(String::as_str).collect();
            prop_assert_eq!(parse(&spelled), parse(&[&plain.join(",")]));
        }
    }
}
