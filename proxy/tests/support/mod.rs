//! What the tests of several stations share.

pub mod redis;
