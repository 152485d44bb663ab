//! What a rule in shadow makes of a decision: it is told, and not acted on.

use super::reuse::{Decision, When};
use crate::status::{Detail, Forward, Fwd};

/// What would have become of a request that goes to the origin in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// What is said of it.
    pub forward: Forward,
    /// Whether a cache would have fetched it, too: only then does what comes take the place of what is noted.
    pub fetches: bool,
}

impl Decision {
    /// A hit goes forward and says that it would have been one; all else says what it would have said.
    #[must_use]
    pub fn in_shadow(self) -> Shadow {
        let would_hit = Forward::because(Fwd::Bypass, Some(Detail::ShadowHit));
        match self {
            Self::Serve(_) => Shadow { forward: would_hit, fetches: false },
            // Of several requests the first one refreshes it; here each of them is a fetch of its own.
            Self::ServeAndRefresh(_, When::Now | When::IfWanted) => {
                Shadow { forward: would_hit, fetches: true }
            }
            Self::Fetch(fetch) => Shadow { forward: fetch.forward, fetches: true },
            // The origin would have been spared; without a cache it is not.
            Self::NotCached => {
                let forward = Forward::because(Fwd::Request, Some(Detail::ClientControl));
                Shadow { forward, fetches: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::reuse::{Fetch, Freshness};

    #[test]
    fn only_a_hit_says_so_and_only_a_plain_one_fetches_nothing() {
        let freshness =
            Freshness { age: Duration::ZERO, left: Duration::ZERO, stale: Duration::ZERO, allowed: None };
        let missed = Forward::because(Fwd::VaryMiss, None);
        let fetch = Fetch { forward: missed, collapse: true, validate: true };
        for (decision, word, detail, fetches) in [
            (Decision::Serve(freshness), Fwd::Bypass, Some(Detail::ShadowHit), false),
            (Decision::ServeAndRefresh(freshness, When::Now), Fwd::Bypass, Some(Detail::ShadowHit), true),
            (
                Decision::ServeAndRefresh(freshness, When::IfWanted),
                Fwd::Bypass,
                Some(Detail::ShadowHit),
                true,
            ),
            (Decision::Fetch(fetch), Fwd::VaryMiss, None, true),
            (Decision::NotCached, Fwd::Request, Some(Detail::ClientControl), true),
        ] {
            let shadow = decision.in_shadow();
            assert_eq!((shadow.forward.fwd, shadow.forward.detail, shadow.fetches), (word, detail, fetches));
        }
    }
}
