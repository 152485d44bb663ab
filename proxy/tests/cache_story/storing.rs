//! What is stored without a `ttl`, what is stored to be asked about, and what is served after its time.

use crate::support::{
    origin::{Asked, Origin, Step, answer, ok},
    redis::eventually,
    story::{On, Story, everything},
};

on_both_stores![
    section_4_2_2_a_lifetime_is_guessed_from_last_modified,
    section_3_the_status_decides_what_is_stored_without_a_ttl,
    an_error_that_an_odd_request_brought_about_is_not_stored,
    what_one_origin_may_read_is_counted_unless_it_selects,
    section_15_3_5_a_stored_204_has_no_content,
    section_5_2_2_4_no_cache_is_asked_about_on_each_use,
    section_5_2_2_4_a_changed_answer_takes_the_place,
    section_5_2_2_3_must_understand_beats_no_store,
    rfc_5861_the_rule_lets_stale_be_served_while_it_is_renewed,
    rfc_5861_the_rule_lets_stale_be_served_when_the_app_fails,
    a_cookie_does_not_fill_with_what_is_stale_on_arrival,
];

async fn section_4_2_2_a_lifetime_is_guessed_from_last_modified(on: On) {
    let modified = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let story = Story::cached(on, Origin::saying(modified).await, "origin").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    // Nobody says that it is for everybody.
    let own = story.get_with("/a", &[("cookie", "session=1")]).await;
    assert_eq!(own.fine(), "fwd=bypass; detail=cookie");
    story.pass_millis(23 * 3_600_000);
    assert!(story.get("/a").await.is_hit());
    story.pass_millis(3_600_500);
    assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
}

async fn section_3_the_status_decides_what_is_stored_without_a_ttl(on: On) {
    // `/404/max-age=5` is a 404 with that `Cache-Control`.
    let origin = Origin::start(|asked| {
        let mut parts = asked.target.trim_start_matches('/').splitn(2, '/');
        let (status, control) = (parts.next().unwrap(), parts.next().unwrap());
        answer(&format!("{status} Because"), &format!("Cache-Control: {control}\r\n"), "x")
    });
    let story = Story::cached(on, origin.await, "{ status: { 307: 10s } }").await;
    for (target, first, second) in [
        ("/302/max-age=5", "fwd=uri-miss; stored", "hit; "),
        ("/404/max-age=5", "fwd=uri-miss; stored", "hit; "),
        ("/500/s-maxage=5", "fwd=uri-miss; stored", "hit; "),
        ("/599/max-age=5", "fwd=uri-miss; stored", "hit; "),
        ("/307/x", "fwd=uri-miss; stored", "hit; "),
        ("/302/x", "fwd=uri-miss; detail=status-not-listed", "fwd=uri-miss; detail=status-not-listed"),
        ("/404/x", "fwd=uri-miss; detail=no-lifetime", "fwd=uri-miss; detail=no-lifetime"),
        (
            "/429/max-age=5",
            "fwd=uri-miss; detail=status-not-listed",
            "fwd=uri-miss; detail=status-not-listed",
        ),
    ] {
        assert_eq!(story.get(target).await.says(), first, "{target}");
        // How much is left depends on the second in which the app's `Date` is.
        let again = story.get(target).await;
        assert!(again.says().starts_with(second), "{target}: {}", again.says());
    }
}

async fn an_error_that_an_odd_request_brought_about_is_not_stored(on: On) {
    let origin = Origin::start(|asked| {
        let size: usize = asked.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        match size {
            0..6000 => ok("Cache-Control: max-age=60\r\n", "fine"),
            _ => answer("400 Bad Request", "Cache-Control: max-age=60\r\n", "too much"),
        }
    });
    let story = Story::cached(on, origin.await, "{ status: { 400: 10s } }").await;
    let big = "A".repeat(7000);
    for _ in 0..2 {
        let own = story.get_with("/a", &[("x-big", &big)]).await;
        assert_eq!((own.status, own.says()), (400, "fwd=uri-miss; detail=odd-request"));
    }
    // The next one is neither told that nobody may share, nor served the error.
    let next = story.get("/a").await;
    assert_eq!((next.fine(), next.body.as_str()), ("fwd=uri-miss; stored", "fine"));
    assert!(story.get_with("/a", &[("x-big", &big)]).await.is_hit());
}

async fn what_one_origin_may_read_is_counted_unless_it_selects(on: On) {
    let origin = Origin::start(|asked| {
        let allowed = if asked.target == "/all" { "*" } else { asked.field("origin").unwrap_or("null") };
        let vary = if asked.target == "/varies" { "Vary: Origin\r\n" } else { "" };
        ok(&format!("Access-Control-Allow-Origin: {allowed}\r\n{vary}"), "x")
    });
    let story = Story::cached(on, origin.await, "10s").await;
    let allowed = async |target, asking| {
        let answer = story.get_with(target, &[("origin", asking)]).await;
        answer.field("access-control-allow-origin").to_owned()
    };
    let counted = || story.app.cors_unkeyed.load(std::sync::atomic::Ordering::Relaxed);
    for target in ["/all", "/varies"] {
        allowed(target, "https://evil").await;
        assert_ne!(allowed(target, "https://good").await, "https://evil");
    }
    assert_eq!(counted(), 0);
    allowed("/reflects", "https://evil").await;
    assert_eq!(counted(), 1);
    story.edit(&everything("{ ttl: 10s, key: { headers: [origin] } }"));
    allowed("/keyed", "https://evil").await;
    assert_eq!(allowed("/keyed", "https://good").await, "https://good");
    assert_eq!(counted(), 1);
}

async fn section_15_3_5_a_stored_204_has_no_content(on: On) {
    let nothing = b"HTTP/1.1 204 No Content\r\nCache-Control: max-age=5\r\n\r\n";
    let story =
        Story::cached(on, Origin::start(|_| vec![Step::Send(nothing.to_vec())]).await, "origin").await;
    for says in ["fwd=uri-miss; stored", "hit; "] {
        let answer = story.get("/a").await;
        assert!(answer.says().starts_with(says), "{}", answer.says());
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!((answer.field("content-length"), answer.field("transfer-encoding")), ("", ""), "{says}");
    }
}

/// An origin whose answers carry the tag `"a"` and these fields, and that says 304 to whoever has it.
async fn validating(fields: &'static str) -> Origin {
    Origin::start(move |asked: &Asked| match asked.field("if-none-match") {
        Some("\"a\"") => vec![Step::Send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes())],
        _ => ok(&format!("ETag: \"a\"\r\n{fields}"), &format!("answer {}", asked.number)),
    })
    .await
}

async fn section_5_2_2_4_no_cache_is_asked_about_on_each_use(on: On) {
    for cache in ["origin", "10s"] {
        for control in ["Cache-Control: no-cache\r\n", "Cache-Control: max-age=0\r\n", "Expires: 0\r\n"] {
            let story = Story::cached(on, validating(control).await, cache).await;
            assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored", "{cache}: {control}");
            for _ in 0..3 {
                let renewed = story.get("/a").await;
                assert_eq!(renewed.fine(), "fwd=stale; fwd-status=304; stored", "{cache}: {control}");
                assert_eq!(renewed.body, "answer 1");
            }
            assert_eq!(story.origin.count(), 4);
            assert!(story.origin.asked()[1..].iter().all(|asked| asked.field("if-none-match").is_some()));
        }
    }
}

async fn section_5_2_2_4_a_changed_answer_takes_the_place(on: On) {
    let origin = Origin::start(|asked| {
        let fields = format!("Cache-Control: no-cache\r\nETag: \"{}\"\r\n", asked.number);
        ok(&fields, &format!("answer {}", asked.number))
    });
    let story = Story::cached(on, origin.await, "origin").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    let second = story.get("/a").await;
    assert_eq!((second.fine(), second.body.as_str()), ("fwd=stale; stored", "answer 2"));
    // Nobody can join such a fetch, so its end shows by what it leaves behind alone.
    eventually("the newest answer is asked about", async || {
        let newest = format!("\"{}\"", story.origin.count());
        assert_eq!(story.get("/a").await.fine(), "fwd=stale; stored");
        story.origin.last().field("if-none-match") == Some(&newest)
    })
    .await;
}

async fn section_5_2_2_3_must_understand_beats_no_store(on: On) {
    let control = "Cache-Control: no-store, must-understand, max-age=5\r\n";
    let origin =
        Origin::start(|asked| answer(&format!("{} So", asked.target.trim_matches('/')), control, "x"));
    let story = Story::cached(on, origin.await, "origin").await;
    assert_eq!(story.get("/404").await.says(), "fwd=uri-miss; stored");
    assert!(story.get("/404").await.says().starts_with("hit; "));
    for _ in 0..2 {
        assert_eq!(story.get("/599").await.says(), "fwd=uri-miss; detail=no-store");
    }
}

async fn rfc_5861_the_rule_lets_stale_be_served_while_it_is_renewed(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "{ ttl: 10s, stale_while_revalidate: 5s }").await;
    story.get("/a").await;
    story.pass_millis(11_500);
    let stale = story.get("/a").await;
    assert_eq!(
        (stale.fine(), stale.body.as_str()),
        ("hit; ttl=-1; detail=stale-while-revalidate", "answer 1")
    );
    story.pass_millis(500);
    let renewed = story.get("/a").await;
    assert_eq!((renewed.fine(), renewed.body.as_str()), ("hit; ttl=9", "answer 2"));
    story.pass_millis(15_000);
    let late = story.get("/a").await;
    assert_eq!((late.fine(), late.body.as_str()), ("fwd=stale; stored", "answer 3"));
}

async fn rfc_5861_the_rule_lets_stale_be_served_when_the_app_fails(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => ok("", "answer 1"),
        _ => answer("503 Service Unavailable", "", "away"),
    });
    let story = Story::cached(on, origin.await, "{ ttl: 10s, stale_if_error: 2h }").await;
    story.get("/a").await;
    story.pass_millis(10_500 + 7_000_000);
    let spared = story.get("/a").await;
    assert_eq!(spared.fine(), "fwd=stale; fwd-status=503; detail=stale-if-error");
    assert_eq!(spared.body, "answer 1");
    story.pass_millis(200_000);
    assert_eq!(story.get("/a").await.status, 503);
}

async fn a_cookie_does_not_fill_with_what_is_stale_on_arrival(on: On) {
    let story = Story::cached(on, validating("Cache-Control: max-age=0\r\n").await, "origin").await;
    let cookie = [("cookie", "session=1")];
    assert_eq!(story.get_with("/a", &cookie).await.fine(), "fwd=uri-miss; detail=cookie");
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
    // It may ask about what is stored, and is told by the app itself.
    let told = story.get_with("/a", &cookie).await;
    assert_eq!((told.fine(), told.body.as_str()), ("fwd=stale; detail=cookie", "answer 2"));
    assert_eq!(story.origin.last().field("cookie"), Some("session=1"));
}
