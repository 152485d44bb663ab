//! `cache.key`: which parts of a request select a stored response.

use http::HeaderName;

use super::{
    keys::{Absent, Key, Keys, Kind, Text},
    problem::Wrong,
    reader::{At, Reader},
};
use crate::key::{KeyPolicy, QueryPolicy};

/// The most names one list of a key may hold: each costs something on every request.
const MAX_NAMES: usize = 32;

const HEADER: Text =
    Text { is: "the name of a header, accept-language", like: "[A-Za-z0-9!#$%&'*+.^_`|~-]+", bare: true };
const COOKIE: Text =
    Text { is: "the name of a cookie, currency", like: "[A-Za-z0-9!#$%&'+.^_`|~-]+", bare: true };
const PARAMETER: Text = Text { is: "a parameter, page", like: "[A-Za-z0-9_~-]+", bare: true };
const EXCEPTED: Text = Text { is: "a parameter, utm_*", like: r"[A-Za-z0-9_~-]+\*?", bare: true };
const QUERY_WORDS: [&str; 2] = ["all", "none"];
/// A scalar is one of the words, never a list of one.
const QUERY_KIND: Kind = Kind::Either(&[
    Kind::Words(&QUERY_WORDS),
    Kind::Items { of: &Kind::Text(&PARAMETER), least: 1, most: MAX_NAMES },
    Kind::Map(&QUERY_KEYS),
]);

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "query",
            Absent::Is("all"),
            QUERY_KIND,
            "`all`, `none`, `[page, sort]` or `{ except: [utm_*] }`",
        ),
        Key::new(
            "headers",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Text(&HEADER), least: 0, most: MAX_NAMES },
            "request headers whose values select, beside the app's `Vary`",
        ),
        Key::new(
            "cookies",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Text(&COOKIE), least: 0, most: MAX_NAMES },
            "cookies whose values select",
        ),
    ],
    foreign: &[
        ("params", "did you mean `query`?"),
        ("query_string", "did you mean `query`?"),
        ("vary", "did you mean `headers`?"),
        ("host", "the host is always part of the key"),
        ("path", "the path is always part of the key"),
        ("method", "only GET is stored"),
    ],
};

const QUERY_KEYS: Keys = Keys {
    known: &[Key::new(
        "except",
        Absent::Refused,
        Kind::List { of: &Kind::Text(&EXCEPTED), least: 0, most: MAX_NAMES },
        "parameters that do not count; a `*` may come last",
    )],
    foreign: &[
        ("only", "write the list alone, query: [page, sort]"),
        ("include", "write the list alone, query: [page, sort]"),
        ("exclude", "did you mean `except`?"),
        ("ignore", "did you mean `except`?"),
        ("strip", "did you mean `except`?"),
    ],
};

/// Reads `key`.
pub(super) fn key(reader: &mut Reader<'_>, at: &At<'_>) -> Option<KeyPolicy> {
    let entries = reader.entries(at, "a map, { query: all }", &KEYS)?;
    let query = entries.get("query").map_or(Some(QueryPolicy::All), |at| query(reader, at));
    let headers = entries.get("headers").map_or(Some(Vec::new()), |at| {
        short_list(reader, at, "a list of header names, [accept-language]", header)
    });
    let cookies = entries
        .get("cookies")
        .map_or(Some(Vec::new()), |at| short_list(reader, at, "a list of cookie names, [currency]", cookie));
    Some(KeyPolicy { query: query?, headers: headers?, cookies: cookies? })
}

fn short_list<T: PartialEq>(
    reader: &mut Reader<'_>,
    at: &At<'_>,
    wanted: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let list = reader.list(at, wanted, parse)?;
    if list.len() > MAX_NAMES {
        reader.wrong(at, Wrong::new("too many names", format!("{MAX_NAMES} at most")));
        return None;
    }
    Some(list)
}

const QUERY: &str = "all, none, a list [page, sort], or { except: [utm_*] }";

fn query(reader: &mut Reader<'_>, at: &At<'_>) -> Option<QueryPolicy> {
    if at.is_map() {
        let entries = reader.entries(at, QUERY, &QUERY_KEYS)?;
        let at = reader.require(&entries, "except", "write query: { except: [utm_*] }")?;
        let names = short_list(reader, &at, "a list of parameters, [utm_*]", excepted_parameter)?;
        return Some(if names.is_empty() { QueryPolicy::All } else { QueryPolicy::Except(names) });
    }
    if at.items().is_none() {
        return reader.scalar(at, QUERY, |text| match text {
            "all" => Ok(QueryPolicy::All),
            "none" => Ok(QueryPolicy::None),
            _ => Err(Wrong::new(format!("`{text}` is not known here"), format!("write {QUERY}"))),
        });
    }
    let names = short_list(reader, at, "a list of parameters, [page, sort]", parameter)?;
    if names.is_empty() {
        reader.wrong(at, Wrong::new("an empty list keys no parameter at all", "write none, if you mean it"));
        return None;
    }
    Some(QueryPolicy::Only(names))
}

/// Parameters whose names apps read in more than one way are always keyed, so naming one is idle.
fn parameter(name: &str) -> Result<String, Wrong> {
    if name.contains('*') {
        return Err(Wrong::new("wildcards work only in `except`", "write query: { except: [utm_*] }"));
    }
    plain_parameter(name, name)
}

fn excepted_parameter(pattern: &str) -> Result<String, Wrong> {
    match pattern.strip_suffix('*') {
        Some("") => Err(Wrong::new("`*` leaves nothing of the query", "write query: none")),
        Some(prefix) if prefix.contains('*') => Err(only_last(pattern)),
        Some(prefix) => plain_parameter(prefix, pattern),
        None if pattern.contains('*') => Err(only_last(pattern)),
        None => plain_parameter(pattern, pattern),
    }
}

fn only_last(pattern: &str) -> Wrong {
    Wrong::new(format!("`{pattern}`: a `*` can only come last"), "write utm_*")
}

fn plain_parameter(name: &str, whole: &str) -> Result<String, Wrong> {
    if name.is_empty() {
        return Err(Wrong::new("an empty name", "write the name of a parameter, page"));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-~".contains(&b)) {
        let message =
            format!("`{whole}`: a parameter with other letters than A-Z a-z 0-9 _ - ~ is always keyed");
        return Err(Wrong::new(message, "remove it"));
    }
    Ok(whole.to_owned())
}

/// Fields that select nothing, or that have a key of their own.
fn header(name: &str) -> Result<HeaderName, Wrong> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Wrong::new(format!("`{name}` is not the name of a header"), "write accept-language"))?;
    match parsed.as_str() {
        "host" => Err(Wrong::new("the host is always part of the key", "remove it")),
        "cookie" => {
            Err(Wrong::new("the whole Cookie header differs for everybody", "write key: { cookies: […] }"))
        }
        "connection" | "content-length" | "expect" | "keep-alive" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" => {
            Err(Wrong::new(format!("`{parsed}` is about the connection, not the resource"), "remove it"))
        }
        "range"
        | "if-range"
        | "if-match"
        | "if-none-match"
        | "if-modified-since"
        | "if-unmodified-since"
        | "cache-control"
        | "pragma" => Err(Wrong::new(format!("`{parsed}` is answered by the cache itself"), "remove it")),
        _ => Ok(parsed),
    }
}

/// RFC 6265 §4.1.1: a cookie's name is a token.
fn cookie(name: &str) -> Result<String, Wrong> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Wrong::new(format!("`{name}` is not the name of a cookie"), "write currency"));
    }
    if name.contains('*') {
        return Err(Wrong::new("wildcards do not work here", "write each cookie"));
    }
    Ok(name.to_owned())
}
