//! Of a stored response, the ranges that a request asks for (RFC 9110 §14.2, §15.3.7, §15.5.17).

use std::{
    convert::Infallible,
    fmt::Write,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, EXPIRES},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::without_representation;
use crate::{
    headers::{Lines, take},
    message::{Fields, PollFrame, Reply, ReplyBody},
    policy::range::{ContentRange, RangeRequest, Selection, Span},
    stored::Stored,
};

/// What is left of a reply with all of `stored` when the ranges of the request count: as they do only
/// where it would be a 200 without them (§14.2).
pub(super) fn narrowed(reply: Reply, stored: &Stored, asked: &RangeRequest) -> Reply {
    if reply.status != StatusCode::OK {
        return reply;
    }
    let complete = stored.complete();
    match asked.select(&stored.facts, complete) {
        Selection::Whole => reply,
        Selection::Unsatisfiable => unsatisfiable(reply, stored, complete),
        Selection::Spans(spans) => partial(reply, stored, &spans, complete),
    }
}

/// §15.3.7: the fields of the 200, and what says which part of it this is. The body's bytes are the
/// stored ones, not copies.
fn partial(reply: Reply, stored: &Stored, spans: &[Span], complete: u64) -> Reply {
    let parts = spans.iter().map(|span| Some((ContentRange { span: *span, complete }, stored.slice(*span)?)));
    let Some(parts) = parts.collect::<Option<Vec<_>>>() else { return reply };
    let (fields, body) = match parts.as_slice() {
        [(range, bytes)] => {
            let range = Lines::from_map(&field(CONTENT_RANGE, &range.to_string()));
            (Fields::Lines(stored.lines.followed_by(&range)), ReplyBody::Whole(bytes.clone()))
        }
        _ => multipart(stored, parts),
    };
    Reply { status: StatusCode::PARTIAL_CONTENT, fields, body, ..reply }
}

/// §14.6. Each part says its type and range; the head says the type of the whole.
fn multipart(stored: &Stored, parts: Vec<(ContentRange, Bytes)>) -> (Fields, ReplyBody) {
    let mut fields = stored.lines.to_map();
    let boundary = boundary();
    let of_parts = take(&mut fields, &[CONTENT_TYPE]);
    fields.extend(field(CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}")));
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for (range, bytes) in parts {
        let mut head = of_parts.clone();
        head.extend(field(CONTENT_RANGE, &range.to_string()));
        let lines = Lines::from_map(&head);
        pieces.push([b"\r\n--", boundary.as_bytes(), b"\r\n", lines.as_bytes(), b"\r\n"].concat().into());
        pieces.push(bytes);
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    (Fields::Map(fields), ReplyBody::Stream(Box::pin(Pieces::new(pieces).map_err(|never| match never {}))))
}

/// §14.6: what the parts must not contain. 128 bits that nobody can foresee, so that no body can be made
/// to contain them.
fn boundary() -> String {
    let mut boundary = String::with_capacity(32);
    for half in 0..2 {
        // Each has keys of its own. Writing to a string cannot fail.
        let _ = write!(boundary, "{:016x}", RandomState::new().hash_one(half));
    }
    boundary
}

/// §15.5.17: says how long the whole is, so that the client can ask for what there is. It is no answer
/// that a cache behind us should keep, whatever the whole may be.
fn unsatisfiable(reply: Reply, stored: &Stored, complete: u64) -> Reply {
    let mut fields = without_representation(&stored.lines);
    let lifetimes = |name: &&HeaderName| **name == EXPIRES || name.as_str().ends_with(CACHE_CONTROL.as_str());
    for name in fields.keys().filter(lifetimes).cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
    fields.extend(field(CACHE_CONTROL, "no-store"));
    fields.extend(field(CONTENT_RANGE, &format!("bytes */{complete}")));
    Reply {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        fields: Fields::Map(fields),
        body: ReplyBody::None,
        ..reply
    }
}

/// One field; its value is always one that a field can have.
fn field(name: HeaderName, value: &str) -> HeaderMap {
    HeaderValue::from_str(value).ok().map(|value| (name, value)).into_iter().collect()
}

/// A body in pieces that are all there.
struct Pieces {
    pieces: vec::IntoIter<Bytes>,
    left: u64,
}

impl Pieces {
    fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into_iter(), left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> PollFrame<Infallible> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
