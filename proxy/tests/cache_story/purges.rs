//! What an operator purges, or a write that `purge_on` or the app names: nothing of it is served again,
//! or only as far as a stale response may be.

use futures_util::future::join_all;
use sidecache::{
    epoch::{Epoch, Mode},
    purge::PurgeRequest,
};

use crate::support::{
    browser::{Answer, Browser},
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    purges::{all, rules, softly, tags, urls},
    redis::eventually,
    story::{On, Story, everything},
};

on_both_stores![
    a_url_goes_with_all_its_variants_under_every_query_policy,
    a_url_is_no_pattern,
    a_tag_goes_wherever_it_was_said,
    a_rule_goes_and_no_other,
    everything_goes,
    what_is_stored_after_a_purge_is_not_covered_by_it,
    a_soft_purge_lets_stale_be_served_while_it_is_refreshed_once,
    a_soft_purge_of_many_has_each_refreshed_once,
    a_soft_purge_without_a_window_has_it_validated_first,
    a_window_counts_from_the_soft_purge,
    what_was_purged_softly_stands_in_for_an_app_that_fails,
    a_soft_purge_of_a_url_is_of_all_its_variants,
    what_was_purged_softly_can_be_purged_for_good,
    what_is_being_fetched_is_covered,
    what_has_not_answered_yet_is_covered,
    a_renewal_under_way_is_covered,
    what_a_post_is_about_to_bring_is_covered,
    what_a_post_brings_is_stored_though_others_are_purged_meanwhile,
    what_a_post_brings_is_stored_whatever_it_purges_itself,
    what_a_post_brings_is_not_stored_though_it_purges_the_same_softly_itself,
    what_a_post_brings_is_stored_whatever_its_sidecar_purges_in_the_same_moment,
    what_a_post_brings_is_not_stored_where_somebody_else_purges_meanwhile,
    what_a_rule_stored_before_an_edit_goes_with_its_url,
    a_rule_has_what_was_stored_by_its_name,
    writes_purge_what_the_file_names,
    only_writes_that_succeed_purge,
    section_3_a_write_invalidates_the_groups_of_its_own_origin,
];

const SHOP: &str = "http://shop";

fn shop(targets: &[&str]) -> PurgeRequest {
    let all: Vec<_> = targets.iter().map(|target| format!("{SHOP}{target}")).collect();
    urls(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Each way to name the same response, which is of the rule `pages` and tagged `t`.
fn ways(target: &str) -> [PurgeRequest; 4] {
    [shop(&[target]), tags(&["t"]), rules(&["pages"]), all()]
}

fn pages(cache: &str) -> String {
    format!("routes:\n  - {{ match: /**, name: pages, cache: {cache} }}\n")
}

async fn hits(story: &Story, requests: &[(&str, &[(&str, &str)])]) -> Vec<bool> {
    let mut hits = Vec::new();
    for (target, fields) in requests {
        hits.push(story.get_with(target, fields).await.is_hit());
    }
    hits
}

async fn a_url_goes_with_all_its_variants_under_every_query_policy(on: On) {
    let yaml = "routes:
  - { match: /a, headers: { x-none: present }, cache: { ttl: 10s, key: { query: none } } }
  - { match: /a, headers: { x-page: present }, cache: { ttl: 10s, key: { query: [page], headers: [x-page] } } }
  - { match: /**, cache: { ttl: 10s, key: { query: { except: [utm_*] } } } }
";
    let story = Story::start(on, Origin::saying("Vary: accept\r\n").await, yaml).await;
    let requests: [(&str, &[(&str, &str)]); 9] = [
        ("/a?page=1&x=3&utm_x=2", &[("x-none", "1")]),
        ("/a?page=1&x=3&utm_x=2", &[("x-page", "1")]),
        ("/a?page=1&x=3&utm_x=2", &[("x-page", "2")]),
        ("/a?page=1&x=3&utm_x=2", &[("accept", "a")]),
        ("/a?page=1&x=3&utm_x=2", &[("accept", "b")]),
        ("/a?page=2&x=3", &[("x-page", "1")]),
        ("/a?page=1&x=4", &[]),
        ("/a/", &[]),
        ("/a?page=1&x=3", &[("host", "other")]),
    ];
    assert_eq!(hits(&story, &requests).await, [false; 9]);
    assert_eq!(hits(&story, &requests).await, [true; 9]);
    story.purge(shop(&["/a?page=1&x=3&utm_y=5"])).await;
    let left = [false, false, false, false, false, true, true, true, true];
    assert_eq!(hits(&story, &requests).await, left);
    assert_eq!(hits(&story, &requests).await, [true; 9]);
}

/// Says what the target says.
fn tagged(asked: &Asked) -> Vec<Step> {
    let fields = match asked.target.as_str() {
        "/cache-tag" => "Cache-Tag: s, t\r\n",
        "/surrogate-key" => "Surrogate-Key: s t\r\n",
        "/group" => "Cache-Groups: \"t\"\r\n",
        "/near" => "Cache-Tag: T, tt, t t\r\nSurrogate-Key: t,\r\n",
        _ => "",
    };
    ok(fields, &format!("answer {}", asked.number))
}

async fn a_url_is_no_pattern(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let targets = ["/a[b]*", "/a", "/ab", "/ab1", "/a[b]*1", "/a?", "/a?x", "/*", "/a{b}", "/b"];
    let requests = targets.map(|target| (target, &[][..]));
    assert_eq!(hits(&story, &requests).await, [false; 10]);
    assert_eq!(hits(&story, &requests).await, [true; 10]);
    for (at, target) in targets.into_iter().enumerate().filter(|(at, _)| [0, 5, 7, 8].contains(at)) {
        story.purge(shop(&[target])).await;
        let left: Vec<_> = (0..targets.len()).map(|other| other != at).collect();
        assert_eq!(hits(&story, &requests).await, left, "{target}");
    }
}

async fn a_tag_goes_wherever_it_was_said(on: On) {
    let yaml = "routes:
  - { match: /rule, cache: { ttl: 10s, tags: [s, t] } }
  - { match: /**, name: t, cache: 10s }
";
    let story = Story::start(on, Origin::start(tagged).await, yaml).await;
    let elsewhere: &[(&str, &str)] = &[("host", "other")];
    let requests: [(&str, &[(&str, &str)]); 7] = [
        ("/cache-tag", &[]),
        ("/surrogate-key", &[]),
        ("/rule", &[]),
        ("/cache-tag", elsewhere),
        ("/group", &[]),
        ("/near", &[]),
        ("/t", &[]),
    ];
    hits(&story, &requests).await;
    assert_eq!(hits(&story, &requests).await, [true; 7]);
    story.purge(tags(&["t"])).await;
    assert_eq!(hits(&story, &requests).await, [false, false, false, false, true, true, true]);
    assert_eq!(hits(&story, &requests).await, [true; 7]);
    story.purge(tags(&["unheard of", "s"])).await;
    assert_eq!(hits(&story, &requests).await, [false, false, false, false, true, true, true]);
}

async fn a_rule_goes_and_no_other(on: On) {
    let yaml = "routes:
  - { match: /a, name: one, cache: 10s }
  - { match: /b, name: two, cache: { ttl: 10s, tags: [one] } }
  - { match: /**, cache: 10s }
";
    let story = Story::start(on, Origin::saying("").await, yaml).await;
    let requests: [(&str, &[(&str, &str)]); 4] =
        [("/a", &[]), ("/a", &[("host", "other")]), ("/b", &[]), ("/c", &[])];
    hits(&story, &requests).await;
    story.purge(rules(&["one"])).await;
    assert_eq!(hits(&story, &requests).await, [false, false, true, true]);
    story.purge(rules(&["/**", "two"])).await;
    assert_eq!(hits(&story, &requests).await, [true, true, false, false]);
}

async fn everything_goes(on: On) {
    let story = Story::cached(on, Origin::start(tagged).await, "10s").await;
    let requests: [(&str, &[(&str, &str)]); 3] =
        [("/cache-tag", &[]), ("/a", &[]), ("/a", &[("host", "other")])];
    hits(&story, &requests).await;
    story.purge(all()).await;
    assert_eq!(hits(&story, &requests).await, [false; 3]);
    assert_eq!(hits(&story, &requests).await, [true; 3]);
}

async fn what_is_stored_after_a_purge_is_not_covered_by_it(on: On) {
    let story = Story::start(on, Origin::saying("Cache-Tag: t\r\n").await, &pages("10s")).await;
    for soft in [false, true] {
        for request in ways("/a") {
            let named = format!("{request:?}");
            story.get("/a").await;
            story.purge(if soft { softly(request) } else { request }).await;
            let missed = story.get("/a").await;
            assert_eq!(
                missed.fine(),
                if soft { "fwd=stale; stored" } else { "fwd=uri-miss; stored" },
                "{named}"
            );
            let hit = story.get("/a").await;
            assert_eq!((hit.is_hit(), hit.body), (true, missed.body), "{named}");
        }
    }
}

/// Tagged, with a validator that changes on demand.
fn validated(asked: &Asked) -> Vec<Step> {
    match asked.field("if-none-match") {
        Some(_) => answer("304 Not Modified", "ETag: \"x\"\r\nCache-Tag: t\r\nX-Renewed: 1\r\n", ""),
        None => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", &format!("answer {}", asked.number)),
    }
}

const BOTH_WINDOWS: &str = "{ ttl: 10s, stale_while_revalidate: 300s, stale_if_error: 300s }";

async fn assert_stale_is_served(story: &Story, target: &str) {
    let stale = story.browser().await.ask(&format!("GET {target}"), &[]).await;
    assert!(stale.fine().starts_with("hit; ttl="), "{target}: {stale:?}");
    assert!(stale.says().ends_with("; detail=stale-while-revalidate"), "{target}: {stale:?}");
}

async fn assert_fresh(story: &Story, target: &str) {
    let hit = story.get(target).await;
    assert!(hit.is_hit() && !hit.says().contains("detail"), "{target}: {}", hit.says());
}

async fn a_soft_purge_lets_stale_be_served_while_it_is_refreshed_once(on: On) {
    let gate = Gate::shut();
    let behind = gate.clone();
    let script = move |asked: &Asked| match asked.number {
        1..=3 => validated(asked),
        _ => [vec![Step::Wait(behind.clone())], validated(asked)].concat(),
    };
    let story = Story::start(on, Origin::start(script).await, &pages(BOTH_WINDOWS)).await;
    for target in ["/0", "/1", "/2"] {
        story.get(target).await;
    }
    story.purge(softly(shop(&["/0", "/1"]))).await;
    for _ in 0..5 {
        assert_stale_is_served(&story, "/0").await;
        assert_stale_is_served(&story, "/1").await;
    }
    story.asked(5).await;
    gate.open();
    story.settled().await;
    for target in ["/0", "/1", "/2"] {
        assert_fresh(&story, target).await;
    }
    assert_eq!(story.origin.count(), 5);
}

async fn a_soft_purge_of_many_has_each_refreshed_once(on: On) {
    let story = Story::start(on, Origin::start(validated).await, &pages(BOTH_WINDOWS)).await;
    let targets = ["/0", "/1", "/2", "/3"];
    for target in targets {
        story.get(target).await;
    }
    for (request, fetches) in [(tags(&["t"]), 8), (rules(&["pages"]), 12), (all(), 16)] {
        story.purge(softly(request)).await;
        for target in targets {
            assert_stale_is_served(&story, target).await;
        }
        story.asked(fetches).await;
        story.settled().await;
        for target in targets {
            assert_fresh(&story, target).await;
        }
        assert_eq!(story.origin.count(), fetches);
    }
}

async fn a_soft_purge_without_a_window_has_it_validated_first(on: On) {
    let story = Story::start(on, Origin::start(validated).await, &pages("10s")).await;
    story.get("/a").await;
    for (number, request) in ways("/a").into_iter().enumerate() {
        let named = format!("{request:?}");
        story.purge(softly(request)).await;
        let renewed = story.get("/a").await;
        assert_eq!(renewed.fine(), "fwd=stale; fwd-status=304; stored", "{named}");
        assert_eq!((renewed.body.as_str(), renewed.field("x-renewed")), ("answer 1", "1"));
        assert_eq!(story.origin.last().field("if-none-match"), Some("\"x\""), "{named}");
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "answer 1"), "{named}");
        assert_eq!(story.origin.count(), number + 2, "{named}");
    }
}

async fn a_window_counts_from_the_soft_purge(on: On) {
    let cache = "{ ttl: 300s, stale_while_revalidate: 10s, stale_if_error: 60s }";
    let script = |asked: &Asked| match asked.number {
        1 | 2 => validated(asked),
        _ => answer("503 No", "", "trouble"),
    };
    let story = Story::start(on, Origin::start(script).await, &pages(cache)).await;
    story.get("/a").await;
    story.purge(softly(shop(&["/a"]))).await;
    story.pass_millis(15_000);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; fwd-status=304; stored");
    story.pass_millis(5000);
    story.purge(softly(tags(&["t"]))).await;
    // By Redis' clock, which does not move with the test's, up to twenty seconds have passed already.
    story.pass_millis(30_000);
    let stale = story.get("/a").await;
    assert_eq!(stale.fine(), "fwd=stale; fwd-status=503; detail=stale-if-error");
    story.pass_millis(60_000);
    assert_eq!(story.get("/a").await.status, 503, "beyond the window it is no better than an error");
}

async fn what_was_purged_softly_stands_in_for_an_app_that_fails(on: On) {
    for request in ways("/a") {
        let named = format!("{request:?}");
        let script = |asked: &Asked| match asked.number {
            1 => validated(asked),
            2 => answer("503 No", "", "trouble"),
            3 => vec![Step::Reset],
            _ => validated(asked),
        };
        let cache = "{ ttl: 10s, stale_if_error: 300s }";
        let story = Story::start(on, Origin::start(script).await, &pages(cache)).await;
        story.get("/a").await;
        story.purge(softly(request)).await;
        let stale = story.get("/a").await;
        assert_eq!(stale.fine(), "fwd=stale; fwd-status=503; detail=stale-if-error", "{named}");
        assert_eq!(stale.body, "answer 1", "{named}");
        let again = story.get("/a").await;
        assert_eq!((again.fine(), again.body.as_str()), ("hit; ttl=0; detail=stale-if-error", "answer 1"));
    }
}

async fn a_soft_purge_of_a_url_is_of_all_its_variants(on: On) {
    let story = Story::start(on, Origin::saying("Vary: accept\r\n").await, &pages("10s")).await;
    let kinds = ["a", "b", "c"];
    for kind in kinds {
        story.get_with("/a", &[("accept", kind)]).await;
    }
    story.purge(softly(shop(&["/a"]))).await;
    for kind in kinds {
        let missed = story.get_with("/a", &[("accept", kind)]).await;
        assert_eq!(missed.fine(), "fwd=stale; stored", "{kind}");
        assert!(story.get_with("/a", &[("accept", kind)]).await.is_hit(), "{kind}");
    }
}

async fn what_was_purged_softly_can_be_purged_for_good(on: On) {
    let story = Story::start(on, Origin::start(validated).await, &pages(BOTH_WINDOWS)).await;
    for soft in ways("/a") {
        for hard in ways("/a") {
            let named = format!("{soft:?} {hard:?}");
            story.get("/a").await;
            story.purge(softly(soft.clone())).await;
            story.purge(hard).await;
            assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored", "{named}");
            assert_eq!(story.origin.last().field("if-none-match"), None, "{named}");
            assert!(story.get("/a").await.is_hit(), "{named}");
        }
    }
}

/// Two halves with a wait between for who asks slowly.
fn halves(gate: &Gate) -> impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static {
    let door = gate.clone();
    move |asked| match asked.field("x-slow") {
        Some("head") => [vec![Step::Wait(door.clone())], ok("Cache-Tag: t\r\n", "old page")].concat(),
        Some(_) => vec![
            send("HTTP/1.1 200 OK\r\nCache-Tag: t\r\nContent-Length: 8\r\n\r\nold"),
            Step::Wait(door.clone()),
            send(" page"),
        ],
        None => ok("Cache-Tag: t\r\n", "new page"),
    }
}

async fn what_is_being_fetched_is_covered(on: On) {
    for request in ways("/a").into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let story = Story::start(on, Origin::start(halves(&gate)).await, &pages("10s")).await;
        let (mut slow, mut follower) = (story.browser().await, story.browser().await);
        slow.send("GET /a HTTP/1.1\r\nhost: shop\r\nx-slow: body\r\n\r\n").await;
        assert_eq!(slow.head().await.unwrap().says(), "fwd=uri-miss; stored");
        follower.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
        assert_eq!(follower.head().await.unwrap().says(), "fwd=uri-miss; collapsed");
        story.purge(request).await;
        let fresh = story.browser().await.ask("GET /a", &[]).await;
        assert_eq!((fresh.fine(), fresh.body.as_str()), ("fwd=uri-miss; stored", "new page"), "{named}");
        gate.open();
        for browser in [&mut slow, &mut follower] {
            assert_eq!(browser.bytes(8).await.unwrap(), b"old page", "{named}");
        }
        story.settled().await;
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "new page"), "{named}");
        assert_eq!(story.origin.count(), 2, "{named}");
    }
}

/// By a tag that only the app may say it waits for the answer's head.
async fn what_has_not_answered_yet_is_covered(on: On) {
    for request in ways("/a").into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let story = Story::start(on, Origin::start(halves(&gate)).await, &pages("10s")).await;
        let mut slow = story.browser().await;
        slow.send("GET /a HTTP/1.1\r\nhost: shop\r\nx-slow: head\r\n\r\n").await;
        story.asked(1).await;
        let tags_matter = !request.tags.is_empty();
        story.purge(request).await;
        let new = async || {
            let fresh = story.browser().await.ask("GET /a", &[]).await;
            assert_eq!((fresh.fine(), fresh.body.as_str()), ("fwd=uri-miss; stored", "new page"), "{named}");
        };
        if !tags_matter {
            new().await;
        }
        gate.open();
        assert_eq!(slow.answer("GET").await.body, "old page");
        if tags_matter {
            new().await;
        }
        story.settled().await;
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "new page"), "{named}");
        assert_eq!(story.origin.count(), 2, "{named}");
    }
}

async fn a_renewal_under_way_is_covered(on: On) {
    for request in ways("/a").into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let behind = gate.clone();
        let script = move |asked: &Asked| match asked.number {
            2 => [vec![Step::Wait(behind.clone())], validated(asked)].concat(),
            _ => validated(asked),
        };
        let story = Story::start(on, Origin::start(script).await, &pages("10s")).await;
        story.get("/a").await;
        story.pass_millis(10_500);
        let mut slow = story.browser().await;
        slow.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
        story.asked(2).await;
        assert!(story.origin.last().field("if-none-match").is_some());
        let soft = request.mode == Mode::Soft;
        story.purge(request).await;
        gate.open();
        assert_eq!(slow.answer("GET").await.body, "answer 1");
        story.settled().await;
        let anew = story.get("/a").await;
        assert!(!anew.is_hit(), "{named}: {}", anew.says());
        assert_eq!(
            anew.body,
            if soft && anew.says().contains("304") { "answer 1" } else { "answer 3" },
            "{named}"
        );
        assert!(soft || !anew.says().contains("304"), "{named}: {}", anew.says());
        assert!(story.get("/a").await.is_hit(), "{named}");
    }
}

/// One who waited for a fetch that failed asks about what it found before a purge: nobody who came since gets that.
#[tokio::test]
async fn what_was_found_before_a_purge_is_not_for_those_who_came_after_it() {
    for request in ways("/a") {
        let (named, gates) = (format!("{request:?}"), [Gate::shut(), Gate::shut()]);
        let [failure, validation] = gates.clone();
        let script = move |asked: &Asked| match asked.number {
            // A connection that was used before may be tried again.
            1 => ok("Connection: close\r\nETag: \"x\"\r\nCache-Tag: t\r\n", "answer 1"),
            2 => vec![Step::Wait(failure.clone()), Step::Reset],
            3 => [vec![Step::Wait(validation.clone())], validated(asked)].concat(),
            4 => ok("ETag: \"x\"\r\nCache-Tag: t\r\n", "answer 4"),
            _ => validated(asked),
        };
        let story = Story::start(On::Memory, Origin::start(script).await, &pages("10s")).await;
        story.get("/a").await;
        story.pass_millis(10_500);
        let begin = async || {
            let mut browser = story.browser().await;
            browser.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
            browser
        };
        let mut leader = begin().await;
        story.asked(2).await;
        let mut before = [begin().await, begin().await];
        eventually("they wait", async || story.app.flights.waiting() == 3).await;
        story.purge(request).await;
        gates[0].open();
        assert_eq!(leader.answer("GET").await.status, 502);
        story.asked(3).await;
        assert!(story.origin.last().field("if-none-match").is_some(), "{named}");
        eventually("they wait for one fetch", async || story.app.flights.waiting() == 2).await;

        let mut after = begin().await;
        let has_begun = async || story.origin.count() == 4 || story.app.flights.waiting() == 3;
        eventually("the next one has begun", has_begun).await;
        gates[1].open();
        let told = after.answer("GET").await;
        assert_eq!((told.says(), told.body.as_str()), ("fwd=uri-miss; stored", "answer 4"), "{named}");
        for browser in &mut before {
            assert_eq!(browser.answer("GET").await.body, "answer 1", "{named}");
        }
        story.settled().await;
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "answer 4"), "{named}");
    }
}

/// A POST whose answer later GETs may have, and which the origin answers when the gate opens.
async fn posting(on: On, gate: &Gate) -> (Story, Browser) {
    posting_under(on, gate, &pages("10s")).await
}

async fn posting_under(on: On, gate: &Gate, yaml: &str) -> (Story, Browser) {
    let gate = gate.clone();
    let script = move |asked: &Asked| match asked.method.as_str() {
        "POST" => {
            let fields = "Content-Location: /a\r\nCache-Control: max-age=10\r\nCache-Tag: t\r\n";
            [vec![Step::Wait(gate.clone())], ok(fields, "posted")].concat()
        }
        _ => ok("Cache-Tag: t\r\n", "fetched"),
    };
    let story = Story::start(on, Origin::start(script).await, yaml).await;
    let mut client = story.browser().await;
    client.send("POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n").await;
    story.asked(1).await;
    (story, client)
}

async fn what_a_post_is_about_to_bring_is_covered(on: On) {
    for request in ways("/a").into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let (story, mut slow) = posting(on, &gate).await;
        story.purge(request).await;
        gate.open();
        assert_eq!(slow.answer("POST").await.body, "posted");
        story.settled().await;
        let fresh = story.get("/a").await;
        assert_eq!((fresh.fine(), fresh.body.as_str()), ("fwd=uri-miss; stored", "fetched"), "{named}");
    }
}

async fn what_a_post_brings_is_stored_though_others_are_purged_meanwhile(on: On) {
    let gate = Gate::shut();
    let (story, mut slow) = posting(on, &gate).await;
    story.purge(shop(&["/b"])).await;
    gate.open();
    assert_eq!(slow.answer("POST").await.fine(), "fwd=method; stored");
    story.settled().await;
    let hit = story.get("/a").await;
    assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "posted"));
}

async fn what_a_post_brings_is_stored_whatever_it_purges_itself(on: On) {
    let named = ["tags: [t]", "soft: true, tags: [t]", "soft: true, rules: [pages]"];
    for purges in named.iter().map(|one| vec![*one]).chain([named.to_vec()]) {
        let entry = |purge: &&str| format!("  - {{ match: /a, {purge} }}\n");
        let yaml = pages("10s") + "purge_on:\n" + &purges.iter().map(entry).collect::<String>();
        let gate = Gate::shut();
        let (story, mut slow) = posting_under(on, &gate, &yaml).await;
        gate.open();
        assert_eq!(slow.answer("POST").await.fine(), "fwd=method; stored", "{purges:?}");
        story.settled().await;
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "posted"), "{purges:?}: {}", hit.says());
    }
}

async fn what_a_post_brings_is_not_stored_though_it_purges_the_same_softly_itself(on: On) {
    let yaml = pages("10s") + "purge_on: [{ match: /a, soft: true, tags: [t] }]\n";
    for request in ways("/a").into_iter().flat_map(|way| [way.clone(), softly(way)]) {
        let (named, gate) = (format!("{request:?}"), Gate::shut());
        let (story, mut slow) = posting_under(on, &gate, &yaml).await;
        story.purge(request).await;
        gate.open();
        assert_eq!(slow.answer("POST").await.body, "posted");
        story.settled().await;
        assert_eq!(story.get("/a").await.body, "fetched", "{named}");
    }
}

async fn what_a_post_brings_is_stored_whatever_its_sidecar_purges_in_the_same_moment(on: On) {
    let script = |asked: &Asked| match asked.field("x-is") {
        Some(path) => ok(&format!("Content-Location: {path}\r\nCache-Control: max-age=10\r\n"), "page"),
        None => ok("", "taken"),
    };
    let story = &Story::start(on, Origin::start(script).await, &pages("10s")).await;
    let others = (0..8).map(|number| async move {
        let (mut other, line) = (story.browser().await, format!("POST /other/{number} HTTP/1.1\r\n"));
        loop {
            other.send(&(line.clone() + "host: shop\r\ncontent-length: 0\r\n\r\n")).await;
            assert_eq!(other.answer("POST").await.body, "taken");
        }
    });
    let posts = async {
        for number in 0..200 {
            let path = format!("/{number}");
            let post = story.ask(&format!("POST {path}"), &[("x-is", path.as_str())]).await;
            assert_eq!(post.fine(), "fwd=method; stored", "{path}");
        }
    };
    tokio::select! {
        () = posts => {}
        _ = join_all(others) => {}
    }
}

/// Of that purge, by another sidecar, this one has heard in part.
async fn what_a_post_brings_is_not_stored_where_somebody_else_purges_meanwhile(on: On) {
    let gate = Gate::shut();
    let (story, mut slow) = posting(on, &gate).await;
    let Some(redis) = &story.redis else { return };
    let theirs = Epoch::from_number(story.app.purges.epoch().number() + 60_000_000).unwrap();
    let name = redis.all_keys().into_iter().find(|name| name.ends_with(":v1:e")).unwrap();
    redis.command(&["SET", &name, &theirs.number().to_string(), "PX", "60000"]);
    story.app.purges.purge_resource(7, Mode::Hard, theirs);
    gate.open();
    assert_eq!(slow.answer("POST").await.body, "posted");
    story.settled().await;
    assert_eq!(story.get("/a").await.body, "fetched");
}

async fn what_a_rule_stored_before_an_edit_goes_with_its_url(on: On) {
    let on_again = pages("{ ttl: 10s, key: { query: none } }");
    for edited in [pages("off"), "routes: []\n".to_owned()] {
        let story = Story::start(on, Origin::saying("").await, &on_again).await;
        story.get("/a?x").await;
        story.edit(&edited);
        story.purge(shop(&["/a?y"])).await;
        story.edit(&on_again);
        assert_eq!(story.get("/a?x").await.fine(), "fwd=uri-miss; stored", "{edited}");
        story.edit(&edited);
        story.post("POST /a?z", "").await;
        story.edit(&on_again);
        assert_eq!(story.get("/a?x").await.fine(), "fwd=uri-miss; stored", "{edited}");
        assert!(story.get("/a?x").await.is_hit());
    }
}

async fn a_rule_has_what_was_stored_by_its_name(on: On) {
    let story = Story::start(on, Origin::saying("").await, &pages("10s")).await;
    story.get("/a").await;
    story.edit(&pages("20s"));
    assert!(story.get("/a").await.is_hit());
    story.edit("routes:\n  - { match: /**, name: shop, cache: 10s }\n");
    assert!(!story.get("/a").await.is_hit(), "a purge of `shop` would not cover it");
    assert!(story.get("/a").await.is_hit());
    story.purge(rules(&["shop"])).await;
    assert!(!story.get("/a").await.is_hit());
}

const PURGE_ON: &str = "routes:
  - { match: /products/**, name: products, cache: 10s }
  - { match: /stock/**, name: stock, cache: { ttl: 10s, tags: [stock] } }
  - { match: /**, cache: 10s }
purge_on:
  - { match: /orders, tags: [stock, t] }
  - { match: /catalogue, methods: [PUT], host: shop, rules: [products] }
  - { match: /rumour/*, soft: true, tags: [t], rules: [stock] }
";

const READ: [&str; 4] = ["/products/1", "/stock/1", "/cache-tag", "/other"];

/// Which of them need the app, after that write.
async fn asked_after(story: &Story, line: &str, host: &str) -> Vec<Answer> {
    for target in READ {
        story.get(target).await;
    }
    let before = story.origin.count();
    let mut writer = story.browser().await;
    let told = writer.ask(line, &[("host", host), ("content-length", "0")]).await;
    assert_ne!(told.status, 502);
    assert_eq!(story.origin.count(), before + 1, "{line}");
    let mut answers = Vec::new();
    for target in READ {
        answers.push(story.get(target).await);
    }
    answers
}

async fn writes_purge_what_the_file_names(on: On) {
    let story = Story::start(on, Origin::start(tagged).await, PURGE_ON).await;
    let (hit, miss, stale) = ("hit", "fwd=uri-miss; stored", "fwd=stale; stored");
    for (line, host, said) in [
        ("POST /orders", "shop", [hit, miss, miss, hit]),
        ("DELETE /orders", "other", [hit, miss, miss, hit]),
        ("UNHEARD /orders?x=1", "shop", [hit, miss, miss, hit]),
        ("GET /orders", "shop", [hit; 4]),
        ("OPTIONS /orders", "shop", [hit; 4]),
        ("POST /orders/1", "shop", [hit; 4]),
        ("PUT /catalogue", "shop", [miss, hit, hit, hit]),
        ("POST /catalogue", "shop", [hit; 4]),
        ("PUT /catalogue", "other", [hit; 4]),
        ("POST /rumour/1", "shop", [hit, stale, stale, hit]),
    ] {
        let answers = asked_after(&story, line, host).await;
        let word = |answer: &Answer| if answer.is_hit() { hit.to_owned() } else { answer.fine().to_owned() };
        assert_eq!(answers.iter().map(word).collect::<Vec<_>>(), said, "{line} {host}");
    }
}

async fn only_writes_that_succeed_purge(on: On) {
    let origin = Origin::start(|asked| match (asked.method.as_str(), asked.field("x-status")) {
        ("POST", Some("reset")) => vec![Step::Reset],
        ("POST", Some(status)) => answer(&format!("{status} X"), "Cache-Group-Invalidation: \"g\"\r\n", ""),
        _ => ok("Cache-Groups: \"g\"\r\n", "answer"),
    });
    let story = Story::start(on, origin.await, PURGE_ON).await;
    for (status, succeeds) in [
        ("200", true),
        ("201", true),
        ("303", true),
        ("400", false),
        ("404", false),
        ("409", false),
        ("500", false),
        ("reset", false),
    ] {
        for target in ["/stock/1", "/other"] {
            story.get(target).await;
            assert!(story.get(target).await.is_hit());
        }
        let fields = [("x-status", status), ("content-length", "0")];
        story.ask("POST /orders", &fields).await;
        for target in ["/stock/1", "/other"] {
            assert_eq!(story.get(target).await.is_hit(), !succeeds, "{status} {target}");
        }
    }
}

/// RFC 9875 §3.
async fn section_3_a_write_invalidates_the_groups_of_its_own_origin(on: On) {
    let origin = Origin::start(|asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", "/a") => ok("Cache-Groups: \"g\", \"h\"\r\n", "answer"),
        ("GET", "/b") => ok("Cache-Groups: \"h\"\r\n", "answer"),
        ("GET", "/c") => ok("Cache-Tag: g\r\nSurrogate-Key: g\r\n", "answer"),
        ("GET", "/d") => ok("Cache-Group-Invalidation: \"g\", \"h\"\r\n", "answer"),
        (_, "/broken") => ok("Cache-Group-Invalidation: g, \"h\"\r\n", "answer"),
        _ => ok("Cache-Group-Invalidation: \"unheard of\", \"g\"\r\n", "answer"),
    });
    let story = Story::start(on, origin.await, &everything("10s")).await;
    let elsewhere: &[(&str, &str)] = &[("host", "other")];
    let proxied: &[(&str, &str)] = &[("host", "shop:8080")];
    let requests: [(&str, &[(&str, &str)]); 5] =
        [("/a", &[]), ("/b", &[]), ("/c", &[]), ("/a", elsewhere), ("/a", proxied)];
    hits(&story, &requests).await;
    assert_eq!(hits(&story, &requests).await, [true; 5]);
    for (line, fields, left) in [
        ("GET /d", &[][..], [true; 5]),
        ("OPTIONS /x", &[], [true; 5]),
        ("POST /broken", &[], [true; 5]),
        ("POST /x", &[], [false, true, true, true, true]),
        ("DELETE /x", elsewhere, [true, true, true, false, true]),
    ] {
        let fields = [fields, &[("content-length", "0")]].concat();
        story.ask(line, &fields).await;
        assert_eq!(hits(&story, &requests).await, left, "{line} {fields:?}");
    }
}
