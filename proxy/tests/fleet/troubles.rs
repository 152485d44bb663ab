//! What a purge's 200 means in each trouble by itself. Each of these can be told to happen, so each
//! run shows the same.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    client::{Client, Order, What},
    history::Sidecar,
    shop::{PAGE, Shop, by_url, is_hit, read},
    sidecars::SIDECARS,
    support::{
        origin::Gate,
        redis::eventually,
        relay::{Class, Flow, Way, Which},
    },
};

/// For how long a sidecar trusts its memory without a word from Redis.
const BOUND: Duration = Duration::from_secs(2);
/// For a busy machine.
const MORE: Duration = Duration::from_secs(2);
const TRACKING: Which = Which::Each(Class::Tracking);
/// Where purges are asked for, and the member in trouble.
const HERE: Sidecar = 0;
const THERE: Sidecar = 1;

/// A fleet in which each sidecar has the page in its memory.
async fn warm() -> (Shop, Vec<Client>) {
    let shop = Shop::open().await;
    let mut clients = shop.clients();
    warm_up(&shop, &mut clients).await;
    (shop, clients)
}

async fn warm_up(shop: &Shop, clients: &mut [Client]) {
    eventually("all are members", async || shop.fleet.members() == SIDECARS).await;
    for client in clients {
        // The first hit may come from Redis.
        is_hit(client, PAGE).await;
        is_hit(client, PAGE).await;
    }
}

/// Both names of the page, hard and soft.
fn orders() -> [Order; 4] {
    let names = || [What::Url(PAGE.to_owned()), What::Tag("one".to_owned())];
    let [url, tag] = names().map(|what| Order { what, soft: false });
    let [soft_url, soft_tag] = names().map(|what| Order { what, soft: true });
    [url, tag, soft_url, soft_tag]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_one_all_obey_at_once() {
    let (shop, mut clients) = warm().await;
    for order in orders() {
        let new = shop.raise();
        let (status, _) = shop.purge(HERE, &order).await;
        assert_eq!(status, Some(200), "{order:?}");
        for client in &mut clients {
            assert_eq!(read(client).await, new, "{order:?}");
        }
        warm_up(&shop, &mut clients).await;
    }
}

/// Does this to the line of one member, and purges.
async fn is_waited_for(flow: Flow) {
    let (shop, mut clients) = warm().await;
    for order in orders() {
        shop.fleet.relay(THERE).set(TRACKING, Way::Answers, flow);
        let new = shop.raise();
        let (status, took) = shop.purge(HERE, &order).await;
        // Straight after the answer, while the member may still trust what it has.
        assert_eq!(read(&mut clients[THERE]).await, new, "{order:?}, answered by {status:?} after {took:?}");
        assert_eq!(status, Some(200), "{order:?}");
        assert!(took < BOUND + MORE, "{took:?}");
        shop.fleet.relay(THERE).heal();
        warm_up(&shop, &mut clients).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hears_it_late_is_waited_for() {
    is_waited_for(Flow::Delayed(Duration::from_millis(700))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hears_nothing_is_waited_for() {
    is_waited_for(Flow::Held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_line_is_dead_is_waited_for() {
    is_waited_for(Flow::Lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_serves_nothing_from_memory() {
    let (shop, mut clients) = warm().await;
    shop.fleet.relay(THERE).refuse(TRACKING);
    let new = shop.raise();
    assert_eq!(shop.purge(HERE, &by_url()).await.0, Some(200));
    assert_eq!(read(&mut clients[THERE]).await, new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_stopped_obeys_when_it_goes_on() {
    let (shop, mut clients) = warm().await;
    shop.fleet.signal_sidecar(THERE, Signal::STOP);
    let new = shop.raise();
    let (status, took) = shop.purge(HERE, &by_url()).await;
    shop.fleet.signal_sidecar(THERE, Signal::CONT);
    assert_eq!(read(&mut clients[THERE]).await, new);
    assert_eq!(status, Some(200));
    assert!(took < BOUND + MORE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_no_more_is_waited_for_once() {
    let (shop, _clients) = warm().await;
    shop.fleet.kill_sidecar(THERE);
    let (status, took) = shop.purge(HERE, &by_url()).await;
    assert_eq!(status, Some(200));
    assert!(took < BOUND + MORE, "{took:?}");
    let (status, took) = shop.purge(HERE, &by_url()).await;
    assert_eq!(status, Some(200));
    assert!(took < BOUND / 2, "it is known to be gone: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_out_of_reach_is_never_a_200() {
    let (shop, mut clients) = warm().await;
    shop.fleet.redis().freeze();
    let new = shop.raise();
    assert_eq!(shop.purge(HERE, &by_url()).await.0, Some(503));
    // The sidecar that was asked obeys all the same.
    assert_eq!(read(&mut clients[HERE]).await, new);
    shop.fleet.redis().thaw();
    // It tells Redis what it could not tell it then.
    for client in &mut clients {
        eventually("all have heard of it", async || read(client).await == new).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_fetched_is_neither_stored_nor_served_afterwards() {
    let gate = Gate::shut();
    let shop = Shop::slow_at_first(&gate).await;
    let mut clients = shop.clients();
    let mut early = shop.client(HERE);
    let early = tokio::spawn(async move { read(&mut early).await });
    eventually("it is being fetched", async || shop.origin.count() == 1).await;
    let new = shop.raise();
    assert_eq!(shop.purge(THERE, &by_url()).await.0, Some(200));
    for client in &mut clients {
        assert_eq!(read(client).await, new, "it began after the answer");
    }
    gate.open();
    assert_eq!(early.await.unwrap(), "1", "it began before, and got what was asked for then");
    for client in &mut clients {
        is_hit(client, PAGE).await;
        assert_eq!(read(client).await, new);
    }
}
