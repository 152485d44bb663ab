//! The reference of the file: a table for each map, in Markdown.

use std::fmt::Write as _;

use super::keys::{ANY, Absent, Key, Keys, Kind};

const HEAD: &str = "\
# Every key of the file

Written by the program from the tables by which it reads the file; [config.schema.json](config.schema.json) is
written from them too. An editor with a YAML server checks and completes a file that begins with a line which
names it, as [config.yaml](../config.yaml) does. `sidecache schema` prints it.

Durations and sizes carry units (`300s`, `5m`, `1h30m`; `64MiB`, `64MB`). `${NAME}`, `${NAME:-default}`,
`${NAME:?message}` take variables of the environment, in any value that is no list and no map, and `$$` is a dollar
sign. Where a list of scalars is taken, one alone needs no brackets. Unknown keys are errors. The file is at most
1 MiB.
";

/// The reference, as it stands in `docs/reference.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    section(&mut out, "", "The file", &super::KEYS);
    out
}

/// The table of a map, and then those of the maps in it.
fn section(out: &mut String, path: &str, title: &str, keys: &Keys) {
    let _ = write!(out, "\n## {title}\n\n| key | default | takes | meaning |\n|---|---|---|---|\n");
    for key in keys.known {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            key.name,
            absent(key),
            cell(&takes(&key.takes)),
            cell(key.doc)
        );
    }
    for key in keys.known {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        for (keys, is_list) in maps(&key.takes) {
            let path = if is_list { format!("{path}[]") } else { path.clone() };
            section(out, &path, &format!("`{path}`"), keys);
        }
    }
}

fn absent(key: &Key) -> String {
    match key.absent {
        Absent::Refused => "required".to_owned(),
        Absent::Is(value) => format!("`{value}`"),
        Absent::Means(words) => cell(words),
    }
}

/// The maps that a key takes, each once, and whether in a list.
pub(super) fn maps(kind: &Kind) -> Vec<(&'static Keys, bool)> {
    match kind {
        Kind::Map(keys) => vec![(keys, false)],
        Kind::Maps { of, .. } => vec![(of, true)],
        Kind::Either(kinds) => {
            let mut found: Vec<(&'static Keys, bool)> = kinds.iter().flat_map(maps).collect();
            found.truncate(1);
            found
        }
        _ => Vec::new(),
    }
}

/// In words.
fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Text(form) => form.is.to_owned(),
        Kind::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Switch => "`true`, `false`".to_owned(),
        Kind::Count { least, most } => format!("a number, {least} to {most}"),
        Kind::List { of, least, most } | Kind::Items { of, least, most } => {
            format!("{} of: {}", list(*least, *most), takes(of))
        }
        Kind::Map(_) => "a map".to_owned(),
        Kind::Maps { least, most, .. } => format!("{} of maps", list(*least, *most)),
        Kind::Free { key, value } => format!("a map, of {} to {}", key.is, takes(value)),
        Kind::Empty => "nothing".to_owned(),
        Kind::Either(kinds) => kinds.iter().map(takes).collect::<Vec<_>>().join("; or "),
    }
}

fn list(least: usize, most: usize) -> String {
    match (least, most) {
        (0, ANY) => "a list".to_owned(),
        (_, ANY) => format!("a list of {least} or more"),
        (_, _) => format!("a list of {least} to {most}"),
    }
}

/// As it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
