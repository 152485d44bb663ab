//! Station 7, serve: what is stored, shared or fetched becomes an answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING,
        UPGRADE,
    },
};
use http_body_util::BodyExt;

use crate::{
    flight::Shared,
    headers::{Lines, ensure_date, remove_hop_by_hop},
    message::{Fields, Reply, ReplyBody, Request},
    policy::{facts::ResponseFacts, reuse::Freshness, validation::is_not_modified},
    spool::SpoolReader,
    status::Outcome,
    stored::Stored,
    upstream::{Fetched, Framing},
};

/// A stored response, fresh.
#[must_use]
pub fn stored(stored: &Stored, freshness: Freshness, request: &Request) -> Reply {
    let body = ReplyBody::Whole(stored.body.clone());
    answer(&stored.lines, &stored.facts, body, request)
        .with(freshness.outcome(), Some(freshness.age))
}

/// A response that is being stored, as it comes; or, when it is whole already, a fresh one.
#[must_use]
pub fn shared(shared: &Shared, outcome: Outcome, age: Option<Duration>, request: &Request) -> Reply {
    let body = if request.head.method == Method::HEAD {
        ReplyBody::Whole(Bytes::new())
    } else {
        ReplyBody::Stream(Box::pin(SpoolReader::new(Arc::clone(&shared.body))))
    };
    answer(&shared.lines, &shared.facts, body, request).with(outcome, age)
}

/// The answer for a request with or without conditions of its own.
fn answer(lines: &Lines, facts: &ResponseFacts, body: ReplyBody, request: &Request) -> Reply {
    if is_not_modified(&request.head.headers, facts) {
        return reply(StatusCode::NOT_MODIFIED, Fields::Map(without_representation(lines)), ReplyBody::None);
    }
    reply(facts.status, Fields::Lines(lines.clone()), body)
}

/// RFC 9110 §15.4.5: a 304 carries what a 200 would have, but for what describes the content that
/// it does not carry.
fn without_representation(lines: &Lines) -> HeaderMap {
    const DESCRIBING: [HeaderName; 5] =
        [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE];
    let mut headers = lines.to_map();
    for name in DESCRIBING {
        headers.remove(name);
    }
    headers
}

/// The origin's answer to this very request.
#[must_use]
pub fn fetched(fetched: Fetched, outcome: Outcome, now: SystemTime) -> Reply {
    let Fetched { head, body, upgraded, ends, .. } = fetched;
    let mut headers = head.headers;
    let protocol = headers.get(UPGRADE).filter(|_| upgraded.is_some()).cloned();
    let framed = headers.contains_key(TRANSFER_ENCODING) || ends != Framing::Empty;
    remove_hop_by_hop(&mut headers);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    } else {
        ensure_date(&mut headers, now);
    }
    if framed {
        headers.remove(CONTENT_LENGTH); // Written with the body.
    }
    let body = match ends {
        Framing::Empty => ReplyBody::None,
        _ => ReplyBody::Stream(Box::pin(body.map_err(Into::into))),
    };
    let mut reply = reply(head.status, Fields::Map(headers), body).with(outcome, None);
    reply.tunnel = upgraded;
    reply
}

fn reply(status: StatusCode, fields: Fields, body: ReplyBody) -> Reply {
    Reply { status, fields, age: None, body, outcome: Outcome::Unknown, rule: None, tunnel: None }
}
