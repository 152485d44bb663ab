//! Parts: what a 206 leaves behind, what it answers, and how it becomes the whole.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header::HOST};
use sidecache::{
    admit::{Scheme, Target},
    key::{KeyPolicy, QueryPolicy, ResourceKey},
    store::{Lookup, Selector, Store},
    stored::Stored,
};

use crate::support::{
    browser::Answer,
    origin::{Asked, Gate, Origin, Step, answer, chunk, last_chunk, ok, send},
    redis::eventually,
    story::{On, Story},
};

on_both_stores![
    section_3_3_a_part_answers_what_lies_wholly_within_it,
    section_3_3_a_part_answers_nothing_else,
    section_3_3_a_short_part_is_what_came_of_it,
    section_3_3_a_206_of_everything_is_the_whole,
    section_3_4_parts_that_touch_become_the_whole,
    section_3_4_without_a_strong_validator_the_newest_part_stays,
    section_3_4_a_part_renews_the_whole_that_it_is_a_part_of,
    section_3_4_a_get_asks_for_the_rest,
    section_3_4_what_changed_comes_as_a_whole,
    section_3_4_what_does_not_complete_is_asked_for_again,
    section_3_4_a_cut_rest_is_a_cut_answer,
    many_wait_for_one_completion,
    a_part_does_not_push_out_the_whole,
    a_part_leaves_what_stands_in_for_errors,
    a_part_grows_by_what_is_worth_writing,
    a_part_is_not_served_stale,
    what_cannot_be_kept_is_passed_on,
    a_206_that_nobody_asked_for_is_not_kept,
    the_whole_for_a_range_is_kept,
    parts_are_kept_apart_like_everything_else,
    a_part_becomes_obsolete_too,
    section_4_1_a_part_is_not_asked_about_for_another,
];

pub(crate) const DIGITS: &str = "0123456789";
const TAGGED: &str = "ETag: \"x\"\r\n";

/// A part: its status, range and body.
pub(crate) fn part(answer: &Answer) -> (u16, &str, &str) {
    assert!(answer.whole);
    (answer.status, answer.field("content-range"), answer.body.as_str())
}

/// Asks for a range of `/a`.
async fn range(story: &Story, range: &str) -> Answer {
    story.get_with("/a", &[("range", &format!("bytes={range}"))]).await
}

/// The key of `/a`.
pub(crate) fn resource() -> ResourceKey {
    let host = [(HOST, "shop".parse().unwrap())].into_iter().collect();
    let target = Target::parse(&Bytes::from_static(b"/a"), &host, Scheme::Http, true).unwrap();
    ResourceKey::new(&target, &QueryPolicy::All)
}

/// What is stored of `/a`.
async fn stored(story: &Story) -> Option<Arc<Stored>> {
    let (headers, keyed) = (HeaderMap::new(), KeyPolicy::default());
    match story.app.store.lookup(&resource(), &Selector { headers: &headers, keyed: &keyed }).await {
        Ok(Lookup::Found(stored)) => Some(stored),
        _ => None,
    }
}

/// Waits until these bytes of `/a` are stored.
async fn holds(story: &Story, wanted: &str) {
    eventually("that part is stored", async || match stored(story).await {
        Some(stored) => {
            let held = stored.held();
            let place = format!("{}-{}/{}", held.start, held.end - 1, stored.complete());
            let [start, end] = [held.start, held.end].map(|at| usize::try_from(at).unwrap());
            place == wanted && *stored.body == DIGITS.as_bytes()[start..end]
        }
        None => wanted == "nothing",
    })
    .await;
}

/// Waits until what came of the last range has been stored, or has not: one thread runs all of this.
async fn dealt_with(story: &Story) {
    for _ in 0..10 {
        story.get("/b").await;
    }
}

/// The 206 for these bytes of [`DIGITS`].
fn cut(fields: &str, first: usize, last: usize) -> Vec<Step> {
    let fields = format!("{fields}Content-Range: bytes {first}-{last}/10\r\n");
    answer("206 Partial Content", &fields, &DIGITS[first..=last])
}

/// What an app does that knows ranges and `If-Range`.
fn served(asked: &Asked, tag: &str) -> Vec<Step> {
    let fields = format!("ETag: \"{tag}\"\r\nX-Number: {}\r\n", asked.number);
    let same = asked.field("if-range").is_none_or(|condition| condition == format!("\"{tag}\""));
    let range = asked.field("range").filter(|_| same).and_then(|range| range.strip_prefix("bytes="));
    match range.and_then(|range| range.split_once('-')) {
        Some((first, last)) => cut(&fields, first.parse().unwrap(), last.parse().unwrap_or(9)),
        None => ok(&fields, DIGITS),
    }
}

/// An app that does, behind a rule of this `cache`.
async fn serving(on: On, cache: &str) -> Story {
    Story::cached(on, Origin::start(|asked| served(asked, "x")).await, cache).await
}

/// An app that sends the part of five digits, or the whole.
async fn five_digits(on: On) -> Story {
    let fields = "ETag: \"x\"\r\nContent-Type: text/plain\r\n";
    let script = |asked: &Asked| match asked.field("range") {
        Some("bytes=2-6") => cut(fields, 2, 6),
        Some(_) => cut(fields, 3, 3),
        None => ok("", DIGITS),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let first = range(&story, "2-6").await;
    assert_eq!((part(&first), first.says()), ((206, "bytes 2-6/10", "23456"), "fwd=uri-miss; stored"));
    assert_eq!(story.origin.last().field("range"), Some("bytes=2-6"));
    holds(&story, "2-6/10").await;
    story
}

async fn section_3_3_a_part_answers_what_lies_wholly_within_it(on: On) {
    let story = five_digits(on).await;
    for (asked, content_range, body) in
        [("2-6", "bytes 2-6/10", "23456"), ("3-3", "bytes 3-3/10", "3"), ("4-4,5-6", "bytes 4-6/10", "456")]
    {
        let hit = range(&story, asked).await;
        assert_eq!(part(&hit), (206, content_range, body), "{asked}");
        assert_eq!((&hit.says()[..5], hit.field("content-type")), ("hit; ", "text/plain"));
    }
    let same = [("range", "bytes=3-3"), ("if-range", "\"x\"")];
    assert_eq!(part(&story.get_with("/a", &same).await), (206, "bytes 3-3/10", "3"));
    let unchanged = [("range", "bytes=3-3"), ("if-none-match", "\"x\"")];
    assert_eq!(story.get_with("/a", &unchanged).await.status, 304);
    assert_eq!(story.origin.count(), 1);
}

async fn section_3_3_a_part_answers_nothing_else(on: On) {
    let story = five_digits(on).await;
    let head = story.ask("HEAD /a", &[]).await;
    assert_eq!(head.says(), "fwd=partial; detail=head");
    let changed = [("range", "bytes=3-3"), ("if-range", "\"y\"")];
    assert_eq!(story.get_with("/a", &changed).await.says(), "fwd=partial; stored");
    assert_eq!(story.origin.last().field("if-range"), Some("\"y\""));
    let whole = story.get("/a").await;
    assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=partial; stored", DIGITS));
    assert_eq!(story.origin.last().field("range"), None, "it does not begin at the beginning");
    assert!(story.get("/a").await.is_hit());
    assert_eq!(part(&range(&story, "-1").await), (206, "bytes 9-9/10", "9"));
    assert_eq!(story.origin.count(), 4);
}

async fn section_3_3_a_short_part_is_what_came_of_it(on: On) {
    let script = |asked: &Asked| match asked.number {
        1 => answer("206 Partial Content", "Content-Range: bytes 4-9/10\r\n", "45678"),
        _ => cut("", 6, 9),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    assert_eq!(part(&range(&story, "4-9").await), (206, "bytes 4-9/10", "45678"));
    holds(&story, "4-8/10").await;
    assert_eq!(part(&range(&story, "6-8").await), (206, "bytes 6-8/10", "678"));
    assert_eq!(story.origin.count(), 1);
    let more = range(&story, "6-").await;
    assert_eq!((part(&more), more.says()), ((206, "bytes 6-9/10", "6789"), "fwd=partial; stored"));
}

async fn section_3_3_a_206_of_everything_is_the_whole(on: On) {
    let story = serving(on, "10s").await;
    let all = range(&story, "0-").await;
    assert_eq!((part(&all), all.says()), ((206, "bytes 0-9/10", DIGITS), "fwd=uri-miss; stored"));
    holds(&story, "0-9/10").await;
    let whole = story.get("/a").await;
    assert_eq!((whole.is_hit(), whole.body.as_str()), (true, DIGITS));
    assert!(whole.all("content-range").is_empty());
}

async fn section_3_4_parts_that_touch_become_the_whole(on: On) {
    let story = serving(on, "10s").await;
    for (asked, held) in [("4-5", "4-5/10"), ("5-7", "4-7/10"), ("0-3", "0-7/10"), ("2-6", "0-7/10")] {
        range(&story, asked).await;
        holds(&story, held).await;
    }
    assert_eq!(story.origin.count(), 3, "the last one was held");
    let hit = range(&story, "1-7").await;
    assert_eq!((part(&hit), hit.field("x-number")), ((206, "bytes 1-7/10", "1234567"), "3"));
    range(&story, "8-9").await;
    holds(&story, "0-9/10").await;
    let whole = story.get("/a").await;
    assert_eq!((whole.is_hit(), whole.body.as_str(), whole.field("x-number")), (true, DIGITS, "4"));
}

async fn section_3_4_without_a_strong_validator_the_newest_part_stays(on: On) {
    for tags in [["W/\"x\""; 2], ["\"x\"", "\"y\""], [""; 2]] {
        let script = move |asked: &Asked| match asked.number {
            1 => cut(&format!("ETag: {}\r\n", tags[0]), 0, 4),
            _ => cut(&format!("ETag: {}\r\n", tags[1]), 5, 9),
        };
        let story = Story::cached(on, Origin::start(script).await, "10s").await;
        range(&story, "0-4").await;
        holds(&story, "0-4/10").await;
        range(&story, "5-9").await;
        holds(&story, "5-9/10").await;
    }
    // Nor do parts that are apart.
    let story = serving(on, "10s").await;
    range(&story, "0-3").await;
    holds(&story, "0-3/10").await;
    range(&story, "5-9").await;
    holds(&story, "5-9/10").await;
}

async fn section_3_4_a_part_renews_the_whole_that_it_is_a_part_of(on: On) {
    let story = serving(on, "10s").await;
    story.get("/a").await;
    story.pass_millis(12_500);
    let stale = range(&story, "0-4").await;
    assert_eq!((part(&stale), stale.says()), ((206, "bytes 0-4/10", "01234"), "fwd=stale; stored"));
    let renewed = async || stored(&story).await.unwrap().lines.to_map().get("x-number").unwrap() == "2";
    eventually("the whole is fresh again", renewed).await;
    let whole = story.get("/a").await;
    assert_eq!((whole.is_hit(), whole.body.as_str()), (true, DIGITS));
}

async fn section_3_4_a_get_asks_for_the_rest(on: On) {
    let story = serving(on, "10s").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    let whole = story.get_with("/a", &[("if-none-match", "\"other\"")]).await;
    assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=partial; fwd-status=206; stored", DIGITS));
    assert_eq!((whole.field("content-length"), whole.field("x-number")), ("10", "2"));
    assert!(whole.all("content-range").is_empty());
    let asked = story.origin.last();
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=5-"), Some("\"x\"")));
    assert_eq!(asked.field("if-none-match"), None);
    let hit = story.get("/a").await;
    assert_eq!((hit.is_hit(), hit.body.as_str()), (true, DIGITS));
    assert_eq!(story.origin.count(), 2);
}

async fn section_3_4_what_changed_comes_as_a_whole(on: On) {
    let script = |asked: &Asked| served(asked, if asked.number == 1 { "x" } else { "y" });
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    let whole = story.get("/a").await;
    assert_eq!((whole.fine(), whole.field("etag")), ("fwd=partial; stored", "\"y\""));
    assert!(story.get("/a").await.is_hit());
    assert_eq!(story.origin.count(), 2);
}

async fn section_3_4_what_does_not_complete_is_asked_for_again(on: On) {
    let chunks: fn() -> Vec<Step> = || {
        let head = "HTTP/1.1 206 Partial Content\r\nETag: \"x\"\r\nContent-Range: bytes 5-9/10\r\n";
        vec![send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")), chunk("56789"), last_chunk()]
    };
    let odd: [fn() -> Vec<Step>; 6] = [
        || cut("ETag: \"y\"\r\n", 5, 9),
        || cut("", 5, 9),
        || cut(TAGGED, 4, 9),
        || answer("416 Range Not Satisfiable", "Content-Range: bytes */3\r\n", ""),
        || vec![send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")],
        // Whether as much comes as is missing would be known too late.
        chunks,
    ];
    for odd in odd {
        let script = move |asked: &Asked| match asked.number {
            1 => cut(TAGGED, 0, 4),
            2 => odd(),
            _ => ok("ETag: \"z\"\r\n", "all of it"),
        };
        let story = Story::cached(on, Origin::start(script).await, "10s").await;
        range(&story, "0-4").await;
        holds(&story, "0-4/10").await;
        let whole = story.get("/a").await;
        assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=partial; stored", "all of it"));
        let asked = story.origin.asked();
        assert_eq!(asked[1].field("range"), Some("bytes=5-"));
        assert_eq!((asked[2].field("range"), asked[2].field("if-range")), (None, None));
        assert!(story.get("/a").await.is_hit());
        assert_eq!(story.origin.count(), 3);
    }
}

async fn section_3_4_a_cut_rest_is_a_cut_answer(on: On) {
    let script = |asked: &Asked| match asked.number {
        2 => {
            let head = "HTTP/1.1 206 Partial Content\r\nETag: \"x\"\r\nContent-Range: bytes 5-9/10\r\n";
            vec![send(format!("{head}Content-Length: 5\r\n\r\n567")), Step::Close]
        }
        _ => served(asked, "x"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    let whole = story.get("/a").await;
    assert_eq!((whole.status, whole.whole, whole.body.as_str()), (200, false, "01234567"));
    holds(&story, "0-4/10").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=partial; fwd-status=206; stored");
}

async fn many_wait_for_one_completion(on: On) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| match asked.number {
        1 => served(asked, "x"),
        _ => [vec![Step::Wait(door.clone())], served(asked, "x")].concat(),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    let mut browsers = [story.browser().await, story.browser().await, story.browser().await];
    for browser in &mut browsers {
        browser.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    }
    eventually("all wait", async || story.app.flights.waiting() == 3).await;
    gate.open();
    for browser in &mut browsers {
        let whole = browser.answer("GET /a").await;
        assert!(!whole.fine().contains("detail="), "{whole:?}");
        assert_eq!(whole.body, DIGITS);
    }
    assert_eq!(story.origin.count(), 2);
}

async fn a_part_does_not_push_out_the_whole(on: On) {
    let script = |asked: &Asked| match asked.field("range") {
        Some(_) => cut("Cache-Control: max-age=9\r\n", 0, 4),
        None => ok("Cache-Control: max-age=9\r\n", DIGITS),
    };
    let story = Story::cached(on, Origin::start(script).await, "origin").await;
    story.get("/a").await;
    let fresh = [("range", "bytes=0-4"), ("cache-control", "no-cache")];
    let forwarded = story.get_with("/a", &fresh).await;
    assert_eq!((forwarded.status, forwarded.says()), (206, "fwd=request; stored; detail=client-control"));
    dealt_with(&story).await;
    let whole = story.get("/a").await;
    assert_eq!((whole.is_hit(), whole.body.as_str()), (true, DIGITS));
    story.pass_millis(10_500);
    assert_eq!(part(&range(&story, "0-4").await).0, 206);
    dealt_with(&story).await;
    holds(&story, "0-9/10").await;
}

async fn a_part_leaves_what_stands_in_for_errors(on: On) {
    for tag in ["", "ETag: \"y\"\r\n"] {
        let script = move |asked: &Asked| match asked.field("range") {
            Some(_) => cut(tag, 0, 0),
            None if asked.number == 1 => ok(TAGGED, DIGITS),
            None => answer("503 Service Unavailable", "", "down"),
        };
        let story = Story::cached(on, Origin::start(script).await, "{ ttl: 10s, stale_if_error: 60s }").await;
        story.get("/a").await;
        story.pass_millis(10_500);
        assert_eq!(part(&range(&story, "0-0").await), (206, "bytes 0-0/10", "0"));
        dealt_with(&story).await;
        let whole = story.get("/a").await;
        assert_eq!(whole.fine(), "fwd=stale; fwd-status=503; detail=stale-if-error", "{tag}");
        assert_eq!((whole.status, whole.body.as_str()), (200, DIGITS));
    }
}

async fn a_part_grows_by_what_is_worth_writing(on: On) {
    let script = |asked: &Asked| match asked.field("range").and_then(|range| range[6..].split_once('-')) {
        Some((first, last)) => {
            let length = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
            let fields = format!("{TAGGED}Content-Range: bytes {first}-{last}/40\r\n");
            answer("206 Partial Content", &fields, &"x".repeat(length))
        }
        None => ok("", ""),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let holds = async |wanted: u64| {
        let length = async || stored(&story).await.map(|stored| stored.held().length());
        eventually("so much is stored", async || length().await == Some(wanted)).await;
    };
    for (asked, length) in [("0-23", 24), ("24-25", 24), ("24-26", 27), ("27-38", 39), ("39-39", 40)] {
        range(&story, asked).await;
        dealt_with(&story).await;
        holds(length).await;
    }
    // What is stale is renewed, by however little.
    story.pass_millis(10_500);
    assert_eq!(range(&story, "7-7").await.says(), "fwd=stale; stored");
    eventually("it is fresh again", async || range(&story, "8-8").await.says().starts_with("hit; ")).await;
}

async fn a_part_is_not_served_stale(on: On) {
    let script = |asked: &Asked| match asked.number {
        1 => cut("Cache-Control: max-age=9, stale-while-revalidate=60, stale-if-error=60\r\n", 0, 4),
        _ => answer("503 Service Unavailable", "", "down"),
    };
    let story = Story::cached(on, Origin::start(script).await, "origin").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    assert_eq!(&range(&story, "1-2").await.says()[..5], "hit; ");
    story.pass_millis(10_500);
    for _ in 0..2 {
        let down = range(&story, "1-2").await;
        assert_eq!((down.status, down.body.as_str()), (503, "down"));
        assert!(down.says().starts_with("fwd=stale; "), "{down:?}");
    }
    assert_eq!(story.origin.count(), 3);
}

async fn what_cannot_be_kept_is_passed_on(on: On) {
    let multipart = "Content-Type: multipart/byteranges; boundary=x\r\nContent-Range: bytes 0-2/10\r\n";
    for (status, fields, body, detail) in [
        ("206 Partial Content", multipart, "--x", "range"),
        ("206 Partial Content", "", "012", "range"),
        ("206 Partial Content", "Content-Range: bytes 0-2/*\r\n", "012", "range"),
        ("206 Partial Content", "Content-Range: items 0-2/10\r\n", "012", "range"),
        ("206 Partial Content", "Content-Range: bytes 3-2/10\r\n", "012", "range"),
        ("206 Partial Content", "Content-Range: bytes 0-1/10\r\n", "012", "range"),
        ("416 Range Not Satisfiable", "Content-Range: bytes */10\r\n", "", "range"),
        ("206 Partial Content", "Content-Range: bytes 0-2/10\r\nSet-Cookie: a=1\r\n", "012", "set-cookie"),
        (
            "206 Partial Content",
            "Content-Range: bytes 0-2/10\r\nCache-Control: no-store\r\n",
            "012",
            "no-store",
        ),
        ("206 Partial Content", "Content-Range: bytes 0-2/10\r\nVary: *\r\n", "012", "vary-star"),
    ] {
        let script = move |asked: &Asked| match asked.field("range") {
            Some(_) => answer(status, fields, body),
            None => ok("", DIGITS),
        };
        // Not even where a rule lists the status.
        let cache = "{ ttl: 10s, status: { 416: 10s } }";
        let story = Story::cached(on, Origin::start(script).await, cache).await;
        let passed = range(&story, "0-2,5-6").await;
        assert_eq!((&status[..3], passed.body.as_str()), (passed.status.to_string().as_str(), body));
        assert_eq!(passed.says(), format!("fwd=uri-miss; detail={detail}"), "{fields}");
        assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored", "{fields}");
        // Nor does it take away what is stored.
        story.pass_millis(10_500);
        assert_eq!(range(&story, "0-2").await.says(), format!("fwd=stale; detail={detail}"));
        holds(&story, "0-9/10").await;
    }
}

async fn a_206_that_nobody_asked_for_is_not_kept(on: On) {
    let story = Story::cached(on, Origin::start(|_| cut(TAGGED, 0, 4)).await, "10s").await;
    for _ in 0..2 {
        let passed = story.get("/a").await;
        assert_eq!((passed.status, passed.says()), (206, "fwd=uri-miss; detail=status-not-listed"));
    }
}

async fn the_whole_for_a_range_is_kept(on: On) {
    let story = Story::cached(on, Origin::start(|_| ok(TAGGED, DIGITS)).await, "10s").await;
    let whole = range(&story, "0-4").await;
    assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=uri-miss; stored", DIGITS));
    holds(&story, "0-9/10").await;
    assert_eq!(part(&range(&story, "0-4").await), (206, "bytes 0-4/10", "01234"));
    assert_eq!(story.origin.count(), 1);
}

async fn parts_are_kept_apart_like_everything_else(on: On) {
    let script = |asked: &Asked| cut(&format!("Vary: Accept\r\nX-Number: {}\r\n", asked.number), 0, 4);
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let ask = async |accept, cookie: &[_]| {
        let fields = [("range", "bytes=0-4"), ("accept", accept)];
        story.get_with("/a", &[&fields[..], cookie].concat()).await
    };
    let user = [("cookie", "session=1")];
    assert_eq!(ask("a", &user).await.says(), "fwd=bypass; detail=cookie");
    assert_eq!(ask("a", &[]).await.says(), "fwd=uri-miss; stored");
    story.stores(1).await;
    assert_eq!(ask("b", &[]).await.says(), "fwd=vary-miss; stored");
    eventually("both are stored", async || ask("b", &[]).await.says().starts_with("hit; ")).await;
    assert_eq!(ask("a", &[]).await.field("x-number"), "2");
    assert_eq!(ask("a", &user).await.says(), "fwd=bypass; detail=cookie");
}

async fn a_part_becomes_obsolete_too(on: On) {
    let story = serving(on, "10s").await;
    range(&story, "0-4").await;
    holds(&story, "0-4/10").await;
    story.post("POST /a", "x").await;
    holds(&story, "nothing").await;
    assert_eq!(range(&story, "0-4").await.says(), "fwd=uri-miss; stored");
}

async fn section_4_1_a_part_is_not_asked_about_for_another(on: On) {
    let fields = "ETag: \"x\"\r\nVary: Accept-Language\r\n";
    let script = move |asked: &Asked| match (asked.field("range"), asked.field("if-none-match")) {
        (Some(_), _) => cut(fields, 0, 4),
        (None, Some(_)) => answer("304 Not Modified", fields, ""),
        (None, None) => ok(fields, DIGITS),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    story.get_with("/a", &[("range", "bytes=0-4"), ("accept-language", "en")]).await;
    story.stores(1).await;
    let whole = story.get_with("/a", &[("accept-language", "de")]).await;
    assert_eq!((whole.fine(), whole.status), ("fwd=vary-miss; stored", 200));
    assert_eq!(whole.body, DIGITS);
    assert_eq!((story.origin.last().field("if-none-match"), story.origin.count()), (None, 2));
}
