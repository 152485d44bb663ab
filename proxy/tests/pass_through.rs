//! What no rule caches: it passes as it came, but for what a gateway must change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

#[path = "pass_through/bodies.rs"]
mod bodies;
#[path = "pass_through/connections.rs"]
mod connections;
#[path = "pass_through/errors.rs"]
mod errors;
#[path = "pass_through/expect.rs"]
mod expect;
#[path = "pass_through/fields.rs"]
mod fields;
#[path = "pass_through/sockets.rs"]
mod sockets;
#[path = "pass_through/timeouts.rs"]
mod timeouts;
#[path = "pass_through/trailers.rs"]
mod trailers;
