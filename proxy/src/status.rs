//! The one vocabulary: what became of a request, the same word in `Cache-Status` (RFC 9211), in the
//! log and in the metric.

use std::fmt;

use http::StatusCode;

use crate::headers::PSEUDONYM;

/// Words, of which the list of all of them cannot lack one.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$meaning])* $variant,)+ }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

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

words! {
    /// RFC 9211 §2.2: why a request went forward.
    pub enum Fwd {
        /// The rules say not to look.
        Bypass = "bypass",
        /// The method's semantics require it.
        Method = "method",
        /// Nothing is stored for this URL.
        UriMiss = "uri-miss",
        /// Something is, but no variant that this request selects.
        VaryMiss = "vary-miss",
        /// What is stored may not answer this request.
        Miss = "miss",
        /// What the request itself asks rules it out.
        Request = "request",
        /// What is stored is stale.
        Stale = "stale",
        /// What is stored is a part, and not the one asked for.
        Partial = "partial",
    }
}

words! {
    /// A request that neither store nor origin answered.
    pub enum Own {
        /// Refused: malformed, too large, not for this proxy.
        Refused = "refused",
        /// The origin gave no answer that could be passed on.
        OriginFailed = "origin-failed",
        /// `only-if-cached`, and nothing was (RFC 9111 §5.2.1.7).
        NotCached = "not-cached",
        /// A defect of the proxy's own.
        Failed = "failed",
        /// The client left before there was an answer.
        ClientGone = "client-gone",
        /// Meant for the proxy itself (`Max-Forwards: 0`).
        Answered = "answered",
    }
}

words! {
    /// Every cause of not looking, of not storing, or of going alone.
    pub enum Detail {
        /// No rule matches.
        NoRule = "no-rule",
        /// The rule says `cache: off`.
        RuleOff = "rule-off",
        /// Different servers may read the path differently.
        AmbiguousTarget = "ambiguous-target",
        /// A `GET` or `HEAD` with a body.
        RequestBody = "request-body",
        /// An upgrade of the protocol.
        Upgrade = "upgrade",
        /// `Connection` names fields that are not passed on.
        HiddenFields = "hidden-fields",
        /// An event stream, which has no end to wait for.
        EventStream = "event-stream",
        /// What came for `Range` is not one part of known length, or the range is not of bytes.
        Range = "range",
        /// `If-Match` or `If-Unmodified-Since`.
        Precondition = "precondition",
        /// `Cookie` that is not keyed.
        Cookie = "cookie",
        /// `Authorization` that is not keyed.
        Authorization = "authorization",
        /// The client's `no-store`.
        ClientNoStore = "client-no-store",
        /// The client's `no-cache`, `max-age`, `min-fresh` or `Pragma`.
        ClientControl = "client-control",
        /// The rule has changed in what may be stored since this was.
        RuleChanged = "rule-changed",
        /// The origin's `no-store`.
        NoStore = "no-store",
        /// The origin's `private`.
        Private = "private",
        /// The origin's `no-cache`.
        NoCache = "no-cache",
        /// A status that the rule does not store.
        StatusNotListed = "status-not-listed",
        /// An error that the request may have brought about by its size.
        OddRequest = "odd-request",
        /// Of a type that the rule does not store.
        ContentType = "content-type",
        /// Nobody states a lifetime.
        NoLifetime = "no-lifetime",
        /// The stated lifetime is over on arrival.
        NotFresh = "not-fresh",
        /// `Set-Cookie`.
        SetCookie = "set-cookie",
        /// `Vary: *`.
        VaryStar = "vary-star",
        /// More fields in `Vary` than are told apart.
        VaryTooLong = "vary-too-long",
        /// More tags than a purge could find it by.
        TooManyTags = "too-many-tags",
        /// Longer than `max_body`.
        TooLarge = "too-large",
        /// Its end is not marked, so that a cut could not be told from it.
        NoLength = "no-length",
        /// `HEAD` fills nothing.
        Head = "head",
        /// The fetch waited for selects another variant.
        OtherVariant = "other-variant",
        /// The fetch waited for was not shareable.
        NotShareable = "not-shareable",
        /// The fetch waited for took too long.
        CollapseTimeout = "collapse-timeout",
        /// The fetch waited for failed.
        CollapseFailed = "collapse-failed",
        /// The store did not answer in time.
        StoreDown = "store-down",
        /// The store takes no writes.
        StoreRefused = "store-refused",
        /// Another sidecar is fetching the same, and will store it.
        LeaseHeld = "lease-held",
        /// Another sidecar's fetch of the same took too long.
        LeaseTimeout = "lease-timeout",
        /// Purged while it was being fetched.
        Purged = "purged",
        /// It would have been a hit, and the rule is in shadow.
        ShadowHit = "shadow-hit",
        /// Served stale, while it is refreshed (RFC 5861 §3).
        StaleWhileRevalidate = "stale-while-revalidate",
        /// Served stale, because the origin failed (RFC 5861 §4).
        StaleIfError = "stale-if-error",
        /// The origin failed, and what is stored may not stand in for it.
        StaleNotAllowed = "stale-not-allowed",
        /// Served stale, because the client takes it (`max-stale`).
        MaxStale = "max-stale",
    }
}

impl Outcome {
    /// How many there are, apart from what more is said of each.
    pub const COUNT: usize = 1 + Fwd::ALL.len() + Own::ALL.len();

    /// One of each word.
    pub fn all() -> impl Iterator<Item = Self> {
        let forwards = Fwd::ALL.iter().map(|fwd| Self::Forward(Forward::because(*fwd, None)));
        let owns = Own::ALL.iter().map(|own| Self::Own(*own));
        [Self::Hit { ttl: 0, detail: None }].into_iter().chain(forwards).chain(owns)
    }

    /// Which of [`Outcome::all`] has its word.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Hit { .. } => 0,
            Self::Forward(forward) => 1 + forward.fwd as usize,
            Self::Own(own) => 1 + Fwd::ALL.len() + own as usize,
        }
    }

    /// The word for log and metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Forward(forward) => forward.fwd.as_str(),
            Self::Own(own) => own.as_str(),
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_outcome_has_a_word_and_a_place_of_its_own() {
        let words: BTreeSet<_> = Outcome::all().map(Outcome::word).collect();
        assert_eq!((words.len(), Outcome::all().count()), (Outcome::COUNT, Outcome::COUNT));
        assert!(Outcome::all().map(Outcome::place).eq(0..Outcome::COUNT));
        let details: BTreeSet<_> = Detail::ALL.iter().map(|detail| detail.as_str()).collect();
        assert_eq!(details.len(), Detail::ALL.len());
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
