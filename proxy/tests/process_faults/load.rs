//! What clients do not notice while they ask.

use std::time::Duration;

use rustix::process::Signal;
use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    browser::{Browser, request},
    load::Load,
    origin::{Origin, Step, ok},
    redis::eventually,
    spawned::Spawned,
    usage::descriptors,
};

const CLIENTS: usize = 8;

fn config(origin: &Origin, ttl: &str) -> String {
    format!("upstream: http://{}\nroutes: [{{ match: /a, cache: {ttl} }}]\n", origin.address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_closes_its_connections_costs_no_request() {
    let moment = Step::Pause(Duration::from_millis(2));
    let origin = Origin::start(move |asked| {
        let mut steps = ok("", "it");
        // At once, without a word; or when the next request may be on its way.
        match asked.number % 5 {
            0 => steps.push(Step::Close),
            1 => steps.extend([moment.clone(), Step::Reset]),
            2 => steps.extend([moment.clone(), Step::Close]),
            _ => {}
        }
        steps
    })
    .await;
    let sidecar = Spawned::start(&config(&origin, "300s")).await;
    let load = Load::start(sidecar.address, CLIENTS, &["/passed", "/on"]);
    eventually("there was a load", async || load.hits().1 >= 2000).await;
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    let connections = origin.last().connection;
    println!(
        "{} answers over {connections} connections to the origin",
        tally.times["fwd=bypass; detail=no-rule"].len()
    );
    assert!(connections > 500, "they were closed: {connections}");
}

/// Asks on one connection until an answer says that it was the last: how many came.
async fn asks_to_the_end(mut browser: Browser, line: &str) -> usize {
    for count in 1.. {
        browser.send(&request(line, &[], "")).await;
        let answer = browser.answer(line).await;
        answer.fine();
        if answer.field("connection") == "close" {
            return count;
        }
    }
    unreachable!("nobody counts so far")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_under_load_it_fails_no_request() {
    let origin =
        Origin::start(|_| [vec![Step::Pause(Duration::from_millis(3))], ok("", "it")].concat()).await;
    for _ in 0..5 {
        let mut sidecar = Spawned::start(&config(&origin, "300s")).await;
        let mut clients = JoinSet::new();
        for client in 0..4 * CLIENTS {
            let browser = Browser::connect(sidecar.address).await;
            let line = ["GET /a", "GET /passed"][client % 2];
            clients.spawn(asks_to_the_end(browser, line));
        }
        sleep(Duration::from_millis(100)).await;
        sidecar.signal(Signal::TERM);
        let answered: usize = clients.join_all().await.into_iter().sum();
        assert_eq!(sidecar.ended().await.code(), Some(0));
        println!("{answered} requests of {} clients up to the end, 0 failed", 4 * CLIENTS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_leave_no_descriptor_behind() {
    const RELOADS: usize = 24;
    let origin = Origin::saying("").await;
    let sidecar = Spawned::start(&config(&origin, "300s")).await;
    let count = || descriptors(sidecar.pid()).unwrap();
    let before = count();
    let load = Load::start(sidecar.address, CLIENTS, &["/a", "/passed"]);
    for round in 1..=RELOADS {
        // Other limits too: the connections to the origin are then others.
        let limit = 100 + round;
        let other = format!("limits: {{ upstream_connections: {limit} }}\n{}", config(&origin, "9000s"));
        std::fs::write(sidecar.file(), sidecar.text(&other)).unwrap();
        sidecar.signal(Signal::HUP);
        let taken = async || sidecar.admin("/config")["generation"].as_u64() > Some(round as u64);
        eventually("it is read again", taken).await;
    }
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    // What is left are idle connections to the origin, one for each client at most.
    eventually("nothing is left", async || count() <= before + CLIENTS).await;
    println!("{RELOADS} reloads under load: {before} descriptors before, {} after", count());
}
