//! Station 7, serve: what is stored, shared or fetched becomes an answer.

mod range;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        TRANSFER_ENCODING, UPGRADE,
    },
};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    admit::Notable,
    error::Failure,
    fill::Answer,
    flight::Shared,
    headers::{Lines, ensure_date, remove_hop_by_hop, take_own},
    message::{BoxError, Fields, Reply, ReplyBody, Request},
    policy::{
        facts::ResponseFacts, freshness::ExchangeTimes, range::RangeRequest, reuse::Freshness,
        tags::TAG_FIELDS, validation::is_not_modified,
    },
    routes::Rule,
    spool::SpoolReader,
    status::{Detail, Forward, Outcome, Own},
    stored::Stored,
    upstream::{Fetched, Framing},
};

/// An answer as the rule that its request matched, if any, has it: by the rule's name, and without the tags that
/// it keeps from clients.
#[must_use]
pub fn under(rule: Option<&Rule>, mut reply: Reply) -> Reply {
    let Some(rule) = rule else { return reply };
    reply.rule = Some(Arc::clone(&rule.name));
    if rule.cache.as_ref().is_some_and(|cache| cache.strip_tags) {
        reply.fields.remove(&TAG_FIELDS);
    }
    reply
}

/// A stored response, or what the request asks for of it.
#[must_use]
pub fn stored(
    stored: &Stored,
    freshness: Freshness,
    request: &Request,
    range: Option<&RangeRequest>,
) -> Reply {
    let mut reply = kept(stored, freshness, hit(freshness), request, range);
    reply.spared = spared(stored.exchange(), freshness);
    reply
}

/// A response that is whole though not committed yet: to its reader, a stored one.
#[must_use]
pub fn just_stored(shared: &Shared, freshness: Freshness, request: &Request) -> Reply {
    let mut reply =
        answer(&shared.lines, &shared.facts, spooled(shared), request, hit(freshness), Some(freshness.age));
    reply.spared = spared(shared.exchange, freshness);
    reply
}

/// What the origin would have had to do. Of what is stale it does it anyway, beside the answer.
fn spared(exchange: ExchangeTimes, freshness: Freshness) -> Duration {
    match freshness.allowed {
        Some(Detail::StaleWhileRevalidate | Detail::StaleIfError) => Duration::ZERO,
        _ => exchange.took(),
    }
}

/// A response that is being stored, as it comes, for another one than asked for it.
#[must_use]
pub fn shared(shared: &Shared, outcome: Outcome, request: &Request) -> Reply {
    coming(shared, &shared.lines, outcome, request)
}

/// The same for the one who asked for it, who gets also what is not stored of it.
#[must_use]
pub fn leading(shared: &Shared, outcome: Outcome, request: &Request) -> Reply {
    coming(shared, &shared.lines.followed_by(&shared.withheld), outcome, request)
}

fn coming(shared: &Shared, lines: &Lines, outcome: Outcome, request: &Request) -> Reply {
    let age = Some(shared.facts.age).filter(|age| !age.is_zero());
    let mut reply = answer(lines, &shared.facts, spooled(shared), request, outcome, age);
    if shared.part.is_some() && reply.status == StatusCode::OK {
        reply.status = StatusCode::PARTIAL_CONTENT;
    }
    reply
}

/// A stale response, or what the request asks for of it, because the origin failed.
#[must_use]
pub fn stale(
    stored: &Stored,
    freshness: Freshness,
    forward: Forward,
    request: &Request,
    range: Option<&RangeRequest>,
) -> Reply {
    kept(stored, freshness, Outcome::Forward(forward), request, range)
}

/// RFC 9110 §13.2.2: the conditions that can make it a 304 go before `Range`.
fn kept(
    stored: &Stored,
    freshness: Freshness,
    outcome: Outcome,
    request: &Request,
    range: Option<&RangeRequest>,
) -> Reply {
    let body = ReplyBody::Whole(stored.body.clone());
    let reply = answer(&stored.lines, &stored.facts, body, request, outcome, Some(freshness.age));
    let reply = match range {
        None => reply,
        Some(range) => range::narrowed(reply, stored, range),
    };
    // The policy lets a part answer only for a part. Sent as the whole, it would be a lie.
    match stored.part {
        Some(_) if reply.status == StatusCode::OK => Failure::internal().reply(),
        _ => reply,
    }
}

fn spooled(shared: &Shared) -> ReplyBody {
    ReplyBody::Stream(Box::pin(SpoolReader::new(Arc::clone(&shared.body))))
}

fn hit(freshness: Freshness) -> Outcome {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Outcome::Hit { ttl: seconds(freshness.left) - seconds(freshness.stale), detail: freshness.allowed }
}

/// The answer to a request with or without conditions of its own.
fn answer(
    lines: &Lines,
    facts: &ResponseFacts,
    body: ReplyBody,
    request: &Request,
    outcome: Outcome,
    age: Option<Duration>,
) -> Reply {
    let conditional = reads(request) && request.head.notable.has(Notable::VALIDATORS);
    let (status, fields, body) = if conditional && is_not_modified(&request.head.headers, facts) {
        (StatusCode::NOT_MODIFIED, Fields::Map(without_representation(lines)), ReplyBody::None)
    } else {
        (facts.status, Fields::Lines(lines.clone()), body)
    };
    Reply {
        status,
        fields,
        age,
        body,
        outcome,
        rule: None,
        spared: Duration::ZERO,
        failed: None,
        tunnel: None,
    }
}

/// RFC 9110 §15.4.5: a 304 carries what a 200 would have, but for what describes the content that
/// it does not carry.
fn without_representation(lines: &Lines) -> HeaderMap {
    let mut headers = lines.to_map();
    remove_representation(&mut headers);
    headers
}

/// Conditions of other methods are the origin's to judge (RFC 9110 §13.1).
fn reads(request: &Request) -> bool {
    matches!(request.head.method, Method::GET | Method::HEAD)
}

fn remove_representation(headers: &mut HeaderMap) {
    const DESCRIBING: [HeaderName; 5] =
        [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE];
    for name in DESCRIBING {
        headers.remove(name);
    }
}

/// The origin's answer to a fill that could not be stored. The client's conditions were not sent
/// along; they are met here.
#[must_use]
pub fn filled(fetched: Answer, outcome: Outcome, now: SystemTime, request: &Request) -> Reply {
    // Nothing is stored whose `Date` could stand in for a missing `Last-Modified`.
    let facts = ResponseFacts { date: None, ..ResponseFacts::of(fetched.head.status, &fetched.head.headers) };
    let not_modified = reads(request) && is_not_modified(&request.head.headers, &facts);
    let mut reply = self::fetched(fetched, outcome, now);
    if not_modified && let Fields::Map(fields) = &mut reply.fields {
        reply.status = StatusCode::NOT_MODIFIED;
        reply.body = ReplyBody::None;
        remove_representation(fields);
    }
    reply
}

/// The answer to an `OPTIONS` that is for this proxy itself: the methods that it is known to pass on (RFC 9110
/// §9.3.7). Which of them a resource takes only the app can say.
#[must_use]
pub fn options(now: SystemTime) -> Reply {
    let mut fields = HeaderMap::new();
    fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY"));
    ensure_date(&mut fields, now);
    Reply {
        status: StatusCode::OK,
        fields: Fields::Map(fields),
        age: None,
        body: ReplyBody::Whole(Bytes::new()),
        outcome: Outcome::Own(Own::Answered),
        rule: None,
        spared: Duration::ZERO,
        failed: None,
        tunnel: None,
    }
}

/// The origin's answer to this very request.
#[must_use]
pub fn fetched<B>(fetched: Fetched<B>, outcome: Outcome, now: SystemTime) -> Reply
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Fetched { head, body, upgraded, ends, .. } = fetched;
    let mut headers = head.headers;
    let protocol = headers.get(UPGRADE).filter(|_| upgraded.is_some()).cloned();
    let framed = headers.contains_key(TRANSFER_ENCODING) || ends != Framing::Empty;
    remove_hop_by_hop(&mut headers);
    take_own(&mut headers);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    } else {
        ensure_date(&mut headers, now);
    }
    // Written with the body; and a 101 and a 204 must not state one (RFC 9110 §8.6).
    if framed || head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    let body = match ends {
        Framing::Empty => ReplyBody::None,
        _ => ReplyBody::Stream(Box::pin(body.map_err(Into::into))),
    };
    Reply {
        status: head.status,
        fields: Fields::Map(headers),
        age: None,
        body,
        outcome,
        rule: None,
        spared: Duration::ZERO,
        failed: None,
        tunnel: upgraded,
    }
}
