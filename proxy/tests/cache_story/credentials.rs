//! What requests of one user may share with others.

use crate::support::{
    origin::Origin,
    story::{On, Story},
};

on_both_stores![
    a_cookie_goes_past_the_store,
    public_is_for_those_with_cookies_too,
    under_cache_origin_a_cookie_is_no_obstacle,
    section_3_5_of_rfc_9111,
    ignored_credentials_do_not_reach_the_origin,
    a_keyed_cookie_counts_as_handled,
    a_keyed_authorization_selects,
];

const COOKIE: [(&str, &str); 1] = [("cookie", "session=1")];
const AUTHORIZATION: [(&str, &str); 1] = [("authorization", "Bearer me")];

async fn a_cookie_goes_past_the_store(on: On) {
    let story = Story::cached(on, Origin::saying("").await, "10s").await;
    for cold in [true, false] {
        for (fields, detail) in [(COOKIE, "cookie"), (AUTHORIZATION, "authorization")] {
            let own = story.get_with("/a", &fields).await;
            assert_eq!(own.fine(), format!("fwd=bypass; detail={detail}"));
            assert_eq!(story.origin.last().field(fields[0].0), Some(fields[0].1));
            let head = story.ask("HEAD /a", &fields).await;
            assert_eq!(head.fine(), format!("fwd=bypass; detail={detail}"));
        }
        assert_eq!(story.get("/a").await.fine().starts_with("hit"), !cold);
    }
}

async fn public_is_for_those_with_cookies_too(on: On) {
    let story = Story::cached(on, Origin::saying("Cache-Control: public\r\n").await, "10s").await;
    assert_eq!(story.get_with("/a", &COOKIE).await.fine(), "fwd=bypass; stored; detail=cookie");
    story.stores(1).await;
    assert!(story.get_with("/a", &COOKIE).await.is_hit());
    assert!(story.get("/a").await.is_hit());
    assert!(story.get_with("/a", &AUTHORIZATION).await.is_hit());
    assert_eq!(story.origin.count(), 1);
}

async fn under_cache_origin_a_cookie_is_no_obstacle(on: On) {
    let story = Story::cached(on, Origin::saying("Cache-Control: max-age=5\r\n").await, "origin").await;
    assert_eq!(story.get_with("/a", &COOKIE).await.fine(), "fwd=uri-miss; stored");
    assert!(story.get("/a").await.is_hit());
    assert!(story.get_with("/a", &[("cookie", "session=2")]).await.is_hit());
    assert_eq!(story.origin.count(), 1);
}

async fn section_3_5_of_rfc_9111(on: On) {
    for (fields, shared) in [
        ("Cache-Control: max-age=5\r\n", false),
        ("Cache-Control: max-age=5, public\r\n", true),
        ("Cache-Control: max-age=5, must-revalidate\r\n", true),
        ("Cache-Control: s-maxage=5\r\n", true),
    ] {
        let story = Story::cached(on, Origin::saying(fields).await, "origin").await;
        let stored = if shared { "; stored" } else { "" };
        let first = story.get_with("/a", &AUTHORIZATION).await;
        assert_eq!(first.fine(), format!("fwd=bypass{stored}; detail=authorization"), "{fields}");
        // What goes alone is stored behind the answer's back.
        story.stores(usize::from(shared)).await;
        assert_eq!(story.get("/a").await.is_hit(), shared, "{fields}");
        assert_eq!(story.get_with("/a", &AUTHORIZATION).await.is_hit(), shared, "{fields}");
    }
}

async fn ignored_credentials_do_not_reach_the_origin(on: On) {
    let cache = "{ ttl: 10s, credentials: ignore, key: { cookies: [currency] } }";
    let story = Story::cached(on, Origin::saying("").await, cache).await;
    let fields = [("cookie", "session=1; currency=eur; x=y"), AUTHORIZATION[0]];
    assert_eq!(story.get_with("/a", &fields).await.fine(), "fwd=uri-miss; stored");
    assert_eq!(story.origin.last().field("authorization"), None);
    assert_eq!(story.origin.last().field("cookie"), Some("currency=eur"));
    assert!(story.get_with("/a", &[("cookie", "currency=eur")]).await.is_hit());
    assert_eq!(story.get("/a").await.fine(), "fwd=vary-miss; stored");
    assert_eq!(story.origin.last().field("cookie"), None);
    // What is not answered from the store keeps them.
    story.post("POST /b", "x").await;
    let mut browser = story.browser().await;
    browser.ask("DELETE /b", &fields).await.fine();
    assert_eq!(story.origin.last().field("cookie"), Some(fields[0].1));
}

async fn a_keyed_cookie_counts_as_handled(on: On) {
    let story =
        Story::cached(on, Origin::saying("").await, "{ ttl: 10s, key: { cookies: [currency] } }").await;
    let with = async |cookie| story.get_with("/a", &[("cookie", cookie)]).await.fine().to_owned();
    assert_eq!(with("currency=eur").await, "fwd=uri-miss; stored");
    assert_eq!(with("currency=usd").await, "fwd=vary-miss; stored");
    assert!(with("currency=eur").await.starts_with("hit"));
    assert!(with(" currency=usd ").await.starts_with("hit"));
    assert_eq!(with("currency=eur; other=1").await, "fwd=bypass; detail=cookie");
    // Two of them are neither of the two.
    assert_eq!(with("currency=eur; currency=usd").await, "fwd=vary-miss; stored");
}

async fn a_keyed_authorization_selects(on: On) {
    let cache = "{ ttl: 10s, key: { headers: [authorization] } }";
    let story = Story::cached(on, Origin::saying("").await, cache).await;
    let with = async |value| story.get_with("/a", &[("authorization", value)]).await.fine().to_owned();
    assert_eq!(with("Bearer me").await, "fwd=uri-miss; stored");
    assert_eq!(with("Bearer you").await, "fwd=vary-miss; stored");
    assert!(with("Bearer me").await.starts_with("hit"));
    assert_eq!(story.origin.asked()[0].field("authorization"), Some("Bearer me"));
}
