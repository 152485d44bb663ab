//! What the tests of several stations share.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

pub mod admin;
pub mod browser;
pub mod cluster;
pub mod echo;
pub mod entries;
pub mod fleet;
pub mod load;
pub mod named;
pub mod origin;
pub mod process;
pub mod purges;
pub mod redis;
pub mod relay;
pub mod rig;
pub mod scale;
pub mod sentinel;
pub mod sidecar;
pub mod spawned;
pub mod story;
pub mod usage;
pub mod users;
pub mod wire;
