//! What is in a file of `cases/`: see `cases/README.md`.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use crate::support::echo::Script;

/// One file, or one of its values.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `a05_length_hex`, and where there are values which one.
    pub(crate) name: String,
    /// Lines of configuration; none for the ones of all.
    pub(crate) config: Option<String>,
    /// What the origin answers where it is told something.
    pub(crate) app: Script,
    pub(crate) does: Does,
    /// What came to its end at the origin, in order, if that counts.
    pub(crate) origin: Option<Vec<String>>,
    /// What is, or is not, among the bytes that the origin got.
    pub(crate) heard: Vec<(String, bool)>,
    /// How many resources are stored at the end, if that counts.
    pub(crate) stored: Option<usize>,
    /// How many connections the origin took, if that counts.
    pub(crate) connections: Option<usize>,
    /// An app in HTTP/2 could not answer so.
    pub(crate) only_http_1: bool,
}

/// What is sent, and what must come of it.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Request(Request),
    Story(Vec<Step>),
}

/// Bytes that two parsers could read in two ways.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) primed: Option<String>,
    /// Exactly these are answered, in this order.
    pub(crate) answers: Vec<String>,
    pub(crate) then: Then,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Kept,
    Closed,
    Refused,
    Aborted,
}

/// One step of a story.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Says { who: String, bytes: Vec<u8>, gets: Vec<Gets> },
    After(Duration),
}

/// What comes back.
#[derive(Clone, Debug)]
pub(crate) enum Gets {
    /// One more answer, of one of these statuses.
    Status(Vec<u16>),
    /// That answer has this in it, in any case; or it has not.
    Text(String, bool),
    /// That answer has so many lines of this field.
    Lines(usize, String),
    /// An answer that looks cut.
    Cut,
    /// The connection is closed.
    Closed,
    /// Nothing is waited for: the client is gone.
    Leaves,
}

/// All cases; the one of a file with values is one for each.
pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/threats/cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "http"));
    files.sort();
    let name = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().flat_map(|file| of_file(&name(file), &fs::read_to_string(file).unwrap())).collect()
}

fn of_file(name: &str, text: &str) -> Vec<Case> {
    let values: Vec<_> = said(text, "value").collect();
    if values.is_empty() {
        return vec![Case::parse(name, text)];
    }
    let one = |value: &&str| Case::parse(&format!("{name} with {value}"), &text.replace(r"\{}", value));
    values.iter().map(one).collect()
}

/// The values of a directive, in their order.
fn said<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = &'a str> {
    let directives = text.lines().filter_map(|line| line.strip_prefix("# "));
    directives.filter_map(move |line| line.strip_prefix(what)?.strip_prefix(':')).map(str::trim)
}

impl Case {
    /// The row that it is of.
    pub(crate) fn row(&self) -> String {
        let id = self.name.split('_').next().unwrap_or_default();
        let (section, number) = id.split_at(1);
        format!("{}{}", section.to_uppercase(), number.trim_start_matches('0'))
    }

    /// Whether it is about how the app, or what we send it, is in HTTP/1.
    pub(crate) fn is_about_http_1(&self) -> bool {
        self.only_http_1 || self.name.starts_with('a') || self.connections.is_some() || !self.heard.is_empty()
    }

    fn parse(name: &str, text: &str) -> Self {
        let number = |what| said(text, what).next().map(|number| number.parse().unwrap());
        let heard = |what, is_so| said(text, what).map(move |bytes| (unescaped_text(bytes), is_so));
        let config: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# config: ")).collect();
        Self {
            name: name.to_owned(),
            config: (!config.is_empty()).then(|| config.join("\n")),
            app: app(text),
            does: does(name, text),
            origin: said(text, "origin").next().map(list),
            heard: heard("origin with", true).chain(heard("origin without", false)).collect(),
            stored: number("stored"),
            connections: number("connections"),
            only_http_1: said(text, "only").any(|version| version == "HTTP/1"),
        }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(", ").filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// `# app /path: answer`, once or more for a path.
fn app(text: &str) -> Script {
    let mut script: Script = HashMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# app ")) {
        let (path, answer) = line.split_once(": ").expect("a path and an answer");
        script.entry(path.to_owned()).or_default().push(unescape(answer));
    }
    script
}

fn does(name: &str, text: &str) -> Does {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    if lines.clone().any(|line| line.starts_with("@ ")) {
        return Does::Story(story(lines));
    }
    let then = match said(text, "then").next() {
        Some("kept") => Then::Kept,
        Some("closed") => Then::Closed,
        Some("refused") => Then::Refused,
        Some("aborted") => Then::Aborted,
        other => panic!("{name}: then {other:?}?"),
    };
    Does::Request(Request {
        primed: said(text, "primed").next().map(str::to_owned),
        answers: said(text, "answers").next().map(list).unwrap_or_default(),
        then,
        bytes: unescape(&lines.collect::<String>()),
    })
}

fn story<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in lines {
        if let Some(seconds) = line.strip_prefix("@ after ") {
            steps.push(Step::After(Duration::from_secs(seconds.trim_end_matches('s').parse().unwrap())));
        } else if let Some(who) = line.strip_prefix("@ ") {
            steps.push(Step::Says { who: who.to_owned(), bytes: Vec::new(), gets: Vec::new() });
        } else if let Some(Step::Says { bytes, gets, .. }) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(what) => gets.push(Gets::parse(what)),
                None => bytes.extend(unescape(line)),
            }
        }
    }
    steps
}

impl Gets {
    fn parse(what: &str) -> Self {
        match what.split_once(": ") {
            Some(("with", text)) => Self::Text(unescaped_text(text).to_lowercase(), true),
            Some(("without", text)) => Self::Text(unescaped_text(text).to_lowercase(), false),
            Some((count, name)) => {
                let count = count.strip_suffix(" of").and_then(|count| count.parse().ok());
                Self::Lines(count.unwrap_or_else(|| panic!("what is {what:?}?")), name.to_owned())
            }
            None if what == "closed" => Self::Closed,
            None if what == "cut" => Self::Cut,
            None if what == "leaves" => Self::Leaves,
            None => Self::Status(what.split(" or ").map(|status| status.parse().expect(what)).collect()),
        }
    }
}

fn unescaped_text(text: &str) -> String {
    String::from_utf8_lossy(&unescape(text)).into_owned()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            "{" => {
                let (inside, after) = after.split_once('}').unwrap();
                let (count, what) = inside.split_once('*').unwrap();
                bytes.extend(unescape(what).repeat(count.parse().unwrap()));
                rest = after;
            }
            other => panic!("no such escape: \\{other}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn escapes_are_what_they_look_like() {
    assert_eq!(unescape(r"a\r\n\t\0\\\x7f\{3*a\n}z"), b"a\r\n\t\0\\\x7fa\na\na\nz");
}

#[test]
fn a_file_with_values_is_a_case_for_each() {
    let text = "# A5: two\n# value: 1\n# value: \\x20\n# then: closed\nX: \\{}\n";
    let cases = of_file("a05_two", text);
    let bytes = cases.iter().map(|case| match &case.does {
        Does::Request(request) => request.bytes.clone(),
        Does::Story(_) => panic!("a request"),
    });
    assert_eq!(bytes.collect::<Vec<_>>(), [b"X: 1".to_vec(), b"X:  ".to_vec()]);
    assert_eq!(cases[0].row(), "A5");
}
