//! Manners of a guest: a Redis that is shared is not filled to the brim.
//!
//! Where Redis evicts nothing, what we store stays until its TTL is over, and whoever shares that Redis
//! is refused its writes once the memory is full. So we stop at a share of it. Where Redis evicts, it
//! decides what goes, and we need not.

use std::{
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisResult, aio::MultiplexedConnection, cmd};
use tokio::time::sleep;

use super::{
    Inner,
    cluster::Node,
    link::{Refusal, jittered},
};

/// Of its memory, in per cent, beyond which nothing more is stored where nothing is evicted.
const SHARE: u64 = 90;
/// Between two questions, and for each answer.
const LOOK: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(1);

/// Whether a node has room.
#[derive(Debug, Default)]
pub(super) struct Manners {
    full: AtomicBool,
}

/// What Redis says of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    used: u64,
    /// Zero: as much as there is.
    most: u64,
    evicts: bool,
}

impl Manners {
    /// Whether nothing more is stored, for want of room that is ours.
    pub(super) fn hold_back(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

impl Memory {
    /// Reads what `INFO memory` tells.
    fn read(info: &str) -> Self {
        let mut memory = Self { evicts: true, ..Self::default() };
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "used_memory" => memory.used = value.parse().unwrap_or_default(),
                "maxmemory" => memory.most = value.parse().unwrap_or_default(),
                "maxmemory_policy" => memory.evicts = value != "noeviction",
                _ => {}
            }
        }
        memory
    }

    fn is_full(self) -> bool {
        !self.evicts && self.most > 0 && self.used / SHARE.max(1) >= self.most / 100
    }
}

/// Asks now and then, for as long as the store lives.
pub(super) async fn watch(store: Weak<Inner>) {
    loop {
        sleep(jittered(LOOK)).await;
        let Some(store) = store.upgrade() else { return };
        let view = store.nodes.view_full();
        drop(store);
        for node in view.nodes() {
            match node.memory().await {
                Ok(Ok(memory)) => node.mind(memory),
                // Not all users may ask.
                Ok(Err(error)) => tracing::debug!(%error, "Redis does not tell of its memory"),
                Err(error) => tracing::debug!(?error, "Redis does not tell of its memory"),
            }
        }
    }
}

impl Node {
    async fn memory(&self) -> Result<RedisResult<Memory>, Refusal> {
        let ask = async |mut connection: MultiplexedConnection| {
            // A refusal is no failure of the connection.
            Ok(cmd("INFO").arg("memory").query_async::<String>(&mut connection).await)
        };
        Ok(self.purges.run(LIMIT, ask).await?.map(|info| Memory::read(&info)))
    }

    fn mind(&self, memory: Memory) {
        let full = memory.is_full();
        if self.manners.full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        let Memory { used, most, .. } = memory;
        let redis = &self.dialer;
        match full {
            true => tracing::warn!(
                %redis,
                used,
                most,
                "Redis evicts nothing and is nearly full: nothing more is stored (set maxmemory-policy, or more maxmemory)"
            ),
            false => tracing::info!(%redis, used, most, "Redis has room again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(used: u64, most: u64, policy: &str) -> Memory {
        let info =
            format!("# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n");
        Memory::read(&info)
    }

    #[test]
    fn only_a_redis_that_evicts_nothing_can_be_full() {
        assert!(memory(900, 1000, "noeviction").is_full());
        assert!(!memory(890, 1000, "noeviction").is_full());
        assert!(!memory(1000, 1000, "allkeys-lru").is_full());
        assert!(!memory(1000, 1000, "volatile-ttl").is_full());
        assert!(!memory(1000, 0, "noeviction").is_full());
        assert!(memory(u64::MAX, u64::MAX, "noeviction").is_full());
        for nonsense in ["", "maxmemory:-1\r\nused_memory:x\r\n", "maxmemory_policy"] {
            assert!(!Memory::read(nonsense).is_full(), "{nonsense}");
        }
    }
}
