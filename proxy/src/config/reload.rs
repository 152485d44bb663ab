//! What an edited file can change only with a restart.

use std::{fmt::Display, path::Path};

use super::Config;
use crate::{address::Listen, stored::Compression};

/// One sentence for each thing in `new` that does nothing until a restart. `old` is the file of the
/// start: what is in force may come from several edits since.
///
/// The rest (`upstream`, `hosts`, `trusted_proxies`, `timeouts`, the other limits,
/// `targeted_cache_control`, `routes`, `purge_on`, `access_log`, `traceparent`) acts at once.
#[must_use]
pub fn restart_only_changes(old: &Config, new: &Config) -> Vec<String> {
    let listen = |config: &Config| shown(&config.listen);
    let admin = |config: &Config| config.admin.as_ref().map_or_else(|| "none".to_owned(), Listen::to_string);
    let mut changes = Vec::new();
    let mut compare = |key: &str, differ: bool, old: String, new: String| {
        if differ {
            // Two URLs that differ in their secret alone look the same.
            let change =
                if old == new { "changed".to_owned() } else { format!("changed from {old} to {new}") };
            changes.push(format!("`{key}` {change}: this takes a restart"));
        }
    };
    compare("listen", old.listen != new.listen, listen(old), listen(new));
    let certificates = |config: &Config| match config.tls.as_slice() {
        [] => "none".to_owned(),
        pairs => shown(&pairs.iter().map(|pair| pair.cert.display()).collect::<Vec<_>>()),
    };
    compare("tls", old.tls != new.tls, certificates(old), certificates(new));
    let protocols = (old.proxy_protocol, new.proxy_protocol);
    compare("proxy_protocol", protocols.0 != protocols.1, protocols.0.to_string(), protocols.1.to_string());
    compare("admin", old.admin != new.admin, admin(old), admin(new));
    let (old_store, new_store) = (&old.store, &new.store);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "off".to_owned(), super::scalar::show_size);
    let memory = (old_store.memory, new_store.memory);
    compare("store.memory", memory.0 != memory.1, size(memory.0), size(memory.1));
    compare(
        "store.redis",
        old_store.redis != new_store.redis,
        or_none(&old_store.redis),
        or_none(&new_store.redis),
    );
    let prefixes = (&old_store.prefix, &new_store.prefix);
    compare("store.prefix", prefixes.0 != prefixes.1, or_none(prefixes.0), or_none(prefixes.1));
    let outages = (old_store.on_outage, new_store.on_outage);
    compare("store.on_outage", outages.0 != outages.1, outages.0.to_string(), outages.1.to_string());
    let length = super::scalar::show_duration;
    let ages = (old_store.untracked_max_age, new_store.untracked_max_age);
    compare("store.untracked_max_age", ages.0 != ages.1, length(ages.0), length(ages.1));
    let packed = (old_store.compress, new_store.compress);
    compare("store.compress", packed.0 != packed.1, packing(packed.0), packing(packed.1));
    let keys = (old_store.hmac_key_file.as_deref(), new_store.hmac_key_file.as_deref());
    compare("store.hmac_key_file", keys.0 != keys.1, file(keys.0), file(keys.1));
    let fetches = (old_store.shed_above, new_store.shed_above);
    compare("store.shed_above", fetches.0 != fetches.1, fetches.0.to_string(), fetches.1.to_string());
    let connections = (old.limits.connections, new.limits.connections);
    let differ = connections.0 != connections.1;
    compare("limits.connections", differ, connections.0.to_string(), connections.1.to_string());
    changes.extend(bodies_beyond_the_store(old, new));
    changes
}

/// A `max_body` was checked against the store that its own file asks for, not against the one of the
/// start.
fn bodies_beyond_the_store(old: &Config, new: &Config) -> Vec<String> {
    let kept = old.store.largest_body().bytes;
    let beyond =
        new.rules.iter().filter(|rule| rule.cache.as_ref().is_some_and(|cache| cache.max_body > kept));
    let size = super::scalar::show_size(kept);
    beyond
        .map(|rule| format!("`max_body` of the rule `{}` stays at {size}, the most that the store of the start keeps: more takes a restart", rule.name))
        .collect()
}

fn or_none(value: &Option<impl Display>) -> String {
    value.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// A list as the file would write it.
pub(super) fn shown(list: &[impl Display]) -> String {
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn packing(compression: Compression) -> String {
    match compression {
        Compression::Off => "off".to_owned(),
        Compression::Zstd => "zstd".to_owned(),
    }
}

fn file(path: Option<&Path>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let rest = "upstream: http://a\nroutes: []\n";
        Config::parse(&format!("{rest}{text}"), "c.yaml", &|_| None).unwrap()
    }

    #[test]
    fn tells_what_a_restart_is_needed_for_and_no_secret() {
        let old = config(
            "listen: 127.0.0.1:1\nstore: { redis: 'redis://:s3@h', prefix: a }\ntimeouts: { idle: 1s }",
        );
        let new = config(
            "listen: [127.0.0.1:1, unix:/s]\nadmin: 127.0.0.1:2\nlimits: { connections: 5, headers: 7 }\n\
             store: { redis: 'redis://:s4@h', prefix: b, memory: off, on_outage: shed, shed_above: 9, \
             untracked_max_age: 0s, compress: zstd, hmac_key_file: /k }",
        );
        assert_eq!(restart_only_changes(&old, &old), Vec::<String>::new());
        assert_eq!(
            restart_only_changes(&old, &new),
            [
                "`listen` changed from 127.0.0.1:1 to 127.0.0.1:1, unix:/s: this takes a restart",
                "`admin` changed from none to 127.0.0.1:2: this takes a restart",
                "`store.memory` changed from 64MiB to off: this takes a restart",
                "`store.redis` changed: this takes a restart",
                "`store.prefix` changed from a to b: this takes a restart",
                "`store.on_outage` changed from serve to shed: this takes a restart",
                "`store.untracked_max_age` changed from 2s to 0s: this takes a restart",
                "`store.compress` changed from off to zstd: this takes a restart",
                "`store.hmac_key_file` changed from none to /k: this takes a restart",
                "`store.shed_above` changed from 64 to 9: this takes a restart",
                "`limits.connections` changed from 10000 to 5: this takes a restart",
            ]
        );
    }

    #[test]
    fn a_body_that_only_the_store_to_come_could_keep_takes_a_restart() {
        let listen = "listen: 127.0.0.1:1\nupstream: http://a\n";
        let parse = |rest: &str| Config::parse(&format!("{listen}{rest}"), "c.yaml", &|_| None).unwrap();
        let old = parse("store: { memory: 8MiB }\nroutes: []");
        let rules = "[{ match: /a, cache: { max_body: 16MiB } }, { match: /b, cache: { max_body: 64KiB } }]";
        let new = parse(&format!("store: {{ memory: 512MiB }}\nroutes: {rules}"));
        let changes = restart_only_changes(&old, &new);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[1].starts_with("`max_body` of the rule `/a` stays at "), "{changes:?}");
    }
}
