//! Many ask for the same, and one fetch answers them; or each gets its own, at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "likewise")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sidecache::store::tiers::Tiers;
use support::{
    browser::{Answer, Browser, request},
    origin::{Asked, Gate, Origin, Step, chunk, chunked_head, last_chunk, ok, send},
    redis::eventually,
    story::{On, STORES, Story, everything},
};
use tokio::task::JoinSet;

/// Asks once from each of so many clients at the same time.
async fn crowd(story: &Story, count: usize, fields: impl Fn(usize) -> Vec<(String, String)>) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (address, fields) = (story.address, fields(number));
        clients.spawn(async move {
            let fields: Vec<_> = fields.iter().map(|field| (field.0.as_str(), field.1.as_str())).collect();
            Browser::connect(address).await.ask("GET /a", &fields).await
        });
    }
    clients.join_all().await
}

/// Clients that have sent a request each, and wait in a flight.
async fn waiting(story: &Story, count: usize) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for number in 1..=count {
        let mut browser = story.browser().await;
        browser.send(&request("GET /a", &[], "")).await;
        browsers.push(browser);
        // The first one leads.
        if number == 1 {
            story.asked(1).await;
        }
    }
    eventually("all wait", async || story.app.flights.waiting() == count).await;
    browsers
}

fn counted(answers: &[Answer], says: &str) -> usize {
    answers.iter().filter(|answer| answer.says() == says).count()
}

/// How many answers say the same.
fn tally(answers: &[Answer]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    answers.iter().for_each(|answer| *tally.entry(answer.says()).or_default() += 1);
    tally
}

/// What Redis was not told in time.
fn dropped(story: &Story) -> usize {
    match &story.app.store {
        Tiers::Memory(_) => 0,
        Tiers::Redis(fleet) => usize::try_from(fleet.redis().stats().dropped_writes).unwrap(),
    }
}

/// A body that shows where it was cut or mixed up.
fn long_body() -> String {
    (0..4096).map(|n| format!("{n:07} ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_ask_the_origin_once() {
    let body = long_body();
    let with_length = vec![Step::Pause(Duration::from_millis(50)), ok("", &body).remove(0)];
    let mut chunks = vec![Step::Pause(Duration::from_millis(50)), chunked_head("")];
    chunks.extend(body.as_bytes().chunks(1000).map(|part| chunk(std::str::from_utf8(part).unwrap())));
    chunks.push(last_chunk());
    for on in STORES {
        for steps in [with_length.clone(), chunks.clone()] {
            let story = Story::cached(on, Origin::start(move |_| steps.clone()).await, "10s").await;
            let answers = crowd(&story, 1000, |_| Vec::new()).await;
            for answer in &answers {
                answer.fine();
                assert!(answer.body == body, "{} bytes", answer.body.len());
            }
            // On a busy machine Redis may miss its time: for a look-up, which then fetches for itself, or for what
            // is stored, which is then fetched anew.
            let (said, fetched) = (tally(&answers), story.origin.count());
            let alone = answers.iter().filter(|answer| answer.says().contains("detail=store-down")).count();
            let excused = alone + dropped(&story);
            assert!(excused <= 10 && fetched <= 1 + excused, "{on:?}: {fetched} fetched, {said:?}");
            let stored = counted(&answers, "fwd=uri-miss; stored");
            assert!((1..=1 + dropped(&story)).contains(&stored), "{on:?}: {said:?}");
        }
    }
}

#[tokio::test]
async fn half_of_them_leave_and_the_others_are_answered() {
    let body = long_body();
    let (first, second) = body.split_at(body.len() / 2);
    let length = body.len();
    let with_length = [send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{first}"))];
    let chunked = [chunked_head(""), chunk(first)];
    let rests = [vec![send(second)], vec![chunk(second), last_chunk()]];
    for on in STORES {
        for (start, rest) in [&with_length[..], &chunked[..]].into_iter().zip(&rests) {
            let (before, midway) = (Gate::shut(), Gate::shut());
            let mut steps = vec![Step::Wait(before.clone())];
            steps.extend_from_slice(start);
            steps.push(Step::Wait(midway.clone()));
            steps.extend_from_slice(rest);
            let story = Story::cached(on, Origin::start(move |_| steps.clone()).await, "10s").await;
            let mut browsers = waiting(&story, 40).await;
            before.open();
            assert_eq!(browsers[0].head().await.unwrap().says(), "fwd=uri-miss; stored");
            let mut number = 0;
            browsers.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            eventually("they have gone", async || story.app.flights.waiting() <= 20).await;
            midway.open();
            for browser in &mut browsers {
                let answer = browser.answer("GET /a").await;
                assert_eq!(answer.fine(), "fwd=uri-miss; collapsed");
                assert!(answer.body == body, "{} bytes", answer.body.len());
            }
            assert_eq!(story.origin.count(), 1);
            assert!(story.get("/a").await.is_hit());
        }
    }
}

#[tokio::test]
async fn a_stalled_reader_holds_nobody_back() {
    // More than all buffers between a client and the sidecar hold.
    let body = "x".repeat(8_000_000);
    let answer = ok("", &body);
    let cache = "{ ttl: 10s, max_body: 8MB }";
    let story = Story::cached(On::Memory, Origin::start(move |_| answer.clone()).await, cache).await;
    let mut stalled = story.browser().await;
    stalled.send(&request("GET /a", &[], "")).await;
    assert_eq!(stalled.head().await.unwrap().says(), "fwd=uri-miss; stored");
    for answer in crowd(&story, 5, |_| Vec::new()).await {
        answer.fine();
        assert_eq!(answer.body.len(), body.len());
    }
    assert_eq!(stalled.bytes(body.len()).await.map(|body| body.len()), Ok(body.len()));
    assert_eq!(story.origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_variant_is_fetched_once() {
    for on in STORES {
        let origin = Origin::start(|asked| {
            let language = asked.field("accept-language").unwrap_or("none").to_owned();
            let mut steps = vec![Step::Pause(Duration::from_millis(50))];
            steps.extend(ok("Vary: accept-language\r\n", &language));
            steps
        });
        let story = Story::cached(on, origin.await, "10s").await;
        let languages = ["de", "en", "fr", "it", "rm"];
        let language = |number: usize| languages[number % languages.len()];
        let fields = |number| vec![("accept-language".to_owned(), language(number).to_owned())];
        // Cold, and then stale: by then it is known what selects.
        for round in 1..=2 {
            let answers = crowd(&story, 200, fields).await;
            for answer in &answers {
                answer.fine();
            }
            let mut bodies: Vec<_> = answers.iter().map(|answer| answer.body.as_str()).collect();
            bodies.sort_unstable();
            assert!(bodies.chunks(40).eq(languages.map(|language| [language; 40])), "{bodies:?}");
            assert_eq!(story.origin.count(), round * languages.len(), "{on:?}");
            story.settled().await;
            story.pass_millis(11_000);
        }
    }
}

#[tokio::test]
async fn variants_that_are_known_to_differ_do_not_wait_for_each_other() {
    for on in STORES {
        let gate = Gate::shut();
        let door = gate.clone();
        let script = move |asked: &Asked| {
            let language = asked.field("accept-language").unwrap_or("none");
            let answer = ok("Vary: accept-language\r\n", language);
            match language {
                "slow" => [vec![Step::Wait(door.clone())], answer].concat(),
                _ => answer,
            }
        };
        let story = Story::cached(on, Origin::start(script).await, "10s").await;
        let speaks =
            async |language| story.browser().await.ask("GET /a", &[("accept-language", language)]).await;
        assert_eq!(speaks("de").await.fine(), "fwd=uri-miss; stored");
        story.settled().await;
        let mut slow = story.browser().await;
        slow.send(&request("GET /a", &[("accept-language", "slow")], "")).await;
        story.asked(2).await;
        assert_eq!(speaks("fr").await.fine(), "fwd=vary-miss; stored");
        story.pass_millis(11_000);
        assert_eq!(speaks("de").await.fine(), "fwd=stale; stored");
        gate.open();
        assert_eq!(slow.answer("GET /a").await.fine(), "fwd=vary-miss; stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_looked_before_a_fetch_ended_does_not_begin_another() {
    const ROUNDS: usize = 300;
    for on in STORES {
        let story = Story::cached(on, Origin::saying("").await, "10s").await;
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            let address = story.address;
            clients.spawn(async move {
                let mut browser = Browser::connect(address).await;
                // All in the same order: each target is asked for by some while others just store it.
                for round in 0..ROUNDS {
                    browser.ask(&format!("GET /{round}"), &[]).await.fine();
                }
            });
        }
        clients.join_all().await;
        assert_eq!(story.origin.count(), ROUNDS, "{on:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_shared_is_fetched_by_all_at_once() {
    for on in STORES {
        let origin = Origin::start(|asked| {
            let mut steps = vec![Step::Pause(Duration::from_millis(200))];
            steps.extend(ok("Cache-Control: no-store\r\n", &format!("{}", asked.number)));
            steps
        });
        let story = Story::cached(on, origin.await, "10s").await;
        let started = Instant::now();
        let answers = crowd(&story, 100, |_| Vec::new()).await;
        // One after the other would take 20 s.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(story.origin.count(), 100);
        let mut bodies: Vec<_> = answers.iter().map(|answer| answer.body.as_str()).collect();
        bodies.sort_unstable();
        bodies.dedup();
        assert_eq!(bodies.len(), 100, "each its own");
        let (led, alone) = ("fwd=uri-miss; detail=no-store", "fwd=uri-miss; detail=not-shareable");
        assert_eq!(counted(&answers, led) + counted(&answers, alone), 100);
        assert!(counted(&answers, led) >= 1 && counted(&answers, alone) >= 1);
    }
}

#[tokio::test]
async fn a_chunked_body_that_grows_too_long_is_the_leaders_alone() {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |_: &Asked| {
        let mut steps = vec![Step::Wait(door.clone()), chunked_head("")];
        steps.extend((0..100).map(|_| chunk(&"x".repeat(2000))));
        steps.push(last_chunk());
        steps
    };
    let story = Story::cached(On::Memory, Origin::start(script).await, "{ ttl: 10s, max_body: 100KB }").await;
    let mut browsers = waiting(&story, 10).await;
    gate.open();
    let mut says = Vec::new();
    for browser in &mut browsers {
        let answer = browser.answer("GET /a").await;
        assert_eq!(answer.body.len(), 200_000);
        says.push(answer.fine().to_owned());
    }
    assert_eq!(says.remove(0), "fwd=uri-miss; stored");
    assert!(says.iter().all(|says| says == "fwd=uri-miss; stored; detail=not-shareable"), "{says:?}");
    assert_eq!(story.origin.count(), 10);
}

fn impatient(cache: &str) -> String {
    format!("timeouts: {{ first_byte: 400ms }}\n{}", everything(cache))
}

#[tokio::test]
async fn an_origin_that_hangs_is_waited_for_once_by_all() {
    for on in STORES {
        let story = Story::start(on, Origin::start(|_| vec![Step::Hang]).await, &impatient("10s")).await;
        let started = Instant::now();
        let mut browsers = waiting(&story, 50).await;
        for browser in &mut browsers {
            let answer = browser.answer("GET /a").await;
            assert_eq!((answer.status, answer.field("cache-status")), (504, ""));
            assert_eq!(answer.field("proxy-status"), "sidecache; error=http_response_timeout");
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        // The first leader's; one more only if somebody came after it had failed.
        assert!((1..3).contains(&story.origin.count()), "{}", story.origin.count());
    }
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_not_waited_for() {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| match asked.number {
        1 => vec![chunked_head(""), chunk("slow"), Step::Wait(door.clone()), last_chunk()],
        _ => ok("", "quick"),
    };
    let story = Story::start(On::Memory, Origin::start(script).await, &impatient("10s")).await;
    let mut leader = story.browser().await;
    leader.send(&request("GET /a", &[], "")).await;
    leader.head().await.unwrap();
    let follower = story.browser().await.ask("GET /a", &[]).await;
    assert_eq!(
        (follower.fine(), follower.body.as_str()),
        ("fwd=uri-miss; stored; detail=collapse-timeout", "quick")
    );
    gate.open();
    assert_eq!(leader.bytes(9).await.unwrap(), b"4\r\nslow\r\n");
}

#[tokio::test]
async fn a_fetch_that_fails_is_tried_once_more_and_then_shared() {
    for on in STORES {
        for recovers in [true, false] {
            let gate = Gate::shut();
            let door = gate.clone();
            let script = move |asked: &Asked| match asked.number {
                1 => vec![Step::Wait(door.clone()), Step::Reset],
                _ if recovers => ok("", "back"),
                _ => vec![Step::Pause(Duration::from_millis(300)), Step::Reset],
            };
            let story = Story::cached(on, Origin::start(script).await, "10s").await;
            let mut browsers = waiting(&story, 30).await;
            gate.open();
            let mut statuses = Vec::new();
            for browser in &mut browsers {
                statuses.push(browser.answer("GET /a").await.status);
            }
            assert_eq!(statuses.remove(0), 502, "the leader's failure");
            let wanted = if recovers { 200 } else { 502 };
            assert_eq!(statuses, [wanted; 29]);
            assert_eq!(story.origin.count(), 2, "{on:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_before_they_had_any_of_it_is_tried_once_more() {
    for recovers in [true, false] {
        let (gate, second) = (Gate::shut(), Gate::shut());
        let doors = (gate.clone(), second.clone());
        let script = move |asked: &Asked| {
            let cut = [chunked_head(""), chunk("half"), Step::Close];
            match asked.number {
                1 => [vec![Step::Wait(doors.0.clone())], cut.to_vec()].concat(),
                _ if recovers => ok("", "whole"),
                _ => [vec![Step::Wait(doors.1.clone())], cut.to_vec()].concat(),
            }
        };
        let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
        let mut browsers = waiting(&story, 30).await;
        gate.open();
        let leader = browsers.remove(0).answer("GET /a").await;
        assert_eq!((leader.whole, leader.body.as_str()), (false, "half"));
        if !recovers {
            eventually("they wait again", async || story.app.flights.waiting() == 29).await;
            second.open();
        }
        for browser in &mut browsers {
            let answer = browser.answer("GET /a").await;
            assert_eq!((answer.whole, answer.body == "whole"), (recovers, recovers), "{answer:?}");
        }
        assert_eq!(story.origin.count(), 2);
    }
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_is_given_up() {
    for on in STORES {
        let story = Story::cached(on, Origin::start(|_| vec![Step::Hang]).await, "10s").await;
        let browsers = waiting(&story, 3).await;
        assert_eq!(story.origin.abandoned(), 0);
        drop(browsers);
        eventually("the connection is closed", async || story.origin.abandoned() == 1).await;
        assert_eq!((story.origin.count(), story.app.flights.under_way()), (1, 0));
    }
}

#[tokio::test]
async fn a_fetch_that_one_still_waits_for_is_not() {
    for on in STORES {
        let gate = Gate::shut();
        let door = gate.clone();
        let script = move |_: &_| vec![Step::Wait(door.clone()), ok("", "answer").remove(0)];
        let story = Story::cached(on, Origin::start(script).await, "10s").await;
        let mut browsers = waiting(&story, 3).await;
        let mut last = browsers.pop().unwrap();
        drop(browsers);
        eventually("they have gone", async || story.app.flights.waiting() == 1).await;
        gate.open();
        let answer = last.answer("GET /a").await;
        assert!(answer.fine() == "fwd=uri-miss; collapsed" || answer.is_hit());
        assert_eq!((story.origin.count(), story.origin.abandoned()), (1, 0));
    }
}

/// An origin that sends the head of its first answer, and the rest when the gate is open.
async fn half_an_answer(fields: &'static str, gate: &Gate) -> Origin {
    let door = gate.clone();
    Origin::start(move |asked| match asked.number {
        1 => vec![
            send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 6\r\n\r\n")),
            Step::Wait(door.clone()),
            send("shared"),
        ],
        _ => ok(fields, "own"),
    })
    .await
}

#[tokio::test]
async fn who_has_a_cookie_gets_only_what_is_offered_to_all() {
    // The rule states the lifetime, so the answer says of no cookie that it does not matter.
    let cache = "{ status: { 200: 10s } }";
    let gate = Gate::shut();
    let story = Story::cached(On::Memory, half_an_answer("", &gate).await, cache).await;
    let mut leader = story.browser().await;
    leader.send(&request("GET /a", &[], "")).await;
    leader.head().await.unwrap();
    let own = story.browser().await.ask("GET /a", &[("cookie", "session=1")]).await;
    assert_eq!((own.fine(), own.body.as_str()), ("fwd=uri-miss; detail=cookie", "own"));
    gate.open();
    assert_eq!(leader.bytes(6).await.unwrap(), b"shared");
}

#[tokio::test]
async fn who_asks_for_no_cache_gets_nothing_from_before() {
    let cache = "{ ttl: 10s, client_control: honour }";
    let gate = Gate::shut();
    let story = Story::cached(On::Memory, half_an_answer("", &gate).await, cache).await;
    let mut leader = story.browser().await;
    leader.send(&request("GET /a", &[], "")).await;
    leader.head().await.unwrap();
    story.pass_millis(1500);
    let own = story.browser().await.ask("GET /a", &[("cache-control", "no-cache")]).await;
    assert_eq!((own.fine(), own.body.as_str()), ("fwd=uri-miss; stored; detail=client-control", "own"));
    gate.open();
    assert_eq!(leader.bytes(6).await.unwrap(), b"shared");
}

#[tokio::test]
async fn who_asked_for_no_cache_in_time_shares_what_comes() {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |_: &_| vec![Step::Wait(door.clone()), ok("", "fresh").remove(0)];
    let cache = "{ ttl: 10s, client_control: honour }";
    let story = Story::cached(On::Memory, Origin::start(script).await, cache).await;
    let mut leader = waiting(&story, 1).await.remove(0);
    let mut follower = story.browser().await;
    follower.send(&request("GET /a", &[("cache-control", "no-cache")], "")).await;
    eventually("both wait", async || story.app.flights.waiting() == 2).await;
    story.pass_millis(500);
    gate.open();
    for browser in [&mut leader, &mut follower] {
        assert_eq!(browser.answer("GET /a").await.body, "fresh");
    }
    assert_eq!(story.origin.count(), 1);
}
