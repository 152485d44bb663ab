//! The command in front of apps that know nothing of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

#[path = "third_party/app.rs"]
mod app;
#[path = "third_party/drain.rs"]
mod drain;
#[path = "third_party/events.rs"]
mod events;
#[path = "third_party/files.rs"]
mod files;
#[path = "third_party/large.rs"]
mod large;
#[path = "third_party/websocket.rs"]
mod websocket;
#[path = "third_party/wrap.rs"]
mod wrap;
