//! A Redis that answers, and refuses: all, or what writes.

use std::{fs, thread};

use redis::Value;
use tokio::task::{JoinSet, block_in_place};

use crate::{
    TARGETS, Trial, assert_harmless, hits_return, is_missed, missed,
    support::{
        browser::Browser,
        origin::{Origin, ok},
        process::free_port,
        redis::{RedisServer, eventually},
        spawned::Spawned,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_loads_what_it_has_it_is_missed() {
    // Two milliseconds for each key, as if there were a hundred times as many.
    let slowly = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    let mut trial = Trial::start(RedisServer::start_with(&slowly)).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    trial.redis.command(&["EVAL", "for i = 1, 1500 do redis.call('SET', 'filler-' .. i, '') end", "0"]);
    trial.redis.command(&["SAVE"]);
    let Trial { redis, sidecar, .. } = &mut trial;
    let was_loading = block_in_place(|| {
        thread::scope(|scope| {
            let restart = scope.spawn(|| redis.restart_as_saved());
            let mut was_loading = false;
            while !restart.is_finished() {
                was_loading |= sidecar.admin_text("/readyz").contains("LOADING");
            }
            restart.join().unwrap();
            was_loading
        })
    });
    assert!(was_loading, "it came back too soon to be asked");
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_room_for_another_client_it_is_missed() {
    let trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    let mut operator = trial.redis.connect().unwrap();
    let mut tell = |line: &str| -> Value {
        let mut command = redis::Cmd::new();
        line.split(' ').for_each(|word| {
            command.arg(word);
        });
        command.query(&mut operator).unwrap()
    };
    tell("CONFIG SET maxclients 1");
    tell("CLIENT KILL TYPE normal");
    is_missed(&load).await;
    let rejected = figure(tell("INFO stats"), "rejected_connections");
    assert!(rejected > 0, "none was turned away");
    tell("CONFIG SET maxclients 100");
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

/// One of what `INFO` tells.
fn figure(info: Value, name: &str) -> usize {
    let info: String = redis::from_redis_value(info).unwrap();
    let (_, rest) = info.split_once(&format!("{name}:")).unwrap_or_else(|| panic!("{name} in {info}"));
    rest.lines().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_that_is_down_it_is_missed() {
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let [port, bus] = ports.each_ref().map(String::as_str);
    let redis = RedisServer::start_with(&["--cluster-enabled", "yes", "--port", port, "--cluster-port", bus]);
    is_whole_again(&redis).await;
    let trial = Trial::start(redis).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    trial.redis.command(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
    is_missed(&load).await;
    trial.is_down_for("CLUSTERDOWN").await;
    is_whole_again(&trial.redis).await;
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

/// It takes a node some seconds to believe that.
async fn is_whole_again(redis: &RedisServer) {
    redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let answers = async || matches!(redis.try_command(&["GET", "any"]), Ok(Value::Nil));
    eventually("the cluster is whole", answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_clients_are_paused_it_is_missed() {
    let trial = Trial::start(RedisServer::start()).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    trial.redis.command(&["CLIENT", "PAUSE", "2500", "ALL"]);
    is_missed(&load).await;
    hits_return(&trial, &load).await;
    assert_harmless(&trial, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_cannot_save_hits_go_on() {
    let saves = ["--save", "3600 1000000", "--stop-writes-on-bgsave-error", "yes"];
    let trial = Trial::start(RedisServer::start_with(&saves)).await;
    let load = trial.load();
    hits_return(&trial, &load).await;
    // What it would write takes the place of a file, not of a folder.
    let in_its_way = trial.redis.socket().with_file_name("dump.rdb");
    fs::create_dir(&in_its_way).unwrap();
    trial.redis.command(&["BGSAVE"]);
    let refuses = async || {
        let refused = trial.redis.try_command(&["SET", "any", "x"]);
        refused.is_err_and(|error| error.code() == Some("MISCONF"))
    };
    eventually("it refuses what writes", refuses).await;

    let (asked, alone) = (trial.origin.count(), missed(&load));
    let mut browser = Browser::connect(trial.sidecar.address).await;
    for turn in 1..=20 {
        assert!(!browser.ask("GET /new", &[]).await.is_hit());
        let new = || trial.origin.asked()[asked..].iter().filter(|asked| asked.target == "/new").count();
        assert_eq!(new(), turn, "it is not stored");
    }
    let known = |target: &String| TARGETS.contains(&target.as_str());
    let others = trial.origin.asked()[asked..].iter().filter(|asked| known(&asked.target)).count();
    // Who found Redis busy fetches for itself.
    let is_told = async || others <= missed(&load) - alone;
    eventually("what is stored goes on to be served", is_told).await;

    fs::remove_dir(&in_its_way).unwrap();
    trial.redis.command(&["BGSAVE"]);
    eventually("it is stored", async || browser.ask("GET /new", &[]).await.is_hit()).await;
    assert_harmless(&trial, load).await;
}

/// Each resource has many keys' worth of neighbours, and records of its tags, any of which may go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_evicts_at_random_is_never_mixed_up() {
    const PAGES: usize = 500;
    const READERS: usize = 4;
    let page = |path: &str| format!("{path}:{}", path.repeat(6_000));
    let redis = RedisServer::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"]);
    let origin = Origin::start(move |asked| ok("Cache-Tag: all\r\n", &page(&asked.target))).await;
    let yaml = format!(
        "upstream: http://{}\nstore: {{ redis: \"{}\", prefix: trial }}\nroutes: [{{ match: /**, cache: 300s }}]\n",
        origin.address,
        redis.url()
    );
    let sidecar = Spawned::start(&yaml).await;
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let address = sidecar.address;
        readers.spawn(async move {
            let (mut browser, mut hits) = (Browser::connect(address).await, 0);
            for turn in 0..PAGES {
                // Each page, then soon once more.
                for number in [turn + reader, turn / 2] {
                    let path = format!("/{}", number % PAGES);
                    let answer = browser.ask(&format!("GET {path}"), &[]).await;
                    hits += usize::from(answer.is_hit());
                    assert_eq!(answer.body, page(&path));
                }
            }
            hits
        });
    }
    let hits: usize = readers.join_all().await.into_iter().sum();
    let evicted = figure(redis.command(&["INFO", "stats"]), "evicted_keys");
    println!("{hits} hits in {} requests, {evicted} keys evicted", 2 * PAGES * READERS);
    assert!(hits > 0 && evicted > 0, "{hits} hits, {evicted} evicted");
}
