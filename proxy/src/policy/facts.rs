//! What the policy needs of a response, read from its fields once, when it is stored or decoded.

use std::{
    mem,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, SET_COOKIE},
};

use super::{
    cache_control::{CacheControl, delta_seconds},
    rule::CacheRule,
    targeted::targeted,
};

/// A response as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// Its status code.
    pub status: StatusCode,
    /// Its `Cache-Control`.
    pub cache_control: CacheControl,
    /// The targeted fields that say anything (RFC 9213). Almost always none.
    pub targeted: Vec<(HeaderName, CacheControl)>,
    /// When it was made, by its own `Date`.
    pub date: Option<SystemTime>,
    /// `Expires`, where there is one.
    pub expires_field: Option<Expires>,
    /// Seconds it spent in caches before it came here (RFC 9111 §5.1).
    pub age: Duration,
    /// `ETag`, as sent.
    pub etag: Option<HeaderValue>,
    /// `Last-Modified`, where it is a date.
    pub last_modified: Option<SystemTime>,
    /// Whether it sets a cookie.
    pub sets_cookie: bool,
}

/// `Expires` (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// A date.
    At(SystemTime),
    /// Anything else, `0` above all: a time in the past.
    Invalid,
}

impl ResponseFacts {
    /// Reads them.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status,
            cache_control: response_control(headers),
            targeted: targeted(headers),
            date: date(headers),
            expires_field: expires(headers),
            age: age(headers),
            // A copy of its own: the field may be a slice of a whole read buffer.
            etag: headers.get(ETAG).and_then(|tag| HeaderValue::from_bytes(tag.as_bytes()).ok()),
            last_modified: last_modified(headers),
            sets_cookie: headers.contains_key(SET_COOKIE),
        }
    }

    /// Bytes of memory that it holds beside itself.
    #[must_use]
    pub fn heap(&self) -> usize {
        let names = |control: &CacheControl| size_of_val(&*control.withheld);
        let targeted = self.targeted.iter().map(|(_, control)| names(control)).sum::<usize>();
        let etag = self.etag.as_ref().map_or(0, HeaderValue::len);
        etag + names(&self.cache_control) + size_of_val(&*self.targeted) + targeted
    }

    /// RFC 9213 §2.2: "the cache MUST select the first (in target-list order) field with a valid, non-empty
    /// value and use its value to determine the caching policy"; without one, `Cache-Control`.
    #[must_use]
    pub fn control(&self, rule: &CacheRule) -> &CacheControl {
        self.governing(rule).unwrap_or(&self.cache_control)
    }

    /// `Expires`; where a targeted field governs, the cache "MUST ignore the Cache-Control and Expires
    /// header fields" (RFC 9213 §2.2).
    #[must_use]
    pub fn expires(&self, rule: &CacheRule) -> Option<Expires> {
        self.expires_field.filter(|_| self.governing(rule).is_none())
    }

    fn governing(&self, rule: &CacheRule) -> Option<&CacheControl> {
        if self.targeted.is_empty() {
            return None; // As in almost all responses; this is on the way of every hit.
        }
        let find = |wanted: &HeaderName| self.targeted.iter().find(|(name, _)| name == wanted);
        rule.targeted.iter().find_map(find).map(|(_, control)| control)
    }
}

/// `Cache-Control`; without one, `Pragma: no-cache` from servers of long ago (RFC 9111 §5.4 leaves
/// its meaning in responses open; taking it at its word can only cost a hit).
fn response_control(headers: &HeaderMap) -> CacheControl {
    let mut control = CacheControl::of_response(headers, &CACHE_CONTROL);
    if !headers.contains_key(CACHE_CONTROL) && has_pragma_no_cache(headers) {
        control.no_cache = true;
    }
    control
}

/// RFC 9111 §5.4.
#[must_use]
pub fn has_pragma_no_cache(headers: &HeaderMap) -> bool {
    CacheControl::of(headers, &PRAGMA).no_cache
}

/// The dates of RFC 9110 §5.6.7, all three forms, and nothing else.
///
/// In any case: "although all date formats are specified to be case-sensitive, a cache recipient SHOULD
/// match the field value case-insensitively" (RFC 9111 §4.2). Years of two digits are those from 1970 to
/// 2069.
#[must_use]
pub fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&spelled_out(text))).ok()
}

/// A date with the capitals of its format; a leap second as the one before, "the nearest time equal to or
/// earlier" (RFC 9111 §4.2) that there is a number for.
fn spelled_out(text: &str) -> String {
    let mut before = ' ';
    let cased = text.chars().map(|c| {
        let starts = !mem::replace(&mut before, c).is_ascii_alphabetic();
        if starts { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    });
    cased.collect::<String>().replace("Gmt", "GMT").replace("23:59:60", "23:59:59")
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// RFC 9110 §8.8.2: `Last-Modified`, if it is one valid date.
pub(super) fn last_modified(headers: &HeaderMap) -> Option<SystemTime> {
    single(headers, &LAST_MODIFIED).and_then(http_date)
}

fn expires(headers: &HeaderMap) -> Option<Expires> {
    headers
        .contains_key(EXPIRES)
        .then(|| single(headers, &EXPIRES).and_then(http_date).map_or(Expires::Invalid, Expires::At))
}

/// When it was made, by its `Date`, of which there must be one line.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    single(headers, &DATE).and_then(http_date)
}

/// RFC 9111 §5.1: of a list, on one line or several, a cache "SHOULD use the first member of the field
/// value, discarding subsequent ones"; one that is no number it "SHOULD ignore".
fn age(headers: &HeaderMap) -> Duration {
    let members = headers.get_all(AGE).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    let first = members.map(<[u8]>::trim_ascii).find(|member| !member.is_empty());
    first.and_then(delta_seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(fields: &[(&'static str, &str)]) -> ResponseFacts {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        ResponseFacts::of(StatusCode::OK, &headers)
    }

    fn age(lines: &[&str]) -> u64 {
        let lines: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        facts(&lines).age.as_secs()
    }

    #[test]
    fn section_5_1_age_is_clamped_and_what_is_no_number_is_ignored() {
        for (text, wanted) in [
            ("7", 7),
            (" 007 ", 7),
            ("2147483647", 2_147_483_647),
            ("2147483648", 1 << 31),
            ("2147483649", 1 << 31),
            ("18446744073709551615", 1 << 31),
            ("18446744073709551616", 1 << 31),
            ("", 0),
            ("-7200", 0),
            ("+7200", 0),
            ("7200.0", 0),
            ("7200;foo=bar", 0),
            ("7200 7200", 0),
            ("\"7200\"", 0),
            ("abc", 0),
        ] {
            assert_eq!(age(&[text]), wanted, "{text}");
        }
    }

    #[test]
    fn section_5_1_of_several_ages_the_first_counts() {
        for (lines, wanted) in [
            (&["7200, 0"][..], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["x, 7200"], 0),
            (&["x", "7200"], 0),
            (&[", 7200"], 7200),
            (&["", "7200"], 7200),
        ] {
            assert_eq!(age(lines), wanted, "{lines:?}");
        }
    }

    fn seconds(text: &str) -> Option<u64> {
        let time = http_date(&HeaderValue::from_str(text).unwrap())?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn section_5_6_7_dates_are_of_three_formats() {
        for same in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            // RFC 9111 §4.2: of a date, case does not matter.
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 gMT",
            "SUN nOV  6 08:49:37 1994",
        ] {
            assert_eq!(seconds(same), Some(784_111_777), "{same}");
        }
        assert_eq!(seconds("Thursday, 18-Aug-50 02:01:18 GMT"), seconds("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(seconds("Sunday, 31-Jan-71 00:00:00 GMT"), seconds("Sun, 31 Jan 1971 00:00:00 GMT"));
        assert_eq!(seconds("Sat, 31 Dec 2016 23:59:60 GMT"), seconds("Sat, 31 Dec 2016 23:59:59 GMT"));
        assert!(seconds("Fri, 31 Dec 9999 23:59:59 GMT").is_some());
    }

    #[test]
    fn section_5_6_7_nothing_else_is_a_date() {
        for bad in [
            "",
            "0",
            "-1",
            "soon",
            "784111777",
            "Mon, 06 Nov 1994 08:49:37 GMT", // It was a Sunday.
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT+1",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT", // A leap second is the last of a day.
            "Sun, 06 Nov 1994 23:59:61 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn section_5_3_expires_that_is_no_date_is_in_the_past() {
        assert_eq!(facts(&[]).expires_field, None);
        for bad in ["0", "", "Thu, 18 Aug 2050 02:01:18 PST"] {
            assert_eq!(facts(&[("expires", bad)]).expires_field, Some(Expires::Invalid), "{bad}");
        }
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(matches!(facts(&[("expires", date)]).expires_field, Some(Expires::At(_))));
        assert_eq!(facts(&[("expires", date), ("expires", date)]).expires_field, Some(Expires::Invalid));
        assert_eq!(facts(&[("date", date), ("date", date)]).date, None);
        assert_eq!(facts(&[("last-modified", date), ("last-modified", date)]).last_modified, None);
    }

    #[test]
    fn section_5_4_pragma_counts_only_without_cache_control() {
        assert!(facts(&[("pragma", "no-cache")]).cache_control.no_cache);
        assert!(!facts(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]).cache_control.no_cache);
    }

    /// Fields that matter, with values that do and that do not.
    fn field() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
        let names = vec![
            "Age",
            "Cache-Control",
            "CDN-Cache-Control",
            "Sidecache-Cache-Control",
            "Date",
            "Expires",
            "Last-Modified",
            "ETag",
            "Pragma",
            "Set-Cookie",
            "Vary",
            "Other",
        ];
        let values =
            vec!["60", "max-age=60, no-cache=\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT", "no-cache", "\"x\""];
        let byte = prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..];
        let value = prop_oneof![
            prop::sample::select(values).prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(byte, 0..20),
        ];
        (prop::sample::select(names), value)
    }

    fn read<'f>(fields: impl Iterator<Item = (String, &'f [u8])>) -> ResponseFacts {
        let fields = fields.map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        });
        ResponseFacts::of(StatusCode::OK, &fields.collect())
    }

    proptest! {
        /// Lines of one name keep their order, for it has a meaning: the first `Age` counts, the first
        /// `ETag`, and of a directive in a targeted field the last.
        #[test]
        fn the_order_and_case_of_names_do_not_matter(
            fields in prop::collection::vec(field(), 0..12),
            ranks in prop::collection::vec(any::<u8>(), 12),
        ) {
            let plain = read(fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_slice())));
            let mut moved = fields.clone();
            moved.sort_by_key(|(name, _)| ranks[name.len() % ranks.len()]);
            let shouted = |name: &str| if ranks[0] % 2 == 0 { name.to_uppercase() } else { name.to_lowercase() };
            let moved = read(moved.iter().map(|(name, value)| (shouted(name), value.as_slice())));
            prop_assert_eq!(plain, moved);
        }

        #[test]
        fn section_5_6_7_any_text_is_a_date_or_none(text in "[\t -~]{0,40}", at in 0_usize..29, c in "[\t -~]") {
            let mut near = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
            near.replace_range(at..=at, &c);
            for text in [text, near] {
                let date = seconds(&text);
                prop_assert!(date.is_none_or(|date| date < 253_402_300_800), "{text}"); // The year 10000.
            }
        }

        #[test]
        fn section_5_4_any_pragma_is_read(value in prop::collection::vec(32_u8..127, 0..40)) {
            let text = String::from_utf8(value).unwrap();
            let control = facts(&[("pragma", &text)]).cache_control;
            let wanted = has_pragma_no_cache(&[(PRAGMA, text.parse().unwrap())].into_iter().collect());
            prop_assert_eq!(control, CacheControl { no_cache: wanted, ..CacheControl::default() });
        }
    }
}
