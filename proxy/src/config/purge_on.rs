//! `purge_on`: which writes purge what.

use std::sync::Arc;

use http::Method;

use super::{
    keys::{ANY, Absent, Key, Keys, Kind, Text},
    network::{HOST, host},
    problem::Wrong,
    reader::{At, Entries, Reader},
    route::{METHODS, PATTERN, method, optional, pattern},
    scalar::switch,
    suggest::nearest,
    tags::{TAGS, tags},
};
use crate::routes::{PurgeOn, Rules};

const RULE: Text = Text { is: "the name of a rule, /products", like: r"[\s\S]*", bare: true };

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new("match", Absent::Refused, Kind::Text(&PATTERN), "the path of the write, as in a rule"),
        Key::new(
            "methods",
            Absent::Means("every unsafe one"),
            METHODS,
            "`[POST, PUT]`; not GET, HEAD, OPTIONS, TRACE nor QUERY",
        ),
        Key::new("host", Absent::Means("all"), Kind::Text(&HOST), "one host"),
        Key::new("tags", Absent::Is("[]"), TAGS, "tags: whatever carries one is purged, on every host"),
        Key::new(
            "rules",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Text(&RULE), least: 0, most: ANY },
            "names of rules of this file: whatever they stored is purged",
        ),
        Key::new("soft", Absent::Is("false"), Kind::Switch, "`true`: it is marked stale and not removed"),
    ],
    foreign: &[
        ("path", "did you mean `match`?"),
        ("url", "did you mean `match`?"),
        ("method", "did you mean `methods`?"),
        ("hosts", "did you mean `host`?"),
        ("headers", "the headers of a write do not count here: remove it"),
        ("tag", "did you mean `tags`?"),
        ("rule", "did you mean `rules`?"),
        ("routes", "did you mean `rules`?"),
        ("purge", "did you mean `tags` or `rules`?"),
        ("urls", "what is stored for the URL of a write goes in any case; name others by `tags` or `rules`"),
        ("hard", "did you mean `soft`?"),
        ("stale", "did you mean `soft`?"),
    ],
};

/// Reads `purge_on`. `rules` are those of the file, where there are any and they are right: a name must be
/// that of one of them.
pub(super) fn purge_on(reader: &mut Reader<'_>, at: &At<'_>, rules: Option<&Rules>) -> Option<Vec<PurgeOn>> {
    let advice = "write a list: `- match: /path` with tags: [products] for each; [] for none";
    let items = reader.items(at, "entries", PurgeOn::MAX, advice)?;
    // One that is wrong keeps none of the others from being read.
    let read: Vec<Option<PurgeOn>> = items.iter().map(|at| entry(reader, at, rules)).collect();
    read.into_iter().collect()
}

fn entry(reader: &mut Reader<'_>, at: &At<'_>, known: Option<&Rules>) -> Option<PurgeOn> {
    let entries = reader.entries(at, "a map, `match: /path` with tags: [products]", &KEYS)?;
    let pattern = reader
        .require(&entries, "match", "add match: /path, or match: /** for every write")
        .and_then(|at| reader.scalar(&at, PATTERN.is, pattern));
    let methods = optional(reader, &entries, "methods", methods);
    let host = optional(reader, &entries, "host", |reader, at| reader.scalar(at, HOST.is, host));
    let tags = optional(reader, &entries, "tags", tags);
    let rules = optional(reader, &entries, "rules", |reader, at| rules(reader, at, known));
    let soft = optional(reader, &entries, "soft", |reader, at| reader.scalar(at, "true or false", switch));
    let (tags, rules) = (tags?.unwrap_or_default(), rules?.unwrap_or_default());
    if tags.is_empty() && rules.is_empty() {
        if !entries.has_told_of("tags") && !entries.has_told_of("rules") {
            reader.wrong(at, purges_nothing(&entries));
        }
        return None;
    }
    Some(PurgeOn {
        pattern: pattern?,
        methods: methods?,
        host: host?,
        tags,
        rules,
        soft: soft?.unwrap_or_default(),
    })
}

fn purges_nothing(entries: &Entries<'_>) -> Wrong {
    let named = entries.get("tags").or_else(|| entries.get("rules"));
    let message = if named.is_some() { "an empty list purges nothing" } else { "this purges nothing" };
    Wrong::new(message, "add tags: [products], or rules: with names of rules")
}

fn methods(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Method>> {
    let methods = reader.list(at, "a list of methods, [POST]", |text| {
        method(text).and_then(|method| match method.is_safe() {
            true => Err(Wrong::new(format!("`{method}` is a safe method: it changes nothing"), "remove it")),
            false => Ok(method),
        })
    })?;
    if methods.is_empty() {
        let advice = "remove `methods` to match every unsafe one";
        reader.wrong(at, Wrong::new("an empty list matches no method", advice));
        return None;
    }
    Some(methods)
}

/// Names of rules, whether they are switched off or not.
fn rules(reader: &mut Reader<'_>, at: &At<'_>, known: Option<&Rules>) -> Option<Vec<Arc<str>>> {
    reader.list(at, "a list of names of rules, [/products]", |text| match known {
        Some(known) => rule(text, known),
        // What is wrong with the rules has been told; or all of them are switched off by `routes: []`.
        None => Ok(text.into()),
    })
}

fn rule(text: &str, known: &Rules) -> Result<Arc<str>, Wrong> {
    match known.iter().find(|rule| *rule.name == *text) {
        // Switched off, it finds what it has stored when it is on again.
        Some(rule) => Ok(Arc::clone(&rule.name)),
        None => {
            let advice = match nearest(text, known.iter().map(|rule| &*rule.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write its `name`, or its `match` where it has none".to_owned(),
            };
            Err(Wrong::new(format!("there is no rule `{text}`"), advice))
        }
    }
}
