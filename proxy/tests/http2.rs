//! HTTP/2 towards clients: the same answers, and what its frames can be abused for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

#[path = "http2/abuse.rs"]
mod abuse;
#[path = "http2/exchanges.rs"]
mod exchanges;
#[path = "http2/frames.rs"]
mod frames;
#[path = "http2/friend.rs"]
mod friend;
#[path = "http2/heads.rs"]
mod heads;
#[path = "http2/time.rs"]
mod time;
