//! How much a test does.

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A look at everything, in seconds.
    Short,
    /// What the promises are made for, in minutes.
    Full,
}

impl Scale {
    /// `SIDECACHE_SCALE`.
    pub fn asked_for() -> Self {
        match std::env::var("SIDECACHE_SCALE").as_deref() {
            Ok("full") => Self::Full,
            Ok(other) => panic!("SIDECACHE_SCALE is `full` or not set, not {other:?}"),
            Err(_) => Self::Short,
        }
    }

    /// The one or the other.
    pub fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}
