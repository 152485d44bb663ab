//! Several sidecars on one Redis obey one purge: all of them when it has answered, those who come later,
//! and those who could not hear of it, as soon as they can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

#[path = "one_purge/renewals.rs"]
mod renewals;
#[path = "one_purge/unheard.rs"]
mod unheard;

use std::time::Duration;

use redis::Value;
use sidecache::{
    purge::{PurgeReport, PurgeRequest, Reached},
    store::redis::BOUND,
};
use support::{
    browser::Answer,
    fleet::Fleet,
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    purges::{all, rules, softly, tags, urls},
    redis::eventually,
    relay::{Class, Flow, Relay, Way, Which},
};

const MEMBERS: usize = 3;
/// Of what a purge takes that waits for nobody who has gone, on a busy machine.
const SOON: Duration = Duration::from_millis(1500);

fn pages(cache: &str) -> String {
    format!("routes:\n  - {{ match: /**, name: pages, cache: {cache} }}\n")
}

async fn fleet(origin: Origin, cache: &str) -> Fleet {
    Fleet::start(MEMBERS, origin, &pages(cache)).await
}

/// Each way to name `/a`, which is tagged `t`.
fn ways() -> [PurgeRequest; 4] {
    [urls(&["http://shop/a"]), tags(&["t"]), rules(&["pages"]), all()]
}

async fn tagged() -> Origin {
    Origin::saying("Cache-Tag: t\r\n").await
}

/// Which answer of the origin it is.
fn number(answer: &Answer) -> usize {
    answer.fine();
    answer.body.strip_prefix("answer ").unwrap().parse().unwrap()
}

fn assert_done(report: &PurgeReport, named: &str) {
    assert_eq!((&report.reached, report.members), (&Reached::Fleet, MEMBERS), "{named}");
    assert!(report.waited < SOON, "{named}: {report:?}");
}

fn assert_local(report: &PurgeReport, named: &str) {
    assert!(matches!(report.reached, Reached::LocalOnly(_)) && report.epoch.is_none(), "{named}: {report:?}");
}

/// Each of them has what was fetched since, and one fetch was enough.
async fn assert_new(fleet: &Fleet, members: &[usize], named: &str) {
    let before = fleet.origin.count();
    for member in members {
        let told = fleet.get(*member, "/a").await;
        assert_eq!(number(&told), before + 1, "{named}, {member}: {}", told.says());
        fleet.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_have_obeyed_it_when_it_has_answered() {
    let fleet = fleet(tagged().await, "60s").await;
    for (round, request) in ways().into_iter().enumerate() {
        let named = format!("{request:?}");
        fleet.warm("/a").await;
        assert_done(&fleet.purge(round % MEMBERS, request).await, &named);
        assert_new(&fleet, &[1, 2, 0], &named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_by_tag_is_of_what_others_have_stored() {
    let fleet = fleet(tagged().await, "60s").await;
    for request in &ways()[1..] {
        let named = format!("{request:?}");
        fleet.get(0, "/a").await;
        fleet.settled().await;
        assert!(fleet.get(0, "/a").await.is_hit());
        assert_done(&fleet.purge(1, request.clone()).await, &named);
        assert_new(&fleet, &[2, 0, 1], &named).await;
        assert!(fleet.get(0, "/a").await.is_hit());
        fleet.purge(2, all()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_one_is_fetching_is_not_stored() {
    for request in ways().into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let door = gate.clone();
        let script = move |asked: &Asked| match asked.number {
            1 => vec![
                send("HTTP/1.1 200 OK\r\nCache-Tag: t\r\nContent-Length: 8\r\n\r\nansw"),
                Step::Wait(door.clone()),
                send("er 1"),
            ],
            number => ok("Cache-Tag: t\r\n", &format!("answer {number}")),
        };
        let fleet = fleet(Origin::start(script).await, "60s").await;
        let mut slow = fleet.send(0, "GET /a", &[]).await;
        assert_eq!(slow.head().await.unwrap().says(), "fwd=uri-miss; stored");
        let mut follower = fleet.send(0, "GET /a", &[]).await;
        assert_eq!(follower.head().await.unwrap().says(), "fwd=uri-miss; collapsed");
        assert_done(&fleet.purge(1, request).await, &named);
        let fresh = fleet.get(2, "/a").await;
        assert_eq!((number(&fresh), fresh.says()), (2, "fwd=uri-miss; stored"), "{named}");
        gate.open();
        for browser in [&mut slow, &mut follower] {
            assert_eq!(browser.bytes(8).await.unwrap(), b"answer 1", "{named}");
        }
        fleet.settled().await;
        for member in [0, 1, 2] {
            let hit = fleet.get(member, "/a").await;
            assert_eq!((hit.is_hit(), number(&hit)), (true, 2), "{named}, {member}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_purge_has_all_serve_stale_while_one_refreshes() {
    let gate = Gate::shut();
    let behind = gate.clone();
    let script = move |asked: &Asked| match (asked.number, asked.field("if-none-match")) {
        (1, _) => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", "answer 1"),
        (_, Some(_)) => {
            vec![Step::Wait(behind.clone()), send("HTTP/1.1 304 Not Modified\r\nCache-Tag: t\r\n\r\n")]
        }
        (_, None) => answer("500 No", "", "it is not asked so"),
    };
    let fleet = fleet(Origin::start(script).await, "{ ttl: 60s, stale_while_revalidate: 600s }").await;
    let mut fetches = 1;
    for (round, request) in ways().into_iter().enumerate() {
        let named = format!("{request:?}");
        fleet.warm("/a").await;
        // What is refreshed is told from what was there by when it was asked for.
        fleet.pass_millis(500);
        assert_done(&fleet.purge(round % MEMBERS, softly(request)).await, &named);
        for answer in fleet.crowd(if round == 0 { 5 } else { 1 }).await {
            // All, as long as the gate is shut; later the refresh may be there before the last ones.
            let is_stale = answer.says().ends_with("; detail=stale-while-revalidate");
            assert!(answer.is_hit() && (is_stale || round > 0), "{named}: {}", answer.says());
        }
        fetches += 1;
        fleet.asked(fetches).await;
        gate.open();
        fleet.settled().await;
        for member in 0..MEMBERS {
            let hit = fleet.get(member, "/a").await;
            assert!(hit.is_hit() && !hit.says().contains("detail"), "{named}, {member}: {}", hit.says());
        }
        assert_eq!(fleet.origin.count(), fetches, "{named}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_purge_without_a_window_has_one_validate_for_all() {
    let script = |asked: &Asked| match asked.field("if-none-match") {
        Some(_) => answer("304 Not Modified", "Cache-Tag: t\r\n", ""),
        None => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", "answer 1"),
    };
    let fleet = fleet(Origin::start(script).await, "60s").await;
    for (round, request) in ways().into_iter().enumerate() {
        let named = format!("{request:?}");
        fleet.warm("/a").await;
        assert_done(&fleet.purge(round % MEMBERS, softly(request)).await, &named);
        for (member, said) in [(2, "fwd=stale; fwd-status=304; stored"), (0, "hit"), (1, "hit")] {
            let told = fleet.get(member, "/a").await;
            assert!(told.fine().starts_with(said), "{named}, {member}: {}", told.says());
            fleet.settled().await;
        }
        assert_eq!(fleet.origin.count(), round + 2, "{named}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_later_obeys_it_too() {
    for request in ways() {
        let (named, mut fleet) = (format!("{request:?}"), fleet(tagged().await, "60s").await);
        fleet.warm("/a").await;
        assert_done(&fleet.purge(0, request).await, &named);
        let newcomer = fleet.join().await;
        assert_new(&fleet, &[newcomer, 0, 1, 2], &named).await;
        assert!(fleet.get(newcomer, "/a").await.is_hit());
    }
}

/// The names of the keys of this kind.
fn keys(fleet: &Fleet, kind: &str) -> Vec<String> {
    let mut keys = fleet.redis.all_keys();
    keys.retain(|key| key.starts_with(&format!("story:v1:{kind}")));
    keys
}

/// Everybody has hits again, at the cost of so many fetches at most.
async fn assert_heals(fleet: &Fleet, most: usize, named: &str) {
    let before = fleet.origin.count();
    for member in 0..fleet.count() {
        eventually("there are hits again", async || {
            fleet.settled().await;
            fleet.get(member, "/a").await.is_hit()
        })
        .await;
    }
    let fetches = fleet.origin.count() - before;
    assert!(fetches <= most, "{named}: {fetches} fetches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_record_of_a_tag_nothing_is_believed_until_it_is_fetched_again() {
    for soft in [false, true] {
        let mut fleet = fleet(tagged().await, "60s").await;
        fleet.warm("/a").await;
        let purge = tags(&["t"]);
        assert_done(&fleet.purge(0, if soft { softly(purge) } else { purge }).await, "");
        for key in keys(&fleet, "t:") {
            assert_eq!(fleet.redis.command(&["DEL", &key]), Value::Int(1));
        }
        let newcomer = fleet.join().await;
        let before = fleet.origin.count();
        let told = fleet.get(newcomer, "/a").await;
        assert_eq!((number(&told), told.says().contains("hit")), (before + 1, false), "{}", told.says());
        fleet.settled().await;
        assert_heals(&fleet, 2, "records").await;
        for key in keys(&fleet, "t:") {
            assert!(matches!(fleet.redis.command(&["PTTL", &key]), Value::Int(60_000..)), "{key}");
        }
        assert_done_by(&fleet.purge(newcomer, tags(&["t"])).await, MEMBERS + 1);
        assert_new(&fleet, &[0, newcomer, 1, 2], "a purge after it").await;
    }
}

fn assert_done_by(report: &PurgeReport, members: usize) {
    assert_eq!((&report.reached, report.members), (&Reached::Fleet, members));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_last_epoch_purges_go_on_in_their_order() {
    let mut fleet = fleet(tagged().await, "60s").await;
    let mut last = None;
    for (round, request) in ways().into_iter().enumerate() {
        let named = format!("{request:?}");
        fleet.warm("/a").await;
        assert_eq!(fleet.redis.command(&["DEL", "story:v1:e"]), Value::Int(1));
        // What is stored has not been purged.
        assert_heals(&fleet, 0, &named).await;
        let report = fleet.purge(round % MEMBERS, request).await;
        assert_done(&report, &named);
        assert!(report.epoch > last, "{named}");
        last = report.epoch;
        assert_new(&fleet, &[2, 1, 0], &named).await;
    }
    fleet.redis.command(&["DEL", "story:v1:e"]);
    let newcomer = fleet.join().await;
    fleet.warm("/a").await;
    assert_done_by(&fleet.purge(newcomer, tags(&["t"])).await, MEMBERS + 1);
    assert_new(&fleet, &[0, newcomer, 1, 2], "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_there_are_hits_again_and_purges_are_obeyed() {
    let fleet = fleet(tagged().await, "60s").await;
    fleet.warm("/a").await;
    for (round, request) in ways().into_iter().enumerate() {
        let named = format!("{request:?}");
        fleet.redis.command(&["FLUSHALL"]);
        let before = fleet.origin.count();
        eventually("the flush is heard of", async || {
            fleet.settled().await;
            fleet.get(round % MEMBERS, "/a").await;
            fleet.origin.count() > before
        })
        .await;
        fleet.settled().await;
        assert_heals(&fleet, 2, &named).await;
        fleet.warm("/a").await;
        let report = fleet.purge(round % MEMBERS, request).await;
        assert_eq!(report.reached, Reached::Fleet);
        assert_new(&fleet, &[0, 1, 2], &named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_died_without_a_word_is_waited_for_once() {
    let mut fleet = Fleet::start(MEMBERS + 1, tagged().await, &pages("60s")).await;
    fleet.warm("/a").await;
    fleet.die().await;
    let report = fleet.purge(0, tags(&["t"])).await;
    assert_eq!((&report.reached, report.members), (&Reached::Fleet, MEMBERS));
    assert!(report.waited >= BOUND && report.waited < 5 * BOUND, "{report:?}");
    assert_new(&fleet, &[2, 1, 0], "").await;
    for member in 0..MEMBERS {
        assert_done(&fleet.purge(member, all()).await, "the next one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_things_in_one_purge_is_acknowledged() {
    let fleet = fleet(tagged().await, "60s").await;
    for (named, request) in [
        (
            "several",
            PurgeRequest { tags: tags(&["t", "u"]).tags, ..urls(&["http://shop/a", "http://shop/b"]) },
        ),
        (
            "a tag and a rule of one name",
            PurgeRequest { rules: vec!["pages".to_owned()], ..tags(&["pages", "t"]) },
        ),
        ("both schemes", urls(&["http://shop/a", "https://shop/a"])),
        ("a URL twice", urls(&["http://shop/a", "http://shop/a"])),
        ("a tag twice", tags(&["t", "t"])),
        ("everything and more", PurgeRequest { everything: true, ..tags(&["t"]) }),
    ] {
        fleet.warm("/a").await;
        assert_done(&fleet.purge(1, request.clone()).await, named);
        assert_new(&fleet, &[0, 2, 1], named).await;
        fleet.warm("/a").await;
        assert_done(&fleet.purge(2, softly(request)).await, named);
        assert_new(&fleet, &[0, 2, 1], named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_takes_what_acknowledges_a_purge() {
    let fleet = fleet(tagged().await, "60s").await;
    let several = PurgeRequest { tags: tags(&["t", "u"]).tags, ..urls(&["http://shop/a", "http://shop/b"]) };
    for (round, request) in ways().into_iter().chain([several]).enumerate() {
        let named = format!("{request:?}");
        fleet.warm("/a").await;
        fleet.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_done(&fleet.purge(round % MEMBERS, request).await, &named);
        for member in [1, 2, 0] {
            let before = fleet.origin.count();
            assert_eq!(number(&fleet.get(member, "/a").await), before + 1, "{named}, {member}");
        }
        fleet.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_things_in_one_purge_are_acknowledged() {
    let fleet = fleet(tagged().await, "60s").await;
    let many: Vec<_> = (0..1000).map(|n| format!("http://shop/{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let request = PurgeRequest { tags: vec!["t".to_owned()], ..urls(&many) };
    for (purger, request) in [(1, request.clone()), (2, softly(request))] {
        fleet.warm("/a").await;
        // A busy machine may need longer than Redis is given for so many: who is told so says it again.
        let is_done = async || {
            let report = fleet.purge(purger, request.clone()).await;
            if matches!(report.reached, Reached::LocalOnly(_)) {
                assert_local(&report, "many");
                return false;
            }
            assert_done(&report, "many");
            true
        };
        eventually("all is acknowledged", is_done).await;
        assert_new(&fleet, &[0, 2, 1], "many").await;
    }
}

/// One of them serves nothing older for as long as it takes the fleet to be whole again, and then no
/// other does either, without being asked again.
async fn assert_obeyed_once_redis_is_back(fleet: &Fleet, purger: usize, newest: usize, named: &str) {
    eventually("all are connected", async || {
        let told = fleet.get(purger, "/a").await;
        assert!(number(&told) > newest, "{named}: {}, {}", told.body, told.says());
        fleet.is_connected()
    })
    .await;
    for member in 0..fleet.count() {
        eventually("it has obeyed", async || number(&fleet.get(member, "/a").await) > newest).await;
        for _ in 0..20 {
            assert!(number(&fleet.get(member, "/a").await) > newest, "{named}, {member}");
        }
    }
    assert_heals(fleet, 2, named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_told_later() {
    let fleet = fleet(tagged().await, "60s").await;
    for (round, request) in ways().into_iter().take(2).enumerate() {
        let (named, purger) = (format!("{request:?}"), round % MEMBERS);
        fleet.warm("/a").await;
        let newest = number(&fleet.get(purger, "/a").await);
        fleet.redis.freeze();
        assert_local(&fleet.purge(purger, request).await, &named);
        for _ in 0..5 {
            let told = fleet.get(purger, "/a").await;
            assert!(number(&told) > newest, "{named}: {}", told.says());
        }
        fleet.redis.thaw();
        assert_obeyed_once_redis_is_back(&fleet, purger, newest, &named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_killed_is_told_when_it_is_back_as_it_was() {
    for soft in [false, true] {
        let mut fleet = fleet(tagged().await, "60s").await;
        for (round, request) in ways().into_iter().enumerate() {
            let (named, purger) = (format!("{request:?}, soft: {soft}"), round % MEMBERS);
            fleet.warm("/a").await;
            let newest = number(&fleet.get(purger, "/a").await);
            fleet.redis.command(&["SAVE"]);
            fleet.redis.kill();
            let request = if soft { softly(request) } else { request };
            eventually("it is noticed", async || {
                let report = fleet.purge(purger, request.clone()).await;
                matches!(report.reached, Reached::LocalOnly(_))
            })
            .await;
            for _ in 0..5 {
                let told = fleet.get(purger, "/a").await;
                assert!(number(&told) > newest, "{named}: {}", told.says());
            }
            fleet.redis.restart_as_saved();
            assert_obeyed_once_redis_is_back(&fleet, purger, newest, &named).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_forgotten_a_purge_is_told_again() {
    for soft in [false, true] {
        let mut fleet = fleet(tagged().await, "60s").await;
        for (round, request) in ways().into_iter().enumerate() {
            let (named, purger) = (format!("{request:?}, soft: {soft}"), round % MEMBERS);
            fleet.warm("/a").await;
            let newest = number(&fleet.get(purger, "/a").await);
            fleet.redis.command(&["SAVE"]);
            fleet.redis.has_had_a_fleet("story");
            let report = fleet.purge(purger, if soft { softly(request) } else { request }).await;
            assert_done(&report, &named);
            fleet.redis.kill();
            fleet.redis.restart_as_saved();
            assert_obeyed_once_redis_is_back(&fleet, purger, newest, &named).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_has_nothing_of_before() {
    let mut fleet = fleet(tagged().await, "60s").await;
    for (round, request) in ways().into_iter().enumerate() {
        let (named, purger) = (format!("{request:?}"), round % MEMBERS);
        fleet.warm("/a").await;
        let newest = number(&fleet.get(purger, "/a").await);
        fleet.redis.has_had_a_fleet("story");
        assert_done(&fleet.purge(purger, request).await, &named);
        fleet.redis.kill();
        let told = fleet.get(purger, "/a").await;
        assert!(number(&told) > newest, "{named}: {}", told.says());
        fleet.redis.restart_empty();
        assert_obeyed_once_redis_is_back(&fleet, purger, newest, &named).await;
    }
}

/// Between the moment when Redis can be asked again and that when it has been told again, what it has is
/// not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_in_a_redis_that_has_yet_to_be_told_again() {
    let mut fleet = Fleet::start(1, tagged().await, &pages("60s")).await;
    for round in 0..10 {
        let target = format!("/{round}");
        fleet.warm(&target).await;
        fleet.redis.command(&["SAVE"]);
        let purge = urls(&[&format!("http://shop{target}")]);
        fleet.purge(0, if round % 2 == 0 { purge } else { softly(purge) }).await;
        fleet.redis.kill();
        fleet.redis.restart_as_saved();
        eventually("it is asked again", async || fleet.can_ask(0)).await;
        let told = fleet.get(0, &target).await;
        assert!(!told.is_hit(), "{round}: {}", told.says());
        eventually("it is connected", async || fleet.is_connected()).await;
        fleet.settled().await;
    }
}

/// One who found something stale, and waits while another validates it, does not ask about it once it is purged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_not_validated_by_one_who_has_waited() {
    let gate = Gate::shut();
    let behind = gate.clone();
    let script = move |asked: &Asked| match (asked.number, asked.field("if-none-match")) {
        (1, _) => ok("ETag: \"x\"\r\n", "answer 1"),
        (2, Some(_)) => vec![Step::Wait(behind.clone()), send("HTTP/1.1 304 Not Modified\r\n\r\n")],
        (_, Some(_)) => vec![send("HTTP/1.1 304 Not Modified\r\n\r\n")],
        (number, None) => ok("ETag: \"y\"\r\n", &format!("answer {number}")),
    };
    let fleet = fleet(Origin::start(script).await, "1s").await;
    fleet.warm("/a").await;
    fleet.pass_millis(1100);
    let mut first = fleet.send(0, "GET /a", &[]).await;
    fleet.asked(2).await;
    let mut second = fleet.send(1, "GET /a", &[]).await;
    fleet.waits(1).await;
    assert_done(&fleet.purge(2, urls(&["http://shop/a"])).await, "while it waits");
    assert_eq!(number(&second.answer("GET").await), 3);
    gate.open();
    assert_eq!(number(&first.answer("GET").await), 1);
}

/// One who found something stale, and joined a fetch that brought nothing for it, may ask about it by itself, if that
/// will not be stored: but what is purged meanwhile does not come back so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_before_a_purge_is_not_stored_again_because_it_has_not_changed() {
    for request in ways() {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let behind = gate.clone();
        let script = move |asked: &Asked| match (asked.number, asked.field("if-none-match")) {
            (1, _) => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", "answer 1"),
            (2, _) => {
                [vec![Step::Wait(behind.clone())], ok("Cache-Control: private\r\n", "answer 2")].concat()
            }
            (_, Some(_)) => answer("304 Not Modified", "ETag: \"x\"\r\nCache-Tag: t\r\n", ""),
            (number, None) => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", &format!("answer {number}")),
        };
        let fleet = fleet(Origin::start(script).await, "1s").await;
        fleet.warm("/a").await;
        fleet.pass_millis(1100);
        let mut first = fleet.send(0, "GET /a", &[]).await;
        fleet.asked(2).await;
        let mut second = fleet.send(0, "GET /a", &[]).await;
        fleet.wait_here(0, 2).await;
        assert_done(&fleet.purge(1, request).await, &named);
        gate.open();
        assert_eq!(number(&first.answer("GET").await), 2);
        // Without the right to store, as long as the first one has it, or anew.
        assert!(matches!(number(&second.answer("GET").await), 1 | 3), "{named}");
        fleet.settled().await;
        for member in [0, 1, 2] {
            assert!(number(&fleet.get(member, "/a").await) > 2, "{named}, {member}");
        }
    }
}

/// What is in the roll was written since then, by all of them.
async fn renewed(fleet: &Fleet) {
    let before = fleet.redis.members("story");
    eventually("all have renewed with all on it", async || {
        let now = fleet.redis.members("story");
        now.len() == MEMBERS && now.iter().all(|written| !before.contains(written))
    })
    .await;
}

/// All of them, the last by way of a relay.
async fn with_one_behind_a_relay() -> (Fleet, Relay, usize) {
    let mut fleet = Fleet::start(MEMBERS - 1, tagged().await, &pages("60s")).await;
    let (relay, late) = fleet.join_behind_a_relay().await;
    (fleet, relay, late)
}

/// It is no longer told what changes, and does not know it.
fn deafen(relay: &Relay) {
    relay.set(Which::Each(Class::Tracking), Way::Answers, Flow::Held);
}

/// Nor does Redis hear that it is there.
fn cut_off(relay: &Relay) {
    deafen(relay);
    relay.set(Which::Each(Class::Tracking), Way::Asks, Flow::Held);
}

/// Who is not told what changes learns from Redis' records that there was a purge: what it fetches after that is later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_of_no_purge_stores_what_it_fetches_after_it() {
    let (fleet, relay, late) = with_one_behind_a_relay().await;
    cut_off(&relay);
    eventually("it hears nothing", async || !fleet.hears(late)).await;
    for request in &ways()[1..] {
        let named = format!("{request:?}");
        fleet.get(0, "/a").await.fine();
        fleet.settled().await;
        let newest = number(&fleet.get(0, "/a").await);
        fleet.purge(1, request.clone()).await;
        assert!(number(&fleet.get(late, "/a").await) > newest, "{named}");
        fleet.settled().await;
        let hit = fleet.get(late, "/a").await;
        assert!(hit.is_hit(), "{named}: {}", hit.says());
    }
}

/// The roll is a key like others: it can be evicted, deleted, or go with all the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_waited_for_though_the_roll_is_lost() {
    let fleet = fleet(tagged().await, "60s").await;
    for (round, command) in [&["DEL", "story:v1:m"][..], &["FLUSHALL"]].iter().enumerate() {
        for request in ways().into_iter().take(2) {
            let named = format!("{command:?} {request:?}");
            fleet.warm("/a").await;
            renewed(&fleet).await;
            fleet.redis.command(command);
            let report = fleet.purge(round % MEMBERS, request).await;
            assert_eq!((&report.reached, report.members), (&Reached::Fleet, MEMBERS), "{named}");
            assert_new(&fleet, &[0, 1, 2], &named).await;
        }
    }
}

/// Who is not told that Redis has been emptied goes on with what it has in memory, and no roll names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_hear_of_a_flush_is_waited_for() {
    let (fleet, relay, late) = with_one_behind_a_relay().await;
    for (purger, request) in ways().into_iter().take(2).enumerate() {
        let named = format!("{request:?}");
        eventually("all are connected", async || fleet.is_connected()).await;
        fleet.warm("/a").await;
        renewed(&fleet).await;
        let newest = number(&fleet.get(late, "/a").await);
        deafen(&relay);
        fleet.redis.command(&["FLUSHALL"]);
        assert_eq!(number(&fleet.get(late, "/a").await), newest, "it has not heard of it");
        let report = fleet.purge(purger, request).await;
        let told = fleet.get(late, "/a").await;
        assert!(number(&told) > newest, "{named}: {}, {report:?}", told.says());
        assert_eq!(report.reached, Reached::Fleet, "{named}");
        assert!(report.waited >= BOUND, "{report:?}");
        relay.heal();
    }
}

/// Nor does whoever starts after that know who is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_after_the_roll_was_lost_waits_for_those_who_were_on_it() {
    for command in [&["DEL", "story:v1:m"][..], &["FLUSHALL"]] {
        let (mut fleet, relay, late) = with_one_behind_a_relay().await;
        fleet.warm("/a").await;
        renewed(&fleet).await;
        let newest = number(&fleet.get(late, "/a").await);
        cut_off(&relay);
        fleet.redis.command(command);
        let newcomer = fleet.join().await;
        let report = fleet.purge(newcomer, urls(&["http://shop/a"])).await;
        let told = fleet.get(late, "/a").await;
        assert!(number(&told) > newest, "{command:?}: {}, {report:?}", told.says());
        assert_eq!(report.reached, Reached::Fleet, "{command:?}");
        relay.heal();
    }
}

/// A purge that does not learn who has obeyed it ends once all trust their memory by what they were told after it:
/// they have not gone, and the next one waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alive_is_not_struck_off_for_what_was_lost() {
    let (fleet, relay, late) = with_one_behind_a_relay().await;
    fleet.warm("/a").await;
    // So the first purge reads the roll when all others have lapsed.
    fleet.redis.command(&["DEL", "story:v1:m"]);
    let lost = async {
        eventually("all have acknowledged it, and that is lost", async || {
            fleet.redis.acknowledged("story", MEMBERS).is_some_and(|name| {
                fleet.redis.command(&["DEL", &name]);
                true
            })
        })
        .await;
        fleet.warm("/a").await;
        for _ in 0..3 {
            renewed(&fleet).await;
        }
        // For what is left of its trust it hears nothing, not even that its connection was closed.
        deafen(&relay);
    };
    let (report, ()) = tokio::join!(fleet.purge(0, urls(&["http://shop/a"])), lost);
    assert!(report.waited >= BOUND, "it has learned who obeyed: {report:?}");
    let newest = number(&fleet.get(late, "/a").await);
    let report = fleet.purge(1, urls(&["http://shop/a"])).await;
    let told = fleet.get(late, "/a").await;
    assert!(number(&told) > newest, "{}, {report:?}", told.says());
    relay.heal();
}

/// A Redis that comes back with what it had some time ago has a roll of then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_missing_from_a_roll_of_some_time_ago_is_waited_for() {
    let mut fleet = Fleet::start(MEMBERS - 1, tagged().await, &pages("60s")).await;
    fleet.redis.command(&["COPY", "story:v1:m", "kept"]);
    let (relay, late) = fleet.join_behind_a_relay().await;
    fleet.warm("/a").await;
    for _ in 0..4 {
        renewed(&fleet).await;
    }
    let newest = number(&fleet.get(late, "/a").await);
    cut_off(&relay);
    fleet.redis.command(&["RENAME", "kept", "story:v1:m"]);
    // One that has not seen who was there.
    let newcomer = fleet.join().await;
    let report = fleet.purge(newcomer, urls(&["http://shop/a"])).await;
    let told = fleet.get(late, "/a").await;
    assert!(number(&told) > newest, "{}, {report:?}", told.says());
    assert_eq!(report.reached, Reached::Fleet);
    relay.heal();
}

/// Who asks it who has obeyed is answered by a Redis that knows nothing of the purge, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forgets_while_others_are_waited_for_is_not_done() {
    let (fleet, relay, late) = with_one_behind_a_relay().await;
    fleet.warm("/a").await;
    renewed(&fleet).await;
    let newest = number(&fleet.get(late, "/a").await);
    let resource = keys(&fleet, "r:").remove(0);
    fleet.redis.command(&["COPY", &resource, "kept"]);
    deafen(&relay);
    let lost = async {
        eventually("all who hear of it have obeyed", async || fleet.redis.acknowledged("story", 2).is_some())
            .await;
        // As it was before, on new connections; and it does not let itself be told again.
        fleet.redis.command(&["RENAME", "kept", &resource]);
        fleet.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        fleet.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    let (report, ()) = tokio::join!(fleet.purge(0, urls(&["http://shop/a"])), lost);
    let told = fleet.get(late, "/a").await;
    assert!(number(&told) > newest || report.reached != Reached::Fleet, "{}, {report:?}", told.says());
    assert_local(&report, "it has no purge");
    relay.heal();
}
