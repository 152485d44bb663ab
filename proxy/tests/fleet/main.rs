//! Three sidecars, one Redis: they must behave as one cache. Real processes, each with a line of its
//! own to Redis on which the tests make faults.
//!
//! - [`consistency`]: whatever happens, no read that began after a purge was acknowledged returns what
//!   was purged. A history is recorded and judged afterwards.
//! - [`troubles`]: the same promise in each trouble by itself, made to happen.
//! - [`single_fetch`]: one fetch for an expiry, however many ask, and who takes over when its holder dies.
//! - [`purge_times`]: how soon a purge on one sidecar is seen on the others, and what it costs.
//!
//! `make test` runs short forms; `make consistency` and `make fleet` set `SIDECACHE_SCALE=full`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]
#![allow(clippy::print_stdout, reason = "what was measured is worth a look")]

#[path = "../support/mod.rs"]
mod support;

mod around;
mod catalogue;
mod client;
mod consistency;
mod faults;
mod history;
mod purge_times;
mod purger;
mod random;
mod reader;
mod shop;
mod sidecars;
mod single_fetch;
mod troubles;
mod verdict;
mod writer;

use support::scale::Scale;
