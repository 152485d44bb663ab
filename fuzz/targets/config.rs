//! The configuration: any text is one, or has errors that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecache::config::Config;

/// What is taken is within the limits that the README names.
fn is_bounded(config: &Config) {
    let limits = &config.limits;
    assert!(!config.listen.is_empty());
    assert!((1024..=1024 * 1024).contains(&limits.header_bytes), "header_bytes: {}", limits.header_bytes);
    assert!((64..=32 * 1024).contains(&limits.uri_bytes), "uri_bytes: {}", limits.uri_bytes);
    assert!(limits.uri_bytes <= limits.header_bytes);
    assert!((1..=10_000).contains(&limits.headers) && limits.connections > 0);
}

fuzz_target!(|text: &str| {
    let env = |name: &str| (name.len().is_multiple_of(2)).then(|| name.to_lowercase());
    match Config::parse(text, "config.yaml", &env) {
        Ok(config) => is_bounded(&config),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
