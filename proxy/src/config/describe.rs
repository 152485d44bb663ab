//! `sidecache check`: what was understood, in plain words.

use std::{fmt, time::Duration};

use super::{
    Config, StoreConfig,
    reload::shown,
    scalar::{show_duration, show_size},
};
use crate::{
    key::QueryPolicy,
    policy::rule::{CacheRule, ClientControl, Credentials, Percent, SetCookie},
    routes::{PurgeOn, Rule},
    store::tiers::OnOutage,
    stored::Compression,
    telemetry::access::AccessLog,
};

impl Config {
    /// What the file means, for people. Holds no secret.
    #[must_use]
    pub fn describe(&self) -> Description<'_> {
        Description(self)
    }
}

/// Shows a [`Config`]; see [`Config::describe`].
pub struct Description<'c>(&'c Config);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        writeln!(f, "listen    {}", shown(&config.listen))?;
        if !config.tls.is_empty() {
            let files: Vec<_> = config.tls.iter().map(|pair| pair.cert.display()).collect();
            writeln!(f, "tls       {} (HTTP/2 and HTTP/1.1)", shown(&files))?;
        }
        match &config.admin {
            Some(admin) if admin.is_local() => writeln!(f, "admin     {admin}")?,
            Some(admin) => {
                writeln!(f, "admin     {admin}, which other machines can reach: it opens only with a token")?;
            }
            None => writeln!(f, "admin     none")?,
        }
        writeln!(f, "upstream  {}", config.upstream)?;
        writeln!(f, "store     {}", store(config))?;
        if let Some(hosts) = &config.hosts {
            writeln!(f, "hosts     {} (others get 421)", shown(hosts))?;
        }
        if !config.trusted_proxies.is_empty() {
            writeln!(f, "trusted   {}", shown(&config.trusted_proxies))?;
        }
        if config.proxy_protocol {
            writeln!(
                f,
                "begins    with a PROXY header, each connection of a trusted proxy or a unix socket"
            )?;
        }
        writeln!(f, "governs   {}", governing(config))?;
        if config.access_log != AccessLog::default() {
            writeln!(f, "log       {}", access_log(&config.access_log))?;
        }
        if config.begins_traces {
            writeln!(f, "traces    begin here, where none comes with a request")?;
        }
        writeln!(f, "limits    {}", limits(config))?;
        writeln!(f, "timeouts  {}", timeouts(config))?;
        writeln!(f, "\nroutes (the first match wins)")?;
        for (place, rule) in config.rules.iter().enumerate() {
            write_rule(f, place + 1, rule)?;
        }
        writeln!(f, "  what matches no rule passes straight through")?;
        for (place, entry) in config.purge_on.iter().enumerate() {
            let head = if place == 0 { "\npurges, after writes that succeed\n" } else { "" };
            writeln!(f, "{head}  {}. {}", place + 1, purges(entry))?;
        }
        for (place, warning) in config.warnings.iter().enumerate() {
            let head = if place == 0 { "\nwarnings\n" } else { "" };
            writeln!(f, "{head}  {warning}")?;
        }
        Ok(())
    }
}

fn store(config: &Config) -> String {
    let store = &config.store;
    match (&store.redis, &store.prefix) {
        (Some(redis), Some(prefix)) => {
            format!(
                "{redis}, keys begin with {prefix}:\n{}memory    {}\noutage    {}",
                written(store),
                in_front(store),
                in_an_outage(store)
            )
        }
        _ => format!("memory, {}", show_size(store.memory.unwrap_or_default())),
    }
}

/// How entries are written to Redis, where that is not as they are.
fn written(store: &StoreConfig) -> String {
    let bodies = match store.compress {
        Compression::Off => "",
        Compression::Zstd => "bodies    text of 1KiB to 1MiB packed by zstd\n",
    };
    let entries = store.hmac_key_file.as_ref();
    let entries = entries.map(|path| format!("entries   proven with the keys in {}\n", path.display()));
    bodies.to_owned() + &entries.unwrap_or_default()
}

/// The memory before Redis.
fn in_front(store: &StoreConfig) -> String {
    let Some(memory) = store.memory else { return "none in front of Redis".to_owned() };
    let untracked = match store.untracked_max_age {
        Duration::ZERO => "unused".to_owned(),
        max_age => format!("serving for {}", show_duration(max_age)),
    };
    format!("{} in front of Redis; {untracked} where that does not tell what changes", show_size(memory))
}

/// What is done while Redis cannot be reached.
fn in_an_outage(store: &StoreConfig) -> String {
    let away = "while Redis is away";
    match store.on_outage {
        OnOutage::Serve if store.memory.is_none() => format!("{away}, nothing is cached"),
        OnOutage::Serve => format!("{away}, memory goes on"),
        OnOutage::Bypass => format!("{away}, nothing is cached"),
        OnOutage::Shed => {
            format!("{away}, memory goes on, and more than {} fetches at once are refused", store.shed_above)
        }
    }
}

/// The fields that say for how long, the first that a response has.
fn governing(config: &Config) -> String {
    let targeted = config.targeted_cache_control.iter().map(|name| format!("{name}, else "));
    format!("{}cache-control and expires", targeted.collect::<String>())
}

fn access_log(access: &AccessLog) -> String {
    let AccessLog { sample, slow, quiet } = access;
    let sampled = match *sample {
        Percent::ALL => "a line for each request".to_owned(),
        share => format!(
            "a line for {share} of the requests, and for all that fail or take {}",
            show_duration(*slow)
        ),
    };
    match quiet.as_slice() {
        [] => sampled,
        paths => format!("{sampled}; of {} only errors", shown(paths)),
    }
}

fn limits(config: &Config) -> String {
    let limits = &config.limits;
    let body = limits
        .request_body
        .map_or_else(|| "of any size".to_owned(), |bytes| format!("up to {}", show_size(bytes)));
    format!(
        "{} connections, of HTTP/2 with {} requests each; to the app {}, {} requests waiting; heads up to {}, {} fields; targets up to {}; request bodies {body}",
        limits.connections,
        limits.streams,
        limits.upstream_connections,
        limits.upstream_queue,
        show_size(limits.header_bytes as u64),
        limits.headers,
        show_size(limits.uri_bytes as u64),
    )
}

fn timeouts(config: &Config) -> String {
    let timeouts = &config.timeouts;
    let named = [
        ("header", timeouts.header),
        ("idle", timeouts.idle),
        ("body", timeouts.body),
        ("connect", timeouts.connect),
        ("first_byte", timeouts.first_byte),
        ("between_bytes", timeouts.between_bytes),
        ("drain", timeouts.drain),
    ];
    shown(&named.map(|(name, length)| format!("{name} {}", show_duration(length))))
}

fn purges(entry: &PurgeOn) -> String {
    let methods = match &entry.methods {
        Some(methods) => shown(methods),
        None => "every unsafe method".to_owned(),
    };
    let host = entry.host.as_ref().map(|host| format!(", host {host}")).unwrap_or_default();
    let tags = entry.tags.iter().map(|tag| format!("what is tagged {tag}"));
    let named: Vec<String> =
        tags.chain(entry.rules.iter().map(|rule| format!("what the rule {rule} stored"))).collect();
    let soft = if entry.soft { "marks stale" } else { "removes" };
    format!("{} ({methods}{host}) {soft} {}", entry.pattern, named.join(", "))
}

/// What a rule does with responses: `off`, `origin`, or for how long they are stored.
pub(crate) fn in_short(rule: &Rule) -> String {
    match &rule.cache {
        None => "off".to_owned(),
        Some(cache) => cache.ttl.map_or_else(|| "origin".to_owned(), show_duration),
    }
}

/// The same, a line for each part of it.
pub(crate) fn behaviour(rule: &Rule) -> Vec<String> {
    let cache = rule.cache.as_ref();
    cache.map_or_else(
        || vec!["not cached".to_owned()],
        |cache| in_shadow(cache).into_iter().chain(lifetimes(cache)).chain(conditions(cache)).collect(),
    )
}

fn in_shadow(cache: &CacheRule) -> Option<String> {
    let said = "in shadow: all of it goes to the app, and what would have been a hit says detail=shadow-hit";
    cache.shadow.then(|| said.to_owned())
}

fn write_rule(f: &mut fmt::Formatter<'_>, place: usize, rule: &Rule) -> fmt::Result {
    writeln!(f, "  {place}. {}", rule.name)?;
    writeln!(f, "     for {}", requests(rule))?;
    behaviour(rule).into_iter().try_for_each(|line| writeln!(f, "     {line}"))
}

fn requests(rule: &Rule) -> String {
    let methods = match &rule.methods {
        Some(methods) => shown(methods),
        None => "every method".to_owned(),
    };
    let host = rule.host.as_ref().map(|host| format!(", host {host}")).unwrap_or_default();
    // A field's value may be a secret.
    let header = |name, value: bool| format!(", {name} {}", if value { "as stated" } else { "present" });
    let headers: String = rule.headers.iter().map(|(name, value)| header(name, value.is_some())).collect();
    format!("{} ({methods}{host}{headers})", rule.pattern)
}

fn lifetimes(cache: &CacheRule) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match (cache.ttl, cache.override_origin) {
        (None, _) => {
            "stored as long as the app's Cache-Control and Expires allow; without them, a tenth of the \
                      time since Last-Modified, up to 1d"
                .to_owned()
        }
        (Some(ttl), false) => {
            format!("stored for {} unless the app states a lifetime itself", show_duration(ttl))
        }
        (Some(ttl), true) => {
            format!("stored for {} whatever lifetime the app states{}", show_duration(ttl), barred(cache))
        }
    });
    let others: Vec<String> = cache
        .status
        .iter()
        .filter(|(status, _)| cache.ttl.is_none() || status.as_u16() != 200)
        .map(|(status, lifetime)| format!("{} for {}", status.as_u16(), show_duration(*lifetime)))
        .collect();
    match (others.is_empty(), cache.ttl) {
        (true, Some(_)) => lines.push("only status 200 is stored".to_owned()),
        (true, None) => {}
        (false, Some(_)) => lines.push(format!("beside 200, stored: {}; no other status", others.join(", "))),
        (false, None) => lines.push(format!("where the app states none: {}", others.join(", "))),
    }
    if !cache.jitter.is_zero() {
        lines.push(format!("each for up to {} less than this rule says, by chance", cache.jitter));
    }
    if !cache.refresh_ahead.is_zero() {
        let share = cache.refresh_ahead;
        lines.push(format!("refreshed in the last {share} of that time, if asked for more than once in it"));
    }
    lines.extend(served_stale(cache));
    lines
}

/// What may be served after its lifetime.
fn served_stale(cache: &CacheRule) -> Option<String> {
    let windows = [
        (cache.stale_while_revalidate, "while it is fetched anew"),
        (cache.stale_if_error, "where the app fails"),
    ];
    let allowed = windows.iter().filter(|(window, _)| !window.is_zero());
    let allowed: Vec<String> =
        allowed.map(|(window, when)| format!("for {} {when}", show_duration(*window))).collect();
    (!allowed.is_empty())
        .then(|| format!("then served stale {}, unless the app says otherwise", allowed.join(", ")))
}

/// What `override` does not beat.
fn barred(cache: &CacheRule) -> &'static str {
    match (cache.ignore.no_store, cache.ignore.private) {
        (false, false) => ", unless it says no-store or private",
        (false, true) => ", unless it says no-store",
        (true, false) => ", unless it says private",
        (true, true) => "",
    }
}

fn conditions(cache: &CacheRule) -> Vec<String> {
    let mut lines = vec![key(cache)];
    lines.push(match cache.credentials {
        Credentials::Bypass if cache.ttl.is_some() => {
            "requests with Authorization, or with a cookie that is not keyed, go to the app unless its response \
             says that it may be shared"
                .to_owned()
        }
        Credentials::Bypass => "requests with Authorization go to the app unless its response says that it may be \
                                shared; those with cookies, unless it states a lifetime"
            .to_owned(),
        Credentials::Ignore => {
            "cookies and Authorization that are not keyed are not sent to the app".to_owned()
        }
    });
    lines.push(match cache.set_cookie {
        SetCookie::Bypass => "responses with Set-Cookie are not stored".to_owned(),
        SetCookie::Strip => "responses with Set-Cookie are stored without it".to_owned(),
        SetCookie::Store => "responses with Set-Cookie are stored with it".to_owned(),
    });
    let control = match cache.client_control {
        ClientControl::Ignore => "a client's Cache-Control does not count",
        ClientControl::Honour => "a client's Cache-Control counts",
    };
    lines.push(control.to_owned());
    if !cache.content_type.is_empty() {
        lines.push(format!("only {} is stored", shown(&cache.content_type)));
    }
    lines.push(format!("bodies over {} are not stored", show_size(cache.max_body)));
    if !cache.tags.is_empty() {
        lines.push(format!("tagged {}, beside what the app says", shown(&cache.tags)));
    }
    if cache.strip_tags {
        lines.push("clients do not get Cache-Tag, Surrogate-Key and Cache-Groups".to_owned());
    }
    lines
}

fn key(cache: &CacheRule) -> String {
    let query = match &cache.key.query {
        QueryPolicy::All => "the whole query".to_owned(),
        QueryPolicy::None => "nothing of the query".to_owned(),
        QueryPolicy::Only(names) => format!("of the query {}", names.join(", ")),
        QueryPolicy::Except(names) => format!("the query without {}", names.join(", ")),
    };
    let mut parts = vec!["scheme, host, path".to_owned(), query];
    parts.extend(cache.key.headers.iter().map(|name| format!("header {name}")));
    parts.extend(cache.key.cookies.iter().map(|name| format!("cookie {name}")));
    format!("keyed by {}", parts.join("; "))
}
