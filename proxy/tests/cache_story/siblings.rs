//! What other requests got may be the answer to this one, if the origin says so (RFC 9111 §4.1, §4.3.1).

use crate::support::{
    origin::{Asked, Gate, Origin, Step, answer, ok},
    story::{On, Story},
};

on_both_stores![
    section_4_3_1_what_others_got_is_asked_about_and_answers,
    section_4_3_1_the_newest_tags_are_sent,
    section_4_3_4_a_304_about_none_of_them_is_followed_by_another_question,
    an_answer_of_its_own_is_stored_beside_the_others,
    those_who_wait_share_one_question,
    what_is_for_one_user_is_never_asked_about,
    who_goes_alone_asks_about_nothing,
    a_rule_that_changed_asks_about_nothing,
    an_origin_that_confirms_what_nobody_stores_is_an_error,
];

/// The language that is asked for, without its region, is the tag of what is served.
fn tag(asked: &Asked) -> String {
    let language = asked.field("accept-language").unwrap_or("en");
    format!("\"{}\"", language.split('-').next().unwrap())
}

/// An origin that has one page for each language, and knows its tag.
fn by_language(asked: &Asked) -> Vec<Step> {
    let tag = tag(asked);
    let fields = format!("ETag: {tag}\r\nVary: Accept-Language\r\nX-Told: {}\r\n", asked.number);
    let tags = asked.field("if-none-match").unwrap_or_default();
    match tags.split(", ").any(|one| one == tag) {
        true => answer("304 Not Modified", &fields, ""),
        false => ok(&fields, &format!("{tag} {}", asked.number)),
    }
}

async fn languages(on: On) -> Story {
    Story::cached(on, Origin::start(by_language).await, "10s").await
}

const LANGUAGE: &str = "accept-language";

async fn section_4_3_1_what_others_got_is_asked_about_and_answers(on: On) {
    let story = languages(on).await;
    let with = async |language| story.get_with("/a", &[(LANGUAGE, language)]).await;
    assert_eq!(with("de").await.fine(), "fwd=uri-miss; stored");
    story.pass_millis(6500);
    let swiss = with("de-CH").await;
    assert_eq!(swiss.fine(), "fwd=vary-miss; fwd-status=304; stored");
    assert_eq!((swiss.body.as_str(), swiss.field("x-told")), ("\"de\" 1", "2"));
    assert_eq!(story.origin.last().field("if-none-match"), Some("\"de\""));
    let (german, swiss) = (with("de").await, with("de-CH").await);
    assert!(german.is_hit() && swiss.is_hit());
    assert_eq!((german.field("x-told"), german.field("age")), ("1", "6"), "the other one stays");
    assert_eq!((swiss.field("x-told"), swiss.field("age"), &*swiss.body), ("2", "0", "\"de\" 1"));
    // And lives by itself.
    story.pass_millis(4000);
    assert_eq!(with("de").await.fine(), "fwd=stale; fwd-status=304; stored");
    assert!(with("de-CH").await.is_hit());
    // A client that has it need not be sent it.
    let own = story.get_with("/a", &[(LANGUAGE, "de-AT"), ("if-none-match", "\"de\"")]).await;
    assert_eq!((own.status, own.says()), (304, "fwd=vary-miss; fwd-status=304; stored"));
    assert_eq!(story.origin.count(), 4);
}

async fn section_4_3_1_the_newest_tags_are_sent(on: On) {
    let story = languages(on).await;
    for letter in 'a'..='j' {
        story.get_with("/a", &[(LANGUAGE, &letter.to_string())]).await;
    }
    story.get_with("/a", &[(LANGUAGE, "z")]).await;
    let sent = "\"j\", \"i\", \"h\", \"g\", \"f\", \"e\", \"d\", \"c\"";
    assert_eq!(story.origin.last().field("if-none-match"), Some(sent));
    assert_eq!(story.origin.count(), 11);
}

async fn section_4_3_4_a_304_about_none_of_them_is_followed_by_another_question(on: On) {
    for told in
        ["", "ETag: \"other\"\r\n", "ETag: W/\"a\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"]
    {
        let origin = Origin::start(move |asked| match asked.field("if-none-match") {
            Some(_) => answer("304 Not Modified", told, ""),
            None => ok("ETag: \"a\"\r\nVary: Accept-Language\r\n", &format!("answer {}", asked.number)),
        });
        let story = Story::cached(on, origin.await, "10s").await;
        story.get_with("/a", &[(LANGUAGE, "de")]).await;
        let own = story.get_with("/a", &[(LANGUAGE, "fr")]).await;
        assert_eq!((own.fine(), own.body.as_str()), ("fwd=vary-miss; stored", "answer 3"), "{told}");
        let conditions: Vec<_> = story
            .origin
            .asked()
            .iter()
            .map(|asked| asked.field("if-none-match").map(str::to_owned))
            .collect();
        assert_eq!(conditions, [None, Some("\"a\"".to_owned()), None]);
        assert_eq!(story.get_with("/a", &[(LANGUAGE, "de")]).await.body, "answer 1");
        assert_eq!(story.get_with("/a", &[(LANGUAGE, "fr")]).await.body, "answer 3");
    }
}

async fn an_answer_of_its_own_is_stored_beside_the_others(on: On) {
    let story = languages(on).await;
    let with = async |language| story.get_with("/a", &[(LANGUAGE, language)]).await;
    with("de").await;
    let french = with("fr").await;
    assert_eq!((french.fine(), french.body.as_str()), ("fwd=vary-miss; stored", "\"fr\" 2"));
    assert_eq!(story.origin.last().field("if-none-match"), Some("\"de\""));
    assert_eq!(with("de").await.body, "\"de\" 1");
    assert_eq!(with("fr").await.body, "\"fr\" 2");
    assert_eq!(story.origin.count(), 2);
}

async fn those_who_wait_share_one_question(on: On) {
    let gate = Gate::shut();
    let passed = gate.clone();
    let origin = Origin::start(move |asked| {
        let wait = asked.field("if-none-match").map(|_| Step::Wait(passed.clone()));
        wait.into_iter().chain(by_language(asked)).collect()
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get_with("/a", &[(LANGUAGE, "de")]).await;
    let (mut one, mut other) = (story.browser().await, story.browser().await);
    let fields = [(LANGUAGE, "de-CH")];
    let both = async { tokio::join!(one.ask("GET /a", &fields), other.ask("GET /a", &fields)) };
    let asked = async {
        story.asked(2).await;
        gate.open();
    };
    let ((one, other), ()) = tokio::join!(both, asked);
    assert_eq!((one.body.as_str(), other.body.as_str()), ("\"de\" 1", "\"de\" 1"));
    assert_eq!(story.origin.count(), 2);
}

async fn what_is_for_one_user_is_never_asked_about(on: On) {
    // A tag of a version, which is no fault as long as nobody asks one user about another's page.
    let origin = || {
        Origin::start(|asked| match asked.field("if-none-match") {
            Some(_) => answer("304 Not Modified", "ETag: \"v1\"\r\n", ""),
            None => {
                let user =
                    ["cookie", "authorization", "x-tenant"].map(|name| asked.field(name).unwrap_or(""));
                ok("ETag: \"v1\"\r\nCache-Control: max-age=10\r\n", &format!("for {}", user.concat()))
            }
        })
    };
    for (name, key) in [
        ("cookie", "cookies: [session]"),
        ("authorization", "headers: [authorization]"),
        ("x-tenant", "headers: [x-tenant]"),
    ] {
        let story = Story::cached(on, origin().await, &format!("{{ ttl: 10s, key: {{ {key} }} }}")).await;
        for _ in 0..2 {
            for user in ["session=alice", "session=bob"] {
                let own = story.get_with("/a", &[(name, user)]).await;
                assert_eq!(own.body, format!("for {user}"), "{key}");
            }
        }
        assert_eq!(story.origin.count(), 2, "{key}");
        assert_eq!(story.origin.last().field("if-none-match"), None);
    }
}

async fn who_goes_alone_asks_about_nothing(on: On) {
    let story = languages(on).await;
    story.get_with("/a", &[(LANGUAGE, "de")]).await;
    for credentials in [("cookie", "session=1"), ("authorization", "Bearer me")] {
        let own = story.get_with("/a", &[(LANGUAGE, "de-CH"), credentials]).await;
        let number = story.origin.count();
        assert_eq!(own.body, format!("\"de\" {number}"));
        assert_eq!(story.origin.last().field("if-none-match"), None);
    }
}

async fn a_rule_that_changed_asks_about_nothing(on: On) {
    let story = languages(on).await;
    story.get_with("/a", &[(LANGUAGE, "de")]).await;
    story.edit("routes: [{ match: /**, cache: { ttl: 10s, set_cookie: strip } }]\n");
    let own = story.get_with("/a", &[(LANGUAGE, "de-CH")]).await;
    assert_eq!((own.fine(), own.body.as_str()), ("fwd=vary-miss; stored", "\"de\" 2"));
    assert_eq!(story.origin.last().field("if-none-match"), None);
}

async fn an_origin_that_confirms_what_nobody_stores_is_an_error(on: On) {
    let origin = Origin::start(|asked| match asked.number {
        1 => by_language(asked),
        _ => answer("304 Not Modified", "", ""),
    });
    let story = Story::cached(on, origin.await, "10s").await;
    story.get_with("/a", &[(LANGUAGE, "de")]).await;
    let failed = story.get_with("/a", &[(LANGUAGE, "fr")]).await;
    assert_eq!((failed.status, failed.field("proxy-status")), (502, "sidecache; error=http_protocol_error"));
    assert_eq!(story.origin.count(), 3, "once more, and no more");
}
