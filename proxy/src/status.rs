//! The one vocabulary: what became of a request, the same word in `Cache-Status` (RFC 9211), in the
//! log and in the metric.

use std::fmt;

use http::StatusCode;

use crate::headers::PSEUDONYM;

/// What became of one request. Every request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from the store.
    Hit {
        /// Seconds that the response stays fresh; below zero: for how long it has been stale.
        ttl: i64,
        /// Why a stale one may answer.
        detail: Option<Detail>,
    },
    /// Answered by the origin.
    Forward(Forward),
    /// Answered by the proxy itself, with an error or as the recipient of the request.
    Own(Own),
}

/// A forwarded request (RFC 9211 §2.2 to §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Why the store did not answer.
    pub fwd: Fwd,
    /// The status of the origin's answer, where another one is sent (RFC 9211 §2.3).
    pub status: Option<StatusCode>,
    /// Whether storing the answer began.
    pub stored: bool,
    /// Whether another request's fetch served this one too.
    pub collapsed: bool,
    /// The exact cause: of not looking, else of not storing.
    pub detail: Option<Detail>,
}

/// RFC 9211 §2.2: why a request went forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fwd {
    /// The rules say not to look.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored for this URL.
    UriMiss,
    /// Something is, but no variant that this request selects.
    VaryMiss,
    /// What is stored may not answer this request.
    Miss,
    /// What the request itself asks rules it out.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is a part, and not the one asked for.
    Partial,
}

/// A request that neither store nor origin answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Meant for the proxy itself (`Max-Forwards: 0`).
    Answered,
    /// Refused: malformed, too large, not for this proxy.
    Refused,
    /// The origin gave no answer that could be passed on.
    OriginFailed,
    /// The client left before there was an answer.
    ClientGone,
    /// A defect of the proxy's own.
    Failed,
    /// `only-if-cached`, and nothing was (RFC 9111 §5.2.1.7).
    NotCached,
}

/// Every cause of not looking, of not storing, or of going alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// No rule matches.
    NoRule,
    /// The rule says `cache: off`.
    RuleOff,
    /// Different servers may read the path differently.
    AmbiguousTarget,
    /// A `GET` or `HEAD` with a body.
    RequestBody,
    /// An upgrade of the protocol.
    Upgrade,
    /// `Connection` names fields that are not passed on.
    HiddenFields,
    /// An event stream, which has no end to wait for.
    EventStream,
    /// What came for `Range` is not one part of known length.
    Range,
    /// `If-Match` or `If-Unmodified-Since`.
    Precondition,
    /// `Cookie` that is not keyed.
    Cookie,
    /// `Authorization` that is not keyed.
    Authorization,
    /// The client's `no-store`.
    ClientNoStore,
    /// The client's `no-cache`, `max-age`, `min-fresh` or `Pragma`.
    ClientControl,
    /// The rule has changed in what may be stored since this was.
    RuleChanged,
    /// The origin's `no-store`.
    NoStore,
    /// The origin's `private`.
    Private,
    /// The origin's `no-cache`.
    NoCache,
    /// A status that the rule does not store.
    StatusNotListed,
    /// An error that the request may have brought about by its size.
    OddRequest,
    /// Of a type that the rule does not store.
    ContentType,
    /// Nobody states a lifetime.
    NoLifetime,
    /// The stated lifetime is over on arrival.
    NotFresh,
    /// `Set-Cookie`.
    SetCookie,
    /// `Vary: *`.
    VaryStar,
    /// More fields in `Vary` than are told apart.
    VaryTooLong,
    /// More tags than a purge could find it by.
    TooManyTags,
    /// Longer than `max_body`.
    TooLarge,
    /// Its end is not marked, so that a cut could not be told from it.
    NoLength,
    /// `HEAD` fills nothing.
    Head,
    /// The fetch waited for selects another variant.
    OtherVariant,
    /// The fetch waited for was not shareable.
    NotShareable,
    /// The fetch waited for took too long.
    CollapseTimeout,
    /// The fetch waited for failed.
    CollapseFailed,
    /// The store did not answer in time.
    StoreDown,
    /// The store takes no writes.
    StoreRefused,
    /// Another sidecar is fetching the same, and will store it.
    LeaseHeld,
    /// Another sidecar's fetch of the same took too long.
    LeaseTimeout,
    /// Purged while it was being fetched.
    Purged,
    /// It would have been a hit, and the rule is in shadow.
    ShadowHit,
    /// Served stale, while it is refreshed (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Served stale, because the origin failed (RFC 5861 §4).
    StaleIfError,
    /// The origin failed, and what is stored may not stand in for it.
    StaleNotAllowed,
    /// Served stale, because the client takes it (`max-stale`).
    MaxStale,
}

impl Detail {
    /// All of them, in their order.
    pub const ALL: &'static [Self] = &[
        Self::NoRule,
        Self::RuleOff,
        Self::AmbiguousTarget,
        Self::RequestBody,
        Self::Upgrade,
        Self::HiddenFields,
        Self::EventStream,
        Self::Range,
        Self::Precondition,
        Self::Cookie,
        Self::Authorization,
        Self::ClientNoStore,
        Self::ClientControl,
        Self::RuleChanged,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::StatusNotListed,
        Self::OddRequest,
        Self::ContentType,
        Self::NoLifetime,
        Self::NotFresh,
        Self::SetCookie,
        Self::VaryStar,
        Self::VaryTooLong,
        Self::TooManyTags,
        Self::TooLarge,
        Self::NoLength,
        Self::Head,
        Self::OtherVariant,
        Self::NotShareable,
        Self::CollapseTimeout,
        Self::CollapseFailed,
        Self::StoreDown,
        Self::StoreRefused,
        Self::LeaseHeld,
        Self::LeaseTimeout,
        Self::Purged,
        Self::ShadowHit,
        Self::StaleWhileRevalidate,
        Self::StaleIfError,
        Self::StaleNotAllowed,
        Self::MaxStale,
    ];

    /// The word in `detail=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no-rule",
            Self::RuleOff => "rule-off",
            Self::AmbiguousTarget => "ambiguous-target",
            Self::RequestBody => "request-body",
            Self::Upgrade => "upgrade",
            Self::HiddenFields => "hidden-fields",
            Self::EventStream => "event-stream",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::Cookie => "cookie",
            Self::Authorization => "authorization",
            Self::ClientNoStore => "client-no-store",
            Self::ClientControl => "client-control",
            Self::RuleChanged => "rule-changed",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::StatusNotListed => "status-not-listed",
            Self::OddRequest => "odd-request",
            Self::ContentType => "content-type",
            Self::NoLifetime => "no-lifetime",
            Self::NotFresh => "not-fresh",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::VaryTooLong => "vary-too-long",
            Self::TooManyTags => "too-many-tags",
            Self::TooLarge => "too-large",
            Self::NoLength => "no-length",
            Self::Head => "head",
            Self::OtherVariant => "other-variant",
            Self::NotShareable => "not-shareable",
            Self::CollapseTimeout => "collapse-timeout",
            Self::CollapseFailed => "collapse-failed",
            Self::StoreDown => "store-down",
            Self::StoreRefused => "store-refused",
            Self::LeaseHeld => "lease-held",
            Self::LeaseTimeout => "lease-timeout",
            Self::Purged => "purged",
            Self::ShadowHit => "shadow-hit",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::StaleNotAllowed => "stale-not-allowed",
            Self::MaxStale => "max-stale",
        }
    }
}

impl Fwd {
    /// The word in `fwd=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl Outcome {
    /// All words that [`Outcome::word`] can give: what metrics count.
    pub const WORDS: [&'static str; 15] = [
        "hit",
        "bypass",
        "method",
        "uri-miss",
        "vary-miss",
        "miss",
        "request",
        "stale",
        "partial",
        "refused",
        "origin-failed",
        "not-cached",
        "failed",
        "client-gone",
        "answered",
    ];

    /// The word for log and metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Forward(forward) => forward.fwd.as_str(),
            Self::Own(Own::Answered) => "answered",
            Self::Own(Own::Refused) => "refused",
            Self::Own(Own::OriginFailed) => "origin-failed",
            Self::Own(Own::NotCached) => "not-cached",
            Self::Own(Own::Failed) => "failed",
            Self::Own(Own::ClientGone) => "client-gone",
        }
    }

    /// The status of the origin's answer, where another one is sent.
    #[must_use]
    pub fn fwd_status(self) -> Option<StatusCode> {
        match self {
            Self::Forward(forward) => forward.status,
            Self::Hit { .. } | Self::Own(_) => None,
        }
    }

    /// The exact cause, where there is one to name.
    #[must_use]
    pub fn detail(self) -> Option<Detail> {
        match self {
            Self::Forward(Forward { detail, .. }) | Self::Hit { detail, .. } => detail,
            Self::Own(_) => None,
        }
    }
}

impl Forward {
    /// Forwarded for `fwd`, and no more known yet.
    #[must_use]
    pub fn because(fwd: Fwd, detail: Option<Detail>) -> Self {
        Self { fwd, status: None, stored: false, collapsed: false, detail }
    }
}

/// The value of `Cache-Status`; nothing for what the proxy answers itself (RFC 9211 §2).
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl, detail } => {
                write!(f, "{PSEUDONYM}; hit; ttl={ttl}")?;
                write_detail(f, *detail)
            }
            Self::Forward(forward) => forward.fmt(f),
            Self::Own(_) => Ok(()),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PSEUDONYM}; fwd={}", self.fwd.as_str())?;
        if let Some(status) = self.status {
            write!(f, "; fwd-status={}", status.as_str())?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        write_detail(f, self.detail)
    }
}

fn write_detail(f: &mut fmt::Formatter<'_>, detail: Option<Detail>) -> fmt::Result {
    match detail {
        Some(detail) => write!(f, "; detail={}", detail.as_str()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_details_are_listed_once_and_in_order() {
        let places: Vec<_> = Detail::ALL.iter().map(|detail| *detail as usize).collect();
        assert_eq!(places, (0..=Detail::MaxStale as usize).collect::<Vec<_>>());
    }

    #[test]
    fn reads_as_rfc_9211_has_it() {
        assert_eq!(Outcome::Hit { ttl: 7, detail: None }.to_string(), "sidecache; hit; ttl=7");
        let mut forward = Forward::because(Fwd::UriMiss, None);
        forward.stored = true;
        forward.collapsed = true;
        assert_eq!(Outcome::Forward(forward).to_string(), "sidecache; fwd=uri-miss; stored; collapsed");
        let bypass = Forward::because(Fwd::Bypass, Some(Detail::Cookie));
        assert_eq!(Outcome::Forward(bypass).to_string(), "sidecache; fwd=bypass; detail=cookie");
        assert_eq!(Outcome::Own(Own::Refused).to_string(), "");
    }
}
