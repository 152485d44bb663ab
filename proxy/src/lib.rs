//! Sidecache.

pub mod admit;
pub mod clock;
pub mod key;
pub mod limits;
pub mod policy;
pub mod upstream;
