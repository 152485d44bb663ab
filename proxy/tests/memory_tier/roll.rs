//! Who belongs to the fleet, and who has fallen silent.

use std::time::SystemTime;

use redis::Connection;
use sidecache::{
    store::{Purge, Store, Wait},
    tags::Tag,
};

use crate::{
    Sidecar,
    support::redis::{RedisServer, eventually},
};

/// A connection of this name, and what Redis calls it.
fn named(server: &RedisServer, name: &str) -> (Connection, i64) {
    let mut connection = server.connect().unwrap();
    redis::cmd("CLIENT").arg("SETNAME").arg(name).query::<()>(&mut connection).unwrap();
    let id = redis::cmd("CLIENT").arg("ID").query(&mut connection).unwrap();
    (connection, id)
}

fn is_open(connection: &mut Connection) -> bool {
    redis::cmd("PING").query::<String>(connection).is_ok()
}

fn members(server: &RedisServer) -> usize {
    server.members("test").len()
}

fn purge() -> Purge {
    Purge { tags: vec![Tag::named(b"t")], ..Purge::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_is_struck_off_and_its_connection_closed() {
    let server = RedisServer::start();
    let sidecar = Sidecar::on(&server).await;
    let (mut frozen, id) = named(&server, "sidecache-silent");
    let (mut other, other_id) = named(&server, "somebody-else");
    for (member, id) in [("silent", id), ("long gone", other_id)] {
        server.command(&["HSET", "test:v1:m", member, &format!("50 7 {id}")]);
    }
    server.has_had_a_fleet("test");
    let purged = sidecar.0.purge(&purge(), Wait::ForFleet, SystemTime::now()).await.unwrap();
    assert_eq!(purged.applied, 1);
    assert_eq!(members(&server), 1);
    assert!(!is_open(&mut frozen));
    assert!(is_open(&mut other), "its number is another one's by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_not_waited_for() {
    let server = RedisServer::start();
    let (stays, leaves) = (Sidecar::on(&server).await, Sidecar::on(&server).await);
    assert_eq!(members(&server), 2);
    let purged = stays.0.purge(&purge(), Wait::ForFleet, SystemTime::now()).await.unwrap();
    assert_eq!(purged.applied, 2);
    leaves.0.depart().await;
    assert_eq!(members(&server), 1);
    assert_eq!(leaves.session(), None);
    let purged = stays.0.purge(&purge(), Wait::ForFleet, SystemTime::now()).await.unwrap();
    assert_eq!(purged.applied, 1);
    eventually("its connections go", async || {
        let clients: String = redis::from_redis_value(server.command(&["CLIENT", "LIST"])).unwrap();
        clients.matches(" name=sidecache-").count() == 1
    })
    .await;
}
