//! Asks the app as a fetch to be stored would, and judges the answer as that would: what comes is dropped.

use std::{pin::pin, time::Duration};

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{cause, decided::stated, report::OriginReport, wording::time};
use crate::{
    advice::Advice,
    app::App,
    ask::Ask,
    error::Failure,
    fill::{Before, Purpose},
    flight::{Flight, Shared},
    forward::{Conditions, filling},
    key::ResourceKey,
    message::{RequestBody, StreamBody},
    policy::{
        freshness::{ExchangeTimes, Lifetime, drawn_lifetime, initial_age},
        rule::CacheRule,
    },
    status::{Detail, Outcome, Own},
    store::tiers::Tiers,
    upstream::FetchError,
};

/// An operator waits for it, on a connection that lasts little longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the app answers now, and whether that would be stored.
pub(super) async fn ask(ask: Ask<'_>) -> OriginReport {
    let asked = timeout(PATIENCE, judged(ask)).await;
    asked.unwrap_or_else(|_| {
        failed(StatusCode::GATEWAY_TIMEOUT, format!("the app did not answer within {}", time(PATIENCE)))
    })
}

async fn judged(ask: Ask<'_>) -> OriginReport {
    let Ask { app, live, request, cache, admission, .. } = ask;
    let filling = filling::<RequestBody>(request, live, cache, Conditions::None);
    let (flight, _ticket) = Flight::alone();
    let seek = ask.seek(None, Duration::ZERO, Purpose::Answer);
    let fill = ask.fill(http::Request::default(), admission.clone(), flight, Before::default(), seek);
    let begun = app.begin();
    let fetched = match live.upstream.send(filling).await {
        Ok(fetched) => fetched.streamed(),
        Err(error) => return unanswered(&error),
    };
    let exchange = fill.exchanged(begun);
    let (status, headers) = (fetched.head.status, fetched.head.headers.clone());
    let not_stored = |detail| refused(detail, status, cause::of(detail, status, &headers, cache));
    let shared = match fill.admit(&fetched, exchange) {
        Ok((shared, _)) => shared,
        Err(detail) => return not_stored(detail),
    };
    match measured(fetched.body, cache.max_body).await {
        Length::Fits => {}
        Length::TooLarge => return not_stored(Detail::TooLarge),
        Length::Cut => {
            return failed(status, "the app cut its answer short, and only what has come whole is stored");
        }
    }
    match unwritable(app, ask.key) {
        Some(detail) => not_stored(detail),
        None => stored(status, &shared, exchange, cause::governing(&headers, cache), cache),
    }
}

/// How much of a body came.
enum Length {
    Fits,
    TooLarge,
    Cut,
}

/// Reads a body to its end, or to where it is too large.
async fn measured(body: StreamBody, most: u64) -> Length {
    let mut body = pin!(body);
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Length::Cut };
        length = length.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
        if length > most {
            return Length::TooLarge;
        }
    }
    Length::Fits
}

/// Why the store would not take it.
fn unwritable(app: &App, key: &ResourceKey) -> Option<Detail> {
    match &app.store {
        store if store.takes_writes(key) => None,
        Tiers::Redis(fleet) if !fleet.is_cut_off(key) => Some(Detail::StoreRefused),
        _ => Some(Detail::StoreDown),
    }
}

fn stored(
    status: StatusCode,
    shared: &Shared,
    exchange: ExchangeTimes,
    field: Option<String>,
    rule: &CacheRule,
) -> OriginReport {
    let lifetime = drawn_lifetime(&shared.facts, exchange.lot, rule);
    let left = lifetime.map(|Lifetime { length, source }| {
        length.saturating_sub(initial_age(&shared.facts, source, exchange))
    });
    let field = field.map(|field| format!(" ({field})")).unwrap_or_default();
    let (summary, action) = match left {
        Some(left) if !left.is_zero() => (
            format!("its answer would be stored for {}{field}", time(left)),
            "nothing; ask again for the hit",
        ),
        _ => (
            format!("its answer would be stored, and asked about on each use{field}"),
            "let the app state a lifetime (`max-age`), or `override: true` with a `ttl`",
        ),
    };
    let because = lifetime.map_or("RFC 9111 §3".to_owned(), |lifetime| {
        format!("RFC 9111 §4.2.1: its lifetime is {}, {}", time(lifetime.length), stated(lifetime.source))
    });
    OriginReport {
        status: status.as_u16(),
        would_store: true,
        detail: None,
        summary,
        because,
        action: action.to_owned(),
        lifetime_seconds: left.map(|left| left.as_secs()),
    }
}

fn refused(detail: Detail, status: StatusCode, field: Option<String>) -> OriginReport {
    let Advice { meaning, because, action } = *Advice::of(detail);
    let field = field.map(|field| format!(" ({field})")).unwrap_or_default();
    OriginReport {
        status: status.as_u16(),
        would_store: false,
        detail: Some(detail.as_str().to_owned()),
        summary: format!("its answer would not be stored: {meaning}{field}"),
        because: because.to_owned(),
        action: action.to_owned(),
        lifetime_seconds: None,
    }
}

fn unanswered(error: &FetchError) -> OriginReport {
    failed(error.status(), Failure::of_fetch(error).failed().cause)
}

fn failed(status: StatusCode, summary: impl Into<String>) -> OriginReport {
    let Advice { because, action, .. } = *Advice::on(FAILED);
    OriginReport {
        status: status.as_u16(),
        would_store: false,
        detail: None,
        summary: summary.into(),
        because: because.to_owned(),
        action: action.to_owned(),
        lifetime_seconds: None,
    }
}

const FAILED: Outcome = Outcome::Own(Own::OriginFailed);
