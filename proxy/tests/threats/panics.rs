//! A defect that one request hits must not end another.

use std::sync::Arc;

use sidecache::{
    app::App,
    clock::Clock,
    observe::{Exchange, Observer},
    server::Server,
    store::{memory::MemoryStore, tiers::Tiers},
};

use crate::support::{
    echo::Echo,
    sidecar::{config, live},
    wire::Wire,
};

/// Fails where a request asks for it, in the midst of its exchange.
struct Defect;

impl Observer for Defect {
    fn observe(&self, exchange: &Exchange<'_>) {
        let path = exchange.request.map_or("", |request| request.head.target.path());
        assert!(path != "/defect", "as asked for");
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_alone() {
    let origin = Echo::start().await;
    let config = config(&format!("upstream: http://{}\nlimits: {{ connections: 3 }}\n", origin.address));
    let store = Tiers::Memory(MemoryStore::new(1 << 20, Arc::default()));
    let app = Arc::new(App::new(live(&config), store, Clock::System));
    let server = Server::bind(&config.listen).unwrap();
    let address = server.addresses()[0];
    tokio::spawn(server.run(app, Arc::new(Defect), std::future::pending()));
    let ask = async |wire: &mut Wire, path: &str| {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    };
    let mut other = Wire::tcp(address).await;
    // More of them than there are places: each gives its own back.
    for _ in 0..5 {
        let mut wire = Wire::tcp(address).await;
        ask(&mut wire, "/defect").await;
        wire.rest().await;
        ask(&mut other, "/fine").await;
        assert_eq!(other.response().await.text(), "GET /fine");
    }
}
