//! The import rule: pure ← seams ← adapters ← story ← edge. A file imports from its own layer or
//! below.

use crate::source::Source;

/// How far from the pure rules something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// Computes, and does nothing else.
    Pure,
    /// What the layers above agree upon.
    Seam,
    /// Talks to the world behind a seam.
    Adapter,
    /// What happens to a request.
    Story,
    /// Where requests and operators come in.
    Edge,
}

/// Where each module is; the longest name that fits counts.
const MODULES: [(Layer, &[&str]); 5] = [
    (
        Layer::Pure,
        // An offset between two clocks reads neither.
        &[
            "address",
            "admit",
            "advice",
            "clock::Offset",
            "epoch",
            "headers",
            "histogram",
            "key",
            "limits",
            "policy",
            "purge",
            "routes",
            "sabotage",
            "status",
            "stored",
            "tags",
        ],
    ),
    (Layer::Seam, &["clock", "identity", "interim", "message", "observe", "reply", "store"]),
    (
        Layer::Adapter,
        &[
            "arrivals",
            "flight",
            "invalidations",
            "lately",
            "outcomes",
            "purges",
            "refreshes",
            "spool",
            "store::memory",
            "store::redis",
            "store::tiers",
            "tally",
            "upstream",
        ],
    ),
    (
        Layer::Story,
        &[
            "app", "ask", "error", "fill", "forward", "handler", "miss", "obsolete", "pass", "respond",
            "shadow", "siblings", "way",
        ],
    ),
    (
        Layer::Edge,
        &[
            "admin",
            "cli",
            "complaint",
            "config",
            "connection",
            "explain",
            "http1",
            "http2",
            "lib",
            "main",
            "places",
            "reload",
            "run",
            "server",
            "telemetry",
            "tls",
            "wrap",
        ],
    ),
];

/// The layer of a module or of what is in it.
pub(crate) fn layer(path: &[&str]) -> Option<Layer> {
    let fits =
        |name: &str| name.split("::").zip(path).filter(|(a, b)| a == *b).count() == name.split("::").count();
    let all = MODULES.iter().flat_map(|(layer, names)| names.iter().map(move |name| (*layer, *name)));
    all.filter(|(_, name)| fits(name)).max_by_key(|(_, name)| name.len()).map(|(layer, _)| layer)
}

/// The module that a file of `proxy/src` is.
pub(crate) fn module(source: &Source) -> Vec<&str> {
    let path = source.path.strip_prefix("proxy/src/").unwrap_or(&source.path);
    path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect()
}

/// What a file imports from layers above its own; a file without a layer.
pub(crate) fn upward_imports(source: &Source) -> Vec<String> {
    let module = module(source);
    let Some(own) = layer(&module) else {
        return vec![source.finding(0, "is in no layer: add it to tidy/layers.rs")];
    };
    let imports = imports(source, &module);
    let upward = imports.iter().filter_map(|(at, path)| Some((at, path, layer(path).filter(|l| *l > own)?)));
    upward
        .map(|(at, path, theirs)| {
            source.finding(*at, &format!("{own:?} imports {theirs:?}: {}", path.join("::")))
        })
        .collect()
}

/// Each path of this crate that a file names, from the crate's root, and where.
pub(crate) fn imports<'s>(source: &'s Source, module: &[&'s str]) -> Vec<(usize, Vec<&'s str>)> {
    let of = |root: &'static str, parent: &[&'s str]| {
        let paths = paths(source, root);
        paths.into_iter().map(|(at, path)| (at, [parent, &path].concat())).collect::<Vec<_>>()
    };
    let from_here = of("super", &[]).into_iter().map(|(at, path)| (at, climb(module, &path)));
    [of("crate", &[]), of("sidecache", &[]), from_here.collect()].concat()
}

/// Where `super::` and what follows it leads from a module.
fn climb<'s>(module: &[&'s str], path: &[&'s str]) -> Vec<&'s str> {
    let above = module.split_last().map_or(module, |(_, above)| above);
    match path.split_first() {
        Some((&"super", rest)) => climb(above, rest),
        _ => [above, path].concat(),
    }
}

/// Every path that begins with `root`, without it: trees in braces are unfolded.
pub(crate) fn paths<'s>(source: &'s Source, root: &'static str) -> Vec<(usize, Vec<&'s str>)> {
    let mut all = Vec::new();
    for at in source.places(root) {
        let rest = source.code[at + root.len()..].strip_prefix("::");
        let Some(rest) = rest.filter(|_| !source.code[..at].ends_with("::")) else { continue };
        let mut found = Vec::new();
        unfold(rest, &[], &mut found);
        all.extend(found.into_iter().map(|path| (at, path)));
    }
    all
}

/// Reads one tree of a `use`; gives what follows it.
fn unfold<'c>(code: &'c str, parent: &[&'c str], found: &mut Vec<Vec<&'c str>>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut inside) = code.strip_prefix('{') {
        loop {
            inside = inside.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            match inside.strip_prefix('}') {
                Some(rest) => return rest,
                None if inside.is_empty() => return inside,
                None => inside = unfold(inside, parent, found),
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let (word, rest) = code.split_at(end.max(code.chars().next().map_or(0, char::len_utf8)));
    let path = [parent, &[word]].concat();
    let goes_on = |c: char| c.is_alphabetic() || matches!(c, '_' | '{' | '*');
    if let Some(rest) = rest.strip_prefix("::").filter(|rest| rest.starts_with(goes_on)) {
        return unfold(rest, &path, found);
    }
    found.push(path);
    // ` as name`
    match rest.trim_start().strip_prefix("as ") {
        Some(alias) => alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest,
    }
}

#[test]
fn the_longest_name_says_the_layer() {
    for (path, expected) in [
        (&["policy", "reuse"][..], Some(Layer::Pure)),
        (&["store"], Some(Layer::Seam)),
        (&["store", "Lookup"], Some(Layer::Seam)),
        (&["store", "redis", "link"], Some(Layer::Adapter)),
        (&["clock", "Clock"], Some(Layer::Seam)),
        (&["clock", "Offset"], Some(Layer::Pure)),
        (&["stores"], None),
    ] {
        assert_eq!(layer(path), expected, "{path:?}");
    }
}

#[test]
fn an_import_from_above_is_found_however_it_is_written() {
    for (path, text, expected) in [
        ("policy/a.rs", "use crate::store::Store;", "Pure imports Seam: store::Store"),
        (
            "flight.rs",
            "use crate::{\n key::{A, B as C},\n handler::{self as h, x::*}};",
            "Adapter imports Story: handler::self",
        ),
        (
            "store/mod.rs",
            "fn f() { let a = crate::store::redis::open(); }",
            "Seam imports Adapter: store::redis::open",
        ),
        ("store/mod.rs", "use super::server::{Server};", "Seam imports Edge: server::Server"),
        ("store/redis/a.rs", "use super::super::super::app;", "Adapter imports Story: app"),
        ("helm.rs", "", "is in no layer"),
    ] {
        let findings = upward_imports(&Source::new(&format!("proxy/src/{path}"), text));
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{path}: {text}: {findings:?}");
    }
}

#[test]
fn an_import_from_below_is_none_of_these() {
    let text = "use std::fmt;\nuse super::{Store, key};\nuse crate::{policy::{a, b as c}, clock::Clock};\n\
                // use crate::server::Server;\n#[cfg(test)]\nmod tests { use crate::run; }\n";
    let findings = upward_imports(&Source::new("proxy/src/store/memory.rs", text));
    assert_eq!(findings, Vec::<String>::new());
}
