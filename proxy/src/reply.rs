//! What is true of an answer in every version of HTTP: how long it is, and which fields it has besides
//! those of the app. Pure.

use std::io::Write;

use http::{HeaderMap, StatusCode};
use http_body::Body;

use crate::{
    headers::put_line,
    message::{Fields, Reply, ReplyBody},
    status::Outcome,
};

/// RFC 9110 §6.4.1.
pub(crate) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// How long a body is, as far as that is known before it has come.
pub(crate) fn announced_length(body: &ReplyBody) -> Option<u64> {
    match body {
        ReplyBody::None => Some(0),
        ReplyBody::Whole(bytes) => Some(bytes.len() as u64),
        ReplyBody::Stream(body) => body.size_hint().exact(),
    }
}

/// Whether `Content-Length` has no place in it (RFC 9110 §8.6): what has no body, and the answer to a
/// `HEAD` of which only the fields know a length. `bodiless`: the body is not sent.
pub(crate) fn states_no_length(reply: &Reply, bodiless: bool) -> bool {
    has_no_body(reply.status) || matches!(reply.body, ReplyBody::None) && bodiless
}

/// The fields as lines: the app's, `Age` and `Cache-Status`.
pub(crate) fn put_fields(head: &mut Vec<u8>, reply: &Reply) {
    match &reply.fields {
        Fields::Map(fields) => put_lines(head, fields),
        Fields::Lines(lines) => head.extend_from_slice(lines.as_bytes()),
    }
    if let Some(age) = reply.age {
        put_number(head, b"age: ", age.as_secs());
    }
    put_cache_status(head, reply.outcome);
}

/// The same words as [`Outcome`]'s `Display`; a hit without the machinery of formatting.
fn put_cache_status(head: &mut Vec<u8>, outcome: Outcome) {
    match outcome {
        Outcome::Hit { ttl, detail: None } => put_number(head, b"cache-status: sidecache; hit; ttl=", ttl),
        Outcome::Forward(_) | Outcome::Hit { .. } => {
            // A vector takes everything.
            let _ = write!(head, "cache-status: {outcome}\r\n");
        }
        Outcome::Own(_) => {}
    }
}

/// A line that ends in a number.
pub(crate) fn put_number(head: &mut Vec<u8>, start: &[u8], number: impl itoa::Integer) {
    head.extend_from_slice(start);
    head.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// One line for each field.
pub(crate) fn put_lines(head: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        put_line(head, name.as_str().as_bytes(), value.as_bytes());
    }
}
