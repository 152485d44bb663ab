//! Files as people write them: the broken ones with the exact message each must give, the good
//! ones with what was understood.
//!
//! `UPDATE_EXPECTED=1 cargo test --test config_errors` writes the texts anew, to be read before
//! they are committed.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end here"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use sidecache::{config::Config, policy::rule::CacheRule};

fn env(name: &str) -> Option<String> {
    match name {
        "BAD_TTL" => Some("soon".to_owned()),
        "REDIS_URL" => Some("redis://:hunter2@redis host:6379".to_owned()),
        _ => None,
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

/// Compares with `NAME.txt` beside the file; gives what differs.
fn differs(path: &Path, actual: &str) -> Option<String> {
    let expected_path = path.with_extension("txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected_path, actual).unwrap();
    }
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    let name = path.display();
    (expected != actual).then(|| format!("--- {name}: expected\n{expected}\n--- {name}: actual\n{actual}\n"))
}

#[test]
fn each_broken_file_gives_its_message() {
    let files = files("broken");
    assert!(files.len() >= 30, "{} files", files.len());
    let different: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let message = match Config::parse(&text, name, &env) {
                Ok(_) => "no error\n".to_owned(),
                Err(errors) => format!("{errors}\n"),
            };
            assert!(!message.contains("hunter2"), "{name} shows a password: {message}");
            assert_ne!(message, "no error\n", "{name}");
            differs(path, &message)
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn each_good_file_is_understood() {
    let different: Vec<String> = files("good")
        .iter()
        .filter_map(|path| {
            let config = Config::load(path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
            differs(path, &config.describe().to_string())
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_demo_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.yaml");
    let config = Config::load(&path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let cached: Vec<_> = config.rules.iter().map(|rule| (&*rule.name, rule.cache.is_some())).collect();
    assert_eq!(cached, [("/cached_products", true), ("/products", false)]);
    assert_eq!(config.store.redis, None);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| Config::load(&folder.path().join(name), &env).unwrap_err().to_string();
    assert!(load("none.yaml").ends_with("none.yaml: there is no such file: --config names another"));
    fs::write(folder.path().join("latin.yaml"), b"listen: \xe9").unwrap();
    assert!(load("latin.yaml").contains("is not UTF-8"));
    fs::write(folder.path().join("huge.yaml"), "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(load("huge.yaml").ends_with("huge.yaml: is larger than 1 MiB"));
}

/// The rules and limits of a file with these lines.
fn parse(lines: &str) -> Config {
    let text = format!("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\n{lines}\n");
    Config::parse(&text, "c.yaml", &|name| (name == "N").then(|| "64".to_owned()))
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn cache(text: &str) -> Option<CacheRule> {
    let config = parse(&format!("routes: [{{ match: /a, cache: {text} }}]"));
    let rule = config.rules.iter().next().unwrap();
    assert_eq!(rule.fingerprint, rule.cache.as_deref().map_or(0, |cache| cache.fingerprint(&rule.name)));
    rule.cache.as_deref().cloned()
}

#[test]
fn the_forms_of_cache() {
    for off in ["off", "false", "OFF", "\"off\"", "\"${CACHE:-off}\"", "\"${CACHE:-false}\""] {
        assert_eq!(cache(off), None, "{off}");
    }
    let five_minutes = Some(CacheRule::new(Some(Duration::from_secs(300))));
    for form in ["300s", "5m", "{ ttl: 300s }", "{ ttl: \"${TTL:-300s}\", override: \"${O:-false}\" }"] {
        assert_eq!(cache(form), five_minutes, "{form}");
    }
    for form in ["origin", "{}"] {
        assert_eq!(cache(form), Some(CacheRule::new(None)), "{form}");
    }
}

#[test]
fn a_200_in_status_is_the_ttl_of_200() {
    let rule = cache("{ ttl: 300s, status: { 200: 10s, 404: 1s } }").unwrap();
    assert_eq!(rule.ttl, Some(Duration::from_secs(10)));
    let statuses: Vec<_> =
        rule.status.iter().map(|(status, time)| (status.as_u16(), time.as_secs())).collect();
    assert_eq!(statuses, [(200, 10), (404, 1)]);
    assert_eq!(cache("{ status: { 404: 1s } }").unwrap().ttl, None);
}

#[test]
fn variables_give_typed_values_and_never_structure() {
    let config = parse(
        "routes: []\nlimits: { upstream_connections: \"${N:-1}\", upstream_queue: \"${QUEUE:-7}\" }\n\
         timeouts: { idle: \"${N}s\" }\nadmin: ${ADMIN:-}\nstore: { redis: \"${REDIS:-}\" }",
    );
    assert_eq!((config.limits.upstream_connections, config.limits.upstream_queue), (64, 7));
    assert_eq!(config.timeouts.idle, Duration::from_secs(64));
    assert_eq!((config.admin, config.store.redis), (None, None));
    let text = "listen: 127.0.0.1:0\nupstream: http://a\nroutes: [{ match: /a, cache: '${X}' }]";
    let errors = Config::parse(text, "c.yaml", &|_| Some("{ ttl: 5s }".to_owned())).unwrap_err();
    assert!(errors.to_string().contains("`{ ttl: 5s }` is not known here"), "{errors}");
}

#[test]
fn every_rule_has_the_targeted_fields() {
    let default = CacheRule::new(None).targeted;
    assert_eq!(*default, ["sidecache-cache-control", "cdn-cache-control"]);
    for (line, wanted) in [
        ("", &default[..]),
        ("targeted_cache_control: []", &[]),
        ("targeted_cache_control: CDN-Cache-Control", &default[1..]),
    ] {
        let config =
            parse(&format!("{line}\nroutes: [{{ match: /a, cache: 1m }}, {{ match: /b, cache: origin }}]"));
        let rules: Vec<_> =
            config.rules.iter().map(|rule| rule.cache.clone().unwrap().targeted.clone()).collect();
        assert_eq!(rules, [wanted, wanted].map(Arc::from), "{line}");
        assert_eq!(&*config.targeted_cache_control, wanted, "{line}");
    }
}

#[test]
fn tags_and_what_purges_them() {
    let rule = cache("{ ttl: 60s, tags: [a, B-1], strip_tags: true }").unwrap();
    assert_eq!(rule.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "B-1"]);
    assert!(rule.strip_tags);
    // What is stored keeps the tags that it has, and clients get what the rule of today lets through.
    assert_eq!(rule.fingerprint(""), cache("60s").unwrap().fingerprint(""));
    assert_eq!(cache("{ ttl: 60s, tags: [], strip_tags: false }"), cache("60s"));
    let rules = "routes: [{ match: /list, name: list, cache: 60s }]";
    assert_eq!(parse(rules).purge_on, []);
    let config = parse(&format!(
        "{rules}\npurge_on: [{{ match: /a/*, tags: a, rules: list }}, \
         {{ match: /b, methods: POST, host: A.test, tags: [b], soft: true }}]"
    ));
    // What is switched off in a hurry keeps its name.
    for switched_off in ["routes: []", "routes: [{ match: /list, name: list, cache: off }]"] {
        let config = parse(&format!("{switched_off}\npurge_on: [{{ match: /a, rules: [list] }}]"));
        assert_eq!(*config.purge_on[0].rules, [Arc::from("list")], "{switched_off}");
    }
    let pattern = |text| sidecache::routes::Pattern::parse(text).unwrap();
    let (first, second) = (&config.purge_on[0], &config.purge_on[1]);
    assert_eq!((&first.pattern, &first.methods, &first.host), (&pattern("/a/*"), &None, &None));
    assert_eq!((&*first.tags, &*first.rules, first.soft), (&["a".into()][..], &["list".into()][..], false));
    assert_eq!((&second.pattern, second.host.as_deref()), (&pattern("/b"), Some("a.test")));
    assert_eq!(second.methods, Some(vec![http::Method::POST]));
    assert_eq!((&*second.tags, second.rules.len(), second.soft), (&["b".into()][..], 0, true));
}

#[test]
fn default_names_hold_the_narrowing_but_no_value_of_a_header() {
    let config = parse(
        "routes:\n- { match: /a, methods: [GET, HEAD], host: A.test, headers: { X-Key: secret }, cache: off }\n\
         - { match: /a, cache: 1m }",
    );
    let names: Vec<&str> = config.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["GET,HEAD a.test/a x-key", "/a"]);
    assert!(!config.describe().to_string().contains("secret"));
}

const WITH_PASSWORD: &str = "\
listen: 127.0.0.1:8080
upstream: http://127.0.0.1:8000
store:
  redis: redis://app:hunter2@redis.internal:6379/0
  prefix: shop
routes:
  - match: /products/*
    cache: { ttl: 300s, status: { 404: 10s } }
";

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever letter is lost, doubled or replaced in a file: an answer, no panic, no password.
    #[test]
    fn a_slip_of_the_keyboard_never_shows_a_password(
        place in 0..WITH_PASSWORD.len(),
        typed in prop_oneof!["", "[ -~\n\t]", "\\PC{1,4}"],
        replaced in 0usize..3,
    ) {
        let end = (place + replaced).min(WITH_PASSWORD.len());
        let text = format!("{}{typed}{}", &WITH_PASSWORD[..place], &WITH_PASSWORD[end..]);
        if let Err(errors) = Config::parse(&text, "config.yaml", &env) {
            let shown = errors.to_string();
            prop_assert!(shown.starts_with("config.yaml:"), "{}", shown);
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "([ -~\n]|(  )?- |: |\n|match|cache|\\$\\{|\\PC){0,60}") {
        let _ = Config::parse(&text, "config.yaml", &env);
    }
}
