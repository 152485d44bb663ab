//! What of the design a scan of the source can hold: the import rule, the pure files, the one copy
//! of the flow, and the shape of files and functions. Each check is shown to fail on a snippet.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may end here"
)]

mod layers;
mod source;

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    layers::{Layer, imports, layer, module, paths, upward_imports},
    source::{Source, item, sources},
};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;

/// Words by which a file would wait, or read a clock.
const IMPURE_WORDS: [&str; 5] = ["async", "await", "tokio", "SystemTime::now", "Instant::now"];
/// Ways out of the process.
const IMPURE_PATHS: [&str; 10] = [
    "env",
    "fs",
    "io",
    "net::Tcp",
    "net::Udp",
    "net::ToSocketAddrs",
    "os",
    "process",
    "thread",
    "time::Instant",
];

/// Names that say nothing.
const IDLE_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "misc", "shared", "stuff"];

/// Runs a check over all sources of some folders.
fn hold(folders: &[&str], check: impl Fn(&Source) -> Vec<String>) {
    let sources: Vec<Source> = folders.iter().flat_map(|folder| sources(folder)).collect();
    assert!(sources.len() >= 5, "only {} files were found", sources.len());
    let findings: Vec<String> = sources.iter().flat_map(check).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Whether a check finds this in a file of `proxy/src`.
fn finds(check: impl Fn(&Source) -> Vec<String>, path: &str, text: &str, expected: &str) {
    let findings = check(&Source::new(&format!("proxy/src/{path}"), text));
    assert!(findings.iter().any(|finding| finding.contains(expected)), "{text}: {findings:?}");
}

#[test]
fn a_file_imports_from_its_own_layer_or_below() {
    hold(&["proxy/src"], upward_imports);
}

/// Pure files do no I/O, never await, never read a clock.
fn impurities(source: &Source) -> Vec<String> {
    // What is left out on purpose is named by the environment, in builds that are never shipped.
    if layer(&module(source)) != Some(Layer::Pure) || module(source) == ["sabotage"] {
        return Vec::new();
    }
    let words =
        IMPURE_WORDS.iter().flat_map(|word| source.places(word).map(move |at| (at, (*word).to_owned())));
    let ways_out = paths(source, "std").into_iter().map(|(at, path)| (at, path.join("::")));
    let ways_out = ways_out.filter(|(_, path)| IMPURE_PATHS.iter().any(|way| path.starts_with(way)));
    words.chain(ways_out).map(|(at, what)| source.finding(at, &format!("a pure file names {what}"))).collect()
}

#[test]
fn pure_files_only_compute() {
    hold(&["proxy/src"], impurities);
    finds(impurities, "policy/a.rs", "pub async fn a() {}", "async");
    finds(impurities, "key.rs", "fn a() { b().await; }", "await");
    finds(impurities, "key.rs", "use tokio::sync::Mutex;", "tokio");
    finds(impurities, "routes/mod.rs", "let now = std::time::SystemTime::now();", "SystemTime::now");
    finds(impurities, "admit/mod.rs", "use std::{fmt, net::{IpAddr, TcpStream}};", "net::TcpStream");
    finds(impurities, "stored.rs", "use std::{fs::File, time::Duration};", "fs::File");
}

/// Only `handler.rs` acts on the policy's decision, which only the policy makes; one other file says in words what
/// it is.
fn second_flows(source: &Source) -> Vec<String> {
    let tell = ["proxy/src/handler.rs", "proxy/src/explain/decided.rs"];
    if tell.contains(&&*source.path) || module(source).first() == Some(&"policy") {
        return Vec::new();
    }
    source.places("Decision").map(|at| source.finding(at, "only handler.rs acts on a Decision")).collect()
}

#[test]
fn there_is_one_copy_of_the_flow() {
    hold(&["proxy/src"], second_flows);
    finds(second_flows, "respond.rs", "match d { Decision::Serve(f) => f }", "only handler.rs");
}

/// The stores never know HTTP's rules: those are the policy's alone.
fn wise_stores(source: &Source) -> Vec<String> {
    let module = module(source);
    if module.first() != Some(&"store") {
        return Vec::new();
    }
    let wise = imports(source, &module).into_iter().filter(|(_, path)| path.first() == Some(&"policy"));
    wise.map(|(at, path)| source.finding(at, &format!("a store imports {}", path.join("::")))).collect()
}

#[test]
fn the_stores_know_nothing_of_the_policy() {
    hold(&["proxy/src"], wise_stores);
    finds(wise_stores, "store/memory.rs", "use crate::policy::freshness::lifetime;", "freshness");
}

/// Files and functions that are longer than a reader's breath.
fn long_ones(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    if source.lines > FILE_LINES {
        findings.push(source.finding(0, &format!("{} lines without tests", source.lines)));
    }
    for at in source.places("fn") {
        let lines = source.code[at..at + item(&source.code[at..])].lines().count();
        if lines > FUNCTION_LINES {
            findings.push(source.finding(at, &format!("a function of {lines} lines")));
        }
    }
    findings
}

#[test]
fn files_and_functions_are_short() {
    hold(&["proxy/src", "origin/src"], long_ones);
    finds(long_ones, "a.rs", &"//\n".repeat(FILE_LINES + 1), "401 lines without tests");
    let long = format!("fn a() -> [u8; 2] {{\n{}}}\nfn b() {{}}", "{ x(); }\n".repeat(FUNCTION_LINES));
    finds(long_ones, "a.rs", &long, "a.rs:1: a function of 72 lines");
    let tested = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(FILE_LINES));
    assert_eq!(long_ones(&Source::new("a.rs", &tested)), Vec::<String>::new());
}

/// Files and modules named after nothing in particular.
fn idle_names(source: &Source) -> Vec<String> {
    let words = source.path.split(['/', '.', '_']);
    let in_path = words.filter(|word| IDLE_NAMES.contains(word)).map(|word| source.finding(0, word));
    let modules = source.places("mod").filter_map(|at| {
        let name = source.code[at + 3..].split([';', '{']).next()?.trim();
        IDLE_NAMES.contains(&name).then(|| source.finding(at, name))
    });
    in_path.chain(modules).collect()
}

#[test]
fn names_say_something() {
    hold(&["proxy/src", "origin/src", "proxy/tests", "origin/tests"], idle_names);
    finds(idle_names, "http_utils.rs", "", "utils");
    finds(idle_names, "a.rs", "pub mod common { }", "common");
}

/// Work put off, and tests put aside.
fn left_overs(source: &Source) -> Vec<String> {
    let marks = ["TODO", "FIXME", "XXX", "#[ignore"];
    let found = marks.iter().flat_map(|mark| source.prose.match_indices(mark));
    found.map(|(at, mark)| source.finding(at.min(source.code.len()), mark)).collect()
}

#[test]
fn nothing_is_put_off() {
    hold(&["proxy/src", "origin/src", "proxy/tests", "origin/tests"], left_overs);
    finds(left_overs, "a.rs", "// TODO: the rest", "TODO");
    finds(
        left_overs,
        "a.rs",
        "#[cfg(test)]\nmod tests {\n#[ignore = \"slow\"]\nfn a() {} }",
        "a.rs:3: #[ignore",
    );
}

#[test]
fn every_broken_file_has_its_message_and_every_message_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    for (kind, least) in [("broken", 25), ("good", 3)] {
        let stems = |extension: &str| -> BTreeSet<_> {
            let paths = fs::read_dir(folder.join(kind)).unwrap().map(|entry| entry.unwrap().path());
            let with = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
            with.map(|path| path.file_stem().unwrap().to_owned()).collect()
        };
        let (files, messages) = (stems("yaml"), stems("txt"));
        assert!(files.len() >= least, "{kind}: {} files", files.len());
        assert_eq!(files, messages, "{kind}");
    }
}
