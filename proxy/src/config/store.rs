//! `store`: where responses are kept.

use std::{path::PathBuf, time::Duration};

use super::{
    keys::{Absent, Key, Keys, Kind, Text, words},
    problem::Wrong,
    reader::{At, Reader},
    redis::{self, path, redis},
    scalar::{DURATION, SIZE, count, duration, show_duration, show_size, size},
};
use crate::{
    address::RedisAccess,
    store::{memory, redis::LARGEST_BODY, tiers::OnOutage},
    stored::Compression,
};

/// `store:` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Budget of the in-process tier, in bytes of what it really holds. Absent, which only `redis` lets it
    /// be: there is no such tier.
    pub memory: Option<u64>,
    /// The Redis that the fleet shares; absent: memory alone.
    pub redis: Option<RedisAccess>,
    /// What every key we write to Redis begins with; always there with `redis`.
    pub prefix: Option<String>,
    /// With `redis`: what is done while it cannot be reached.
    pub on_outage: OnOutage,
    /// With `redis`: for how long memory serves an entry where Redis does not tell what changes.
    pub untracked_max_age: Duration,
    /// With `redis`: how bodies are written there.
    pub compress: Compression,
    /// With `redis`: where the keys are that entries there are proven with.
    pub hmac_key_file: Option<PathBuf>,
    /// With `on_outage: shed`: fetches at once beyond which requests are refused.
    pub shed_above: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memory: Some(64 << 20),
            redis: None,
            prefix: None,
            on_outage: OnOutage::Serve,
            untracked_max_age: Duration::from_secs(2),
            compress: Compression::Off,
            hmac_key_file: None,
            shed_above: 64,
        }
    }
}

/// Has room for a body of the default `max_body`.
const MIN_MEMORY: u64 = 8 << 20;
const MAX_PREFIX: usize = 64;
/// So long a purge may have to wait for a sidecar that is not told of it.
const MAX_UNTRACKED: Duration = Duration::from_secs(20);
/// Fetches at once that an outage may be told to allow.
const MAX_SHED_ABOVE: usize = 1_000_000;
/// The words of `on_outage`.
const ON_OUTAGE: [(&str, OnOutage); 3] =
    [("serve", OnOutage::Serve), ("bypass", OnOutage::Bypass), ("shed", OnOutage::Shed)];

/// The words of `compress`.
const COMPRESS: [(&str, Compression); 2] = [("off", Compression::Off), ("zstd", Compression::Zstd)];

impl StoreConfig {
    /// The largest body that can be kept: a larger `max_body` is a promise not kept.
    pub(super) fn largest_body(&self) -> LargestBody {
        match self.redis {
            Some(_) => LargestBody { bytes: LARGEST_BODY as u64, advice: "write less" },
            None => LargestBody {
                bytes: memory::largest_body(self.memory.unwrap_or_default()),
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

const PREFIX: Text =
    Text { is: "letters, digits, `.`, `_` and `-`", like: "[A-Za-z0-9._-]{1,64}", bare: true };
/// The words of `memory`.
const NO_MEMORY: [&str; 2] = ["off", "false"];

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "memory",
            Absent::Is("64MiB"),
            Kind::Either(&[Kind::Text(&SIZE), Kind::Words(&NO_MEMORY)]),
            "the most that stored responses take in this process, in front of Redis too; at least `8MiB`. \
             `off`, only with `store.redis`: Redis is asked each time",
        ),
        Key::new(
            "redis",
            Absent::Means("none"),
            Kind::Either(&[Kind::Text(&redis::URL), Kind::Map(&redis::KEYS), Kind::Empty]),
            "the Redis that the fleet shares: `redis://`, `rediss://` or `redis+unix://`; empty is none; \
             or a map",
        ),
        Key::new(
            "prefix",
            Absent::Means("none; required with `redis`"),
            Kind::Text(&PREFIX),
            "what every key in Redis begins with: one for each app",
        ),
        Key::new(
            "on_outage",
            Absent::Is("serve"),
            Kind::Words(&words(&ON_OUTAGE)),
            "while Redis cannot be reached: `serve`, memory goes on as long as what it has is fresh; \
             `bypass`, each request goes to the app by itself; `shed`, as `serve`, but beyond \
             `shed_above` misses at once further ones get 503",
        ),
        Key::new(
            "untracked_max_age",
            Absent::Is("2s"),
            Kind::Text(&DURATION),
            "for how long memory serves an entry where Redis does not tell what changes; `0s`: not at \
             all; 20 seconds at most. A purge waits for such a sidecar as long as that, and two seconds \
             at least",
        ),
        Key::new(
            "compress",
            Absent::Is("off"),
            Kind::Words(&words(&COMPRESS)),
            "`zstd`: in Redis, bodies of 1 KiB to 1 MiB that are text by their `Content-Type`, and have \
             no `Content-Encoding`, are packed; memory and clients have them plain. What was written the \
             other way is read all the same",
        ),
        Key::new(
            "hmac_key_file",
            Absent::Means("none"),
            Kind::Text(&redis::PATH),
            "for a Redis that others may write to: a file with a key in each line, of 32 bytes or more \
             (`openssl rand -hex 32`). Entries are then written with a code made with the first key \
             (HMAC-SHA-256), and only those are believed whose code was made with any of the keys; \
             whatever else is there is a miss. The file is read at the start. For a new key: add it as a \
             second line everywhere, then make it the first, then remove the old one, each with a restart \
             of one sidecar after the other; nothing that is cached is lost. Not covered: an older answer \
             of the same resource put back, and purges",
        ),
        Key::new(
            "shed_above",
            Absent::Is("64"),
            Kind::Count { least: 1, most: MAX_SHED_ABOVE },
            "with `on_outage: shed`: misses fetched at once, beyond which an outage refuses further ones",
        ),
    ],
    foreign: &[
        ("hmac", "did you mean `hmac_key_file`?"),
        ("sign", "did you mean `hmac_key_file`?"),
        ("hmac_key", "write the key into a file, and hmac_key_file: /path/of/it"),
        ("compression", "did you mean `compress`?"),
        ("zstd", "write compress: zstd"),
        ("url", "did you mean `redis`?"),
        ("redis_url", "did you mean `redis`?"),
        ("address", "did you mean `redis`?"),
        ("valkey", "did you mean `redis`?"),
        ("size", "did you mean `memory`?"),
        ("max_size", "did you mean `memory`?"),
        ("namespace", "did you mean `prefix`?"),
        ("key_prefix", "did you mean `prefix`?"),
        (
            "password",
            "it is part of the URL, redis://:password@host:6379; or write redis: { password_file: … }",
        ),
        ("password_file", "`password_file` belongs in `redis`"),
        ("user", "`user` belongs in `redis`"),
        ("database", "`database` belongs in `redis`"),
        ("nodes", "`nodes` belongs in `redis`"),
        ("sentinel", "`sentinel` belongs in `redis`"),
        ("mode", "`mode` belongs in `redis`"),
        ("tls", "write a rediss:// URL, or redis: { tls: … }"),
    ],
};

/// Reads `store`; what is left out has its default.
pub(super) fn store(reader: &mut Reader<'_>, at: &At<'_>) -> Option<StoreConfig> {
    let entries = reader.entries(at, "{ memory: 64MiB }", &KEYS)?;
    let default = StoreConfig::default();
    let memory =
        entries.get("memory").map_or(Some(default.memory), |at| reader.scalar(at, "a size, 64MiB", memory));
    let on_outage =
        entries.get("on_outage").map_or(Some(default.on_outage), |at| reader.word(at, &ON_OUTAGE));
    let untracked_max_age = entries
        .get("untracked_max_age")
        .map_or(Some(default.untracked_max_age), |at| reader.scalar(at, "a duration, 2s", untracked_max_age));
    let compress = entries.get("compress").map_or(Some(default.compress), |at| reader.word(at, &COMPRESS));
    let hmac_key_file = entries.get("hmac_key_file").map(|at| reader.scalar(at, redis::PATH.is, path));
    let shed_above = entries
        .get("shed_above")
        .map_or(Some(default.shed_above), |at| reader.scalar(at, "a number, 64", shed_above));
    let found_before = reader.problems.len();
    let redis = entries.get("redis").and_then(|at| redis(reader, at));
    let without = redis.is_none() && reader.problems.len() == found_before;
    let prefix = entries.get("prefix").and_then(|at| reader.scalar(at, "a word, myapp", prefix));
    if redis.is_some() && entries.get("prefix").is_none() {
        let advice = "add prefix: myapp (two apps with one prefix would share entries)";
        let at = entries.get("redis").unwrap_or(at);
        reader.wrong(at, Wrong::new("`redis` needs a `prefix`", advice));
    }
    if let Some(at) = entries.get("hmac_key_file").filter(|_| without) {
        let problem = "without `redis`, there is nothing to prove: only this process has what it stores";
        reader.wrong(at, Wrong::new(problem, "remove it"));
    }
    if memory == Some(None) && without {
        let at = entries.get("memory").unwrap_or(at);
        reader.wrong(
            at,
            Wrong::new("without `redis`, responses are kept in memory alone", "write a size, 64MiB"),
        );
    }
    if shed_above.is_some()
        && entries.get("shed_above").is_some()
        && on_outage.is_some_and(|does| does != OnOutage::Shed)
    {
        let at = entries.get("shed_above").unwrap_or(at);
        reader.wrong(at, Wrong::new("`shed_above` has no effect here", "add on_outage: shed, or remove it"));
    }
    Some(StoreConfig {
        memory: memory?,
        redis,
        prefix,
        on_outage: on_outage?,
        untracked_max_age: untracked_max_age?,
        compress: compress?,
        hmac_key_file: hmac_key_file.map_or(Some(None), |path| path.map(|path| Some(PathBuf::from(path))))?,
        shed_above: shed_above?,
    })
}

/// `off` is none.
fn memory(text: &str) -> Result<Option<u64>, Wrong> {
    if NO_MEMORY.contains(&text) {
        return Ok(None);
    }
    let bytes = size(text)?;
    if bytes < MIN_MEMORY {
        let message =
            format!("{text} is too small: an eighth of it must hold the largest body that is stored");
        return Err(Wrong::new(message, format!("write {} or more", show_size(MIN_MEMORY))));
    }
    Ok(Some(bytes))
}

fn untracked_max_age(text: &str) -> Result<Duration, Wrong> {
    let length = duration(text)?;
    if length > MAX_UNTRACKED {
        let message =
            format!("{text} is too long: a purge waits as long for a sidecar that is not told of it");
        return Err(Wrong::new(message, format!("write {} or less", show_duration(MAX_UNTRACKED))));
    }
    Ok(length)
}

fn shed_above(text: &str) -> Result<usize, Wrong> {
    match count(text)? {
        0 => Err(Wrong::new("0 would refuse every miss", "write 1 or more")),
        fetches if fetches > MAX_SHED_ABOVE => {
            Err(Wrong::new(format!("{text} is too much"), format!("write {MAX_SHED_ABOVE} at most")))
        }
        fetches => Ok(fetches),
    }
}

fn prefix(text: &str) -> Result<String, Wrong> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.is_empty() || text.len() > MAX_PREFIX || !text.bytes().all(letter) {
        let advice = format!("1 to {MAX_PREFIX} letters, digits, `.`, `_` and `-`");
        return Err(Wrong::new(format!("`{text}` cannot be a prefix"), advice));
    }
    Ok(text.to_owned())
}
