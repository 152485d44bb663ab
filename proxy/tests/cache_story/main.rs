//! The story of a request as its client sees it: miss, hit, hit. Each test runs on memory, on a
//! real Redis, and on memory before Redis, with a clock that it moves itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

#[path = "../support/mod.rs"]
mod support;

/// Runs each of these `async fn(On)` once for each store, and for both together.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::story::On::Memory).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::story::On::Redis).await;
            })+
        }
        mod tiers {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::support::story::On::Tiers).await;
            })+
        }
    };
}

mod apart;
mod arrivals;
mod bodies;
mod bypasses;
mod credentials;
mod directives;
mod fleet;
mod hits;
mod invalidation;
mod keys;
mod learnt;
mod parts;
mod purges;
mod ranges;
mod rules;
mod shadow;
mod siblings;
mod stale;
mod storing;
mod tags;
mod validation;
