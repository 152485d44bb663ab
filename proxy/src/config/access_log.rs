//! `access_log`: which requests get a line in the log. And `traceparent`.

use std::time::Duration;

use super::{
    keys::{Absent, Key, Keys, Kind, Text},
    problem::Wrong,
    reader::{At, Entries, Reader},
    route::{PATTERN, pattern},
    scalar::{DURATION, duration, percent},
};
use crate::{routes::Pattern, telemetry::access::AccessLog};

/// Each is compared with the path of every request.
const MOST: usize = 32;

const SHARE: Text =
    Text { is: "a share of the requests in whole percent, 10%", like: "0*([0-9]{1,2}|100)%", bare: false };

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "sample",
            Absent::Is("100%"),
            Kind::Text(&SHARE),
            "the share of requests that get a line; errors (5xx) and answers that were cut have one in \
             any case",
        ),
        Key::new(
            "slow",
            Absent::Is("1s"),
            Kind::Text(&DURATION),
            "requests that take so long have one in any case",
        ),
        Key::new(
            "quiet",
            Absent::Is("[]"),
            Kind::List { of: &Kind::Text(&PATTERN), least: 0, most: MOST },
            "paths, as in a rule, of which only errors (4xx, 5xx) have one",
        ),
    ],
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

const MAP: &str = "a map, sample: 10% or quiet: [/healthz]; sample: 0% leaves \
                   errors and slow requests alone, the command line's --log info,access=off nothing";

/// What `traceparent` may say: whether a trace begins here where none comes with a request.
pub(super) const TRACEPARENT: [(&str, bool); 2] = [("pass", false), ("create", true)];

/// Reads `access_log`.
pub(super) fn access_log(reader: &mut Reader<'_>, at: &At<'_>) -> Option<AccessLog> {
    let entries = reader.entries(at, MAP, &KEYS)?;
    let default = AccessLog::default();
    let sample = entries
        .get("sample")
        .map_or(Some(default.sample), |at| reader.scalar(at, SHARE.is, |text| percent(text, 100)));
    let slow = entries.get("slow").map_or(Some(default.slow), |at| reader.scalar(at, "a duration, 1s", slow));
    let quiet = quiet(reader, &entries);
    Some(AccessLog { sample: sample?, slow: slow?, quiet: quiet? })
}

fn slow(text: &str) -> Result<Duration, Wrong> {
    match text {
        "off" | "false" => Err(Wrong::new(
            "`slow` cannot be off",
            "write 1d, which no request takes; on the command line, --log info,access=off ends all lines",
        )),
        _ => duration(text),
    }
}

fn quiet(reader: &mut Reader<'_>, entries: &Entries<'_>) -> Option<Vec<Pattern>> {
    let Some(at) = entries.get("quiet") else { return Some(Vec::new()) };
    let patterns = reader.list(at, PATTERN.is, pattern)?;
    if patterns.len() > MOST {
        reader.wrong(at, Wrong::new(format!("more than {MOST} paths"), format!("write {MOST} at most")));
        return None;
    }
    Some(patterns)
}
