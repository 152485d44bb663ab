//! The schema, held against the reader: on the files of the repository, and key by key on a heap of values.
//!
//! `UPDATE_EXPECTED=1 cargo test -p sidecache --lib config::schema` writes anew what the schema lets through.

#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test may end here")]

use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::Validator;
use serde_json::{Value, json};
use serde_yaml::{DuplicateKeyPolicy, from_str_with_options, options};

use super::super::{
    Config, KEYS, StoreConfig,
    keys::{Absent, Key, Keys},
    reference::maps,
};
use super::schema;
use crate::{
    limits::{Limits, Timeouts},
    policy::rule::CacheRule,
};

/// Texts that the schema lets through and the reader does not, with its first word on each.
const LET_THROUGH: &str = "tests/config/let_through_by_the_schema.txt";

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).unwrap()
}

/// As an editor reads it: by the core schema of YAML 1.2, in which `off` is a text. None: it is no YAML.
fn as_editors_read_it(text: &str) -> Option<Value> {
    let options = options! { strict_booleans: true, duplicate_keys: DuplicateKeyPolicy::LastWins };
    from_str_with_options(text, options).ok()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(top().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|of| of == extension));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<_> = files.map(|path| (name(&path), read(&path))).collect();
    files.sort();
    files
}

/// What the runners of the repository give.
fn environment(name: &str) -> Option<String> {
    match name {
        "ADMIN" => Some("127.0.0.1:0".to_owned()),
        "UPSTREAM" => Some("http://127.0.0.1:1".to_owned()),
        _ => None,
    }
}

/// What the reader says first, if it refuses.
fn refusal(text: &str) -> Option<String> {
    let errors = Config::parse(text, "c", &environment).err()?.to_string();
    let line = errors.lines().next().unwrap();
    Some(line.splitn(4, ':').last().unwrap().trim().to_owned())
}

#[test]
fn what_stands_in_the_repository_is_accepted() {
    let mut texts = files("proxy/tests/config/good", "yaml");
    for name in ["config.yaml", "conformance/config.yaml"] {
        texts.push((name.to_owned(), read(&top().join(name))));
    }
    let documents =
        files("docs", "md").into_iter().chain([("README.md".to_owned(), read(&top().join("README.md")))]);
    for (name, document) in documents {
        let blocks = document.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let ours = blocks.filter(|block| !block.contains("services:") && !block.contains("apiVersion:"));
        texts.extend(ours.enumerate().map(|(place, block)| (format!("{name}, {place}"), whole(block))));
    }
    assert!(texts.len() > 15, "{}", texts.len());
    let validator = validator();
    for (name, text) in texts {
        assert_eq!(refusal(&text), None, "{name}");
        let errors: Vec<_> =
            validator.iter_errors(&as_editors_read_it(&text).unwrap()).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// An example, with what else a file needs.
fn whole(example: &str) -> String {
    let mut text = String::new();
    for (key, value) in [("listen", "127.0.0.1:0"), ("upstream", "http://app:1"), ("routes", "[]")] {
        if !example.lines().any(|line| line.starts_with(&format!("{key}:"))) {
            text.push_str(&format!("{key}: {value}\n"));
        }
    }
    text + example
}

/// Every map of the file: where it is, as the reader's paths have it.
fn tables() -> BTreeMap<String, &'static Keys> {
    fn collect(path: &str, keys: &'static Keys, found: &mut BTreeMap<String, &'static Keys>) {
        for key in keys.known {
            for (inner, is_list) in maps(&key.takes) {
                let dot = if path.is_empty() { "" } else { "." };
                let place = if is_list { "[0]" } else { "" };
                collect(&format!("{path}{dot}{}{place}", key.name), inner, found);
            }
        }
        found.insert(path.to_owned(), keys);
    }
    let mut found = BTreeMap::new();
    collect("", &KEYS, &mut found);
    found
}

/// A right file that has the map at this path.
fn file_with(path: &str) -> Value {
    let top = json!({ "listen": "127.0.0.1:0", "upstream": "http://a:1", "routes": [] });
    let more = match path {
        "" => json!({ "trusted_proxies": "10.0.0.0/8" }),
        "tls" => json!({ "listen": "tls://127.0.0.1:0", "tls": { "cert": "/c", "key": "/k" } }),
        "store" => json!({ "store": { "redis": "redis://a", "prefix": "p", "on_outage": "shed" } }),
        "store.redis" => json!({ "store": { "prefix": "p", "redis": { "nodes": "a" } } }),
        "store.redis.tls" => json!({ "store": { "prefix": "p", "redis": {
            "url": "rediss://a", "tls": { "cert": "/c", "key": "/k" } } } }),
        "store.redis.sentinel" => json!({ "store": { "prefix": "p", "redis": {
            "mode": "sentinel", "nodes": "a", "sentinel": { "master": "m" } } } }),
        "routes[0]" => json!({ "routes": [{ "match": "/a", "cache": "off" }] }),
        "routes[0].cache" => {
            json!({ "routes": [{ "match": "/a", "cache": { "ttl": "9s", "override": true } }] })
        }
        "routes[0].cache.key" => json!({ "routes": [{ "match": "/a", "cache": { "key": {} } }] }),
        "routes[0].cache.key.query" => {
            json!({ "routes": [{ "match": "/a", "cache": { "key": { "query": { "except": [] } } } }] })
        }
        "purge_on[0]" => json!({ "purge_on": [{ "match": "/a", "tags": "a", "rules": "r" }] }),
        other => json!({ other: {} }),
    };
    let mut file = top;
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    file
}

/// The map at this path of a file.
fn map<'f>(file: &'f mut Value, path: &str) -> &'f mut serde_json::Map<String, Value> {
    let pointer = path.replace("[0]", ".0").replace('.', "/");
    let pointer = if pointer.is_empty() { pointer } else { format!("/{pointer}") };
    let map = file.pointer_mut(&pointer).unwrap_or_else(|| panic!("add a file for {path}"));
    map.as_object_mut().unwrap()
}

/// Calls with every key of every map, and a right file in which it could be.
fn each_key(mut check: impl FnMut(&str, &Key, &dyn Fn(Value) -> Value)) {
    for (path, keys) in tables() {
        let file = file_with(&path);
        assert_eq!(refusal(&file.to_string()), None, "{file}");
        for key in keys.known {
            let with = |value: Value| {
                let mut file = file.clone();
                map(&mut file, &path).insert(key.name.to_owned(), value);
                file
            };
            check(&format!("{path}.{}", key.name), key, &with);
        }
    }
}

/// Values of every kind, most of which are wrong at most places.
fn values() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../tests/config/values.json")).unwrap()
}

/// What the schema makes of each value at each key, against the reader: what it refuses though the reader takes
/// it, and what it lets through.
fn differences() -> [Vec<String>; 2] {
    let validator = validator();
    let [mut refused, mut let_through] = [Vec::new(), Vec::new()];
    each_key(|path, _, with| {
        let path = path.trim_start_matches('.');
        for value in values() {
            let file = with(value.clone());
            match (validator.is_valid(&file), refusal(&file.to_string())) {
                (false, None) => refused.push(format!("{path}: {value}")),
                // What becomes of a variable, no schema can know.
                (true, Some(why)) if !value.to_string().contains('$') => {
                    let_through.push(format!("{path}: {value} ({why})"));
                }
                _ => {}
            }
        }
    });
    [refused, let_through]
}

#[test]
fn the_schema_takes_what_the_reader_takes_and_little_more() {
    let [refused, mut let_through] = differences();
    let validator = validator();
    for (name, text) in files("proxy/tests/config/broken", "yaml") {
        if as_editors_read_it(&text).is_some_and(|file| validator.is_valid(&file)) {
            let_through.push(format!("{name} ({})", refusal(&text).unwrap_or_default()));
        }
    }
    let let_through = let_through.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LET_THROUGH);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &let_through).unwrap();
    }
    assert_eq!(refused, Vec::<String>::new());
    assert!(read(&path) == let_through, "{LET_THROUGH} has changed; now\n{let_through}");
}

#[test]
fn a_key_that_is_required_by_one_is_by_the_other() {
    let validator = validator();
    let mut required = 0;
    for (path, keys) in tables() {
        for key in keys.known {
            let mut file = file_with(&path);
            map(&mut file, &path).remove(key.name);
            let by_schema = !validator.is_valid(&file);
            assert_eq!(by_schema, matches!(key.absent, Absent::Refused), "{path}.{}", key.name);
            assert!(!by_schema || refusal(&file.to_string()).is_some(), "{path}.{}", key.name);
            required += usize::from(by_schema);
        }
    }
    assert!(required >= 10, "{required}");
}

#[test]
fn each_key_of_the_tables_is_read() {
    each_key(|path, key, with| {
        let refused = refusal(&with(json!([[["no key takes this"]]])).to_string()).unwrap_or_default();
        assert!(refused.contains(key.name) && !refused.contains("unknown key"), "{path}: {refused}");
    });
}

#[test]
fn each_key_is_told_of_once_and_every_list_of_words_in_full() {
    for (path, keys) in tables() {
        for (place, key) in keys.known.iter().enumerate() {
            assert!(
                !key.doc.trim().is_empty() && !key.doc.ends_with('.'),
                "{path}.{}: {}",
                key.name,
                key.doc
            );
            assert!(
                keys.known.iter().skip(place + 1).all(|other| other.name != key.name),
                "{path}.{}",
                key.name
            );
        }
    }
}

/// The defaults of a table, as a file would have them.
fn written_defaults(path: &str) -> String {
    let known = tables()[path].known.iter();
    let pairs = known.filter_map(|key| match key.absent {
        Absent::Is(value) => Some(format!("{}: {value}", key.name)),
        _ => None,
    });
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

#[test]
fn the_defaults_are_the_code_s() {
    let parse = |text: &str| {
        Config::parse(&whole(text), "c", &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    };
    let bounds = parse(&format!(
        "limits: {}\ntimeouts: {}\n",
        written_defaults("limits"),
        written_defaults("timeouts"),
    ));
    assert_eq!((bounds.limits, bounds.timeouts), (Limits::default(), Timeouts::default()));
    let cache = written_defaults("routes[0].cache").replace("{ ", "{ ttl: 5s, client_control: ignore, ");
    let cache = cache.replace("status: { ttl", "status: {} # ttl");
    let key = written_defaults("routes[0].cache.key");
    let config = parse(&format!(
        "routes: [{{ match: /a, cache: {} }}]",
        cache.replacen("{ ", &format!("{{ key: {key}, "), 1)
    ));
    let rule = config.rules.iter().next().unwrap().cache.as_deref().cloned().unwrap();
    assert_eq!(rule, CacheRule::new(Some(std::time::Duration::from_secs(5))));
    // What has an effect only beside another key is not written alone.
    let store = written_defaults("store").replace(", shed_above: 64", "");
    assert_eq!(parse(&format!("store: {store}")).store, StoreConfig::default());
    let top: Vec<String> =
        written_defaults("").trim_matches(['{', '}']).split(", ").map(str::to_owned).collect();
    assert!(top.len() >= 3, "{top:?}");
}
