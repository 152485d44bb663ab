//! Sidecache.

pub mod address;
pub mod admit;
pub mod clock;
pub mod config;
pub mod key;
pub mod limits;
pub mod policy;
pub mod routes;
