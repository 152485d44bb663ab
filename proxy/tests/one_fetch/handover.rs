//! A holder that does not bring what the others wait for: one of them takes over, and the rest wait for that one.

use std::time::Duration;

use crate::{
    Asked, Fleet, Gate, Origin, Step,
    support::{
        browser::Answer,
        origin::{chunk, chunked_head, last_chunk, ok},
        redis::eventually,
    },
};

/// The first fetch gets no answer, the second when the gate opens, all others at once.
async fn hanging_once(gate: &Gate) -> Origin {
    let door = gate.clone();
    Origin::start(move |asked: &Asked| match asked.number {
        1 => vec![Step::Hang],
        2 => vec![Step::Wait(door.clone()), ok("", "it").remove(0)],
        _ => ok("", "alone"),
    })
    .await
}

/// One of them has fetched, and the others have that.
fn one_for_all(answers: &[Answer]) {
    assert!(answers.iter().all(|answer| answer.body == "it"), "{answers:?}");
    let fetched: Vec<_> = answers.iter().filter(|answer| !answer.is_hit()).map(Answer::fine).collect();
    assert_eq!(fetched, ["fwd=uri-miss; stored"], "{answers:?}");
}

/// Nobody is told that there is no use in waiting.
fn nobody_is_warned_off(fleet: &Fleet) {
    let keys = fleet.redis.keys();
    assert!(keys.iter().all(|name| name.contains(":v1:l:")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_its_client_leaves_one_of_those_who_wait_takes_over() {
    let gate = Gate::shut();
    let fleet = Fleet::cached(3, hanging_once(&gate).await, "10s").await;
    let leaves = fleet.send(0, "GET /a", &[]).await;
    fleet.asked(1).await;
    let mut others = Vec::new();
    for member in [1, 2] {
        others.push(fleet.send(member, "GET /a", &[]).await);
        fleet.waits(member).await;
    }
    drop(leaves);
    fleet.asked(2).await;
    nobody_is_warned_off(&fleet);
    gate.open();
    let mut answers = Vec::new();
    for other in &mut others {
        answers.push(other.answer("GET").await);
    }
    one_for_all(&answers);
    assert_eq!((fleet.origin.count(), fleet.origin.abandoned()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_one_whose_client_left_there_is_one_fetch_again() {
    let gate = Gate::shut();
    let fleet = Fleet::cached(3, hanging_once(&gate).await, "10s").await;
    let leaves = fleet.send(0, "GET /a", &[]).await;
    fleet.asked(1).await;
    drop(leaves);
    fleet.settled().await;
    nobody_is_warned_off(&fleet);
    let mut all = vec![fleet.send(0, "GET /a", &[]).await];
    fleet.asked(2).await;
    for member in [1, 2] {
        all.push(fleet.send(member, "GET /a", &[]).await);
        fleet.waits(member).await;
    }
    gate.open();
    let mut answers = Vec::new();
    for browser in &mut all {
        answers.push(browser.answer("GET").await);
    }
    one_for_all(&answers);
    assert_eq!(fleet.origin.count(), 2);
}

/// A body of which something comes twice in a second, for longer than anybody waits.
fn steady() -> Vec<Step> {
    let chunks = (0..30).flat_map(|_| [Step::Pause(Duration::from_millis(500)), chunk("x")]);
    [chunked_head("")].into_iter().chain(chunks).chain([last_chunk()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_one_that_hangs_another_one_fetches_but_not_beside_one_that_goes_on() {
    let script = |asked: &Asked| match (asked.target.as_str(), asked.number) {
        (_, 1) => steady(),
        (_, 2) => vec![Step::Hang],
        ("/hangs", _) => ok("", "it"),
        _ => ok("", "alone"),
    };
    let fleet = Fleet::cached(3, Origin::start(script).await, "10s").await;
    let _goes_on = fleet.send(0, "GET /steady", &[]).await;
    fleet.asked(1).await;
    let mut impatient = fleet.send(1, "GET /steady", &[]).await;
    fleet.waits(1).await;
    let _hangs = fleet.send(0, "GET /hangs", &[]).await;
    fleet.asked(2).await;
    let mut others = [fleet.send(1, "GET /hangs", &[]).await, fleet.send(2, "GET /hangs", &[]).await];
    one_for_all(&[others[0].answer("GET").await, others[1].answer("GET").await]);
    assert!(fleet.get(0, "/hangs").await.is_hit(), "it holds up nobody who comes now");
    assert_eq!(impatient.answer("GET").await.fine(), "fwd=uri-miss; detail=lease-timeout");
    assert_eq!(fleet.origin.count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_is_stored_though_another_one_has_begun_beside_it() {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| match asked.number {
        1 => vec![Step::Wait(door.clone()), ok("", "it").remove(0)],
        _ => vec![Step::Hang],
    };
    let fleet = Fleet::cached(2, Origin::start(script).await, "10s").await;
    let mut slow = fleet.send(0, "GET /a", &[]).await;
    fleet.asked(1).await;
    let _beside = fleet.send(1, "GET /a", &[]).await;
    fleet.asked(2).await;
    assert_eq!(fleet.leases(1).granted, 1);
    gate.open();
    assert_eq!(slow.answer("GET").await.fine(), "fwd=uri-miss; stored");
    eventually("it is stored", async || fleet.redis.resources().len() == 1).await;
    assert!(fleet.get(0, "/a").await.is_hit());
}
