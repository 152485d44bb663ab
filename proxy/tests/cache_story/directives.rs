//! What the app's own fields say of storing, where it takes more than one of them to tell.

use std::time::{Duration, SystemTime};

use crate::support::{
    browser::Answer,
    origin::{Origin, ok},
    story::{On, Story},
};

on_both_stores![
    a_targeted_field_governs_alone,
    a_targeted_field_that_is_malformed_is_as_if_it_were_not_there,
    only_our_own_targeted_field_stays_here,
    what_is_stored_keeps_its_targeted_fields,
    fields_that_a_directive_names_reach_only_who_asked_first,
    a_directive_that_names_what_a_response_needs_is_for_all_of_it,
    expires_counts_from_the_receipt_where_the_date_is_no_date,
    a_date_that_is_no_date_passes_where_nothing_is_stored,
];

/// What two requests get of an answer with these fields, under `cache: origin`.
async fn twice(on: On, fields: &str) -> (Story, [Answer; 2]) {
    let fields = fields.to_owned();
    let origin = Origin::start(move |asked| ok(&fields, &format!("answer {}", asked.number))).await;
    let story = Story::cached(on, origin, "origin").await;
    let answers = [story.get("/a").await, story.get("/a").await];
    (story, answers)
}

/// Whether it is a hit with so many seconds left, or one less: a `Date` has no fractions.
fn has_left(answer: &Answer, seconds: u64) -> bool {
    let left = answer.fine().strip_prefix("hit; ttl=").and_then(|left| left.parse::<u64>().ok());
    left.is_some_and(|left| left == seconds || left + 1 == seconds)
}

async fn a_targeted_field_governs_alone(on: On) {
    for (fields, ttl) in [
        ("CDN-Cache-Control: max-age=10000\r\nCache-Control: no-store\r\n", 10_000),
        ("CDN-Cache-Control: max-age=60\r\nExpires: 0\r\n", 60),
        ("CDN-Cache-Control: max-age=60\r\nSidecache-Cache-Control: max-age=9\r\n", 9),
        ("Sidecache-Cache-Control: max-age=60\r\nPragma: no-cache\r\nCDN-Cache-Control: private\r\n", 60),
    ] {
        let (_story, [_, second]) = twice(on, fields).await;
        assert!(has_left(&second, ttl), "{fields}: {second:?}");
    }
    for (fields, cause) in [
        ("CDN-Cache-Control: private\r\nCache-Control: max-age=60\r\n", "private"),
        ("CDN-Cache-Control: no-store\r\nCache-Control: max-age=60\r\n", "no-store"),
        ("CDN-Cache-Control: none\r\nCache-Control: max-age=60\r\n", "no-lifetime"),
    ] {
        let (_story, [first, _]) = twice(on, fields).await;
        assert_eq!(first.fine(), format!("fwd=uri-miss; detail={cause}"), "{fields}");
    }
}

async fn a_targeted_field_that_is_malformed_is_as_if_it_were_not_there(on: On) {
    for field in ["max-age=10000, &&&&&", "MaX-aGe=10000", ""] {
        let fields = format!("CDN-Cache-Control: {field}\r\nCache-Control: no-store\r\n");
        let (_story, [first, _]) = twice(on, &fields).await;
        assert_eq!(first.fine(), "fwd=uri-miss; detail=no-store", "{field}");
    }
    let wrong_type = "CDN-Cache-Control: max-age=\"10000\"\r\nCache-Control: no-store\r\n";
    let (_story, [_, second]) = twice(on, wrong_type).await;
    assert!(!second.is_hit());
}

async fn only_our_own_targeted_field_stays_here(on: On) {
    let fields = "Sidecache-Cache-Control: max-age=60\r\nCDN-Cache-Control: max-age=9\r\n";
    let (_story, answers) = twice(on, fields).await;
    for answer in answers {
        assert_eq!(answer.field("cdn-cache-control"), "max-age=9");
        assert!(answer.all("sidecache-cache-control").is_empty());
    }
}

async fn what_is_stored_keeps_its_targeted_fields(on: On) {
    let fields = "Sidecache-Cache-Control: max-age=60\r\nCache-Control: max-age=5\r\n";
    let (story, _) = twice(on, fields).await;
    story.pass_millis(30_000);
    assert!(has_left(&story.get("/a").await, 30));
    assert_eq!(story.origin.count(), 1);
}

async fn fields_that_a_directive_names_reach_only_who_asked_first(on: On) {
    let fields = "Cache-Control: max-age=60, no-cache=\"X-Token\", private=\"x-user, x-none\"\r\n\
        X-Token: 1\r\nX-User: 2\r\nX-All: 3\r\n";
    let (_story, [first, second]) = twice(on, fields).await;
    assert_eq!((first.field("x-token"), first.field("x-user"), first.field("x-all")), ("1", "2", "3"));
    assert!(second.is_hit());
    assert_eq!((second.field("x-token"), second.field("x-user"), second.field("x-all")), ("", "", "3"));
}

async fn a_directive_that_names_what_a_response_needs_is_for_all_of_it(on: On) {
    let fields = "Cache-Control: max-age=60, private=\"content-type\"\r\nContent-Type: text/plain\r\n";
    let (_story, [first, _]) = twice(on, fields).await;
    assert_eq!(first.fine(), "fwd=uri-miss; detail=private");
}

async fn expires_counts_from_the_receipt_where_the_date_is_no_date(on: On) {
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    for date in ["", "0", "Sun, 06 Nov 1994 08:49:37 PST"] {
        let (_story, [first, second]) = twice(on, &format!("Expires: {later}\r\nDate: {date}\r\n")).await;
        assert!(second.is_hit(), "{second:?}");
        for answer in [first, second] {
            assert!(httpdate::parse_http_date(answer.field("date")).is_ok(), "{answer:?}");
        }
    }
}

async fn a_date_that_is_no_date_passes_where_nothing_is_stored(on: On) {
    let (_story, answers) = twice(on, "Cache-Control: no-store\r\nDate: yesterday\r\n").await;
    for answer in answers {
        assert_eq!(answer.field("date"), "yesterday");
    }
}
