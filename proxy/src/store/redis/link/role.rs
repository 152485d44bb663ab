//! What connections are for, and how much may be on its way on each.

/// What a connection is for. Commits have their own: one that Redis holds back holds back whatever
/// comes after it on the same connection. Purges must not wait for them, nor fail as they do. Nor must look-ups
/// wait for large bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::redis) enum Role {
    /// Look-ups. What happens to it is told in the log and in the health.
    Reads,
    /// Bodies that are apart from what is looked up.
    Bodies,
    /// Commits.
    Writes,
    /// Purges, for which requests wait.
    Purges,
    /// Leases, for which they wait too. A user who may only read is refused them, which must not hold
    /// back the look-ups.
    Leases,
}

impl Role {
    /// Commands on their way at once.
    pub(super) const fn in_flight(self) -> usize {
        match self {
            Self::Reads | Self::Leases => 1024,
            Self::Writes => 64,
            Self::Purges | Self::Bodies => 256,
        }
    }

    /// What may be on its way at once: commands, or KiB of bodies, each of which has 64 of them. Two of the
    /// largest: what nobody waits for any more is gone from the line in the time that a beat may take.
    pub(super) const fn room(self) -> usize {
        match self {
            Self::Bodies => 16 * 1024,
            other => other.in_flight(),
        }
    }

    /// Whether requests wait for its answers no longer than their budget.
    pub(super) const fn is_of_requests(self) -> bool {
        matches!(self, Self::Reads | Self::Bodies)
    }
}
