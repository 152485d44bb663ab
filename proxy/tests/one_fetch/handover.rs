//! A holder that does not bring what the others wait for: one of them takes over, and the rest wait for that one.

use crate::{
    Asked, Fleet, Gate, Origin, Step,
    support::{browser::Answer, origin::ok},
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
