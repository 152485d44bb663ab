//! What the targets share: how bytes become fields and requests, and a second reader of requests.

mod fields;
pub mod grammar;
pub mod strict;

pub use fields::{fields, lines_of};
