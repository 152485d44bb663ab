//! The configuration: any text is one, or has errors that can be shown. The same behind what a file needs, so that
//! a section alone is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecache::config::Config;
use sidecache_fuzz::settings;

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

/// One made along the schema, where the first byte is 0: it has what a file needs.
fn texts(data: &[u8]) -> Vec<String> {
    match data.split_first() {
        Some((0, made)) => vec![settings::file(made)],
        _ => std::str::from_utf8(data)
            .map_or_else(|_| vec![], |text| vec![text.to_owned(), format!("{NEEDED}{text}")]),
    }
}

fuzz_target!(|data: &[u8]| {
    let env = |name: &str| (name.len().is_multiple_of(2)).then(|| name.to_lowercase());
    for text in texts(data) {
        match Config::parse(&text, "config.yaml", &env) {
            Ok(config) => is_bounded(&config),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
});
