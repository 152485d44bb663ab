//! A Redis that has got back what was purged: from an old snapshot, or as one that was a replica.

use std::{sync::Arc, time::SystemTime};

use http::HeaderMap;
use sidecache::store::{Purge, Store, Wait};

use crate::{
    Sidecar,
    support::{
        entries::{KEEP, commit, entry, resource},
        redis::RedisServer,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_has_heard_of_the_purge_serves_it() {
    let server = RedisServer::start();
    let (purger, other, key) = (Sidecar::on(&server).await, Sidecar::on(&server).await, resource("/one"));
    let fetched = |sidecar: &Sidecar, body| {
        let mut fetched = entry(&key, &HeaderMap::new(), &[], body);
        Arc::get_mut(&mut fetched).unwrap().epoch = sidecar.0.purges().epoch();
        fetched
    };
    commit(&purger.0, &key, fetched(&purger, "before"), KEEP).await.unwrap();
    assert_eq!(other.try_lookup(&key).await.unwrap(), "before");
    let name = server.keys().remove(0);
    let mut connection = server.connect().unwrap();
    let dump: Vec<u8> = redis::cmd("DUMP").arg(&name).query(&mut connection).unwrap();

    let purge = Purge { resources: vec![key.clone()], ..Purge::default() };
    purger.0.purge(&purge, Wait::ForFleet, SystemTime::now()).await.unwrap();
    redis::cmd("RESTORE").arg(&name).arg(60_000).arg(&dump).query::<()>(&mut connection).unwrap();
    for sidecar in [&purger, &other] {
        assert_eq!(sidecar.try_lookup(&key).await.unwrap(), "");
    }
    commit(&other.0, &key, fetched(&other, "after"), KEEP).await.unwrap();
    for sidecar in [&purger, &other] {
        assert_eq!(sidecar.try_lookup(&key).await.unwrap(), "after");
    }
}
