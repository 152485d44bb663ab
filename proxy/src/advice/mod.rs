//! What each word of the vocabulary means, by what rule it is so, and what to change for another answer. Pure.
//!
//! README.md has the same words in its tables, where a test holds the two together.

mod details;
mod outcomes;

use crate::status::{Detail, Forward, Fwd, Outcome, Own};

/// About one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What has happened, or would.
    pub meaning: &'static str,
    /// The section of an RFC, or the key of the file, by which it has.
    pub because: &'static str,
    /// What to change for another answer.
    pub action: &'static str,
}

impl Advice {
    /// About an outcome, by its word.
    #[must_use]
    pub const fn on(outcome: Outcome) -> &'static Self {
        match outcome {
            Outcome::Hit { .. } => &outcomes::HIT,
            Outcome::Forward(Forward { fwd, .. }) => match fwd {
                Fwd::Bypass => &outcomes::BYPASS,
                Fwd::Method => &outcomes::METHOD,
                Fwd::UriMiss => &outcomes::URI_MISS,
                Fwd::VaryMiss => &outcomes::VARY_MISS,
                Fwd::Miss => &outcomes::MISS,
                Fwd::Request => &outcomes::REQUEST,
                Fwd::Stale => &outcomes::STALE,
                Fwd::Partial => &outcomes::PARTIAL,
            },
            Outcome::Own(own) => match own {
                Own::Answered => &outcomes::ANSWERED,
                Own::Refused => &outcomes::REFUSED,
                Own::OriginFailed => &outcomes::ORIGIN_FAILED,
                Own::ClientGone => &outcomes::CLIENT_GONE,
                Own::Failed => &outcomes::FAILED,
                Own::NotCached => &outcomes::NOT_CACHED,
            },
        }
    }

    /// About a cause.
    #[must_use]
    pub const fn of(detail: Detail) -> &'static Self {
        match detail {
            Detail::NoRule => &details::NO_RULE,
            Detail::RuleOff => &details::RULE_OFF,
            Detail::AmbiguousTarget => &details::AMBIGUOUS_TARGET,
            Detail::RequestBody => &details::REQUEST_BODY,
            Detail::Upgrade => &details::UPGRADE,
            Detail::HiddenFields => &details::HIDDEN_FIELDS,
            Detail::EventStream => &details::EVENT_STREAM,
            Detail::Range => &details::RANGE,
            Detail::Precondition => &details::PRECONDITION,
            Detail::Cookie => &details::COOKIE,
            Detail::Authorization => &details::AUTHORIZATION,
            Detail::ClientNoStore => &details::CLIENT_NO_STORE,
            Detail::ClientControl => &details::CLIENT_CONTROL,
            Detail::RuleChanged => &details::RULE_CHANGED,
            Detail::NoStore => &details::NO_STORE,
            Detail::Private => &details::PRIVATE,
            Detail::NoCache => &details::NO_CACHE,
            Detail::StatusNotListed => &details::STATUS_NOT_LISTED,
            Detail::OddRequest => &details::ODD_REQUEST,
            Detail::ContentType => &details::CONTENT_TYPE,
            Detail::NoLifetime => &details::NO_LIFETIME,
            Detail::NotFresh => &details::NOT_FRESH,
            Detail::SetCookie => &details::SET_COOKIE,
            Detail::VaryStar => &details::VARY_STAR,
            Detail::VaryTooLong => &details::VARY_TOO_LONG,
            Detail::TooManyTags => &details::TOO_MANY_TAGS,
            Detail::TooLarge => &details::TOO_LARGE,
            Detail::NoLength => &details::NO_LENGTH,
            Detail::Head => &details::HEAD,
            Detail::OtherVariant => &details::OTHER_VARIANT,
            Detail::NotShareable => &details::NOT_SHAREABLE,
            Detail::CollapseTimeout => &details::COLLAPSE_TIMEOUT,
            Detail::CollapseFailed => &details::COLLAPSE_FAILED,
            Detail::StoreDown => &details::STORE_DOWN,
            Detail::StoreRefused => &details::STORE_REFUSED,
            Detail::LeaseHeld => &details::LEASE_HELD,
            Detail::LeaseTimeout => &details::LEASE_TIMEOUT,
            Detail::Purged => &details::PURGED,
            Detail::ShadowHit => &details::SHADOW_HIT,
            Detail::StaleWhileRevalidate => &details::STALE_WHILE_REVALIDATE,
            Detail::StaleIfError => &details::STALE_IF_ERROR,
            Detail::StaleNotAllowed => &details::STALE_NOT_ALLOWED,
            Detail::MaxStale => &details::MAX_STALE,
        }
    }

    /// About the cause, where there is one, or else about the outcome.
    #[must_use]
    pub fn about(outcome: Outcome, detail: Option<Detail>) -> &'static Self {
        detail.map_or_else(|| Self::on(outcome), Self::of)
    }
}
