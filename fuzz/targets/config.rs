//! The configuration: any text is one, or has errors that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecache::config::Config;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name.len().is_multiple_of(2)).then(|| name.to_lowercase());
    if let Err(errors) = Config::parse(text, "config.yaml", &env) {
        assert!(!errors.to_string().is_empty());
    }
});
