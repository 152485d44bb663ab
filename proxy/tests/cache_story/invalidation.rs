//! What a success makes obsolete (RFC 9111 §4.4).

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    story::{On, Story},
};

on_both_stores![
    a_success_makes_the_target_obsolete,
    a_failure_changes_nothing,
    every_query_policy_is_covered,
    all_variants_go,
    a_fill_begun_before_is_neither_stored_nor_joined,
    a_rule_without_a_cache_invalidates_too,
    the_places_that_the_answer_names_are_obsolete_too,
];

/// RFC 9111 §4.4.
async fn the_places_that_the_answer_names_are_obsolete_too(on: On) {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "POST" => answer("201 Created", "Location: /list/5\r\nContent-Location: ?page=1\r\n", ""),
        "PUT" => answer("200 OK", "Location: http://other.example/list/5\r\n", ""),
        _ => ok("", "answer"),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    let all = ["/list", "/list/5", "/list?page=1"];
    for target in all {
        story.get(target).await;
    }
    story.post("PUT /other", "x").await;
    for target in all {
        assert!(story.get(target).await.is_hit(), "{target}");
    }
    story.post("POST /list", "x").await;
    for target in all {
        assert_eq!(story.get(target).await.fine(), "fwd=uri-miss; stored", "{target}");
    }
}

async fn a_success_makes_the_target_obsolete(on: On) {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/moved" if asked.method != "GET" => {
            answer("303 See Other", "Location: http://other.example/\r\n", "")
        }
        _ => ok("", &format!("answer {}", asked.number)),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "UNHEARD"] {
        for target in ["/a", "/moved"] {
            story.get(target).await;
            assert!(story.get(target).await.is_hit());
            story.get("/other").await;
            story.post(&format!("{method} {target}"), "x").await;
            assert_eq!(story.get(target).await.fine(), "fwd=uri-miss; stored", "{method} {target}");
            assert!(story.get("/other").await.is_hit());
        }
    }
    for safe in ["HEAD", "OPTIONS", "GET"] {
        story.ask(&format!("{safe} /a"), &[("range", "bytes=0-1")]).await;
        assert!(story.get("/a").await.is_hit(), "{safe}");
    }
}

async fn a_failure_changes_nothing(on: On) {
    let origin = Origin::start(|asked| match (asked.method.as_str(), asked.body.as_slice()) {
        ("POST", b"reset") => vec![Step::Reset],
        ("POST", status) => answer(std::str::from_utf8(status).unwrap(), "", ""),
        _ => ok("", "answer"),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get("/a").await;
    for failure in ["400 No", "404 No", "409 No", "500 No", "503 No", "reset"] {
        assert!(story.post("POST /a", failure).await.status >= 400);
        assert!(story.get("/a").await.is_hit(), "{failure}");
    }
}

async fn every_query_policy_is_covered(on: On) {
    let yaml = "routes:
  - { match: /a, headers: { x-none: present }, cache: { ttl: 10s, key: { query: none } } }
  - { match: /a, headers: { x-page: present }, cache: { ttl: 10s, key: { query: [page] } } }
  - { match: /a, methods: [POST], cache: off }
  - { match: /*, cache: { ttl: 10s, key: { query: { except: [utm_*] } } } }
  - { match: /**, cache: 10s }
";
    let story = Story::start(on, Origin::saying("").await, yaml).await;
    let rules: [&[(&str, &str)]; 3] = [&[("x-none", "1")], &[("x-page", "1")], &[]];
    for fields in rules {
        story.get_with("/a?page=1&x=3&utm_x=2", fields).await;
        assert!(story.get_with("/a?page=1&x=3&utm_x=2", fields).await.is_hit(), "{fields:?}");
    }
    let answer = story.post("POST /a?page=1&x=3&utm_x=2", "x").await;
    assert_eq!(answer.fine(), "fwd=bypass; detail=rule-off");
    for fields in rules {
        let again = story.get_with("/a?page=1&x=3&utm_x=2", fields).await;
        assert_eq!(again.fine(), "fwd=uri-miss; stored", "{fields:?}");
    }
}

async fn all_variants_go(on: On) {
    let story = Story::cached(on, Origin::saying("Vary: accept\r\n").await, "10s").await;
    for kind in ["a", "b"] {
        story.get_with("/a", &[("accept", kind)]).await;
        assert!(story.get_with("/a", &[("accept", kind)]).await.is_hit());
    }
    story.post("POST /a", "x").await;
    assert_eq!(story.get_with("/a", &[("accept", "a")]).await.fine(), "fwd=uri-miss; stored");
    assert_eq!(story.get_with("/a", &[("accept", "b")]).await.fine(), "fwd=vary-miss; stored");
}

async fn a_fill_begun_before_is_neither_stored_nor_joined(on: On) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| match (asked.method.as_str(), asked.number) {
        ("GET", 1) => vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nold"),
            Step::Wait(door.clone()),
            send(" page"),
        ],
        _ => ok("", "new page"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let mut slow = story.browser().await;
    slow.send("GET /a HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    assert_eq!(slow.head().await.unwrap().says(), "fwd=uri-miss; stored");
    story.post("POST /a", "x").await.fine();
    let fresh = story.get("/a").await;
    assert_eq!((fresh.fine(), fresh.body.as_str()), ("fwd=uri-miss; stored", "new page"));
    gate.open();
    assert_eq!(slow.bytes(8).await.unwrap(), b"old page");
    // The old one has ended by now, and its task had every chance to store it.
    for _ in 0..20 {
        let hit = story.get("/a").await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "new page"));
        tokio::task::yield_now().await;
    }
    assert_eq!(story.origin.count(), 3);
}

async fn a_rule_without_a_cache_invalidates_too(on: On) {
    let yaml = "routes:
  - { match: /a, methods: [GET], cache: 10s }
";
    let story = Story::start(on, Origin::saying("").await, yaml).await;
    story.get("/a").await;
    assert_eq!(story.post("POST /a", "x").await.fine(), "fwd=bypass; detail=no-rule");
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; stored");
}
