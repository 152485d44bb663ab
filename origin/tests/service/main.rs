//! The service over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only, and a test's other functions are tests as well"
)]

mod client;
mod errors;
mod lifecycle;
mod lists;
mod process;
mod products;
mod running;
