//! Station 6: RFC 9111 as pure functions.

pub mod rule;
