//! Which requests share a stored response, and which never do.

use crate::support::{
    origin::{Origin, ok},
    story::{On, Story, everything},
};

on_both_stores![
    the_whole_query_counts,
    no_query_counts,
    some_of_the_query_counts,
    all_but_some_of_the_query_counts,
    a_keyed_field_selects,
    vary_selects,
    section_4_1_vary_selects_by_meaning,
    codings_that_nobody_knows_make_no_variants,
    vary_of_too_much_is_never_stored,
    hosts_are_kept_apart,
    what_is_spelled_otherwise_is_another_resource,
    ambiguous_paths_are_never_cached,
    fields_that_rewrite_a_request_do_not_reach_the_origin,
    a_name_that_can_be_read_as_a_keyed_one_does_not_reach_the_origin,
];

/// Which of these targets share a response: for each, the first one whose answer it got.
async fn shares(story: &Story, targets: &[&str]) -> Vec<usize> {
    let mut bodies = Vec::new();
    for target in targets {
        let body = story.get(target).await.body;
        bodies.push(body);
    }
    bodies.iter().map(|body| bodies.iter().position(|other| other == body).unwrap()).collect()
}

async fn keyed(on: On, key: &str) -> Story {
    Story::cached(on, Origin::saying("").await, &format!("{{ ttl: 10s, key: {{ {key} }} }}")).await
}

async fn the_whole_query_counts(on: On) {
    let story = keyed(on, "query: all").await;
    let targets = ["/a", "/a?", "/a?b=1", "/a?b=1&c=2", "/a?c=2&b=1", "/a?b=1", "/a/b=1", "/ab=1", "/a?b=1&"];
    assert_eq!(shares(&story, &targets).await, [0, 1, 2, 3, 4, 2, 6, 7, 8]);
}

async fn no_query_counts(on: On) {
    let story = keyed(on, "query: none").await;
    assert_eq!(shares(&story, &["/a", "/a?b=1", "/a?", "/b?b=1"]).await, [0, 0, 0, 3]);
}

async fn some_of_the_query_counts(on: On) {
    let story = keyed(on, "query: [page, sort]").await;
    let targets = ["/a?page=1", "/a?x=1&page=1", "/a?page=1&sort=2", "/a?sort=2&page=1", "/a", "/a?x=1"];
    assert_eq!(shares(&story, &targets).await, [0, 0, 2, 3, 4, 4]);
    // What an app may read as `page` is not left out.
    let doubtful = ["/a?page=1&%70age=2", "/a?page=1;page=2", "/a?page=1&page[]=2"];
    assert_eq!(shares(&story, &doubtful).await, [0, 1, 2]);
}

async fn all_but_some_of_the_query_counts(on: On) {
    let story = keyed(on, "query: { except: [utm_*, ref] }").await;
    let targets = ["/a?b=1", "/a?b=1&utm_source=x", "/a?ref=1&b=1", "/a?b=1&refs=2", "/a?utm_x", "/a"];
    assert_eq!(shares(&story, &targets).await, [0, 0, 0, 3, 4, 4]);
    // What hides another parameter behind `;` is keyed.
    assert_eq!(shares(&story, &["/y?cb=1", "/y?cb=1&utm_content=x;cb=evil"]).await, [0, 1]);
    // The origin is asked with all of it.
    assert_eq!(story.origin.asked()[0].target, "/a?b=1");
    story.get("/z?utm_source=x&b=1").await;
    assert_eq!(story.origin.last().target, "/z?utm_source=x&b=1");
}

async fn a_keyed_field_selects(on: On) {
    let story = keyed(on, "headers: [accept-language]").await;
    let with = async |fields: &[(&str, &str)]| story.get_with("/a", fields).await.fine().to_owned();
    assert_eq!(with(&[("accept-language", "de")]).await, "fwd=uri-miss; stored");
    assert_eq!(with(&[("accept-language", "fr")]).await, "fwd=vary-miss; stored");
    assert_eq!(with(&[]).await, "fwd=vary-miss; stored");
    assert_eq!(with(&[("accept-language", "")]).await, "fwd=vary-miss; stored");
    assert_eq!(with(&[("accept-language", "d"), ("accept-language", "e")]).await, "fwd=vary-miss; stored");
    for fields in [&[("accept-language", "de")][..], &[("accept-language", "fr")], &[], &[("accept", "x")]] {
        assert!(with(fields).await.starts_with("hit"), "{fields:?}");
    }
    assert_eq!(story.origin.count(), 5);
}

async fn vary_selects(on: On) {
    let story = Story::cached(on, Origin::saying("Vary: Accept-Language, X-B\r\n").await, "10s").await;
    let with = async |language| story.get_with("/a", &[("accept-language", language)]).await;
    assert_eq!(with("de").await.fine(), "fwd=uri-miss; stored");
    assert_eq!(with("fr").await.fine(), "fwd=vary-miss; stored");
    assert_eq!(with("de").await.body, "answer 1");
    assert_eq!(with("fr").await.body, "answer 2");
    assert_eq!(story.get_with("/a", &[("accept-language", "de"), ("x-b", "1")]).await.body, "answer 3");
    assert_eq!(story.origin.count(), 3);
    story.pass_millis(10_500);
    assert_eq!(with("de").await.fine(), "fwd=stale; stored");
    assert!(with("de").await.is_hit());
    assert_eq!(with("fr").await.fine(), "fwd=stale; stored");
}

async fn section_4_1_vary_selects_by_meaning(on: On) {
    let fields = "Vary: Accept-Language, Accept-Encoding, Foo, User-Agent\r\n";
    let story = Story::cached(on, Origin::saying(fields).await, "10s").await;
    let first = [("accept-language", "en, de;q=0.5"), ("accept-encoding", "gzip, br"), ("foo", "1, 2")];
    assert_eq!(story.get_with("/a", &first).await.fine(), "fwd=uri-miss; stored");
    for same in [
        &[("accept-language", "DE ; q=0.50,en"), ("accept-encoding", "br,x-gzip"), ("foo", "1,2")][..],
        &[
            ("accept-language", "de;q=0.5"),
            ("accept-language", "en;q=1"),
            first[1],
            ("foo", "1"),
            ("foo", "2"),
        ],
    ] {
        assert!(story.get_with("/a", same).await.is_hit(), "{same:?}");
    }
    for other in [
        &[("accept-language", "en, de"), first[1], first[2]][..],
        &[first[0], ("accept-encoding", "gzip, br;q=0"), first[2]],
        &[first[0], first[1], ("foo", "2, 1")],
        &[first[0], first[1]],
        &[first[0], first[1], first[2], ("user-agent", "a, b")],
        &[first[0], first[1], first[2], ("user-agent", "a,b")],
    ] {
        assert_eq!(story.get_with("/a", other).await.fine(), "fwd=vary-miss; stored", "{other:?}");
    }
}

async fn codings_that_nobody_knows_make_no_variants(on: On) {
    let origin = Origin::start(|asked| {
        let taken = asked.field("accept-encoding").unwrap_or("anything").to_owned();
        ok("Vary: Accept-Encoding\r\n", &taken)
    });
    let story = Story::cached(on, origin.await, "10s").await;
    for n in 0..200 {
        let junk = format!("gzip;q=0.{n:03}1, xyz{n}, br;q=0.{:03}", n + 1);
        assert_eq!(story.get_with("/a", &[("accept-encoding", &junk)]).await.body, "br");
    }
    assert_eq!(story.origin.count(), 1, "what is asked for is what selects");
    for (sent, got) in
        [("br, gzip", "gzip, br"), ("xyz", "identity"), ("", "identity"), ("gzip,br", "gzip, br")]
    {
        assert_eq!(story.get_with("/a", &[("accept-encoding", sent)]).await.body, got, "{sent}");
    }
    assert_eq!(story.get("/a").await.body, "anything");
    assert_eq!(story.origin.count(), 4);
    // What is not for the cache is passed on as it is.
    story.edit(&everything("off"));
    assert_eq!(story.get_with("/a", &[("accept-encoding", "xyz;q=0.1")]).await.body, "xyz;q=0.1");
}

async fn vary_of_too_much_is_never_stored(on: On) {
    let origin = Origin::start(|asked| {
        let vary = match asked.target.as_str() {
            "/star" => "accept, *".to_owned(),
            _ => (0..17).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(", "),
        };
        ok(&format!("Vary: {vary}\r\n"), "x")
    });
    let story = Story::cached(on, origin.await, "10s").await;
    for _ in 0..2 {
        assert_eq!(story.get("/star").await.fine(), "fwd=uri-miss; detail=vary-star");
        assert_eq!(story.get("/long").await.fine(), "fwd=uri-miss; detail=vary-too-long");
    }
}

async fn hosts_are_kept_apart(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let with = async |host| story.get_with("/a", &[("host", host)]).await.body;
    assert_eq!(with("a").await, "answer 1");
    assert_eq!(with("a:4181").await, "answer 2");
    assert_eq!(with("b").await, "answer 3");
    assert_eq!(with("a.b").await, "answer 4");
    // These are spellings of the first (RFC 9110 §4.2.3).
    assert_eq!(with("A").await, "answer 1");
    assert_eq!(with("a.").await, "answer 1");
    assert_eq!(with("a:80").await, "answer 1");
    assert_eq!(with("a:4181").await, "answer 2");
    let mut browser = story.browser().await;
    assert_eq!(browser.ask("GET http://b/a", &[("host", "b")]).await.body, "answer 3");
    assert_eq!(story.origin.asked()[1].field("host"), Some("a:4181"));
}

async fn what_is_spelled_otherwise_is_another_resource(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    let targets =
        ["/a", "/a/", "/A", "/%61", "/a;b", "/a%20b", "/a+b", "/a=b?", "/a?=b", "/a&b", "/a?b", "/ab"];
    let each: Vec<usize> = (0..targets.len()).collect();
    assert_eq!(shares(&story, &targets).await, each);
    assert_eq!(shares(&story, &targets).await, each);
    assert_eq!(story.origin.count(), targets.len());
}

async fn ambiguous_paths_are_never_cached(on: On) {
    let story =
        Story::start(on, Origin::saying("").await, "routes:\n  - { match: /static/**, cache: 10s }\n").await;
    let doubtful = [
        "/static/x%0A.css",
        "/static/x%00.css",
        "/static/x%3B.css",
        "/static/x%23.css",
        "/static/x%3F.css",
        "/static/x%26.css",
        "/static/..%2faccount",
        "/static/../account",
        "/static/%2e%2e/account",
        "/static/./x",
        "/static//x",
        "/static/x\\y",
        "/static/..;/account",
    ];
    for target in doubtful {
        for _ in 0..2 {
            let answer = story.get(target).await;
            assert_eq!(answer.fine(), "fwd=bypass; detail=ambiguous-target", "{target}");
            assert_eq!(story.origin.last().target, target);
        }
    }
    for target in ["//static/x", "/account/..%2fstatic/x"] {
        assert_eq!(story.get(target).await.fine(), "fwd=bypass; detail=ambiguous-target", "{target}");
    }
    for target in ["/account/x.css", "/account/.css", "/account.css", "/account/static/x.css"] {
        assert_eq!(story.get(target).await.fine(), "fwd=bypass; detail=no-rule", "{target}");
    }
    for target in ["/account;/static/x.js", "/account", "/static", "/staticx/a", "/STATIC/x"] {
        assert_eq!(story.get(target).await.fine(), "fwd=bypass; detail=no-rule", "{target}");
    }
    assert_eq!(story.get("/static/x;v=1").await.fine(), "fwd=uri-miss; stored");
}

/// The names of a list, one in each line.
fn names(list: &'static str) -> Vec<&'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Sends them all, twenty with a request.
async fn sent_evil(story: &Story, names: &[&str], path: &str) {
    for (at, some) in names.chunks(20).enumerate() {
        let fields: Vec<_> = some.iter().map(|name| (*name, "evil")).collect();
        story.get_with(&format!("{path}{at}"), &fields).await.fine();
    }
}

async fn fields_that_rewrite_a_request_do_not_reach_the_origin(on: On) {
    // What comes with a request is in the body of its answer.
    let origin = Origin::start(|asked| ok("", &format!("{:?}", asked.fields)));
    let story = Story::cached(on, origin.await, "10s").await;
    let listed = names(include_str!("../fields/rewriting.txt"));
    let lookalikes: Vec<String> = listed.iter().map(|name| name.replace('-', "_")).collect();
    let lookalikes: Vec<&str> = lookalikes.iter().map(String::as_str).collect();
    for (path, names) in [("/a", &listed), ("/b", &lookalikes)] {
        sent_evil(&story, names, path).await;
        for at in 0..names.len().div_ceil(20) {
            let shared = story.get(&format!("{path}{at}")).await;
            assert!(shared.is_hit() && !shared.body.contains("evil"), "{}", shared.body);
        }
    }
    story.edit(&everything("{ ttl: 10s, key: { headers: [x-original-url] } }"));
    let fields = [("x-original-url", "/admin"), ("x-original-uri", "/admin")];
    story.get_with("/c", &fields).await.fine();
    let told = story.origin.last();
    assert_eq!((told.field(fields[0].0), told.field(fields[1].0)), (Some("/admin"), None));
    // What is passed on for its own sake keeps them.
    story.edit(&everything("off"));
    story.get_with("/a", &[("x-http-method-override", "/admin")]).await.fine();
    assert_eq!(story.origin.last().field("x-http-method-override"), Some("/admin"));
}

async fn a_name_that_can_be_read_as_a_keyed_one_does_not_reach_the_origin(on: On) {
    let story = keyed(on, "headers: [x-tenant, api_key]").await;
    let fields = [("x_tenant", "evil"), ("accept_language", "evil"), ("api_key", "1")];
    assert_eq!(story.get_with("/a", &fields).await.fine(), "fwd=uri-miss; stored");
    let told = story.origin.last();
    assert_eq!(fields.map(|(name, _)| told.field(name)), [None, None, Some("1")]);
    assert!(story.get_with("/a", &[("api_key", "1")]).await.is_hit());
}
