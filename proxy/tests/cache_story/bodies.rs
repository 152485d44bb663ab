//! Bodies: only what reached a proven end is stored, and what did not must look so to the client.

use crate::support::{
    origin::{Asked, Gate, Origin, Step, chunk, chunked_head, last_chunk, ok, send},
    redis::eventually,
    story::{On, Story},
};

on_both_stores![
    a_chunked_body_is_stored_with_its_length,
    an_empty_body_is_stored,
    too_long_by_announcement_passes_and_is_not_stored,
    too_long_on_the_way_passes_whole_and_is_not_stored,
    without_a_marked_end_it_passes_and_is_not_stored,
    what_was_cut_is_never_stored_and_looks_so,
    a_cut_is_seen_by_all_who_wait,
    the_clients_leaving_does_not_end_a_fill,
    trailers_pass_but_are_not_stored_as_fields,
];

async fn a_chunked_body_is_stored_with_its_length(on: On) {
    let script = |_: &Asked| vec![chunked_head(""), chunk("hello "), chunk("world"), last_chunk()];
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let miss = story.get("/a").await;
    assert_eq!((miss.fine(), miss.body.as_str()), ("fwd=uri-miss; stored", "hello world"));
    assert_eq!(miss.field("transfer-encoding"), "chunked");
    let stored = async || {
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "hello world"));
        hit.field("content-length") == "11"
    };
    eventually("the length is known", stored).await;
    assert_eq!(story.origin.count(), 1);
}

async fn an_empty_body_is_stored(on: On) {
    let story = Story::cached(on, Origin::start(|_| ok("", "")).await, "10s").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    let hit = story.get("/a").await;
    assert_eq!((hit.is_hit(), hit.field("content-length")), (true, "0"));
}

async fn too_long_by_announcement_passes_and_is_not_stored(on: On) {
    let origin = Origin::start(|asked| ok("", &"x".repeat(asked.target[1..].parse().unwrap())));
    let story = Story::cached(on, origin.await, "{ ttl: 10s, max_body: 100KB }").await;
    for _ in 0..2 {
        let long = story.get("/100001").await;
        assert_eq!((long.fine(), long.body.len()), ("fwd=uri-miss; detail=too-large", 100_001));
    }
    assert_eq!(story.get("/100000").await.fine(), "fwd=uri-miss; stored");
    let hit = story.get("/100000").await;
    assert_eq!((hit.is_hit(), hit.body.len()), (true, 100_000));
}

async fn too_long_on_the_way_passes_whole_and_is_not_stored(on: On) {
    let script = |_: &Asked| {
        let mut steps = vec![chunked_head("")];
        steps.extend((0..40).map(|n| chunk(&format!("{n:05}").repeat(1000))));
        steps.push(last_chunk());
        steps
    };
    let whole: String = (0..40).map(|n| format!("{n:05}").repeat(1000)).collect();
    let story = Story::cached(on, Origin::start(script).await, "{ ttl: 10s, max_body: 100KB }").await;
    for round in 1..=2 {
        let long = story.get("/a").await;
        assert_eq!(long.fine(), "fwd=uri-miss; stored", "storing began");
        assert!(long.body == whole, "{} of {} bytes", long.body.len(), whole.len());
        assert_eq!(story.origin.count(), round);
    }
}

async fn without_a_marked_end_it_passes_and_is_not_stored(on: On) {
    let script = |_: &Asked| vec![send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"), Step::Close];
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    for _ in 0..2 {
        let answer = story.get("/a").await;
        assert_eq!((answer.fine(), answer.body.as_str()), ("fwd=uri-miss; detail=no-length", "hello"));
    }
}

async fn what_was_cut_is_never_stored_and_looks_so(on: On) {
    let script = |asked: &Asked| match (asked.target.as_str(), asked.number % 3) {
        ("/length", 1) => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), Step::Close],
        ("/length", 2) => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), Step::Reset],
        ("/chunked", 1) => vec![chunked_head(""), chunk("hello"), Step::Close],
        ("/chunked", 2) => vec![chunked_head(""), send("a\r\nhello"), Step::Close],
        _ => ok("", "helloworld"),
    };
    for target in ["/length", "/chunked"] {
        let story = Story::cached(on, Origin::start(script).await, "10s").await;
        for round in 1..=2 {
            let cut = story.get(target).await;
            assert!(!cut.whole && "hello".starts_with(&cut.body), "{target} {round}: {cut:?}");
        }
        let whole = story.get(target).await;
        assert_eq!((whole.fine(), whole.body.as_str()), ("fwd=uri-miss; stored", "helloworld"), "{target}");
        assert!(story.get(target).await.is_hit());
        let all: Vec<_> = story.observed.all().iter().map(|seen| seen.1).collect();
        assert_eq!(all, [false, false, true, true], "told as they were");
    }
}

async fn a_cut_is_seen_by_all_who_wait(on: On) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |_: &_| {
        let head = send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        vec![head, Step::Wait(door.clone()), Step::Close]
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let mut browsers = vec![story.browser().await, story.browser().await, story.browser().await];
    for browser in &mut browsers {
        browser.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
        assert_eq!(browser.head().await.unwrap().status, 200);
    }
    gate.open();
    for browser in &mut browsers {
        assert_eq!(browser.bytes(10).await, Err(b"hello".to_vec()));
    }
    assert_eq!(story.origin.count(), 1);
}

async fn the_clients_leaving_does_not_end_a_fill(on: On) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| {
        if asked.target == "/other" {
            return ok("", "other");
        }
        let body = format!("answer {}", asked.number);
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"), Step::Wait(door.clone()), send(body)]
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let mut leaves = story.browser().await;
    leaves.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    assert_eq!(leaves.head().await.unwrap().status, 200);
    drop(leaves);
    // One thread runs all of this: by the time this is answered, the leaving has been noticed.
    for _ in 0..10 {
        story.browser().await.ask("GET /other", &[("if-match", "*")]).await;
    }
    gate.open();
    let answer = story.get("/a").await;
    assert_eq!(
        (answer.fine().contains("uri-miss; stored;") || answer.is_hit(), answer.body.as_str()),
        (true, "answer 1")
    );
    assert_eq!((story.origin.count(), story.origin.abandoned()), (11, 0));
}

async fn trailers_pass_but_are_not_stored_as_fields(on: On) {
    let script = |_: &Asked| {
        vec![
            chunked_head("Trailer: x-sum\r\n"),
            chunk("hello"),
            send("0\r\nX-Sum: 1\r\nX-Cache-Control: no-store\r\n\r\n"),
        ]
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let mut browser = story.browser().await;
    browser.send("GET /a HTTP/1.1\r\nhost: shop\r\nte: trailers\r\nconnection: close\r\n\r\n").await;
    let text = String::from_utf8(browser.rest().await).unwrap();
    assert!(text.ends_with("\r\n0\r\nx-sum: 1\r\nx-cache-control: no-store\r\n\r\n"), "{text}");
    let hit = story.get("/a").await;
    assert!(hit.is_hit() && hit.all("x-sum").is_empty());
}
