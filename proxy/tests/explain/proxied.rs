//! Behind a trusted proxy a URL does not say all: what `/resources` names is found again, and what is stored is.

use serde_json::{Value, json};
use sidecache::explain;

use super::{explained, question};
use crate::support::{
    browser::Browser,
    origin::Origin,
    redis::eventually,
    spawned::Spawned,
    story::{On, Story},
};

const TRUSTING: &str = "trusted_proxies: [127.0.0.1]\nroutes: [{ match: /**, cache: 1m }]\n";

#[tokio::test]
async fn what_is_stored_is_explained_however_the_proxy_says_how_it_was_asked() {
    let story = Story::start(On::Memory, Origin::saying("").await, TRUSTING).await;
    for (path, fields) in [
        ("/http", &[("x-forwarded-proto", "http")][..]),
        ("/none", &[]),
        ("/wss", &[("x-forwarded-proto", "wss")]),
    ] {
        story.get_with(path, fields).await.fine();
    }
    for (path, said) in [("/http", Some("http")), ("/none", None), ("/wss", Some("wss"))] {
        let fields = [("x-forwarded-proto", "wss")];
        let asked = if path == "/wss" { &fields[..] } else { &[] };
        let report = explained(&story, &format!("GET {path}"), asked).await;
        assert_eq!(report.decision.outcome, "hit", "{path}");
        let headers = report.key.unwrap().headers;
        assert_eq!(headers, said.map(|said| ("x-forwarded-proto".into(), said.into())).as_slice());
    }
    let unknown = explained(&story, "GET /unknown", &[]).await;
    assert_eq!(unknown.decision.outcome, "uri-miss");
    assert_eq!(unknown.key.unwrap().headers.len(), 1, "the likeliest");
    let file = "listen: 127.0.0.1:0\nupstream: http://a\nroutes: [{ match: /a, cache: 1m }]\n";
    let config = sidecache::config::Config::parse(file, "config.yaml", &|_| None).unwrap();
    let untrusted = explain::on_paper(&config, &question("GET /a", &[("x-forwarded-proto", "https")], false));
    let key = untrusted.key.unwrap();
    assert_eq!((key.resource.as_str(), key.headers.len()), ("http://shop/a", 0));
}

#[tokio::test]
async fn who_leaves_out_the_host_that_a_proxy_was_asked_for_is_told_of_it() {
    let story = Story::start(On::Memory, Origin::saying("").await, TRUSTING).await;
    let forwarded = [("host", "shop.internal"), ("x-forwarded-host", "shop.example")];
    story.get_with("/a", &forwarded).await.fine();
    for host in ["shop.internal", "shop.example", "localhost:8000"] {
        let told = async || explained(&story, "GET /a", &[("host", host)]).await.elsewhere;
        eventually("it is said", async || {
            told().await == ["shop.internal and X-Forwarded-Host shop.example"]
        })
        .await;
    }
    let report = explained(&story, "GET /a", &forwarded).await;
    assert_eq!((report.decision.outcome.as_str(), report.elsewhere.len()), ("hit", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_resources_names_is_what_is_explained() {
    let origin = Origin::saying("").await;
    let sidecar = Spawned::start(&format!("upstream: http://{}\n{TRUSTING}", origin.address)).await;
    let asked = [
        &[("x-forwarded-proto", "https")][..],
        &[("x-forwarded-proto", "http"), ("x-forwarded-host", "front")],
        &[],
    ];
    let mut browser = Browser::connect(sidecar.address).await;
    for fields in asked {
        browser.ask("GET /a", fields).await.fine();
        assert!(browser.ask("GET /a", fields).await.is_hit());
    }
    let told =
        |answer: &str| -> Value { serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap() };
    let hottest = || sidecar.admin("/resources")["hottest"].as_array().unwrap().clone();
    let all = || hottest().iter().filter(|hot| hot["hits"] == 1).count() == asked.len();
    eventually("all are noted", async || all()).await;
    let mut urls = Vec::new();
    for hot in hottest() {
        let question = json!({ "url": hot["url"], "headers": hot["headers"] });
        let report = told(&sidecar.admin_post("/explain", &question.to_string()));
        assert_eq!(report["decision"]["outcome"], "hit", "{hot}");
        assert_eq!(report["key"]["resource"], hot["url"]);
        urls.push(hot["url"].as_str().unwrap().to_owned());
    }
    urls.sort();
    assert!(urls[0].starts_with("http://") && urls[2].starts_with("https://"), "{urls:?}");
    let url = json!({ "url": urls[2] });
    assert_eq!(told(&sidecar.admin_post("/explain", &url.to_string()))["decision"]["outcome"], "hit");
}
