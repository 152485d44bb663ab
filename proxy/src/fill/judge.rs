//! Whether an answer may be stored, by its head, and what then is stored and shared of it.

use std::sync::{Arc, atomic::Ordering};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, AGE, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, ORIGIN,
        SET_COOKIE,
    },
};

use super::{Answer, Fill};
use crate::{
    flight::Shared,
    headers::{Lines, ensure_valid_date, media_type, remove_hop_by_hop, take, take_own},
    key::VariantKey,
    policy::{
        blame::blames_request,
        facts::ResponseFacts,
        freshness::ExchangeTimes,
        media,
        rule::{Credentials, SetCookie},
        storable::{self, Storable},
        tags::tags_of,
        vary,
    },
    spool::Spool,
    status::Detail,
    tags::Tag,
    upstream::Framing,
};

impl Fill {
    /// Whether the answer may be stored, by its head; remembered, so that nobody waits for the next
    /// one in vain.
    pub(super) fn admitted(
        &self,
        answer: &Answer,
        exchange: ExchangeTimes,
    ) -> Result<(Shared, Storable), Detail> {
        let admitted = self.admit(answer, exchange);
        if self.tells_of_others(answer) {
            let shared = matches!(&admitted, Ok((_, Storable { fresh: true, .. })));
            self.app.flights.note(&self.key, self.fingerprint, shared);
        }
        if let Ok((shared, _)) = &admitted
            && self.is_for_one_origin(&answer.head.headers, &shared.nominated)
        {
            self.app.cors_unkeyed.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// What a request with credentials, ranges or conditions gets, or an odd one, says nothing of what others get.
    pub(super) fn tells_of_others(&self, answer: &Answer) -> bool {
        let status = answer.head.status;
        self.is_common() && status != StatusCode::NOT_MODIFIED && !blames_request(status, &self.asked)
    }

    /// Each condition in turn, and what is then stored and shared. Nobody remembers that it was asked.
    pub(crate) fn admit(
        &self,
        answer: &Answer,
        exchange: ExchangeTimes,
    ) -> Result<(Shared, Storable), Detail> {
        let mut headers = answer.head.headers.clone();
        remove_hop_by_hop(&mut headers);
        ensure_valid_date(&mut headers, exchange.response_time);
        let part = self.part_of(answer)?;
        let status = part.map_or(answer.head.status, |_| StatusCode::OK);
        let facts = ResponseFacts::of(status, &headers);
        if is_event_stream(&headers) {
            return Err(Detail::EventStream);
        }
        let nominated = self.selecting(vary::nominated(&headers)?);
        let storable = storable::check(&self.admission, &facts, exchange, &self.rule)?;
        if !self.rule.content_type.is_empty() && !media::is_of(&headers, &self.rule.content_type) {
            return Err(Detail::ContentType);
        }
        if blames_request(status, &self.asked) {
            return Err(Detail::OddRequest);
        }
        let length = provable_length(answer.ends, self.rule.max_body)?;
        let named = tags_of(&headers, self.rule.named_tags(), self.key.origin())?;
        let tags = [&*named, &[self.rule_tag]].concat().into();
        headers.remove(CONTENT_LENGTH); // Stated anew with each answer, as is the age.
        headers.remove(AGE);
        if self.rule.set_cookie == SetCookie::Strip {
            headers.remove(SET_COOKIE);
        }
        let hidden = Lines::from_map(&take_own(&mut headers));
        let mut withheld = take(&mut headers, &facts.control(&self.rule).withheld);
        if part.is_some() {
            withheld.extend(take(&mut headers, &[CONTENT_RANGE])); // Stated anew too.
        }
        let withheld = Lines::from_map(&withheld);
        let variant = VariantKey::new(&self.asked, &self.rule.key, &nominated);
        let body = Arc::new(Spool::new(length));
        let lines = Lines::from_map(&headers);
        let shared = Shared {
            lines,
            hidden,
            withheld,
            renewed_by: None,
            unstored: None,
            facts,
            exchange,
            nominated,
            variant,
            tags,
            part,
            body,
        };
        Ok((shared, storable))
    }

    /// Whether pages of one origin may read it, and `Origin` does not select: if the app names whoever asks, the
    /// first one decides for all.
    fn is_for_one_origin(&self, headers: &HeaderMap, nominated: &[HeaderName]) -> bool {
        let selects = self.rule.key.headers.contains(&ORIGIN) || nominated.contains(&ORIGIN);
        !selects && headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().any(|allowed| allowed != "*")
    }

    /// The tags that whatever comes will have.
    pub(super) fn own_tags(&self) -> Box<[Tag]> {
        self.rule.named_tags().chain([self.rule_tag]).collect()
    }

    /// The nominated fields that the origin was sent. Credentials that the rule keeps from it select
    /// nothing, whatever it says.
    fn selecting(&self, nominated: Box<[HeaderName]>) -> Box<[HeaderName]> {
        if self.rule.credentials != Credentials::Ignore {
            return nominated;
        }
        nominated.into_iter().filter(|name| *name != COOKIE && *name != AUTHORIZATION).collect()
    }
}

/// Such a body ends when somebody has had enough of it.
fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(b"text/event-stream")
}

/// The announced length, if the body's end can be proven and it is not too long to keep.
fn provable_length(ends: Framing, most: u64) -> Result<Option<u64>, Detail> {
    match ends {
        Framing::Close => Err(Detail::NoLength),
        Framing::Length(length) if length > most => Err(Detail::TooLarge),
        Framing::Length(length) => Ok(Some(length)),
        Framing::Empty => Ok(Some(0)),
        Framing::Chunked | Framing::Frames => Ok(None),
    }
}
