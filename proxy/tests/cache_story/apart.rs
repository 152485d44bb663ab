//! What the origin can tell apart is not shared, and what nobody else can have is not waited for.

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, chunk, chunked_head, last_chunk, ok},
    story::{On, Story, everything},
};

on_both_stores![
    what_a_connection_hides_selects_nothing,
    what_a_trusted_proxy_was_asked_for_is_another_resource,
    how_a_trusted_proxy_was_asked_is_told_in_the_words_of_the_key,
    what_a_post_brings_that_was_forwarded_in_other_words_than_the_key_s_is_for_nobody_else,
    a_strangers_word_selects_nothing,
    fields_that_say_where_a_request_came_do_not_reach_the_origin,
    a_rule_that_is_narrowed_keys_what_narrows_it,
    an_event_stream_is_never_stored,
    ignored_cookies_select_nothing,
    what_was_lately_for_one_is_not_waited_for,
    what_was_lately_for_one_keeps_the_clients_condition,
    a_304_that_nobody_asked_for_is_an_error,
    a_304_about_an_error_keeps_the_error,
];

async fn what_a_connection_hides_selects_nothing(on: On) {
    let origin = Origin::start(|asked| {
        let language = asked.field("accept-language").unwrap_or("none");
        ok("Vary: Accept-Language\r\n", &format!("{language} {}", asked.number))
    });
    let story = Story::cached(on, origin.await, "10s").await;
    let german = ("accept-language", "de");
    for (round, stored) in [(1, false), (3, true)] {
        let hidden = [german, ("connection", "keep-alive, Accept-Language")];
        let own = story.get_with("/a", &hidden).await;
        assert_eq!(own.fine(), "fwd=bypass; detail=hidden-fields");
        assert_eq!(own.body, format!("none {round}"));
        let seen = story.get_with("/a", &[german]).await;
        assert_eq!((seen.is_hit(), seen.body.as_str()), (stored, "de 2"));
    }
    // What is about connections alone hides nothing.
    for option in ["keep-alive", "TE", ", close ,"] {
        assert!(story.get_with("/a", &[german, ("connection", option)]).await.is_hit(), "{option}");
    }
}

/// Everything is kept for 10 s, and this machine is one of the operator's own proxies.
const TRUSTING: &str = "trusted_proxies: [127.0.0.0/8]\nroutes: [{ match: /**, cache: 10s }]\n";

async fn what_a_trusted_proxy_was_asked_for_is_another_resource(on: On) {
    let story = Story::start(on, Origin::saying("").await, TRUSTING).await;
    let asked = [
        &[][..],
        &[("x-forwarded-proto", "https")],
        &[("x-forwarded-proto", "http")],
        &[("x-forwarded-host", "other")],
        &[("x-forwarded-proto", "https"), ("x-forwarded-host", "other")],
        &[("x-forwarded-host", "https")],
    ];
    for stored in [false, true] {
        for (number, fields) in (1..).zip(asked) {
            let own = story.get_with("/a", fields).await;
            assert_eq!((own.is_hit(), own.body), (stored, format!("answer {number}")), "{fields:?}");
        }
    }
    for (asked, fields) in story.origin.asked().iter().zip(asked) {
        for (name, value) in fields {
            assert_eq!(asked.field(name), Some(*value));
        }
    }
    // Its own host is no other one.
    assert_eq!(story.get_with("/a", &[("x-forwarded-host", "shop")]).await.body, "answer 1");
}

async fn how_a_trusted_proxy_was_asked_is_told_in_the_words_of_the_key(on: On) {
    let story = Story::start(on, Origin::saying("").await, TRUSTING).await;
    let told = async |fields: &[(&str, &str)]| {
        let answer = story.get_with("/a", fields).await;
        let asked = story.origin.last();
        let said = ["x-forwarded-proto", "x-forwarded-host", "forwarded"].map(|name| asked.field(name));
        (answer.is_hit(), said.map(|said| said.unwrap_or_default().to_owned()))
    };
    let words = |proto: &str, host: &str, rfc: &str| [proto, host, rfc].map(str::to_owned);
    // Two proxies in a row, and one that shouts.
    assert_eq!(told(&[("x-forwarded-proto", "https, http")]).await, (false, words("https", "shop", "")));
    assert!(told(&[("x-forwarded-proto", "HTTPS")]).await.0);
    // Only the scheme and the host of the first are for all: who asked by which way is not.
    let rfc = "for=1.2.3.4;proto=https;host=other, for=10.0.0.1;proto=http;host=x";
    let wanted = "host=\"other\";proto=https, for=127.0.0.1;host=\"shop\";proto=http";
    assert_eq!(told(&[("forwarded", rfc)]).await, (false, words("", "", wanted)));
    assert!(told(&[("forwarded", "for=2.3.4.5;proto=https;host=\"other\"")]).await.0);
    // Nor is it another resource than the one that was asked for so in the other words.
    assert!(told(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "other")]).await.0);
    assert!(!told(&[("forwarded", "proto=http;host=other")]).await.0);
}

async fn what_a_post_brings_that_was_forwarded_in_other_words_than_the_key_s_is_for_nobody_else(on: On) {
    let says = "Content-Location: /a\r\nCache-Control: max-age=10\r\n";
    let rules = "trusted_proxies: [127.0.0.0/8]\nroutes: [{ match: /**, cache: origin }]\n";
    let story = Story::start(on, Origin::saying(says).await, rules).await;
    let https = ("x-forwarded-proto", "https");
    for (fields, is_stored) in [
        (&[https, ("forwarded", "for=1.2.3.4;host=evil;proto=http")][..], false),
        (&[("x-forwarded-proto", "https, http")], false),
        (&[("forwarded", "for=1.2.3.4;host=evil")], false),
        (&[https, ("x-forwarded-host", "other")], true),
    ] {
        let told = story.ask("POST /a", fields).await;
        assert_eq!(told.says().contains("stored"), is_stored, "{fields:?}: {}", told.says());
    }
}

async fn a_strangers_word_selects_nothing(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let fields = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
    assert_eq!(story.get_with("/a", &fields).await.fine(), "fwd=uri-miss; stored");
    let told = story.origin.last();
    assert_eq!((told.field(fields[0].0), told.field(fields[1].0)), (Some("http"), Some("shop")));
    assert!(story.get("/a").await.is_hit());
}

async fn fields_that_say_where_a_request_came_do_not_reach_the_origin(on: On) {
    let story = Story::start(on, Origin::saying("").await, TRUSTING).await;
    let names = [
        "x-forwarded-port",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-forwarded-prefix",
        "x-forwarded-path",
        "x-forwarded-ssl",
        "x-host",
        "x-original-host",
        "x_forwarded_host",
        "x_forwarded_proto",
        "x_forwarded_for",
    ];
    let fields = names.map(|name| (name, "evil"));
    assert_eq!(story.get_with("/a", &fields).await.fine(), "fwd=uri-miss; stored");
    for name in names {
        assert_eq!(story.origin.last().field(name), None, "{name}");
    }
    story.edit(&everything("{ ttl: 10s, key: { headers: [x-host] } }"));
    assert_eq!(story.get_with("/b", &fields).await.fine(), "fwd=uri-miss; stored");
    let told = story.origin.last();
    assert_eq!((told.field("x-host"), told.field("x-forwarded-port")), (Some("evil"), None));
    assert_eq!(story.get("/b").await.fine(), "fwd=vary-miss; stored");
}

async fn a_rule_that_is_narrowed_keys_what_narrows_it(on: On) {
    let routes = "routes:
  - { match: /**, headers: { x-beta: present }, cache: 10s }
  - { match: /**, cache: 10s }
";
    let story = Story::start(on, Origin::saying("").await, routes).await;
    let asked = [&[][..], &[("x-beta", "1")], &[("x-beta", "2")], &[("x-beta", "")]];
    for stored in [false, true] {
        for (number, fields) in (1..).zip(asked) {
            let own = story.get_with("/a", fields).await;
            assert_eq!((own.is_hit(), own.body), (stored, format!("answer {number}")), "{fields:?}");
        }
    }
}

async fn an_event_stream_is_never_stored(on: On) {
    let origin = Origin::start(|asked| {
        let fields = format!("Content-Type: {}\r\n", &asked.target[1..].replace('_', " "));
        vec![chunked_head(&fields), chunk("data: 1\n\n"), last_chunk()]
    });
    let story = Story::cached(on, origin.await, "10s").await;
    for target in ["/text/event-stream", "/Text/Event-Stream_;charset=utf-8"] {
        for _ in 0..2 {
            let stream = story.get(target).await;
            assert_eq!(stream.fine(), "fwd=uri-miss; detail=event-stream", "{target}");
            assert_eq!(stream.body, "data: 1\n\n");
        }
    }
    assert_eq!(story.get("/text/event-stream-log").await.fine(), "fwd=uri-miss; stored");
}

async fn ignored_cookies_select_nothing(on: On) {
    let origin = Origin::saying("Vary: Cookie, Authorization, Accept\r\n").await;
    let story = Story::cached(on, origin, "{ ttl: 10s, credentials: ignore }").await;
    assert_eq!(story.get_with("/a", &[("cookie", "session=1")]).await.fine(), "fwd=uri-miss; stored");
    for fields in [&[][..], &[("cookie", "session=2")], &[("authorization", "Bearer me")]] {
        assert!(story.get_with("/a", fields).await.is_hit(), "{fields:?}");
    }
    assert_eq!(story.get_with("/a", &[("accept", "x")]).await.fine(), "fwd=vary-miss; stored");
}

/// Answers the first request at once, and the others when the gate is open.
fn gated(gate: &Gate, fields: &'static str) -> impl Fn(&Asked) -> Vec<Step> + use<> {
    let gate = gate.clone();
    move |asked| {
        let first = (asked.number > 1).then(|| Step::Wait(gate.clone()));
        first.into_iter().chain(ok(fields, &format!("answer {}", asked.number))).collect()
    }
}

async fn what_was_lately_for_one_is_not_waited_for(on: On) {
    let gate = Gate::shut();
    let origin = Origin::start(gated(&gate, "Cache-Control: no-store\r\n")).await;
    let story = Story::cached(on, origin, "10s").await;
    assert_eq!(story.get("/a").await.fine(), "fwd=uri-miss; detail=no-store");
    let (mut one, mut other) = (story.browser().await, story.browser().await);
    let both = async { tokio::join!(one.ask("GET /a", &[]), other.ask("GET /a", &[])) };
    let asked = async {
        story.asked(3).await;
        gate.open();
    };
    let ((one, other), ()) = tokio::join!(both, asked);
    for own in [&one, &other] {
        assert_eq!(own.fine(), "fwd=uri-miss; detail=no-store");
    }
    assert_ne!(one.body, other.body);
}

async fn what_was_lately_for_one_keeps_the_clients_condition(on: On) {
    let script = |asked: &Asked| match asked.field("if-none-match") {
        Some("\"x\"") => answer("304 Not Modified", "ETag: \"x\"\r\n", ""),
        _ => ok("Cache-Control: no-store\r\nETag: \"x\"\r\n", "answer"),
    };
    let story = Story::cached(on, Origin::start(script).await, "10s").await;
    let condition = [("if-none-match", "\"x\"")];
    // Others might share the first one.
    story.get_with("/a", &condition).await;
    assert_eq!(story.origin.last().field(condition[0].0), None);
    for _ in 0..2 {
        let own = story.get_with("/a", &condition).await;
        assert_eq!((own.status, own.field("etag"), own.body.as_str()), (304, "\"x\"", ""));
        assert_eq!(story.origin.last().field(condition[0].0), Some(condition[0].1));
        assert_eq!(story.get("/a").await.body, "answer");
    }
}

async fn a_304_that_nobody_asked_for_is_an_error(on: On) {
    let origin = Origin::start(|_| answer("304 Not Modified", "", ""));
    let story = Story::cached(on, origin.await, "10s").await;
    for fields in [&[][..], &[("if-none-match", "\"x\"")]] {
        let failed = story.get_with("/a", fields).await;
        assert_eq!((failed.status, failed.says()), (502, ""), "{fields:?}");
        assert_eq!(failed.field("proxy-status"), "sidecache; error=http_protocol_error");
    }
    // A client that asks the origin itself gets its word.
    story.edit(&everything("off"));
    assert_eq!(story.get("/a").await.status, 502);
    assert_eq!(story.get_with("/a", &[("if-none-match", "\"x\"")]).await.status, 304);
}

async fn a_304_about_an_error_keeps_the_error(on: On) {
    for (tag, then) in [("", (502, "")), ("ETag: \"a\"\r\n", (404, "gone"))] {
        let origin = Origin::start(move |asked| match asked.number {
            1 => answer("404 Not Found", tag, "gone"),
            _ => answer("304 Not Modified", "", ""),
        });
        let story = Story::cached(on, origin.await, "{ ttl: 10s, status: { 404: 10s } }").await;
        story.get("/a").await;
        assert!(story.get("/a").await.says().starts_with("hit"));
        story.pass_millis(10_500);
        let again = story.get("/a").await;
        let body = if again.status == 502 { "" } else { again.body.as_str() };
        assert_eq!((again.status, body), then, "{tag}");
        assert_eq!(story.origin.last().field("if-none-match").is_some(), !tag.is_empty());
    }
}
