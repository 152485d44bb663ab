//! Which request fields select among stored responses (RFC 9111 §4.1, RFC 9110 §12.5.5).

use http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, VARY, VIA},
};

use crate::{
    headers::{TRACEPARENT, TRACESTATE, X_FORWARDED_FOR, X_REQUEST_ID},
    status::Detail,
};

/// Most fields that `Vary` may nominate; a response with more is not stored.
pub const MAX_NOMINATED: usize = 16;

/// What a fill tells of itself, and of who asked as the proxy knows it, not as the request says: an answer that they
/// select is for no other request.
static ONCE: [HeaderName; 6] = [FORWARDED, TRACEPARENT, TRACESTATE, VIA, X_FORWARDED_FOR, X_REQUEST_ID];

/// The nominated fields: lower case, in order, each once, however many lines and in whatever case.
///
/// # Errors
/// `*`, which no request ever matches, what is as good as that, what is no field name, and more than
/// [`MAX_NOMINATED`].
pub fn nominated(headers: &HeaderMap) -> Result<Box<[HeaderName]>, Detail> {
    let mut names = Vec::new();
    for line in headers.get_all(VARY) {
        for member in line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            match member {
                b"" => {}
                b"*" => return Err(Detail::VaryStar),
                name => names.push(HeaderName::from_bytes(name).map_err(|_| Detail::VaryStar)?),
            }
        }
    }
    if names.iter().any(|name| ONCE.contains(name)) {
        return Err(Detail::VaryStar);
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > MAX_NOMINATED {
        return Err(Detail::VaryTooLong);
    }
    Ok(names.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<Vec<String>, Detail> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, line.parse().unwrap());
        }
        nominated(&headers).map(|names| names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn section_4_1_names_are_read_from_all_lines_once() {
        assert_eq!(of(&[]), Ok(vec![]));
        assert_eq!(of(&["Foo, accept", "FOO,, bar"]).unwrap(), ["accept", "bar", "foo"]);
    }

    #[test]
    fn section_4_1_a_star_never_matches_wherever_it_stands() {
        let client = [&["X-Forwarded-For"][..], &["a", "forwarded"], &["VIA"]];
        let id = [&["foo, X-Request-ID"][..], &["traceparent"]];
        for star in [&["*"][..], &["foo, *"], &["foo", " * "]].into_iter().chain(id).chain(client) {
            assert_eq!(of(star), Err(Detail::VaryStar), "{star:?}");
        }
        let many: Vec<_> = (0..=MAX_NOMINATED).map(|n| format!("x{n}")).collect();
        assert_eq!(of(&[&many.join(",")]), Err(Detail::VaryTooLong));
    }
}
