//! Masters that die, and what they had acknowledged; slots that nobody has.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use http::HeaderMap;
use sidecache::{
    admit::{Scheme, Target},
    key::{QueryPolicy, ResourceKey},
    tags::Tag,
};

use crate::{
    ask, count, is_tracked, place_of, plain, purge,
    support::{
        cluster::Cluster,
        redis::{PATIENCE, eventually},
        spawned::Spawned,
    },
    versioned, yaml,
};

/// A target of the host `shop` whose resource is on that master.
fn target_on(cluster: &Cluster, place: usize) -> String {
    let mut headers = HeaderMap::new();
    headers.insert("host", "shop".parse().unwrap());
    let is_on = |target: &String| {
        let target = Target::parse(&target.clone().into(), &headers, Scheme::Http, false).unwrap();
        place_of(cluster, ResourceKey::new(&target, &QueryPolicy::All).wide_hash()) == place
    };
    (0..).map(|n| format!("/x{n}")).find(is_on).unwrap()
}

/// Whether it is on all masters that are there now.
fn is_back(sidecar: &Spawned, sessions: usize) -> bool {
    let now = count(sidecar, "sidecache_store_tracking_sessions_total");
    now > sessions && is_tracked(sidecar) && sidecar.admin("/readyz")["status"] == "ready"
}

/// What was purged on a master that died before it passed that on, is not served: not even if the sidecar
/// that purged it is gone too.
async fn lost_purge(purger_dies: bool) {
    let (mut cluster, (origin, version)) = (Cluster::with_replicas().await, versioned().await);
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(Spawned::start(&yaml(&cluster, &origin)).await);
    }
    let place = plain(&cluster);
    let url = target_on(&cluster, place);
    let tag = (b'a'..=b'w').find(|tag| place_of(&cluster, Tag::named(&[*tag]).bits()) == place).unwrap();
    let tag = char::from(tag).to_string();
    let (tagged, other) = (format!("/{tag}"), "/y".to_owned());
    for sidecar in &sidecars {
        eventually("it is tracked", async || is_tracked(sidecar)).await;
        eventually("all is in memory", async || {
            for target in [&url, &tagged, &other] {
                ask(sidecar, target).await;
            }
            count(sidecar, "sidecache_store_memory_resources") == 3
        })
        .await;
    }
    let sessions: Vec<_> =
        sidecars.iter().map(|sidecar| count(sidecar, "sidecache_store_tracking_sessions_total")).collect();

    let record = format!("{:032x}", Tag::named(tag.as_bytes()).bits());
    eventually("the replica has it", async || {
        let names = cluster.replicas[place].all_keys();
        names.iter().any(|name| name.ends_with(&url)) && names.iter().any(|name| name.contains(&record))
    })
    .await;
    cluster.replicas[place].freeze();
    cluster.masters[place].command(&["CLIENT", "KILL", "TYPE", "replica"]);
    version.store(2, Ordering::SeqCst);
    purge(&sidecars[0], &["--url", &format!("http://shop{url}"), "--tag", &tag]);
    cluster.masters[place].kill();
    let mut sessions = sessions;
    if purger_dies {
        drop(sidecars.remove(0));
        sessions.remove(0);
    }
    cluster.replicas[place].thaw();
    let known = cluster.replicas[place].all_keys();
    assert!(known.iter().any(|name| name.ends_with(&url)), "it knows of no purge: {known:?}");

    // Until all have been on the other one for a while.
    let (begun, mut since) = (Instant::now(), None);
    while since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(2)) {
        assert!(begun.elapsed() < PATIENCE);
        for sidecar in &sidecars {
            for target in [&url, &tagged] {
                let answer = ask(sidecar, target).await;
                assert_eq!((answer.status, &*answer.body), (200, "2"), "{target}: {}", answer.fine());
            }
        }
        let all = sidecars.iter().zip(&sessions).all(|(sidecar, sessions)| is_back(sidecar, *sessions));
        if since.is_none() && all {
            since = Some(Instant::now());
        }
    }
    for sidecar in &sidecars {
        eventually("it is stored anew", async || ask(sidecar, &url).await.is_hit()).await;
        assert_eq!(ask(sidecar, &other).await.body, "1", "what was not purged is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_a_failover_lost_is_obeyed() {
    lost_purge(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_when_who_purged_is_gone() {
    lost_purge(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_nobody_has_cost_misses_alone() {
    let (cluster, (origin, _)) = (Cluster::start().await, versioned().await);
    let yaml = yaml(&cluster, &origin).replace("  prefix", "  memory: off\n  prefix");
    let sidecar = Spawned::start(&yaml).await;
    eventually("it is there", async || sidecar.admin("/readyz")["status"] == "ready").await;
    let targets = [0, 1, 2].map(|place| target_on(&cluster, place));
    for target in &targets {
        eventually("it is stored", async || ask(&sidecar, target).await.is_hit()).await;
    }
    // The whole is down, as each node sees it.
    let lost = plain(&cluster);
    let (from, to) = (16384 * lost / 3, 16384 * (lost + 1) / 3 - 1);
    for master in &cluster.masters {
        master.command(&["CONFIG", "SET", "cluster-require-full-coverage", "yes"]);
    }
    // What another one said before it knew brings them back.
    let assigned = format!("cluster_slots_assigned:{}", 16384 - (to - from + 1));
    eventually("nobody has them", async || {
        for master in &cluster.masters {
            let _ = master.try_command(&["CLUSTER", "DELSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        cluster.masters.iter().all(|master| {
            let told = master.command(&["CLUSTER", "INFO"]);
            redis::from_redis_value::<String>(told).unwrap().lines().any(|line| line == assigned)
        })
    })
    .await;
    eventually("nothing is a hit", async || {
        let mut hits = 0;
        for target in &targets {
            let answer = ask(&sidecar, target).await;
            assert_eq!(answer.status, 200);
            hits += usize::from(answer.is_hit());
        }
        hits == 0
    })
    .await;
    eventually("it is said", async || sidecar.admin("/readyz")["status"] == "degraded").await;

    // Half of it is back.
    for master in &cluster.masters {
        master.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    for (place, target) in targets.iter().enumerate().filter(|(place, _)| *place != lost) {
        eventually(&format!("hits on master {place}"), async || ask(&sidecar, target).await.is_hit()).await;
    }
    assert!(!ask(&sidecar, &targets[lost]).await.is_hit());
    eventually("it is said why", async || {
        sidecar.admin("/readyz").to_string().contains("of the slots of the cluster")
    })
    .await;
    let range = [&*from.to_string(), &*to.to_string()];
    cluster.masters[lost].command(&[&["CLUSTER", "ADDSLOTSRANGE"][..], &range].concat());
    eventually("all of it", async || ask(&sidecar, &targets[lost]).await.is_hit()).await;
    eventually("it is as it was", async || sidecar.admin("/readyz")["status"] == "ready").await;
}
