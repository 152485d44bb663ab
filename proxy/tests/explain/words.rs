//! Each word of `Cache-Status`, of the log and of the metrics.

use std::{sync::Arc, time::Duration};

use sidecache::{
    admit::HeadLimits,
    epoch::Mode,
    explain::Report,
    flight::{Flight, Phase, Role, Shared, Ticket},
    headers::Lines,
    key::{KeyPolicy, ResourceKey, VariantKey},
    limits::Limits,
    outcomes::{Told, resource},
    policy::{facts::ResponseFacts, freshness::ExchangeTimes},
    purge::PurgeRequest,
    spool::Spool,
    status::{Detail, Fwd, Outcome, Own},
    store::{Claim, Claimant, Store},
};

use super::{
    Fields, afterwards, explained, explained_by_the_app, foretold, is_said, judged, learnt, outcome,
    question, remembered,
};
use crate::support::{
    browser::request,
    origin::{Asked, Gate, Origin, Step, answer, chunk, chunked_head, last_chunk, ok, send},
    redis::eventually,
    story::{On, Story, everything},
};

const NONE: Fields<'static> = &[];
const COOKIE: Fields<'static> = &[("cookie", "session=1")];
const HONOUR: &str = "{ ttl: 10s, client_control: honour }";

/// In memory, of an app that answers with these fields.
async fn saying(fields: &'static str, cache: &str) -> Story {
    Story::cached(On::Memory, Origin::saying(fields).await, cache).await
}

async fn routes(yaml: &str) -> Story {
    Story::start(On::Memory, Origin::saying("").await, yaml).await
}

/// What the app answers is not stored for this reason.
async fn not_stored(fields: &'static str, cache: &str, detail: Detail) {
    judged(&saying(fields, cache).await, "GET /a", NONE, detail).await;
}

async fn with_status(status: &'static str, cache: &str, fields: Fields<'_>, detail: Detail) {
    let origin = Origin::start(move |_| answer(status, "", "no")).await;
    judged(&Story::cached(On::Memory, origin, cache).await, "GET /a", fields, detail).await;
}

/// One that answers well once, and then fails.
async fn failing(cache: &str) -> Story {
    let script = |asked: &Asked| match asked.number {
        1 => ok("", "good"),
        _ => answer("503 Service Unavailable", "", "bad"),
    };
    let story = Story::cached(On::Memory, Origin::start(script).await, cache).await;
    story.get("/a").await.fine();
    story.pass_millis(1500);
    story
}

/// One that has stored `/a`, for a second.
async fn stale(cache: &str) -> Story {
    let story = saying("", cache).await;
    story.get("/a").await.fine();
    story.pass_millis(1500);
    story
}

/// The key of `/a`, and the fingerprint of its rule.
fn key(story: &Story) -> (ResourceKey, u64) {
    let live = story.app.live();
    let limits = HeadLimits::of(&Limits::default());
    let request = question("GET /a", NONE, false).requests(&limits, &[]).unwrap().0;
    let head = &request.head;
    let rule = live.rules.find(&head.method, &head.target, &head.headers).unwrap();
    (resource(Some(rule), head), rule.fingerprint)
}

/// A flight for `/a` that the test leads, for these values of these fields.
fn lead(story: &Story, names: &[&'static str], value: &str) -> (Arc<Flight>, Ticket) {
    let (key, fingerprint) = key(story);
    match story.app.flights.join(&key, &variant(names, value), fingerprint, None, None) {
        Role::Leader(flight, ticket) => (flight, ticket),
        Role::Follower(_) | Role::Late => panic!("it is led already"),
    }
}

fn variant(names: &[&'static str], value: &str) -> VariantKey {
    let names: Vec<http::HeaderName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let headers = names.iter().map(|name| (name.clone(), value.parse().unwrap())).collect();
    VariantKey::new(&headers, &KeyPolicy::default(), &names)
}

/// A client that follows a flight.
async fn follower(story: &Story, fields: Fields<'_>) -> crate::support::browser::Browser {
    let before = story.app.flights.waiting();
    let mut browser = story.browser().await;
    browser.send(&request("GET /a", fields, "")).await;
    eventually("it waits", async || story.app.flights.waiting() > before).await;
    browser
}

/// An answer that is selected by another value of this field than clients have.
fn nominating(story: &Story, name: &'static str) -> Phase {
    let at = story.clock.now();
    Phase::Shared(Arc::new(Shared {
        lines: Lines::default(),
        hidden: Lines::default(),
        withheld: Lines::default(),
        renewed_by: None,
        unstored: None,
        facts: ResponseFacts::of(http::StatusCode::OK, &http::HeaderMap::new()),
        exchange: ExchangeTimes {
            request_time: at,
            response_time: at,
            lot: sidecache::policy::freshness::Lot::default(),
        },
        nominated: [name.parse().unwrap()].into(),
        variant: variant(&[name], "another"),
        tags: Box::default(),
        part: None,
        body: Arc::new(Spool::new(None)),
    }))
}

/// One who follows a flight that ends so.
async fn follows(detail: Detail, end: impl FnOnce(&Flight)) {
    let story = saying("", "10s").await;
    let (flight, _ticket) = lead(&story, &[], "");
    let mut browser = follower(&story, NONE).await;
    end(&flight);
    is_said(&browser.answer("GET /a").await, detail);
    remembered(&story, "GET /a", NONE, detail).await;
}

/// One whose answer is selected by other fields each time.
async fn reselects(detail: Detail) {
    let story = saying("", "10s").await;
    let fields: Fields<'_> = &[("accept", "1"), ("accept-language", "1")];
    let first = lead(&story, &[], "");
    let second = lead(&story, &["accept"], "1");
    let third = lead(&story, &["accept-language"], "1");
    let mut browser = follower(&story, fields).await;
    first.0.tell(nominating(&story, "accept"));
    second.0.tell(nominating(&story, "accept-language"));
    third.0.tell(nominating(&story, "user-agent"));
    is_said(&browser.answer("GET /a").await, detail);
    remembered(&story, "GET /a", fields, detail).await;
}

/// One whose flight has a body without an end.
async fn waits_too_long(detail: Detail) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |asked: &Asked| match asked.number {
        1 => vec![chunked_head(""), chunk("slow"), Step::Wait(door.clone()), last_chunk()],
        _ => ok("", "quick"),
    };
    let yaml = format!("timeouts: {{ first_byte: 400ms }}\n{}", everything("10s"));
    let story = Story::start(On::Memory, Origin::start(script).await, &yaml).await;
    let mut leader = story.browser().await;
    leader.send(&request("GET /a", NONE, "")).await;
    leader.head().await.unwrap();
    is_said(&story.browser().await.ask("GET /a", NONE).await, detail);
    remembered(&story, "GET /a", NONE, detail).await;
    gate.open();
    leader.bytes(9).await.unwrap();
}

/// One whose lease another has.
async fn without_a_lease(fields: Fields<'_>, detail: Detail) {
    let yaml = format!("timeouts: {{ first_byte: 400ms }}\n{}", everything("10s"));
    let story = Story::start(On::Redis, Origin::saying("").await, &yaml).await;
    let (key, only) = (key(&story).0, VariantKey::only());
    let claimed = story.app.store.claim(&key, &only, Claimant::Flight, Duration::from_secs(5)).await;
    let Ok(Claim::Granted(_lease)) = claimed else { panic!("{claimed:?}") };
    is_said(&story.browser().await.ask("GET /a", fields).await, detail);
    remembered(&story, "GET /a", fields, detail).await;
}

/// One that is purged while it is fetched.
async fn is_purged(detail: Detail) {
    let gate = Gate::shut();
    let door = gate.clone();
    let script = move |_: &Asked| vec![Step::Wait(door.clone()), ok("", "answer").remove(0)];
    let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
    let mut browser = story.browser().await;
    browser.send(&request("GET /a", NONE, "")).await;
    story.asked(1).await;
    let (urls, tags, rules) = (Vec::new(), Vec::new(), Vec::new());
    story.purge(PurgeRequest { urls, tags, rules, everything: true, mode: Mode::Hard, wait: true }).await;
    gate.open();
    is_said(&browser.answer("GET /a").await, detail);
    remembered(&story, "GET /a", NONE, detail).await;
}

async fn redis_is_down(detail: Detail) {
    let mut story = Story::cached(On::Redis, Origin::saying("").await, "10s").await;
    story.redis.as_mut().unwrap().kill();
    foretold(&story, "GET /a", NONE, detail).await;
    let origin = explained_by_the_app(&story, "GET /a", NONE).await.origin.unwrap();
    assert_eq!((origin.would_store, origin.detail.as_deref()), (false, Some("store-down")));
}

async fn redis_is_full(detail: Detail) {
    let story = Story::cached(On::Redis, Origin::saying("").await, "10s").await;
    story.redis.as_ref().unwrap().command(&["CONFIG", "SET", "maxmemory", "1"]);
    learnt(&story, "GET /a", NONE, detail).await;
}

/// Under another rule than what is stored was.
async fn edited() -> Story {
    let story = saying("", "10s").await;
    story.get("/a").await.fine();
    story.edit(&everything("{ ttl: 10s, set_cookie: strip }"));
    story
}

/// A test for each word; and the compiler sees to it that none is missing.
macro_rules! words {
    (|$detail:ident| $($name:ident: $word:ident => $made:expr,)+) => {
        mod made {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let $detail = Detail::$word;
                $made
            })+
        }

        /// Whether there is a test for it.
        fn is_made(detail: Detail) -> bool {
            match detail {
                $(Detail::$word => true,)+
            }
        }
    };
}

words! {
    |detail|
    no_rule: NoRule => foretold(&routes("routes: []").await, "GET /a", NONE, detail).await,
    rule_off: RuleOff => foretold(&saying("", "off").await, "GET /a", NONE, detail).await,
    ambiguous_target: AmbiguousTarget => foretold(&saying("", "10s").await, "GET /a//b", NONE, detail).await,
    request_body: RequestBody => {
        let story = saying("", "10s").await;
        let report = explained(&story, "GET /a", &[("content-length", "1")]).await;
        assert_eq!(report.decision.detail.as_deref(), Some(detail.as_str()));
        is_said(&story.post("GET /a", "x").await, detail);
        remembered(&story, "GET /a", NONE, detail).await;
    },
    upgrade: Upgrade => {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
        foretold(&saying("", "10s").await, "GET /a", &fields, detail).await;
    },
    hidden_fields: HiddenFields => foretold(&saying("", "10s").await, "GET /a", &[("connection", "x-a")], detail).await,
    event_stream: EventStream => not_stored("Content-Type: text/event-stream\r\n", "10s", detail).await,
    range: Range => {
        let script = |_: &Asked| answer("416 Range Not Satisfiable", "Content-Range: bytes */8\r\n", "");
        let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
        judged(&story, "GET /a", &[("range", "bytes=90-")], detail).await;
    },
    precondition: Precondition => foretold(&saying("", "10s").await, "GET /a", &[("if-match", "\"a\"")], detail).await,
    cookie: Cookie => foretold(&saying("", "10s").await, "GET /a", COOKIE, detail).await,
    authorization: Authorization => {
        foretold(&saying("", "10s").await, "GET /a", &[("authorization", "Basic x")], detail).await;
    },
    client_no_store: ClientNoStore => {
        foretold(&saying("", HONOUR).await, "GET /a", &[("cache-control", "no-store")], detail).await;
    },
    client_control: ClientControl => {
        let story = saying("", HONOUR).await;
        story.get("/a").await.fine();
        foretold(&story, "GET /a", &[("cache-control", "no-cache")], detail).await;
    },
    rule_changed: RuleChanged => foretold(&edited().await, "GET /a", NONE, detail).await,
    no_store: NoStore => not_stored("Cache-Control: no-store\r\n", "10s", detail).await,
    private: Private => not_stored("Cache-Control: private\r\n", "10s", detail).await,
    no_cache: NoCache => not_stored("Cache-Control: no-cache\r\n", "10s", detail).await,
    status_not_listed: StatusNotListed => with_status("404 Not Found", "10s", NONE, detail).await,
    odd_request: OddRequest => {
        let (long, cache) = ("x".repeat(2100), "{ ttl: 10s, status: { 400: 10s } }");
        with_status("400 Bad Request", cache, &[("x-a", &long)], detail).await;
    },
    content_type: ContentType => {
        not_stored("Content-Type: text/html\r\n", "{ ttl: 10s, content_type: [image/*] }", detail).await;
    },
    no_lifetime: NoLifetime => not_stored("", "origin", detail).await,
    not_fresh: NotFresh => not_stored("Cache-Control: max-age=0\r\n", "10s", detail).await,
    set_cookie: SetCookie => not_stored("Set-Cookie: session=s3cret\r\n", "10s", detail).await,
    vary_star: VaryStar => not_stored("Vary: *\r\n", "10s", detail).await,
    vary_too_long: VaryTooLong => {
        not_stored("Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n", "10s", detail).await;
    },
    too_many_tags: TooManyTags => {
        let long = format!("Cache-Tag: {}\r\n", "t".repeat(1025));
        let origin = Origin::start(move |_| ok(&long, "tagged")).await;
        judged(&Story::cached(On::Memory, origin, "10s").await, "GET /a", NONE, detail).await;
    },
    too_large: TooLarge => not_stored("", "{ ttl: 10s, max_body: 4B }", detail).await,
    no_length: NoLength => {
        let script = |_: &Asked| vec![send("HTTP/1.1 200 OK\r\n\r\nhello"), Step::Close];
        let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
        judged(&story, "GET /a", NONE, detail).await;
    },
    head: Head => {
        let story = saying("", "10s").await;
        foretold(&story, "HEAD /a", NONE, detail).await;
        let origin = explained_by_the_app(&story, "HEAD /a", NONE).await.origin.unwrap();
        assert_eq!(origin.detail.as_deref(), Some("head"));
    },
    other_variant: OtherVariant => reselects(detail).await,
    not_shareable: NotShareable => {
        follows(detail, |flight| flight.tell(Phase::Alone(Detail::NoStore))).await;
    },
    collapse_timeout: CollapseTimeout => waits_too_long(detail).await,
    collapse_failed: CollapseFailed => follows(detail, Flight::abandon).await,
    store_down: StoreDown => redis_is_down(detail).await,
    store_refused: StoreRefused => redis_is_full(detail).await,
    lease_held: LeaseHeld => without_a_lease(&[("range", "bytes=0-1")], detail).await,
    lease_timeout: LeaseTimeout => without_a_lease(NONE, detail).await,
    purged: Purged => is_purged(detail).await,
    shadow_hit: ShadowHit => {
        let story = saying("", "{ ttl: 10s, shadow: true }").await;
        story.get("/a").await.fine();
        story.stores(1).await;
        foretold(&story, "GET /a", NONE, detail).await;
    },
    stale_while_revalidate: StaleWhileRevalidate => {
        let story = stale("{ ttl: 1s, stale_while_revalidate: 1m }").await;
        foretold(&story, "GET /a", NONE, detail).await;
    },
    stale_if_error: StaleIfError => {
        let story = failing("{ ttl: 1s, stale_if_error: 1m }").await;
        is_said(&story.get("/a").await, detail);
        // Now that the app is known to fail.
        foretold(&story, "GET /a", NONE, detail).await;
    },
    stale_not_allowed: StaleNotAllowed => {
        learnt(&failing("1s").await, "GET /a", NONE, detail).await;
    },
    max_stale: MaxStale => {
        let story = stale("{ ttl: 1s, client_control: honour }").await;
        foretold(&story, "GET /a", &[("cache-control", "max-stale=60")], detail).await;
    },
}

#[test]
fn every_detail_can_be_produced_and_is_named_with_what_to_do() {
    assert!(Detail::ALL.iter().all(|detail| is_made(*detail)));
}

/// What would be done now is what then is: the report of before, by an answer that has `Cache-Status`.
async fn comes_true(story: &Story, line: &str, fields: Fields<'_>, word: &str) {
    let report = explained(story, line, fields).await;
    assert_eq!(outcome(&story.ask(line, fields).await), word);
    named(&report, word);
}

fn named(report: &Report, word: &str) {
    let told = &report.decision;
    assert_eq!(told.outcome, word, "{told:?}");
    assert!([&told.summary, &told.because, &told.action].iter().all(|text| !text.is_empty()), "{told:?}");
}

/// The last one had this outcome.
async fn was(story: &Story, own: Own) {
    let word = Outcome::Own(own).word();
    let last = afterwards(story, "GET /a", NONE, word).await.last.unwrap().verdict;
    assert!(last.outcome == word && !last.action.is_empty(), "{last:?}");
}

async fn forwards(fwd: Fwd) {
    let (story, line, fields): (_, _, Fields<'_>) = match fwd {
        Fwd::Bypass => (saying("", "off").await, "GET /a", NONE),
        Fwd::Method => (saying("", "10s").await, "DELETE /a", NONE),
        Fwd::UriMiss => (saying("", "10s").await, "GET /a", NONE),
        Fwd::VaryMiss => {
            let story = saying("Vary: accept\r\n", "10s").await;
            story.get_with("/a", &[("accept", "1")]).await.fine();
            (story, "GET /a", &[("accept", "2")])
        }
        Fwd::Miss => (edited().await, "GET /a", NONE),
        Fwd::Request => (saying("", "10s").await, "GET /a", &[("if-match", "\"a\"")]),
        Fwd::Stale => (stale("1s").await, "GET /a", NONE),
        Fwd::Partial => {
            let fields = "ETag: \"x\"\r\nContent-Range: bytes 0-1/10\r\n";
            let script = move |_: &Asked| answer("206 Partial Content", fields, "01");
            let story = Story::cached(On::Memory, Origin::start(script).await, "10s").await;
            assert_eq!(story.get_with("/a", &[("range", "bytes=0-1")]).await.status, 206);
            story.stores(1).await;
            (story, "GET /a", &[("range", "bytes=5-6")])
        }
    };
    comes_true(&story, line, fields, fwd.as_str()).await;
}

/// What the proxy answers itself is told before, and then has this status.
async fn answered(story: &Story, line: &str, fields: Fields<'_>, own: Own, status: u16) {
    named(&explained(story, line, fields).await, Outcome::Own(own).word());
    let answer = story.ask(line, fields).await;
    assert_eq!((answer.status, answer.field("cache-status")), (status, ""));
}

/// One whose client leaves while the app thinks.
async fn left(own: Own) {
    let story = Story::cached(On::Memory, Origin::start(|_| vec![Step::Hang]).await, "10s").await;
    let mut browser = story.browser().await;
    browser.send(&request("GET /a", NONE, "")).await;
    story.asked(1).await;
    drop(browser);
    was(&story, own).await;
}

/// A defect comes by no traffic that anybody knows of.
async fn defective(own: Own) {
    let story = saying("", "10s").await;
    let limits = HeadLimits::of(&Limits::default());
    let request = question("GET /a", NONE, false).requests(&limits, &[]).unwrap().0;
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    let told = Told { outcome: Outcome::Own(own), status, at: story.clock.now() };
    story.app.outcomes.note(&story.app.live().rules, &request.head, told);
    was(&story, own).await;
}

async fn ends(own: Own) {
    match own {
        Own::Answered => {
            answered(&saying("", "10s").await, "OPTIONS /a", &[("max-forwards", "0")], own, 200).await;
        }
        Own::Refused => {
            let story = routes(&format!("hosts: [other]\n{}", everything("10s"))).await;
            answered(&story, "GET /a", NONE, own, 421).await;
        }
        Own::NotCached => {
            let fields = [("cache-control", "only-if-cached")];
            answered(&saying("", HONOUR).await, "GET /a", &fields, own, 504).await;
        }
        Own::OriginFailed => {
            let story = Story::cached(On::Memory, Origin::start(|_| vec![Step::Reset]).await, "10s").await;
            assert_eq!(story.get("/a").await.status, 502);
            was(&story, own).await;
            let now = afterwards(&story, "GET /a", NONE, "origin-failed").await.decision;
            let told =
                now.summary.contains("got no answer from it") && now.action.contains("look at the app");
            assert!(told, "{now:?}");
        }
        Own::ClientGone => left(own).await,
        Own::Failed => defective(own).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_can_be_produced_and_is_named_with_what_to_do() {
    let story = saying("", "10s").await;
    story.get("/a").await.fine();
    comes_true(&story, "GET /a", NONE, "hit").await;
    for fwd in Fwd::ALL {
        Box::pin(forwards(*fwd)).await;
    }
    for own in Own::ALL {
        Box::pin(ends(*own)).await;
    }
}
