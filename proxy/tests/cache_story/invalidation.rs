//! What a success makes obsolete (RFC 9111 §4.4).

use sidecache::status::{Outcome, Own};

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, ok, send},
    redis::eventually,
    story::{On, Story, everything},
    wire::{Wire, soon},
};

on_both_stores![
    a_success_makes_the_target_obsolete,
    a_failure_changes_nothing,
    every_query_policy_is_covered,
    all_variants_go,
    a_fill_begun_before_is_neither_stored_nor_joined,
    a_rule_without_a_cache_invalidates_too,
    the_places_that_the_answer_names_are_obsolete_too,
    a_write_counts_though_its_client_leaves_before_the_answer,
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

/// How a client leaves that has sent all of its request.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closes,
    ClosesHalf,
    ResetsItsStream,
    ClosesAllStreams,
}

const LEAVES: [Leaves; 4] =
    [Leaves::Closes, Leaves::ClosesHalf, Leaves::ResetsItsStream, Leaves::ClosesAllStreams];

impl Leaves {
    /// Sends a write, and leaves when the app has it.
    async fn after_writing(self, story: &Story, number: usize) {
        let asked = story.origin.count() + 1;
        if matches!(self, Self::ResetsItsStream | Self::ClosesAllStreams) {
            let io = tokio::net::TcpStream::connect(story.address).await.unwrap();
            let (mut client, frames) = soon("a handshake", h2::client::handshake(io)).await.unwrap();
            let frames = tokio::spawn(frames);
            let request = http::Request::post(format!("http://shop/products/{number}")).body(()).unwrap();
            let (answer, mut body) = client.send_request(request, false).unwrap();
            body.send_data("all of it".into(), true).unwrap();
            story.asked(asked).await;
            match self {
                Self::ResetsItsStream => drop((answer, body)),
                _ => frames.abort(),
            }
            return self.is_seen(story, number).await;
        }
        let mut client = Wire::tcp(story.address).await;
        let framing = "host: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
        client.send(format!("POST /products/{number} HTTP/1.1\r\n{framing}")).await;
        story.asked(asked).await;
        if matches!(self, Self::ClosesHalf) {
            client.finish().await;
        } else {
            drop(client);
        }
        self.is_seen(story, number).await;
    }

    async fn is_seen(self, story: &Story, number: usize) {
        let gone = || {
            let all = story.observed.all();
            all.into_iter().filter(|told| *told == (Outcome::Own(Own::ClientGone), false)).count()
        };
        eventually(&format!("{self:?}"), async || gone() == number + 1).await;
    }
}

/// The app does what it was asked to all the same. What else it has to say of that is for nobody.
async fn a_write_counts_though_its_client_leaves_before_the_answer(on: On) {
    let gates = LEAVES.map(|_| Gate::shut());
    let doors = gates.clone();
    let origin = Origin::start(move |asked| match asked.target.strip_prefix("/products/") {
        Some(number) => {
            let head = "HTTP/1.1 201 Created\r\nLocation: /list\r\nContent-Length: 100\r\n\r\nthe beginning";
            vec![Step::Wait(doors[number.parse::<usize>().unwrap()].clone()), send(head), Step::Hang]
        }
        None => ok("", "answer"),
    });
    let yaml = everything("{ ttl: 10s, tags: [product] }")
        + "purge_on: [{ match: /products/*, methods: [POST], tags: [product] }]\n";
    let story = Story::start(on, origin.await, &yaml).await;
    let all = ["/list", "/other"];
    for (number, (leaves, gate)) in LEAVES.into_iter().zip(&gates).enumerate() {
        for target in all {
            story.get(target).await;
            assert!(story.get(target).await.is_hit(), "{leaves:?}");
        }
        leaves.after_writing(&story, number).await;
        gate.open();
        for target in all {
            let is_obsolete = async || !story.get(target).await.is_hit();
            eventually(&format!("{leaves:?}: {target} is fetched anew"), is_obsolete).await;
        }
    }
    let upstream = story.app.live().upstream.clone();
    eventually("nothing is waited for", async || upstream.stats().open == upstream.stats().idle).await;
}
