//! The demo product service: the slow app that `sidecache` stands in front of.
//!
//! It is an ordinary service, with nothing in it about caching. [`api`] answers HTTP with JSON,
//! [`product`] says what a valid product is, [`database`] keeps them in SQLite on a thread of its
//! own, [`error`] turns every failure into a status and a JSON body.
//!
//! `GET /products` and `GET /cached_products` are the same list, queried anew for each request and
//! sent without any caching header. What sets them apart is the rule in front of them.

pub mod api;
pub mod cli;
pub mod database;
pub mod error;
pub mod healthcheck;
pub mod product;
pub mod server;
