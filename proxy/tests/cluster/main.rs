//! A cluster of Redis: real masters with their replicas, and sidecars on them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]
#![allow(clippy::print_stdout, reason = "the tests under load show their figures")]

#[path = "../support/mod.rs"]
mod support;

mod losses;
mod trust;
mod under_load;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sidecache::tags::Tag;

use crate::support::{
    browser::{Answer, Browser},
    cluster::Cluster,
    origin::{Origin, ok},
    redis::eventually,
    spawned::Spawned,
};

/// The roll of the members.
pub(crate) const ROLL: &str = "story:v1:m";

/// The place of the master that has the keys of a hash or a tag.
pub(crate) fn place_of(cluster: &Cluster, bits: u128) -> usize {
    cluster.place(&format!("{{{bits:032x}}}"))
}

/// The place of a master that has nothing that all depend on: neither the roll nor the record of purges of
/// everything.
pub(crate) fn plain(cluster: &Cluster) -> usize {
    let special = [cluster.place(ROLL), place_of(cluster, Tag::everything().bits())];
    (0..3).find(|place| !special.contains(place)).unwrap()
}

/// What a sidecar reads.
pub(crate) fn yaml(cluster: &Cluster, origin: &Origin) -> String {
    format!(
        "upstream: http://{}\nstore:\n  prefix: story\n  redis: {{ mode: cluster, nodes: [{}] }}\n\
         routes: [{{ match: /**, cache: 300s }}]\n",
        origin.address,
        cluster.nodes()
    )
}

pub(crate) fn is_tracked(sidecar: &Spawned) -> bool {
    sidecar.admin_text("/metrics").contains("sidecache_store_tracked 1")
}

pub(crate) async fn ask(sidecar: &Spawned, target: &str) -> Answer {
    Browser::connect(sidecar.address).await.ask(&format!("GET {target}"), &[]).await
}

/// `sidecache purge` with these arguments.
pub(crate) fn purge(sidecar: &Spawned, arguments: &[&str]) {
    let admin = format!("unix:{}", sidecar.file().with_file_name("admin.sock").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    let output = command.args(["purge", "--admin", &admin]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// An origin whose answers name its present version, and carry a tag for their first letter.
pub(crate) async fn versioned() -> (Origin, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let fields = format!("Cache-Tag: {}\r\n", &asked.target[1..2]);
        ok(&fields, &now.load(Ordering::SeqCst).to_string())
    });
    (origin.await, version)
}

/// A counter of a sidecar's.
pub(crate) fn count(sidecar: &Spawned, name: &str) -> usize {
    let metrics = sidecar.admin_text("/metrics");
    let line =
        metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}:\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_come_from_all_masters_and_purges_reach_them() {
    let (cluster, (origin, version)) = (Cluster::start().await, versioned().await);
    let (one, other) =
        (Spawned::start(&yaml(&cluster, &origin)).await, Spawned::start(&yaml(&cluster, &origin)).await);
    for sidecar in [&one, &other] {
        eventually("it is tracked", async || is_tracked(sidecar)).await;
        assert_eq!(sidecar.admin("/readyz")["status"], "ready");
    }
    let targets: Vec<_> = (0..12).flat_map(|n| [format!("/a{n}"), format!("/b{n}")]).collect();
    for target in &targets {
        eventually("it is stored", async || ask(&one, target).await.is_hit()).await;
    }
    assert_eq!(origin.count(), targets.len());
    for (place, master) in cluster.masters.iter().enumerate() {
        assert!(master.resources().len() > 2, "master {place} has {:?}", master.resources());
    }
    // The other one has them from Redis, and then from its memory.
    let in_memory = "sidecache_store_hits_total{tier=\"memory\"}";
    for target in &targets {
        assert!(ask(&other, target).await.is_hit());
    }
    let before = count(&other, in_memory);
    for target in &targets {
        assert!(ask(&other, target).await.is_hit());
    }
    assert_eq!(count(&other, in_memory), before + targets.len());
    assert_eq!(origin.count(), targets.len());

    version.store(2, Ordering::SeqCst);
    purge(&one, &["--url", "http://shop/a0", "--url", "http://shop/a1", "--url", "http://shop/a2"]);
    for target in &targets {
        let purged = ["/a0", "/a1", "/a2"].contains(&target.as_str());
        assert_eq!(ask(&other, target).await.body, if purged { "2" } else { "1" }, "{target}");
    }
    purge(&other, &["--tag", "b"]);
    for target in &targets {
        let purged = target.starts_with("/b") || ["/a0", "/a1", "/a2"].contains(&target.as_str());
        assert_eq!(ask(&one, target).await.body, if purged { "2" } else { "1" }, "{target}");
    }
    version.store(3, Ordering::SeqCst);
    purge(&one, &["--all"]);
    for target in &targets {
        assert_eq!(ask(&other, target).await.body, "3", "{target}");
    }
}
