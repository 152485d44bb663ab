//! Station 2: refuses what must never be forwarded. Pure.

mod target;

pub use target::{Scheme, Target, TargetError, normalise_authority};
