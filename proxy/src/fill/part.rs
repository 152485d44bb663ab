//! Parts of a response: kept, grown together, and completed by asking for the rest (RFC 9111 §3.3, §3.4).

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};

use super::{Answer, Fill, Got, renewed};
use crate::{
    headers::ensure_valid_date,
    message::{BoxError, PollFrame, RequestBody, StreamBody},
    policy::{
        facts::ResponseFacts,
        freshness::ExchangeTimes,
        partial::{are_combinable, combined, completes, is_worth_growing},
        range::ContentRange,
        request::Admission,
        reuse::offer,
    },
    purges::Begun,
    status::Detail,
    store::{Lookup, Selector, Store},
    stored::Stored,
    upstream::{FetchError, Framing, without_body},
};

impl Fill {
    /// Asks the origin. Where that is for the rest of a stored part, the answer is the whole: completed,
    /// and then with the status by which it was, or fetched.
    pub(super) async fn fetch(
        &self,
        request: http::Request<RequestBody>,
        begun: Begun,
    ) -> Result<Got, FetchError> {
        let upstream = &self.live.upstream;
        let Some(held) = self.before.renews.as_ref().filter(|stored| stored.part.is_some()) else {
            let (fetched, sibling) = self.ask(request).await?;
            return Ok(Got { sibling, ..Got::plain(fetched) });
        };
        let for_all = for_all(&request);
        match upstream.send(request).await {
            Err(FetchError::UnaskedNotModified) => {}
            Err(error) => return Err(error),
            Ok(answer) => {
                let got = Got::plain(answer);
                let exchange = self.exchanged(begun);
                if is_rest(held, &got.answer, exchange) {
                    let answer = completed(held, got.answer, exchange);
                    return Ok(Got {
                        answer,
                        completed_by: Some(StatusCode::PARTIAL_CONTENT),
                        sibling: None,
                    });
                }
                if !is_about_the_range(got.answer.head.status) {
                    return Ok(got);
                }
            }
        }
        Ok(Got::plain(upstream.send(for_all).await?))
    }

    /// Which part of the whole an answer is, where a part was asked for. A 206 is stored as a part of
    /// the 200 that it is a part of.
    pub(super) fn part_of(&self, answer: &Answer) -> Result<Option<ContentRange>, Detail> {
        let Some(range) = &self.admission.range else { return Ok(None) };
        match answer.head.status {
            _ if !range.is_of_bytes() => Err(Detail::Range),
            StatusCode::PARTIAL_CONTENT => {
                let range = single_part(&answer.head.headers);
                range.filter(|range| !exceeds(answer.ends, *range)).map(Some).ok_or(Detail::Range)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Detail::Range),
            // It has no meaning there (RFC 9110 §14.4), but the app meant something by it.
            _ if answer.head.headers.contains_key(CONTENT_RANGE) => Err(Detail::Range),
            _ => Ok(None),
        }
    }

    /// What is to be stored now that a `new` part has come: that, or what it makes with what is stored.
    /// Nothing where what is stored is of more use.
    pub(super) async fn grown(&self, new: Arc<Stored>) -> Option<Arc<Stored>> {
        let selector = Selector { headers: &self.asked, keyed: &self.rule.key };
        let found = self.app.store.lookup(&self.key, &selector).await.ok()?;
        let is_marked = matches!(found, Lookup::Marked(..));
        let held = match found {
            Lookup::Found(held) | Lookup::Marked(held, _) if held.fingerprint == self.fingerprint => held,
            _ => return Some(new),
        };
        if !are_combinable(&held, &new, self.rule.max_body) {
            // A whole stays, though stale: it may be renewed yet, or stand in for errors.
            return Some(new).filter(|_| held.part.is_some());
        }
        if !is_marked && self.is_fresh(&held) && !is_worth_growing(&held, &new) {
            return None;
        }
        combined(&held, &new, self.rule.max_body).map(Arc::new)
    }

    /// Whether it answers without being renewed.
    fn is_fresh(&self, held: &Stored) -> bool {
        let (anybody, now) = (Admission::default(), self.app.clock.now());
        offer(&held.facts, held.exchange(), &anybody, &self.rule, now)
            .is_ok_and(|freshness| freshness.allowed.is_none())
    }
}

/// Several parts in one body are not taken apart.
fn single_part(headers: &HeaderMap) -> Option<ContentRange> {
    let media_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let several = b"multipart/byteranges";
    let is_several = media_type.get(..several.len()).is_some_and(|start| start.eq_ignore_ascii_case(several));
    ContentRange::of(headers).filter(|_| !is_several)
}

/// Whether more is to come than the range has bytes.
fn exceeds(ends: Framing, range: ContentRange) -> bool {
    matches!(ends, Framing::Length(length) if length > range.span.length())
}

/// The same request without what makes it one for a part.
fn for_all(request: &http::Request<RequestBody>) -> http::Request<RequestBody> {
    let mut all = without_body(request);
    all.headers_mut().remove(RANGE);
    all.headers_mut().remove(IF_RANGE);
    all
}

/// An answer that nobody would get who had asked for all.
fn is_about_the_range(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Whether an answer is just what is missing in a stored part. Its length must be announced: later there
/// would be no way back.
fn is_rest(held: &Stored, answer: &Answer, exchange: ExchangeTimes) -> bool {
    let mut fields = answer.head.headers.clone();
    ensure_valid_date(&mut fields, exchange.response_time);
    let facts = ResponseFacts::of(answer.head.status, &fields);
    match (answer.head.status, single_part(&fields), answer.ends) {
        (StatusCode::PARTIAL_CONTENT, Some(range), Framing::Length(length)) => {
            completes(held, &facts, range, length)
        }
        _ => false,
    }
}

/// RFC 9111 §3.4: the whole, of a stored part and the rest of it.
fn completed(held: &Stored, mut rest: Answer, exchange: ExchangeTimes) -> Answer {
    let nothing = Empty::new().map_err(|never| match never {});
    let missing = mem::replace(&mut rest.body, Box::pin(nothing));
    let mut whole = renewed(held, rest, exchange);
    whole.body = Box::pin(Continued { held: held.body.clone(), rest: missing });
    whole.ends = Framing::Length(held.complete());
    whole
}

/// Bytes that are held, and then those that come.
struct Continued {
    held: Bytes,
    rest: StreamBody,
}

impl Body for Continued {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        if self.held.is_empty() {
            return self.rest.as_mut().poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.held)))))
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        self.rest.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(held + rest))
    }
}
