//! What the targets share: how bytes become fields, requests and files, and a second reader of requests.

mod fields;
pub mod grammar;
pub mod settings;
pub mod strict;

pub use fields::{fields, lines_of};
