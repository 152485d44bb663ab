//! A real cluster of one test's own: masters that share the slots, each with a replica if the test asks
//! for them. All end with it.

use std::time::{Duration, Instant};

use redis::{Value, from_redis_value};

use super::redis::{RedisServer, eventually, free_port};

/// How many slots there are.
const SLOTS: usize = 16 * 1024;

/// Masters, and the replica of each in the same place.
pub struct Cluster {
    pub masters: Vec<RedisServer>,
    pub replicas: Vec<RedisServer>,
}

/// A node that waits a second before it takes another one for lost. The others go on without it.
fn node() -> RedisServer {
    let bus = free_port().to_string();
    RedisServer::start_on_tcp_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-port",
        &bus,
        "--cluster-require-full-coverage",
        "no",
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

fn text(value: Value) -> String {
    from_redis_value(value).expect("a text")
}

/// What a node calls itself.
pub fn id(server: &RedisServer) -> String {
    text(server.command(&["CLUSTER", "MYID"]))
}

fn bus(server: &RedisServer) -> String {
    let pair: Vec<String> =
        from_redis_value(server.command(&["CONFIG", "GET", "cluster-port"])).expect("a setting");
    pair[1].clone()
}

impl Cluster {
    /// Three masters, which share the slots.
    pub async fn start() -> Self {
        let masters: Vec<_> = (0..3).map(|_| node()).collect();
        for (place, master) in masters.iter().enumerate() {
            let epoch = (place + 1).to_string();
            master.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            let (from, to) = (SLOTS * place / 3, SLOTS * (place + 1) / 3 - 1);
            master.command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        let cluster = Self { masters, replicas: Vec::new() };
        cluster.masters[1..].iter().for_each(|other| cluster.meet(other));
        cluster.is_sound().await;
        cluster
    }

    /// The same, with a replica of each.
    pub async fn with_replicas() -> Self {
        let mut cluster = Self::start().await;
        for _ in 0..3 {
            let replica = node();
            cluster.meet(&replica);
            cluster.replicas.push(replica);
        }
        cluster.is_sound().await;
        for (master, replica) in cluster.masters.iter().zip(&cluster.replicas) {
            replica.command(&["CLUSTER", "REPLICATE", &id(master)]);
        }
        eventually("all replicas follow, and all know it", async || {
            let is_followed = |master: &RedisServer| {
                text(master.command(&["INFO", "replication"])).contains("state=online")
            };
            let knows = |server: &RedisServer| {
                text(server.command(&["CLUSTER", "NODES"]))
                    .lines()
                    .filter(|line| line.contains("slave"))
                    .count()
                    == 3
            };
            cluster.masters.iter().all(is_followed) && cluster.all().all(knows)
        })
        .await;
        cluster
    }

    fn all(&self) -> impl Iterator<Item = &RedisServer> {
        self.masters.iter().chain(&self.replicas)
    }

    fn meet(&self, other: &RedisServer) {
        let port = other.port().to_string();
        self.masters[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus(other)]);
    }

    /// Waits until every node knows every other one, and who owns what.
    pub async fn is_sound(&self) {
        let count = format!("cluster_known_nodes:{}\r", self.all().count());
        eventually("the cluster is sound", async || {
            self.all().all(|server| {
                let says = text(server.command(&["CLUSTER", "INFO"]));
                let nodes = text(server.command(&["CLUSTER", "NODES"]));
                says.contains("cluster_state:ok")
                    && says.contains(&count)
                    && says.contains("cluster_slots_assigned:16384")
                    && !nodes.contains("handshake")
            })
        })
        .await;
    }

    /// `host:port` of all masters, as the file has them.
    pub fn nodes(&self) -> String {
        let nodes: Vec<_> = self.masters.iter().map(|s| format!("'127.0.0.1:{}'", s.port())).collect();
        nodes.join(", ")
    }

    /// The port of the bus of the master of this place.
    pub fn bus(&self, place: usize) -> String {
        bus(&self.masters[place])
    }

    /// The slot of a key.
    pub fn slot(&self, name: &str) -> usize {
        from_redis_value(self.masters[0].command(&["CLUSTER", "KEYSLOT", name])).expect("a slot")
    }

    /// Which of the masters had the slot of a key at the beginning.
    pub fn place(&self, name: &str) -> usize {
        let slot = self.slot(name);
        (0..3).find(|place| slot < SLOTS * (place + 1) / 3).expect("one of the slots")
    }

    /// Waits until the replica of this place is the master. It may take some elections.
    pub async fn promoted(&self, place: usize) -> Instant {
        let master = Value::BulkString(b"master".to_vec());
        eventually("the replica is promoted", async || match self.replicas[place].try_command(&["ROLE"]) {
            Ok(Value::Array(said)) => said[0] == master,
            _ => false,
        })
        .await;
        Instant::now()
    }

    /// Moves a slot with all that is in it, as the cluster's own tools do: key by key, while it is used.
    pub fn move_slot(&self, slot: usize, from: usize, to: usize) {
        let (slot, from, to) = (slot.to_string(), &self.masters[from], &self.masters[to]);
        let (source, target) = (id(from), id(to));
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        let port = to.port().to_string();
        loop {
            let names: Vec<String> =
                from_redis_value(from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"])).expect("names");
            if names.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(names.iter().map(String::as_str));
            from.command(&words);
            std::thread::sleep(Duration::from_millis(1));
        }
        // The new owner first, so that it never is nobody's.
        for server in [to, from] {
            server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
        for server in &self.masters {
            let _ = server.try_command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
    }
}
