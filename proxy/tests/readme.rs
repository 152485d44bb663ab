//! The README is true: its files are the repository's, its examples parse, its tables name every
//! key, default and word there is, and no other.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may end here"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sidecache::{
    advice::Advice,
    config::Config,
    status::{Detail, Outcome},
};

use crate::support::users::Rights;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = read("README.md");
    let fence = format!("```{language}\n");
    let fences = readme.split(&fence).skip(1);
    fences.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The rows of the table whose head begins with these two columns.
fn table(columns: [&str; 2]) -> Vec<Vec<String>> {
    let readme = read("README.md");
    let head = format!("| {} | {} |", columns[0], columns[1]);
    let rows =
        readme.split(&head).skip(1).flat_map(|rest| rest.lines().skip(2).take_while(|l| l.starts_with('|')));
    let rows: Vec<Vec<String>> = rows
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// The string literals between two marks of a source file, all of its blocks of this kind together.
fn literals(file: &str, from: &str, to: &str) -> BTreeSet<String> {
    let source = read(file);
    let source = source.split("#[cfg(test)]").next().unwrap();
    let parts: Vec<&str> = source.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect();
    assert!(!parts.is_empty(), "{file}: no {from}");
    set(parts.iter().flat_map(|part| part.split('"').skip(1).step_by(2)))
}

/// A file with these lines in it, understood.
fn parse(lines: &str) -> Config {
    let mut text = String::new();
    for (key, value) in [("listen", "127.0.0.1:0"), ("upstream", "http://app:1"), ("routes", "[]")] {
        if !lines.lines().any(|line| line.starts_with(&format!("{key}:"))) {
            text.push_str(&format!("{key}: {value}\n"));
        }
    }
    text.push_str(lines);
    Config::parse(&text, "README.md", &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[test]
fn the_demo_s_rules_are_those_shown() {
    let shown = blocks("yaml");
    assert!(shown.contains(&read("config.yaml")), "README.md does not show config.yaml as it is");
}

#[test]
fn the_other_examples_are_understood() {
    let examples: Vec<String> =
        blocks("yaml").into_iter().filter(|block| !block.starts_with("services:")).collect();
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        parse(&example);
    }
}

#[test]
fn what_check_prints_is_what_is_shown() {
    let printed = parse(&read("config.yaml")).describe().to_string();
    let shown = blocks("console").into_iter().find(|block| block.starts_with("$ sidecache check")).unwrap();
    let part = shown.split('…').nth(1).unwrap().trim_start();
    assert!(printed.contains(part), "shown:\n{part}\nprinted:\n{printed}");
}

/// `UPDATE_EXPECTED=1 cargo test -p sidecache --test readme` writes them anew.
#[test]
fn the_schema_and_the_reference_are_the_program_s() {
    let schema = format!("{:#}\n", sidecache::config::schema());
    for (path, written) in
        [("docs/config.schema.json", schema), ("docs/reference.md", sidecache::config::reference())]
    {
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(at(path), &written).unwrap();
        }
        assert!(
            read(path) == written,
            "{path} is not what the program says; run this with UPDATE_EXPECTED=1"
        );
    }
    let first = read("config.yaml").lines().next().unwrap().to_owned();
    assert_eq!(first, "# yaml-language-server: $schema=docs/config.schema.json");
}

#[test]
fn every_outcome_and_every_detail_is_in_a_table() {
    let words = |column: &str| {
        let rows = table([column, "meaning"]);
        set(rows.iter().map(|row| quoted(&row[0])[0]))
    };
    assert_eq!(words("outcome"), set(Outcome::all().map(Outcome::word)));
    assert_eq!(words("detail"), set(Detail::ALL.iter().map(|detail| detail.as_str())));
}

#[test]
fn what_a_word_means_and_what_to_do_is_what_explain_says() {
    let advice_on = |word: &str| -> Advice {
        let outcome = Outcome::all().find(|outcome| outcome.word() == word);
        let detail = Detail::ALL.iter().find(|detail| detail.as_str() == word);
        outcome.map_or_else(|| *Advice::of(*detail.unwrap()), |outcome| *Advice::on(outcome))
    };
    for row in [table(["outcome", "meaning"]), table(["detail", "meaning"])].concat() {
        let advice = advice_on(quoted(&row[0])[0]);
        assert_eq!([&row[1], &row[2]], [advice.meaning, advice.action], "{}", row[0]);
        assert!(!advice.action.is_empty() && advice.because.len() > 5, "{}", row[0]);
    }
}

#[test]
fn every_error_of_the_proxy_s_own_is_in_a_table() {
    let rows = table(["status", "error"]);
    let listed = set(rows.iter().flat_map(|row| quoted(&row[1])));
    let mut known = literals("proxy/src/upstream/error.rs", "fn proxy_status_error", "\n    }");
    known.extend(literals("proxy/src/error.rs", "error: ", ","));
    assert_eq!(listed, known);
}

#[test]
fn the_metrics_named_are_those_there_are() {
    let readme = read("README.md");
    let named = quoted(&readme).into_iter().filter(|name| name.starts_with("sidecache_"));
    let named = set(named.map(|name| name.split('{').next().unwrap().trim_end_matches("_total")));
    let files = ["snapshot", "rule_metrics", "metrics", "log"].map(|file| format!("telemetry/{file}"));
    let sources = files.into_iter().chain(["reload/status".to_owned()]).map(|file| {
        let source = read(&format!("proxy/src/{file}.rs"));
        source.split("#[cfg(test)]").next().unwrap().to_owned()
    });
    let sources: String = sources.collect();
    let registered = set(sources.split('"').filter(|text| text.starts_with("sidecache_")));
    assert_eq!(named, registered);
}

/// What stands before the next quotation mark, in all places after this text.
fn names(source: &str, before: &str, mark: char) -> BTreeSet<String> {
    let rests = source.split(before).skip(1);
    rests.map(|rest| rest.split(mark).next().unwrap().to_ascii_lowercase()).collect()
}

/// The commands that the Redis tier sends, and those of its scripts.
fn commands_sent() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis");
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (folders, mut files): (Vec<_>, Vec<_>) =
        Vec::into_iter(entries(&folder)).partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| entries(folder)));
    assert!(files.len() > 30, "{files:?}");
    let sources: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut commands = names(&sources, "cmd(\"", '"');
    commands.extend(names(&sources, "redis.call('", '\''));
    assert!(commands.remove("client") && sources.contains("arg(\"TRACKING\")"));
    // Who may not ask is served all the same.
    for allowed_too in ["info", "dbsize"] {
        assert!(commands.remove(allowed_too), "{allowed_too}");
        assert!(read("docs/redis.md").contains(&format!("`+{allowed_too}`")), "{allowed_too}");
    }
    // Of sentinels, and where there are some.
    assert!(
        commands.remove("role") && commands.remove("sentinel") && read("docs/redis.md").contains("`+role`")
    );
    // In a cluster.
    assert!(commands.remove("cluster") && read("docs/redis.md").contains("`+cluster|slots`"));
    // The last three are the client library's: to connect, and for a script that is known by its hash.
    commands.extend(set(["client|tracking", "hello", "evalsha", "script|load"]));
    commands
}

#[test]
fn a_redis_user_needs_what_is_listed_and_no_more() {
    let words = |words: &[&str]| set(words.iter().map(|word| word.trim_start_matches('+')));
    assert_eq!(words(Rights::documented().words()), commands_sent());
    let reads = words(Rights::reading().words());
    assert!(reads.is_subset(&commands_sent()), "{reads:?}");

    let source = read("proxy/src/store/redis/mod.rs");
    let paragraph =
        source.split("The least that a Redis user").nth(1).unwrap().split("//!\n").next().unwrap();
    let listed = |text: &str| set(quoted(&text.replace("\n//!", "")).iter().flat_map(|list| list.split(' ')));
    let told: BTreeSet<String> =
        listed(paragraph).iter().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    assert_eq!(told, commands_sent(), "in the source's own words");
}

/// The headings of a page, as links name them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles
        .map(|title| title.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn the_links_lead_somewhere() {
    let docs =
        fs::read_dir(at("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let docs = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let pages: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned).into_iter().chain(docs).collect();
    for page in pages {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { at(&page) } else { at(folder.join(file).to_str().unwrap()) };
            assert!(path.exists(), "{page}: {link}");
            if !heading.is_empty() {
                assert!(headings(&fs::read_to_string(path).unwrap()).contains(heading), "{page}: {link}");
            }
        }
    }
}
