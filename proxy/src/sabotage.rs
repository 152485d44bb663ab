//! What holds the fleet together, or keeps a peer out, left out on purpose: so that the check of
//! consistency, and the fuzzing, can show that they would notice. Only builds with the feature `sabotage`
//! can; in all others this is nothing.

/// What can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// Memory takes what was read from Redis though its resource has changed meanwhile.
    InsertionGuard,
    /// A purge waits for nobody.
    Acknowledgement,
    /// A purge leaves the leases of a resource as they are, and what is being fetched with them.
    LeaseBreak,
    /// A request may have both a `Content-Length` and a `Transfer-Encoding`.
    OneFraming,
    /// The sizes of a file may be any.
    SizeBounds,
    /// An entry may have fields that frame a message.
    EntryFields,
    /// The admin listener takes names that begin as one of its own for its own.
    AdminHost,
    /// Fields that `Connection` lists go on to the origin.
    ListedFields,
    /// A PROXY header may be too short for the addresses that it announces.
    ProxyAddresses,
}

/// The environment variable that names it, in a build that can.
pub const VARIABLE: &str = "SIDECACHE_SABOTAGE";

impl Omission {
    /// What [`VARIABLE`] calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InsertionGuard => "insertion-guard",
            Self::Acknowledgement => "acknowledgement",
            Self::LeaseBreak => "lease-break",
            Self::OneFraming => "one-framing",
            Self::SizeBounds => "size-bounds",
            Self::EntryFields => "entry-fields",
            Self::AdminHost => "admin-host",
            Self::ListedFields => "listed-fields",
            Self::ProxyAddresses => "proxy-addresses",
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
