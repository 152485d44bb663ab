//! The binary among faults of its origin, of its machine and of those who run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "its figures are for people")]

mod support;

#[path = "process_faults/kill.rs"]
mod kill;
#[path = "process_faults/load.rs"]
mod load;
#[path = "fleet/random.rs"]
#[allow(dead_code, reason = "this test uses its part of it")]
mod random;
#[path = "process_faults/starved.rs"]
mod starved;
