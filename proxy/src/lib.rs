//! Sidecache.

pub mod admin;
pub mod admit;
pub mod cli;
pub mod clock;
pub mod headers;
pub mod key;
pub mod limits;
pub mod policy;
pub mod reload;
pub mod status;
pub mod store;
pub mod stored;
pub mod telemetry;
pub mod wrap;
