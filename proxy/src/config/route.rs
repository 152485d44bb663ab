//! `routes`: the rules.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue, Method};

use super::{
    cache::{self, cache},
    keys::{ANY, Absent, Key, Keys, Kind, Text},
    network::{HOST, host},
    problem::Wrong,
    reader::{At, Entries, Reader},
    store::LargestBody,
    suggest::nearest,
};
use crate::{
    policy::rule::SetCookie,
    routes::{Pattern, PatternError, Rule, Rules, shadowed},
};

/// Of `match`.
pub(super) const PATTERN: Text = Text {
    is: "one path, /products",
    like: r#"/(([^/*?#"<>\\^`{|}\s]+|\*)/)*([^/*?#"<>\\^`{|}\s]+|\*\*?)?"#,
    bare: false,
};
/// RFC 9110 §9.1: names of methods are tokens.
pub(super) const METHODS: Kind = Kind::List { of: &Kind::Text(&METHOD), least: 1, most: ANY };
const METHOD: Text = Text { is: "a method, GET", like: "[A-Z0-9!#$%&'*+.^_`|~a-z-]+", bare: true };
const NAME: Text = Text { is: "a word, products", like: "[!-,.-~]|[!-~][ -~]{0,198}[!-~]", bare: true };
const HEADER: Text =
    Text { is: "the name of a header, x-beta", like: "[A-Za-z0-9!#$%&'*+.^_`|~-]+", bare: true };
const HEADER_VALUE: Text = Text { is: "a value, or present", like: r"[^\s](.*[^\s])?", bare: true };

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "match",
            Absent::Refused,
            Kind::Text(&PATTERN),
            "the path as it was sent, without the query, by whole segments and with case: `/a` is not \
             `/a/`. `*` is one segment that is not empty; `**`, only as the last, is all the rest",
        ),
        Key::new(
            "name",
            Absent::Means("the match, and what narrows it"),
            Kind::Text(&NAME),
            "the name in logs and metrics, and for purges; unique",
        ),
        Key::new("methods", Absent::Means("all"), METHODS, "`[GET]`, which includes HEAD"),
        Key::new("host", Absent::Means("all"), Kind::Text(&HOST), "one host"),
        Key::new(
            "headers",
            Absent::Means("none"),
            Kind::Free { key: &HEADER, value: &Kind::Text(&HEADER_VALUE) },
            "`{ x-beta: present, x-api: \"2\" }`: all of them, with these values",
        ),
        Key::new(
            "cache",
            Absent::Refused,
            cache::KIND,
            "`off`, a duration, `origin` (RFC 9111 by the app's own fields), or a map",
        ),
    ],
    foreign: &[
        ("path", "did you mean `match`?"),
        ("paths", "did you mean `match`? One path each"),
        ("url", "did you mean `match`?"),
        ("uri", "did you mean `match`?"),
        ("location", "did you mean `match`?"),
        ("pattern", "did you mean `match`?"),
        ("route", "did you mean `match`?"),
        ("regex", "did you mean `match`? It takes * and **, no regular expressions"),
        ("prefix", "write match: /the/path/**"),
        ("hosts", "did you mean `host`?"),
        (
            "query",
            "the query takes no part in matching; for the cache key write cache: { key: { query: … } }",
        ),
        ("ttl", "write cache: 300s, or cache: { ttl: 300s }"),
        ("max_age", "write cache: 300s"),
        ("s_maxage", "write cache: 300s"),
        ("expires", "write cache: 300s"),
        ("status", "`status` belongs in `cache`"),
        ("key", "`key` belongs in `cache`"),
        ("override", "`override` belongs in `cache`"),
        ("ignore", "`ignore` belongs in `cache`"),
        ("credentials", "`credentials` belongs in `cache`"),
        ("set_cookie", "`set_cookie` belongs in `cache`"),
        ("client_control", "`client_control` belongs in `cache`"),
        ("stale_while_revalidate", "`stale_while_revalidate` belongs in `cache`"),
        ("stale_if_error", "`stale_if_error` belongs in `cache`"),
        ("max_body", "`max_body` belongs in `cache`"),
        ("tags", "`tags` belongs in `cache`"),
        ("strip_tags", "`strip_tags` belongs in `cache`"),
        ("purge_on", "`purge_on` belongs at the top of the file, with a `match` of its own"),
        ("upstream", "there is one upstream, at the top of the file"),
    ],
};

/// Reads `routes`. `largest_body` is what the store can keep, `targeted` the fields that govern before
/// `Cache-Control`.
pub(super) fn rules(
    reader: &mut Reader<'_>,
    at: &At<'_>,
    largest_body: LargestBody,
    targeted: &Arc<[HeaderName]>,
) -> Option<Rules> {
    let advice = "write a list: `- match: /path` on its own line for each rule; [] for none";
    let items = reader.items(at, "rules", Rules::MAX, advice)?;
    let found: Vec<(&At<'_>, Rule)> =
        items.iter().filter_map(|at| Some((at, rule(reader, at, largest_body, targeted)?))).collect();
    let (places, rules): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let names_differ = check_names(reader, &places, &rules);
    for pair in shadowed(&rules) {
        let (Some(later), Some(earlier)) = (places.get(pair.later_index), places.get(pair.earlier_index))
        else {
            continue;
        };
        // A rule given twice is told once.
        if names_differ || pair.earlier != pair.later {
            let advice = format!(
                "{} (line {}) comes first and takes all its requests",
                earlier.path, earlier.node.span.line
            );
            let message = format!("the rule `{}` can never match: `{}` shadows it", pair.later, pair.earlier);
            reader.wrong(later, Wrong::new(message, advice));
        }
    }
    // The findings above say more than its error.
    Rules::new(rules).ok()
}

fn rule(
    reader: &mut Reader<'_>,
    at: &At<'_>,
    largest_body: LargestBody,
    targeted: &Arc<[HeaderName]>,
) -> Option<Rule> {
    let entries = reader.entries(at, "a rule, `match: /path` with `cache: 300s`", &KEYS)?;
    let pattern = reader
        .require(&entries, "match", "add match: /path, or match: /** for everything")
        .and_then(|at| reader.scalar(&at, PATTERN.is, pattern));
    let methods = optional(reader, &entries, "methods", methods);
    let host = optional(reader, &entries, "host", |reader, at| reader.scalar(at, HOST.is, host));
    let headers = optional(reader, &entries, "headers", headers);
    let cache = reader
        .require(&entries, "cache", "add cache: 300s, cache: origin or cache: off")
        .and_then(|at| cache(reader, &at, largest_body));
    let name = optional(reader, &entries, "name", |reader, at| reader.scalar(at, NAME.is, name));
    let headers = headers?.unwrap_or_default();
    // What a rule is narrowed by keeps its responses apart from those of its neighbours on the URL.
    let cache = cache?.map(|mut cache| {
        cache.key.headers.extend(headers.iter().map(|(name, _)| name.clone()));
        cache.key.headers.dedup();
        cache.targeted = Arc::clone(targeted);
        cache
    });
    let mut rule = Rule {
        name: "".into(),
        pattern: pattern?,
        methods: methods?,
        host: host?,
        headers,
        cache: cache.map(Arc::new),
        fingerprint: 0,
    };
    rule.name = name?.unwrap_or_else(|| default_name(&rule));
    rule.fingerprint = rule.cache.as_ref().map_or(0, |cache| cache.fingerprint(&rule.name));
    warn(reader, at, &rule);
    Some(rule)
}

/// A key that may be left out: `None` is a finding, `Some(None)` is left out.
pub(super) fn optional<T>(
    reader: &mut Reader<'_>,
    entries: &Entries<'_>,
    key: &str,
    read: impl FnOnce(&mut Reader<'_>, &At<'_>) -> Option<T>,
) -> Option<Option<T>> {
    entries.get(key).map_or(Some(None), |at| read(reader, at).map(Some))
}

/// `match:`
pub(super) fn pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::parse(text).map_err(|error| explain(&error, text))
}

fn explain(error: &PatternError, text: &str) -> Wrong {
    let advice = match error {
        PatternError::TooLong | PatternError::Ambiguous => "write another path".to_owned(),
        PatternError::NoSlash if text.is_empty() || text.contains("://") => "write /products".to_owned(),
        PatternError::NoSlash => format!("write /{text}"),
        PatternError::Query => {
            "write the path alone; cache: { key: { query: … } } says which parameters count".to_owned()
        }
        PatternError::Fragment => "write the path alone".to_owned(),
        PatternError::Unencoded(letter) => {
            let encoded: String = letter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("write {encoded}, as clients send it")
        }
        PatternError::PartialWildcard => "write /a/* for one segment, /a/** for all below /a".to_owned(),
        PatternError::InnerRest => "write * for each segment before the last".to_owned(),
    };
    Wrong::new(error.to_string(), advice)
}

/// RFC 9110 §9.1: names of methods are case-sensitive tokens.
pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    const USUAL: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"];
    let known = Method::from_bytes(text.as_bytes()).ok();
    match nearest(text, USUAL).filter(|near| *near != text) {
        Some(near) if known.is_none() || text.bytes().any(|b| b.is_ascii_lowercase()) => Err(Wrong::new(
            format!("`{text}` is not a method: case counts"),
            format!("did you mean `{near}`?"),
        )),
        _ => known.ok_or_else(|| Wrong::new(format!("`{text}` is not a method"), "write GET")),
    }
}

fn methods(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Method>> {
    let methods = reader.list(at, "a list of methods, [GET]", method)?;
    if methods.is_empty() {
        reader.wrong(at, Wrong::new("an empty list matches no method", "remove `methods` to match all"));
        return None;
    }
    Some(methods)
}

type Narrowing = Vec<(HeaderName, Option<HeaderValue>)>;

/// A map: each field's value, or `present` for any.
fn headers(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Narrowing> {
    let entries = reader.any_entries(at, "a map, { x-beta: present }")?;
    let mut headers: Narrowing = Vec::new();
    for (key, at) in entries.iter() {
        let name = header_name(key, &headers).map_err(|wrong| reader.wrong_key(at, wrong)).ok();
        let value = reader.scalar(at, HEADER_VALUE.is, header_value);
        headers.extend(name.zip(value));
    }
    Some(headers)
}

fn header_name(key: &str, earlier: &[(HeaderName, Option<HeaderValue>)]) -> Result<HeaderName, Wrong> {
    let name = HeaderName::from_bytes(key.as_bytes())
        .map_err(|_| Wrong::new(format!("`{key}` is not the name of a header"), "write x-beta: present"))?;
    if name == http::header::HOST {
        return Err(Wrong::new("the host has a key of its own", "write host: example.org beside `match`"));
    }
    if earlier.iter().any(|(earlier, _)| *earlier == name) {
        return Err(Wrong::new(
            format!("`{name}` is given twice: case does not count"),
            "remove one of them",
        ));
    }
    Ok(name)
}

fn header_value(text: &str) -> Result<Option<HeaderValue>, Wrong> {
    if text == "present" {
        return Ok(None);
    }
    let value = HeaderValue::from_str(text).ok().filter(|_| !text.is_empty() && text.trim() == text);
    value
        .map(Some)
        .ok_or_else(|| Wrong::new("no request has such a value", "write a value, or present for any"))
}

fn name(text: &str) -> Result<Arc<str>, Wrong> {
    let fits =
        !text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if text == "-" {
        let advice = "write a word, products: logs and metrics say - where no rule matches";
        return Err(Wrong::new("`-` cannot be a name", advice));
    }
    if !fits || text.trim() != text {
        return Err(Wrong::new(
            format!("`{text}` cannot be a name"),
            "write a word of ASCII letters, products",
        ));
    }
    Ok(text.into())
}

/// The match plus its narrowing. Values of headers stay out: they may be secrets.
fn default_name(rule: &Rule) -> Arc<str> {
    let mut name = String::new();
    if let Some(methods) = &rule.methods {
        let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
        name.push_str(&format!("{} ", methods.join(",")));
    }
    name.push_str(rule.host.as_deref().unwrap_or_default());
    name.push_str(rule.pattern.as_str());
    for (header, _) in &rule.headers {
        name.push_str(&format!(" {header}"));
    }
    name.into()
}

fn check_names(reader: &mut Reader<'_>, places: &[&At<'_>], rules: &[Rule]) -> bool {
    let mut lines: HashMap<&str, usize> = HashMap::new();
    let mut differ = true;
    for (at, rule) in places.iter().zip(rules) {
        if let Some(line) = lines.insert(&rule.name, at.node.span.line) {
            let message = format!("a second rule with the name `{}`", rule.name);
            let advice = format!("the first is on line {line}: remove one, or give this one a `name`");
            reader.wrong(at, Wrong::new(message, advice));
            differ = false;
        }
    }
    differ
}

/// What is allowed, but seldom meant.
fn warn(reader: &mut Reader<'_>, at: &At<'_>, rule: &Rule) {
    let Some(cache) = &rule.cache else { return };
    let mut warn = |text: &str| reader.warnings.push(format!("{} (`{}`): {text}", at.path, rule.name));
    if cache.ignore.no_store || cache.ignore.private {
        let directives = [(cache.ignore.no_store, "no-store"), (cache.ignore.private, "private")];
        let words: Vec<&str> = directives.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
        warn(&format!("responses marked {} are stored and served to everybody", words.join(" and ")));
    }
    if cache.set_cookie == SetCookie::Store {
        warn("one client's Set-Cookie is stored and served to everybody");
    }
    if rule.methods.as_deref().is_some_and(|methods| !methods.contains(&Method::GET)) {
        warn("it does not match GET, so nothing will be stored under it");
    }
}
