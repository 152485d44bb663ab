//! How the origin is asked whether a stored response still holds (RFC 9111 §4.3.1), and what its 304
//! changes in it (§4.3.4, §3.2).

use http::{
    HeaderMap, HeaderName,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        LAST_MODIFIED,
    },
};

use super::facts::last_modified;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// §3.2: fields that describe the stored body, which a 304 does not bring: they stay as they are.
/// `ETag` is among them, because the 304 answers for the one that was asked about.
static OF_THE_BODY: [HeaderName; 5] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_MD5, CONTENT_RANGE, ETAG];

/// Whether a response with these fields can be asked about. A `Last-Modified` that is not one valid date
/// is nothing to ask by: "a recipient MUST ignore the If-Modified-Since header field if the received
/// field value is not a valid HTTP-date" (RFC 9110 §13.1.3).
#[must_use]
pub fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || last_modified(headers).is_some()
}

/// §4.3.1: "a cache MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if
/// the entity tags were provided in the stored response(s) being validated" and "SHOULD send the
/// Last-Modified value (using If-Modified-Since)". In the place of the client's own conditions. Whether
/// there is anything to ask by.
pub fn ask(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    let date = stored.get(LAST_MODIFIED).filter(|_| last_modified(stored).is_some());
    for (condition, validator) in [(IF_NONE_MATCH, stored.get(ETAG)), (IF_MODIFIED_SINCE, date)] {
        if let Some(value) = validator {
            request.insert(condition, value.clone());
        }
    }
    has_validator(stored)
}

/// §4.3.4: whether a 304 is about the stored response. One whose strong tag is another answers for a tag
/// that was not asked about, unless that tag was all that was asked about: then it says that this one
/// still holds, whatever it calls it.
#[must_use]
pub fn is_about(stored: &HeaderMap, told: &HeaderMap) -> bool {
    let same = match (told.get(ETAG), stored.get(ETAG)) {
        (Some(told), Some(stored)) => told == stored || told.as_bytes().starts_with(b"W/"),
        (Some(_), None) | (None, _) => true,
    };
    same || last_modified(stored).is_none()
}

/// §3.2: "the cache MUST add each header field in the provided response to the stored response,
/// replacing field values that are already present", but for those that describe the
/// body. `told` are the fields of the 304 that may be stored.
pub fn freshen(stored: &mut HeaderMap, told: &HeaderMap) {
    for name in told.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        let mut values = told.get_all(name).iter();
        if let Some(first) = values.next() {
            stored.insert(name, first.clone());
        }
        values.for_each(|value| {
            stored.append(name, value.clone());
        });
    }
}

/// §4.3.5: whether the answer to a HEAD describes the stored response: "matching values for any
/// received validator fields (ETag and Last-Modified) and, if the HEAD response has a Content-Length
/// header field, the value of Content-Length matches that of the stored response".
#[must_use]
pub fn describes(told: &HeaderMap, stored: &HeaderMap, length: usize) -> bool {
    let same = |name| told.get(&name).is_none_or(|value| stored.get(&name) == Some(value));
    let length = length.to_string();
    let fits = told.get(CONTENT_LENGTH).is_none_or(|value| value.as_bytes() == length.as_bytes());
    same(ETAG) && same(LAST_MODIFIED) && fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn section_4_3_1_the_stored_validators_take_the_place_of_the_clients() {
        let client = [("if-none-match", "\"mine\""), ("if-modified-since", "yesterday"), ("accept", "*/*")];
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (stored, wanted) in [
            (map(&[("etag", "W/\"a\"")]), map(&[("accept", "*/*"), ("if-none-match", "W/\"a\"")])),
            (map(&[("last-modified", date)]), map(&[("accept", "*/*"), ("if-modified-since", date)])),
            (
                map(&[("etag", "\"a\""), ("last-modified", date)]),
                map(&[("accept", "*/*"), ("if-none-match", "\"a\""), ("if-modified-since", date)]),
            ),
        ] {
            let mut request = map(&client);
            assert!(ask(&mut request, &stored));
            assert_eq!(request, wanted);
        }
        let mut request = map(&client);
        assert!(!ask(&mut request, &map(&[("content-type", "a/b")])));
        assert_eq!(request, map(&[("accept", "*/*")]));
    }

    #[test]
    fn section_13_1_3_only_one_valid_date_is_asked_by() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        for fields in [&[("last-modified", "yesterday")][..], &[("last-modified", "")], &[date, date]] {
            let mut request = HeaderMap::new();
            assert!(!ask(&mut request, &map(fields)), "{fields:?}");
            assert_eq!(request, HeaderMap::new(), "{fields:?}");
            assert!(ask(&mut request, &map(&[fields, &[("etag", "\"a\"")]].concat())), "{fields:?}");
            assert_eq!(request, map(&[("if-none-match", "\"a\"")]), "{fields:?}");
        }
    }

    #[test]
    fn section_4_3_4_a_304_with_another_strong_tag_may_be_about_another_response() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (stored, told, about) in [
            (map(&[("etag", "\"a\""), date]), map(&[]), true),
            (map(&[("etag", "\"a\""), date]), map(&[("etag", "\"a\"")]), true),
            (map(&[("etag", "\"a\""), date]), map(&[("etag", "W/\"b\"")]), true),
            (map(&[("etag", "\"a\""), date]), map(&[("etag", "\"b\"")]), false),
            (map(&[("etag", "\"a\"")]), map(&[("etag", "\"b\"")]), true),
            (map(&[("etag", "\"a\""), ("last-modified", "yesterday")]), map(&[("etag", "\"b\"")]), true),
            (map(&[date]), map(&[("etag", "\"b\"")]), true),
        ] {
            assert_eq!(is_about(&stored, &told), about, "{told:?}");
        }
    }

    #[test]
    fn section_4_3_5_a_head_describes_what_it_does_not_contradict() {
        let stored = map(&[("etag", "\"a\""), ("x", "1")]);
        for (told, same) in [
            (map(&[]), true),
            (map(&[("etag", "\"a\""), ("content-length", "7"), ("x", "2")]), true),
            (map(&[("etag", "\"b\"")]), false),
            (map(&[("content-length", "8")]), false),
            (map(&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]), false),
        ] {
            assert_eq!(describes(&told, &stored, 7), same, "{told:?}");
        }
    }

    #[test]
    fn section_3_2_fields_are_replaced_by_name_and_the_others_stay() {
        let mut stored = map(&[
            ("x", "1"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("etag", "\"a\""),
            ("content-encoding", "gzip"),
            ("cache-control", "max-age=1"),
        ]);
        freshen(
            &mut stored,
            &map(&[
                ("link", "<c>"),
                ("link", "<d>"),
                ("link", "<e>"),
                ("etag", "\"b\""),
                ("content-length", "0"),
                ("content-encoding", "br"),
                ("cache-control", "max-age=9"),
                ("new", "2"),
            ]),
        );
        assert_eq!(
            stored,
            map(&[
                ("x", "1"),
                ("link", "<c>"),
                ("link", "<d>"),
                ("link", "<e>"),
                ("etag", "\"a\""),
                ("content-encoding", "gzip"),
                ("cache-control", "max-age=9"),
                ("new", "2"),
            ])
        );
    }
}
