//! Manners of a guest: a Redis that is shared is not filled to the brim.
//!
//! Where Redis evicts nothing, what we store stays until its TTL is over, and whoever shares that Redis
//! is refused its writes once the memory is full. So we stop at a share of it. Where Redis evicts, it
//! decides what goes, and we need not.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, FromRedisValue, RedisResult, aio::MultiplexedConnection, cmd};
use tokio::time::sleep;

use super::{Inner, RedisStore, cluster::Node, link::jittered};
use crate::store::StoreError;

/// Of its memory, in per cent, beyond which nothing more is stored where nothing is evicted.
const SHARE: u64 = 90;
/// Between two questions, and for each answer.
const LOOK: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(1);

/// Whether a node has room.
#[derive(Debug, Default)]
pub(super) struct Manners {
    full: AtomicBool,
    /// As it said last, while it says so.
    room: Mutex<Option<Room>>,
}

/// What all who share Redis have stored in it, in all its nodes: what is ours of that, it cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory that it uses.
    pub used: u64,
    /// Bytes that it may use; zero, where it has no limit.
    pub most: u64,
    /// Keys in its database.
    pub keys: u64,
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

    /// An error, where nothing is: for what would be stored, and for the lease that it would need.
    pub(super) fn let_in(&self) -> Result<(), StoreError> {
        match self.hold_back() {
            true => Err(StoreError::Refused("Redis is nearly full, and evicts nothing".to_owned())),
            false => Ok(()),
        }
    }

    fn told(&self, room: Option<Room>) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }
}

impl RedisStore {
    /// Whether a node is so full that nothing more is stored there, since it evicts nothing.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        !self.0.nodes.all(|node| !node.is_nearly_full())
    }
}

impl Room {
    /// Of these nodes together, if all of them have told.
    pub(super) fn of(nodes: &[Arc<Node>]) -> Option<Self> {
        let told = |node: &Arc<Node>| *node.manners.room.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().map(told).reduce(|all, next| Some(all?.and(next?)))?
    }

    fn and(self, other: Self) -> Self {
        let unlimited = self.most == 0 || other.most == 0;
        Self {
            used: self.used.saturating_add(other.used),
            most: if unlimited { 0 } else { self.most.saturating_add(other.most) },
            keys: self.keys.saturating_add(other.keys),
        }
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
            node.manners.told(node.room().await);
        }
    }
}

impl Node {
    /// Asks what it holds, and minds whether it is full.
    async fn room(&self) -> Option<Room> {
        let memory = self.told(cmd("INFO").arg("memory")).await.map(|info: String| Memory::read(&info));
        memory.into_iter().for_each(|memory| self.mind(memory));
        let keys = self.told(&cmd("DBSIZE")).await?;
        memory.map(|Memory { used, most, .. }| Room { used, most, keys })
    }

    /// The answer, if it is there, and this user may ask. A refusal is no failure of the connection.
    async fn told<T: FromRedisValue>(&self, question: &Cmd) -> Option<T> {
        let ask = async |mut connection: MultiplexedConnection| {
            Ok::<RedisResult<T>, _>(question.query_async(&mut connection).await)
        };
        match self.purges.run(LIMIT, ask).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis does not tell what it holds");
                None
            }
            Err(error) => {
                tracing::debug!(?error, "Redis does not tell what it holds");
                None
            }
        }
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
    fn one_node_without_a_limit_is_a_fleet_without_one() {
        let room = |used, most, keys| Room { used, most, keys };
        assert_eq!(room(1, 10, 2).and(room(3, 20, 4)), room(4, 30, 6));
        assert_eq!(room(1, 10, 2).and(room(3, 0, 4)), room(4, 0, 6));
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
