//! `store`: where responses are kept.

use super::{
    problem::Wrong,
    reader::{At, Keys, Reader},
    scalar::{show_size, size},
};
use crate::{
    address::RedisUrl,
    store::{memory, redis},
};

/// `store:` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Budget of the in-process tier, in bytes of what it really holds.
    pub memory: u64,
    /// The Redis that the fleet shares; absent: memory alone.
    pub redis: Option<RedisUrl>,
    /// What every key we write to Redis begins with; always there with `redis`.
    pub prefix: Option<String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { memory: 64 << 20, redis: None, prefix: None }
    }
}

/// Has room for a body of the default `max_body`.
const MIN_MEMORY: u64 = 8 << 20;
const MAX_PREFIX: usize = 64;

impl StoreConfig {
    /// The largest body that can be kept: a larger `max_body` is a promise not kept.
    pub(super) fn largest_body(&self) -> LargestBody {
        match self.redis {
            Some(_) => LargestBody { bytes: redis::LARGEST_BODY as u64, advice: "write less" },
            None => LargestBody {
                bytes: memory::largest_body(self.memory),
                advice: "write less, or give `store.memory` eight times as much",
            },
        }
    }
}

/// See [`StoreConfig::largest_body`].
#[derive(Clone, Copy)]
pub(super) struct LargestBody {
    pub(super) bytes: u64,
    /// What to do about a `max_body` beyond it.
    pub(super) advice: &'static str,
}

const KEYS: Keys = Keys {
    known: &["memory", "redis", "prefix"],
    later: &["on_outage", "compress", "untracked_max_age", "mode"],
    foreign: &[
        ("url", "did you mean `redis`?"),
        ("redis_url", "did you mean `redis`?"),
        ("address", "did you mean `redis`?"),
        ("valkey", "did you mean `redis`?"),
        ("size", "did you mean `memory`?"),
        ("max_size", "did you mean `memory`?"),
        ("namespace", "did you mean `prefix`?"),
        ("key_prefix", "did you mean `prefix`?"),
        ("password", "it is part of the URL, redis://:password@host:6379"),
        ("tls", "write a rediss:// URL"),
    ],
};

/// Reads `store`; what is left out has its default.
pub(super) fn store(reader: &mut Reader<'_>, at: &At<'_>) -> Option<StoreConfig> {
    let entries = reader.entries(at, "{ memory: 64MiB }", &KEYS)?;
    let default = StoreConfig::default();
    let memory =
        entries.get("memory").map_or(Some(default.memory), |at| reader.scalar(at, "a size, 64MiB", memory));
    let redis = entries.get("redis").and_then(|at| redis(reader, at));
    let prefix = entries.get("prefix").and_then(|at| reader.scalar(at, "a word, myapp", prefix));
    if redis.is_some() && entries.get("prefix").is_none() {
        let advice = "add prefix: myapp (two apps with one prefix would share entries)";
        let at = entries.get("redis").unwrap_or(at);
        reader.wrong(at, Wrong::new("`redis` needs a `prefix`", advice));
    }
    Some(StoreConfig { memory: memory?, redis, prefix })
}

fn memory(text: &str) -> Result<u64, Wrong> {
    let bytes = size(text)?;
    if bytes < MIN_MEMORY {
        let message =
            format!("{text} is too small: an eighth of it must hold the largest body that is stored");
        return Err(Wrong::new(message, format!("write {} or more", show_size(MIN_MEMORY))));
    }
    Ok(bytes)
}

/// Empty (`${REDIS_URL:-}`) is none.
fn redis(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RedisUrl> {
    if at.is_null() {
        return None;
    }
    if at.is_map() {
        reader
            .wrong(at, Wrong::new("`redis` as a map is not supported yet", "write a URL, redis://host:6379"));
        return None;
    }
    let text = reader.text(at, "a URL, redis://host:6379").filter(|text| !text.is_empty())?;
    RedisUrl::parse(&text).map_err(|error| reader.wrong(at, error.into())).ok()
}

fn prefix(text: &str) -> Result<String, Wrong> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.is_empty() || text.len() > MAX_PREFIX || !text.bytes().all(letter) {
        let advice = format!("1 to {MAX_PREFIX} letters, digits, `.`, `_` and `-`");
        return Err(Wrong::new(format!("`{text}` cannot be a prefix"), advice));
    }
    Ok(text.to_owned())
}
