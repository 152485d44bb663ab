//! A purge that comes between the look at a stale response and the claim of the right to renew it. Redis has then
//! neither what it covers nor a lease that it could break; and who is to renew it has not heard of the purge.

use super::support::{
    browser::Browser,
    fleet::Fleet,
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    purges::urls,
    redis::eventually,
    relay::{Class, Ending, Flow, Relay, Seen, Way, Which},
};
use super::{deafen, number, pages};

/// A claim is longer than this, and a beat is not.
const CLAIM: u64 = 200;

/// Two sidecars that both have what is stale, one of them behind a relay. The origin says that it has not changed once
/// the gate is open.
struct Scene {
    fleet: Fleet,
    relay: Relay,
    late: usize,
    gate: Gate,
}

impl Scene {
    async fn new() -> Self {
        let gate = Gate::shut();
        let door = gate.clone();
        let script = move |asked: &Asked| match (asked.method.as_str(), asked.field("if-none-match")) {
            ("HEAD", _) => {
                let told = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 8\r\n\r\n";
                vec![Step::Wait(door.clone()), send(told)]
            }
            (_, Some(_)) => [vec![Step::Wait(door.clone())], answer("304 Not Modified", "", "")].concat(),
            _ => ok("ETag: \"x\"\r\n", &format!("answer {}", asked.number)),
        };
        let mut fleet = Fleet::start(1, Origin::start(script).await, &pages("10s")).await;
        let (relay, late) = fleet.join_behind_a_relay().await;
        fleet.get(0, "/a").await.fine();
        // So that the relay knows the connections by what they are for.
        fleet.get(late, "/b").await.fine();
        fleet.settled().await;
        fleet.pass_millis(10_500);
        deafen(&relay);
        Self { fleet, relay, late, gate }
    }

    /// Sends a request to the late one. When it is about to claim the lease the purge comes; the claim goes on `then`.
    async fn purged_before_the_claim(&self, line: &str, then: impl AsyncFnOnce(&Self)) -> Browser {
        let Self { fleet, relay, late, gate } = self;
        relay.set(Which::Each(Class::Leases), Way::Asks, Flow::Held);
        let slow = fleet.send(*late, line, &[]).await;
        let is_claiming = |seen: &Seen| seen.class == Class::Leases && seen.asks.0 - seen.asks.1 > CLAIM;
        eventually("it claims", async || relay.connections().iter().any(is_claiming)).await;
        let claim = async {
            eventually("it is gone", async || fleet.redis.resources().len() == 1).await;
            then(self).await;
            relay.set(Which::Each(Class::Leases), Way::Asks, Flow::Free);
            fleet.asked(3).await;
        };
        tokio::join!(fleet.purge(0, urls(&["http://shop/a"])), claim);
        gate.open();
        slow
    }

    async fn assert_gone(&self) {
        self.fleet.settled().await;
        let told = self.fleet.get(0, "/a").await;
        assert!(number(&told) > 1, "{}", told.says());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_alone_finds_gone_when_it_has_the_right_is_not_renewed() {
    let scene = Scene::new().await;
    eventually("it shares nothing", async || !scene.fleet.hears(scene.late)).await;
    let mut slow = scene.purged_before_the_claim("GET /a", async |_| {}).await;
    let told = slow.answer("GET /a").await;
    assert!(number(&told) > 1, "it is asked for anew: {}", told.says());
    scene.assert_gone().await;
}

/// Memory goes by what it is told, and nobody tells it of this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_has_and_redis_has_not_is_fetched_anew_and_stored() {
    let scene = Scene::new().await;
    let Scene { fleet, relay, late, gate } = &scene;
    gate.open();
    relay.heal();
    assert_eq!(fleet.get(*late, "/a").await.fine(), "fwd=stale; fwd-status=304; stored");
    eventually("memory has it", async || {
        let before = fleet.memory_hits(*late);
        fleet.get(*late, "/a").await.is_hit() && fleet.memory_hits(*late) > before
    })
    .await;
    fleet.pass_millis(10_500);
    deafen(relay);
    fleet.redis.resources().iter().for_each(|name| drop(fleet.redis.command(&["DEL", name])));
    assert_eq!(fleet.get(*late, "/a").await.fine(), "fwd=uri-miss; stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_at_again_is_validated_and_not_stored() {
    let scene = Scene::new().await;
    let cannot_look = async |Scene { fleet, relay, late, .. }: &Scene| {
        relay.set(Which::Each(Class::Data), Way::Answers, Flow::Held);
        relay.set(Which::Each(Class::Leases), Way::Answers, Flow::Free);
        for seen in relay.connections().iter().filter(|seen| seen.class == Class::Data) {
            relay.cut(Which::One(seen.number), Ending::Fin);
        }
        eventually("it cannot look", async || !fleet.can_ask(*late)).await;
    };
    let mut slow = {
        let slow = scene.purged_before_the_claim("GET /a", cannot_look).await;
        scene.relay.set(Which::Each(Class::Data), Way::Answers, Flow::Free);
        slow
    };
    let told = slow.answer("GET /a").await;
    assert_eq!((number(&told), told.says()), (1, "fwd=stale; fwd-status=304; detail=store-down"));
    scene.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_not_renewed_by_what_a_head_says_of_it() {
    let scene = Scene::new().await;
    let mut slow = scene.purged_before_the_claim("HEAD /a", async |_| {}).await;
    slow.answer("HEAD /a").await.fine();
    scene.assert_gone().await;
}
