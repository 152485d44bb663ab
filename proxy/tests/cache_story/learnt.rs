//! What other requests than GETs bring for later GETs.

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    story::{On, Story},
};

on_both_stores![
    a_head_renews_what_it_describes,
    a_head_that_contradicts_what_is_stored_makes_it_obsolete,
    the_answer_to_a_post_that_says_so_serves_later_gets,
    the_answer_to_a_post_is_otherwise_for_its_client,
    a_head_is_sent_as_a_fill_is,
    a_post_of_one_user_fills_nothing,
    a_write_meanwhile_makes_a_head_worthless,
    a_head_is_answered_in_an_outage_too,
];

fn head(fields: &str) -> Vec<Step> {
    vec![send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))]
}

async fn a_head_renews_what_it_describes(on: On) {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "HEAD" => head("ETag: \"a\"\r\nCache-Control: max-age=99\r\nX-New: 1\r\nContent-Length: 4\r\n"),
        _ => ok("ETag: \"a\"\r\nCache-Control: max-age=10\r\nX-Old: 1\r\n", "body"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let head = story.ask("HEAD /a", &[]).await;
    assert_eq!(head.fine(), "fwd=stale; detail=head");
    let hit = story.get("/a").await;
    assert!(hit.is_hit(), "{}", hit.says());
    assert_eq!((hit.body.as_str(), hit.field("x-new"), hit.field("x-old")), ("body", "1", "1"));
}

async fn a_head_that_contradicts_what_is_stored_makes_it_obsolete(on: On) {
    for contradiction in
        ["ETag: \"b\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Content-Length: 5\r\n"]
    {
        let origin = Origin::start(move |asked: &Asked| match asked.method.as_str() {
            "HEAD" => head(contradiction),
            _ => ok("ETag: \"a\"\r\nCache-Control: max-age=10, stale-while-revalidate=99\r\n", "body"),
        });
        let story = Story::cached(on, origin.await, "origin").await;
        story.get("/a").await;
        story.ask("HEAD /a", &[("cache-control", "no-cache")]).await;
        story.stores(0).await;
    }
}

fn posted(asked: &Asked) -> Vec<Step> {
    let fields = asked.field("x-fields").unwrap_or_default().replace('|', "\r\n");
    match asked.method.as_str() {
        "POST" => answer("201 Created", &fields, "of the post"),
        _ => ok("Cache-Control: max-age=10\r\n", "of the get"),
    }
}

async fn the_answer_to_a_post_that_says_so_serves_later_gets(on: On) {
    let story = Story::cached(on, Origin::start(posted).await, "{ status: { 201: 10s } }").await;
    story.get("/a").await;
    let says = ("x-fields", "Content-Location: /a|Cache-Control: max-age=10|");
    let post = story.ask("POST /a", &[says, ("accept-encoding", "x-own, br, gzip;q=0.1")]).await;
    assert_eq!((post.says(), post.body.as_str()), ("fwd=method; stored", "of the post"));
    assert_eq!(story.origin.last().field("accept-encoding"), Some("gzip, br"), "as far as it selects");
    story.stores(1).await;
    let hit = story.get("/a").await;
    assert_eq!((hit.status, hit.body.as_str()), (201, "of the post"), "{}", hit.says());
    assert!(hit.says().starts_with("hit; "));
}

async fn the_answer_to_a_post_is_otherwise_for_its_client(on: On) {
    let story = Story::cached(on, Origin::start(posted).await, "{ status: { 201: 10s } }").await;
    for fields in [
        "Content-Location: /a|",
        "Content-Location: /b|Cache-Control: max-age=10|",
        "Cache-Control: max-age=10|",
    ] {
        let post = story.ask("POST /a", &[("x-fields", fields)]).await;
        assert_eq!(post.says(), "fwd=method", "{fields}");
    }
    let private = [("x-fields", "Content-Location: /a|Cache-Control: max-age=10, private|")];
    assert_eq!(story.ask("POST /a", &private).await.says(), "fwd=method; detail=private");
    assert_eq!(story.get("/a").await.body, "of the get");
}

async fn a_head_is_sent_as_a_fill_is(on: On) {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "HEAD" => head("ETag: \"a\"\r\nCache-Control: max-age=99\r\n"),
        _ => ok("ETag: \"a\"\r\nCache-Control: max-age=10\r\n", "body"),
    });
    let story = Story::cached(on, origin.await, "{ credentials: ignore }").await;
    story.get("/a").await;
    let fields = [
        ("cache-control", "no-cache"),
        ("x-original-url", "/other"),
        ("cookie", "session=secret"),
        ("authorization", "Bearer secret"),
    ];
    story.ask("HEAD /a", &fields).await;
    let sent = story.origin.last();
    assert_eq!(sent.method, "HEAD");
    for name in ["x-original-url", "cookie", "authorization"] {
        assert_eq!(sent.field(name), None, "{name}");
    }
}

async fn a_post_of_one_user_fills_nothing(on: On) {
    let story =
        Story::cached(on, Origin::start(posted).await, "{ credentials: ignore, status: { 201: 10s } }").await;
    for field in [
        ("cookie", "session=secret"),
        ("authorization", "Bearer secret"),
        ("x-original-url", "/other"),
        ("x_tenant", "other"),
        ("cache-control", "no-store"),
        ("connection", "x-tenant"),
    ] {
        let fields = [("x-fields", "Content-Location: /a|Cache-Control: max-age=10|"), field];
        assert_eq!(story.ask("POST /a", &fields).await.says(), "fwd=method", "{field:?}");
    }
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
}

async fn a_write_meanwhile_makes_a_head_worthless(on: On) {
    let gate = Gate::shut();
    let behind = gate.clone();
    let origin = Origin::start(move |asked: &Asked| match asked.method.as_str() {
        "HEAD" => {
            [vec![Step::Wait(behind.clone())], head("ETag: \"a\"\r\nCache-Control: max-age=99\r\n")].concat()
        }
        "POST" => answer("204 No Content", "", ""),
        _ => ok("ETag: \"a\"\r\nCache-Control: max-age=10\r\n", "body"),
    });
    let story = Story::cached(on, origin.await, "origin").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let asking = story.browser().await;
    let heading = tokio::spawn(async move {
        let mut asking = asking;
        asking.ask("HEAD /a", &[]).await
    });
    story.asked(2).await;
    story.post("POST /a", "x").await;
    gate.open();
    heading.await.unwrap();
    story.settled().await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
}

async fn a_head_is_answered_in_an_outage_too(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "body"),
        _ => answer("503 No", "", ""),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 60s }").await;
    story.get("/a").await;
    story.pass_millis(10_500);
    let stale = story.ask("HEAD /a", &[]).await;
    assert_eq!((stale.status, stale.says()), (200, "fwd=stale; fwd-status=503; detail=stale-if-error"));
}
