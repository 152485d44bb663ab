//! What holds the fleet together, left out on purpose: so that the check of its consistency can show
//! that it would notice. Only builds with the feature `sabotage` can; in all others this is nothing.

/// What can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// Memory takes what was read from Redis though its resource has changed meanwhile.
    InsertionGuard,
    /// A purge waits for nobody.
    Acknowledgement,
    /// A purge leaves the leases of a resource as they are, and what is being fetched with them.
    LeaseBreak,
}

/// The environment variable that names it, in a build that can.
pub const VARIABLE: &str = "SIDECACHE_SABOTAGE";

impl Omission {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InsertionGuard, Self::Acknowledgement, Self::LeaseBreak];

    /// What [`VARIABLE`] calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InsertionGuard => "insertion-guard",
            Self::Acknowledgement => "acknowledgement",
            Self::LeaseBreak => "lease-break",
        }
    }

    /// Whether this process leaves it out.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn is_made(self) -> bool {
        use std::sync::OnceLock;
        static NAMED: OnceLock<Option<String>> = OnceLock::new();
        NAMED.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(self.name())
    }

    /// Whether this process leaves it out: never.
    #[cfg(not(feature = "sabotage"))]
    #[must_use]
    pub const fn is_made(self) -> bool {
        let _ = self;
        false
    }
}
