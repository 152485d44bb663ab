//! `access_log`: which requests get a line in the log. And `traceparent`.

use super::{
    problem::Wrong,
    reader::{At, Entries, Keys, Reader},
    route::{PATH, pattern},
    scalar::{duration, percent},
};
use crate::{routes::Pattern, telemetry::access::AccessLog};

/// Each is compared with the path of every request.
const MOST: usize = 32;

const KEYS: Keys = Keys {
    known: &["sample", "slow", "quiet"],
    later: &[],
    foreign: &[
        ("rate", "did you mean `sample`?"),
        ("sampling", "did you mean `sample`?"),
        ("share", "did you mean `sample`?"),
        ("slower_than", "did you mean `slow`?"),
        ("threshold", "did you mean `slow`?"),
        ("exclude", "did you mean `quiet`?"),
        ("skip", "did you mean `quiet`?"),
        ("ignore", "did you mean `quiet`?"),
        ("paths", "did you mean `quiet`?"),
        ("fields", "the fields are always the same; the README lists them"),
        ("format", "the format is set on the command line: --log-format"),
        ("level", "levels are set on the command line: --log info,access=off leaves these lines out"),
        ("file", "lines go to stderr"),
        ("path", "lines go to stderr"),
    ],
};

/// What `traceparent` may say: whether a trace begins here where none comes with a request.
pub(super) const TRACEPARENT: [(&str, bool); 2] = [("pass", false), ("create", true)];

/// Reads `access_log`.
pub(super) fn access_log(reader: &mut Reader<'_>, at: &At<'_>) -> Option<AccessLog> {
    let entries = reader.entries(at, "a map, sample: 10% or quiet: [/healthz]", &KEYS)?;
    let default = AccessLog::default();
    let sample = entries.get("sample").map_or(Some(default.sample), |at| {
        reader.scalar(at, "a share of the requests, 10%", |text| percent(text, 100))
    });
    let slow =
        entries.get("slow").map_or(Some(default.slow), |at| reader.scalar(at, "a duration, 1s", duration));
    let quiet = quiet(reader, &entries);
    Some(AccessLog { sample: sample?, slow: slow?, quiet: quiet? })
}

fn quiet(reader: &mut Reader<'_>, entries: &Entries<'_>) -> Option<Vec<Pattern>> {
    let Some(at) = entries.get("quiet") else { return Some(Vec::new()) };
    let patterns = reader.list(at, PATH, pattern)?;
    if patterns.len() > MOST {
        reader.wrong(at, Wrong::new(format!("more than {MOST} paths"), format!("write {MOST} at most")));
        return None;
    }
    Some(patterns)
}
