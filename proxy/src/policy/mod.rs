//! Station 6: RFC 9111 as pure functions.

pub mod cache_control;
pub mod facts;
pub mod rule;
