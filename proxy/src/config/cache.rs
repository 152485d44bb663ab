//! `cache` of a rule: `off`, a duration, `origin`, or a map.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;

use super::{
    cache_key,
    problem::Wrong,
    reader::{At, Entries, Keys, Reader},
    scalar::{duration, percent, show_size, size, switch},
    store::LargestBody,
    suggest::nearest,
    tags::tags,
};
use crate::policy::{
    media::MediaRange,
    rule::{CacheRule, ClientControl, Credentials, Ignore, Percent, SetCookie},
};

const FORMS: &str = "off, a duration (300s), origin, or a map";

const KEYS: Keys = Keys {
    known: &[
        "ttl",
        "override",
        "ignore",
        "status",
        "jitter",
        "refresh_ahead",
        "content_type",
        "stale_while_revalidate",
        "stale_if_error",
        "key",
        "credentials",
        "set_cookie",
        "client_control",
        "tags",
        "strip_tags",
        "max_body",
        "shadow",
    ],
    later: &[],
    foreign: &[
        ("max_age", "did you mean `ttl`?"),
        ("s_maxage", "did you mean `ttl`?"),
        ("s_max_age", "did you mean `ttl`?"),
        ("maxage", "did you mean `ttl`?"),
        ("default_ttl", "did you mean `ttl`?"),
        ("lifetime", "did you mean `ttl`?"),
        ("duration", "did you mean `ttl`?"),
        ("timeout", "did you mean `ttl`?"),
        ("expire", "did you mean `ttl`?"),
        ("expires", "did you mean `ttl`?"),
        ("age", "did you mean `ttl`?"),
        ("enabled", "write `cache: off`, or a ttl"),
        ("dry_run", "did you mean `shadow`?"),
        ("observe", "did you mean `shadow`?"),
        ("report_only", "did you mean `shadow`?"),
        ("off", "write `cache: off`"),
        ("force", "did you mean `override`?"),
        ("force_ttl", "write ttl and `override: true`"),
        ("ignore_origin", "did you mean `override`?"),
        ("swr", "did you mean `stale_while_revalidate`?"),
        ("grace", "did you mean `stale_while_revalidate`?"),
        ("stale", "did you mean `stale_while_revalidate` or `stale_if_error`?"),
        ("sie", "did you mean `stale_if_error`?"),
        ("spread", "did you mean `jitter`?"),
        ("splay", "did you mean `jitter`?"),
        ("ttl_jitter", "did you mean `jitter`?"),
        ("early_refresh", "did you mean `refresh_ahead`?"),
        ("prefetch", "did you mean `refresh_ahead`?"),
        ("refresh", "did you mean `refresh_ahead`?"),
        ("query", "write key: { query: … }"),
        ("headers", "write key: { headers: […] }"),
        ("cookies", "write key: { cookies: […] }"),
        ("vary", "write key: { headers: […] }; the app's own Vary is honoured without it"),
        ("statuses", "did you mean `status`?"),
        ("codes", "did you mean `status`?"),
        ("cookie", "did you mean `set_cookie`, `credentials` or `key`?"),
        ("auth", "did you mean `credentials`?"),
        ("authorization", "did you mean `credentials`?"),
        ("content_types", "did you mean `content_type`?"),
        ("type", "did you mean `content_type`?"),
        ("types", "did you mean `content_type`?"),
        ("mime_types", "did you mean `content_type`?"),
        ("max_size", "did you mean `max_body`?"),
        ("tag", "did you mean `tags`?"),
        ("cache_tag", "did you mean `tags`?"),
        ("cache_tags", "did you mean `tags`?"),
        ("surrogate_key", "did you mean `tags`?"),
        ("surrogate_keys", "did you mean `tags`?"),
        ("methods", "`methods` belongs beside `cache`, in the rule"),
        ("match", "`match` belongs beside `cache`, in the rule"),
    ],
};

/// Reads `cache`; `Some(None)` is `off`. `largest_body` is what the store can keep.
pub(super) fn cache(
    reader: &mut Reader<'_>,
    at: &At<'_>,
    largest_body: LargestBody,
) -> Option<Option<CacheRule>> {
    if at.is_map() {
        let entries = reader.entries(at, FORMS, &KEYS)?;
        return Some(Some(map(reader, &entries, largest_body)));
    }
    reader.scalar(at, FORMS, short_form)
}

fn short_form(text: &str) -> Result<Option<CacheRule>, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "off" | "false" => return Ok(None),
        "origin" => return Ok(Some(CacheRule::new(None))),
        "on" | "true" | "yes" => {
            return Err(Wrong::new("this does not say for how long", "write a duration (300s), or origin"));
        }
        "no" | "none" | "never" | "disabled" => {
            return Err(Wrong::new(format!("`{text}` is not known here"), "write off"));
        }
        _ => {}
    }
    match ttl(text) {
        Ok(ttl) => Ok(Some(CacheRule::new(Some(ttl)))),
        Err(wrong) if text.starts_with(|c: char| c.is_ascii_digit()) => Err(wrong),
        Err(_) => {
            let advice = nearest(text, ["off", "origin"]);
            let advice = advice.map_or(format!("write {FORMS}"), |near| format!("did you mean `{near}`?"));
            Err(Wrong::new(format!("`{text}` is not known here"), advice))
        }
    }
}

/// A lifetime: a duration that is not zero.
fn ttl(text: &str) -> Result<Duration, Wrong> {
    match duration(text)? {
        Duration::ZERO => Err(Wrong::new("nothing can be kept for 0s", "write `cache: off` to keep nothing")),
        ttl => Ok(ttl),
    }
}

fn map(reader: &mut Reader<'_>, entries: &Entries<'_>, largest_body: LargestBody) -> CacheRule {
    let ttl = entries.get("ttl").and_then(|at| reader.scalar(at, "a duration, 300s", ttl));
    let mut rule = CacheRule::new(ttl);
    override_and_ignore(reader, entries, &mut rule);
    if let Some(status) = entries.get("status").and_then(|at| statuses(reader, at)) {
        // A `200` here is the ttl of 200.
        rule.ttl = ttl.map(|ttl| status.get(&StatusCode::OK).copied().unwrap_or(ttl));
        rule.status = status;
    }
    rule.jitter = share(reader, entries, "jitter");
    rule.refresh_ahead = share(reader, entries, "refresh_ahead");
    let given = rule.ttl.is_some() || !rule.status.is_empty();
    if let Some(at) = entries.get("jitter").filter(|_| !rule.jitter.is_zero() && !given) {
        reader.wrong(at, Wrong::new("there is no `ttl` that it could shorten", "add ttl: 300s"));
    }
    if let Some(key) = entries.get("key").and_then(|at| cache_key::key(reader, at)) {
        rule.key = key;
    }
    if let Some(types) = entries.get("content_type").and_then(|at| content_type(reader, at)) {
        rule.content_type = types;
    }
    words(reader, entries, &mut rule);
    rule.stale_while_revalidate = window(reader, entries, "stale_while_revalidate");
    rule.stale_if_error = window(reader, entries, "stale_if_error");
    if let Some(at) = entries.get("max_body") {
        rule.max_body = max_body(reader, at, largest_body).unwrap_or(rule.max_body);
    }
    tagging(reader, entries, &mut rule);
    let shadow = entries.get("shadow").and_then(|at| reader.scalar(at, "true or false", switch));
    rule.shadow = shadow.unwrap_or_default();
    rule
}

fn override_and_ignore(reader: &mut Reader<'_>, entries: &Entries<'_>, rule: &mut CacheRule) {
    let override_at = entries.get("override");
    rule.override_origin =
        override_at.and_then(|at| reader.scalar(at, "true or false", switch)).unwrap_or_default();
    if let Some(at) = override_at.filter(|_| rule.override_origin && entries.get("ttl").is_none()) {
        reader.wrong(at, Wrong::new("there is no `ttl` that could override the origin's", "add ttl: 300s"));
    }
    let Some(at) = entries.get("ignore") else { return };
    let Some(words) = reader.list(at, "[no-store, private]", ignored_directive) else { return };
    if !words.is_empty() && !rule.override_origin {
        let wrong = Wrong::new("`ignore` needs `override: true`", "add override: true, if you mean it");
        reader.wrong(at, wrong);
    }
    rule.ignore = Ignore { no_store: words.contains(&"no-store"), private: words.contains(&"private") };
}

fn ignored_directive(text: &str) -> Result<&'static str, Wrong> {
    const WORDS: [&str; 2] = ["no-store", "private"];
    WORDS.into_iter().find(|word| *word == text).ok_or_else(|| {
        let advice = match nearest(text, WORDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None if text == "no-cache" => "`override: true` beats it already".to_owned(),
            None => "no-store and private can be ignored".to_owned(),
        };
        Wrong::new(format!("`{text}` cannot be ignored"), advice)
    })
}

fn statuses(reader: &mut Reader<'_>, at: &At<'_>) -> Option<BTreeMap<StatusCode, Duration>> {
    let entries = reader.any_entries(at, "a map of statuses, { 404: 10s }")?;
    let mut statuses = BTreeMap::new();
    for (key, at) in entries.iter() {
        let status = status(key).map_err(|wrong| reader.wrong_key(at, wrong)).ok();
        let lifetime = reader.scalar(at, "a duration, 10s", |text| match duration(text)? {
            Duration::ZERO => Err(Wrong::new("nothing can be kept for 0s", "leave this status out")),
            lifetime => Ok(lifetime),
        });
        statuses.extend(status.zip(lifetime));
    }
    Some(statuses)
}

fn status(key: &str) -> Result<StatusCode, Wrong> {
    let digits = key.len() == 3 && key.bytes().all(|b| b.is_ascii_digit());
    let number = key.parse::<u16>().ok().filter(|_| digits);
    match number {
        Some(206) => Err(Wrong::new("206 is a part of a 200 and lives as long", "leave it out")),
        Some(304) => Err(Wrong::new("304 is no response of its own: it renews a stored one", "leave it out")),
        Some(100..=199) => {
            Err(Wrong::new(format!("{key} is not a final status: it is never stored"), "leave it out"))
        }
        Some(number @ 200..=599) => StatusCode::from_u16(number).map_err(|_| not_a_status(key)),
        _ => Err(not_a_status(key)),
    }
}

fn not_a_status(key: &str) -> Wrong {
    let advice = if key.to_ascii_lowercase().ends_with("xx") {
        "list each status, 404 and 410"
    } else {
        "write a status from 200 to 599, 404: 10s"
    };
    Wrong::new(format!("`{key}` is not a status"), advice)
}

/// The most types that a rule may list.
const MAX_TYPES: usize = 32;

fn content_type(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Arc<[MediaRange]>> {
    let types = reader.list(at, "a list of types, [image/*, text/css]", |text| {
        MediaRange::parse(text).ok_or_else(|| {
            let advice = match text {
                "*/*" | "*" => "leave `content_type` out to store every type",
                _ => "write a type without parameters, text/css, or all of a kind, image/*",
            };
            Wrong::new(format!("`{text}` is not a type of content"), advice)
        })
    })?;
    if types.len() > MAX_TYPES {
        reader.wrong(at, Wrong::new("too many types", format!("{MAX_TYPES} at most")));
        return None;
    }
    Some(types.into())
}

fn words(reader: &mut Reader<'_>, entries: &Entries<'_>, rule: &mut CacheRule) {
    let credentials = [("bypass", Credentials::Bypass), ("ignore", Credentials::Ignore)];
    let set_cookie =
        [("bypass", SetCookie::Bypass), ("strip", SetCookie::Strip), ("store", SetCookie::Store)];
    let client_control = [("ignore", ClientControl::Ignore), ("honour", ClientControl::Honour)];
    if let Some(word) = entries.get("credentials").and_then(|at| reader.word(at, &credentials)) {
        rule.credentials = word;
    }
    if let Some(word) = entries.get("set_cookie").and_then(|at| reader.word(at, &set_cookie)) {
        rule.set_cookie = word;
    }
    if let Some(word) = entries.get("client_control").and_then(|at| reader.word(at, &client_control)) {
        rule.client_control = word;
    }
}

/// The largest share that `jitter` takes off, and before the end of which `refresh_ahead` begins: beyond it, what
/// is meant as a margin of the lifetime would be most of it.
const LARGEST_SHARE: u8 = 50;

fn share(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str) -> Percent {
    let share = |text: &str| percent(text, LARGEST_SHARE);
    entries
        .get(key)
        .and_then(|at| reader.scalar(at, "a share of the lifetime, 10%", share))
        .unwrap_or_default()
}

/// For how long something stale may be served; `0s` is not at all.
fn window(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str) -> Duration {
    entries.get(key).and_then(|at| reader.scalar(at, "a duration, 30s", duration)).unwrap_or_default()
}

fn max_body(reader: &mut Reader<'_>, at: &At<'_>, largest_body: LargestBody) -> Option<u64> {
    reader.scalar(at, "a size, 1MiB", |text| match size(text)? {
        0 => Err(Wrong::new("only empty bodies would be stored", "write `cache: off` to store nothing")),
        bytes if bytes > largest_body.bytes => {
            let message = format!("the store keeps no body over {}", show_size(largest_body.bytes));
            Err(Wrong::new(message, largest_body.advice))
        }
        bytes => Ok(bytes),
    })
}

fn tagging(reader: &mut Reader<'_>, entries: &Entries<'_>, rule: &mut CacheRule) {
    if let Some(names) = entries.get("tags").and_then(|at| tags(reader, at)) {
        rule.tags = names;
    }
    if let Some(strip) = entries.get("strip_tags").and_then(|at| reader.scalar(at, "true or false", switch)) {
        rule.strip_tags = strip;
    }
}
