//! The configuration: any text is one, or has errors that can be shown. The same behind what a file needs, so that
//! a section alone is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecache::config::Config;

/// What is taken is within the limits that the README names.
fn is_bounded(config: &Config) {
    let limits = &config.limits;
    assert!(!config.listen.is_empty());
    assert!((1024..=1024 * 1024).contains(&limits.header_bytes), "header_bytes: {}", limits.header_bytes);
    assert!((64..=32 * 1024).contains(&limits.uri_bytes), "uri_bytes: {}", limits.uri_bytes);
    assert!((1..=10_000).contains(&limits.headers) && limits.connections > 0);
}

/// What a file needs.
const NEEDED: &str = "listen: 127.0.0.1:1\nupstream: http://a:1\nroutes: []\n";

/// Parts of sections. A byte is one of them, where the first byte is 0.
const PARTS: [&str; 48] = [
    "limits: { ",
    "timeouts: { ",
    "store: { ",
    "hosts: [",
    "trusted_proxies: [",
    "purge_on:\n- { ",
    " }\n",
    "]\n",
    ", ",
    "header_bytes: ",
    "uri_bytes: ",
    "headers: ",
    "connections: ",
    "request_body: ",
    "upstream_connections: ",
    "upstream_queue: ",
    "header: ",
    "idle: ",
    "body: ",
    "drain: ",
    "memory: ",
    "redis: ",
    "prefix: ",
    "match: ",
    "methods: ",
    "tags: ",
    "rules: ",
    "soft: true",
    "0",
    "1",
    "64",
    "1KiB",
    "32KiB",
    "1MiB",
    "2MiB",
    "1GiB",
    "none",
    "5s",
    "2m",
    "off",
    "/**",
    "/a",
    "POST",
    "x",
    "a:1",
    "10.0.0.0/8",
    "redis://a",
    "${X:-1}",
];

fn text(data: &[u8]) -> Option<String> {
    match data.split_first() {
        Some((0, parts)) => Some(parts.iter().map(|part| PARTS[usize::from(*part) % PARTS.len()]).collect()),
        _ => std::str::from_utf8(data).ok().map(str::to_owned),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(text) = text(data) else { return };
    let env = |name: &str| (name.len().is_multiple_of(2)).then(|| name.to_lowercase());
    for text in [&text, &format!("{NEEDED}{text}")] {
        match Config::parse(text, "config.yaml", &env) {
            Ok(config) => is_bounded(&config),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
});
