//! A sidecar that is told of no purges, and can ask Redis.

use super::support::{
    browser::Browser,
    fleet::Fleet,
    origin::{Asked, Gate, Origin, Step, ok},
    redis::eventually,
    relay::Relay,
};
use super::{Reached, all, cut_off, number, pages, urls};

/// Two sidecars, one of which hears of nothing; and an origin that answers when the gate is open.
async fn deaf(gate: &Gate) -> (Fleet, Relay, usize) {
    let door = gate.clone();
    let script = move |asked: &Asked| {
        let told = ok("Cache-Tag: t\r\n", &format!("answer {}", asked.number));
        [vec![Step::Wait(door.clone())], told].concat()
    };
    let mut fleet = Fleet::start(1, Origin::start(script).await, &pages("60s")).await;
    let (relay, late) = fleet.join_behind_a_relay().await;
    cut_off(&relay);
    eventually("it hears nothing", async || !fleet.hears(late)).await;
    (fleet, relay, late)
}

/// Two requests that wait together, for a fetch that none of those before them wait for.
async fn two(fleet: &Fleet, member: usize) -> [Browser; 2] {
    let first = fleet.send(member, "GET /a", &[]).await;
    fleet.wait_here(member, 1).await;
    let second = fleet.send(member, "GET /a", &[]).await;
    fleet.wait_here(member, 2).await;
    [first, second]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_of_none_shares_what_was_begun_since_the_last() {
    for request in [urls(&["http://shop/a"]), all()] {
        let named = format!("{request:?}");
        let gate = Gate::shut();
        let (fleet, _relay, late) = deaf(&gate).await;
        let mut before = two(&fleet, late).await;
        assert_eq!(fleet.purge(0, request).await.reached, Reached::Fleet, "{named}");
        // One of its own, which is the last, tells nothing of that.
        fleet.purge(late, urls(&["http://shop/b"])).await;
        // It opens a flight of its own, and nobody comes to the one before any more.
        let mut after = two(&fleet, late).await;
        gate.open();
        for (browsers, expected) in [(&mut before, 1), (&mut after, 2)] {
            for browser in browsers {
                let told = browser.answer("GET").await;
                assert_eq!(number(&told), expected, "{named}: {}", told.says());
            }
        }
        assert_eq!(fleet.origin.count(), 2, "{named}");
    }
}
