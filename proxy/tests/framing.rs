//! Requests that two parsers could read in two ways, each as a file in `requests/`.
//!
//! A file begins with lines of comment, which say what must come of it:
//!
//! | line | meaning |
//! |---|---|
//! | `# answers: GET /a, POST /b` | exactly these are answered, in this order; none, if it is absent |
//! | `# then: kept` | the connection takes a further request |
//! | `# then: closed` | it is closed after the answers |
//! | `# then: refused` | so it is, with one more answer that refuses at most; the origin saw nothing |
//! | `# then: aborted` | the same, but the origin may have seen the beginning of a request |
//! | `# origin: POST /b` | what the origin got to its end, if that is not what was answered |
//! | `# primed: /a` | this was asked for before, and is stored |
//!
//! The bytes follow: line ends of the file count for nothing, `\r \n \t \0 \\ \xHH` and `\{9*a}`
//! (nine of them) stand for what they look like.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

mod support;

use std::{fs, path::Path};

use support::{
    echo::Echo,
    sidecar::Sidecar,
    wire::{Message, Wire},
};
use tokio::task::yield_now;

const RULES: &str = "
routes:
  - match: /cached
    cache: 1h
";

/// What may refuse a request (THREATS: standard pass line), besides closing without a word.
const REFUSALS: [u16; 9] = [400, 405, 411, 413, 414, 417, 431, 501, 505];

/// How the bytes are sent: parsers have differed at the boundaries of reads.
#[derive(Clone, Copy, Debug)]
enum Way {
    AtOnce,
    LineByLine,
    ByteByByte,
}

/// Up to here single bytes; what follows in such a case is filling.
const SINGLE_BYTES: usize = 1024;

impl Way {
    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::AtOnce => vec![bytes],
            Self::LineByLine => bytes.split_inclusive(|&b| b == b'\n').collect(),
            Self::ByteByByte => {
                let (single, rest) = bytes.split_at(bytes.len().min(SINGLE_BYTES));
                single.chunks(1).chain([rest].into_iter().filter(|rest| !rest.is_empty())).collect()
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    name: String,
    answers: Vec<String>,
    then: Then,
    origin: Vec<String>,
    primed: Option<String>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Kept,
    Closed,
    Refused,
    Aborted,
}

impl Case {
    fn parse(name: &str, text: &str) -> Self {
        let (said, bytes): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('#'));
        let said = |what: &str| said.iter().find_map(|line| line.strip_prefix(what)).map(str::trim);
        let list = |what| {
            said(what).map(|list| list.split(", ").filter(|one| !one.is_empty()).map(str::to_owned).collect())
        };
        let answers: Vec<String> = list("# answers:").unwrap_or_default();
        let then = match said("# then:") {
            Some("kept") => Then::Kept,
            Some("closed") => Then::Closed,
            Some("refused") => Then::Refused,
            Some("aborted") => Then::Aborted,
            other => panic!("{name}: then {other:?}?"),
        };
        Self {
            name: name.to_owned(),
            origin: list("# origin:").unwrap_or_else(|| answers.clone()),
            answers,
            then,
            primed: said("# primed:").map(str::to_owned),
            bytes: unescape(&bytes.concat()),
        }
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 80, "only {} cases found", files.len());
    let case = |file: &std::path::PathBuf| {
        Case::parse(file.file_stem().unwrap().to_str().unwrap(), &fs::read_to_string(file).unwrap())
    };
    files.iter().map(case).chain(control_bytes()).collect()
}

/// Each byte that no field may have (RFC 9110 §5.5), but for those that end a line.
fn control_bytes() -> impl Iterator<Item = Case> {
    let all = (0x00..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte));
    all.map(|byte| {
        let text = format!(
            "# then: refused\nGET /p HTTP/1.1\\r\\n\nHost: a\\r\\n\nX: a\\x{byte:02x}b\\r\\n\n\\r\\n"
        );
        Case::parse(&format!("b03_control_{byte:02x}"), &text)
    })
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
                bytes.extend(what.repeat(count.parse().unwrap()).into_bytes());
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
    assert_eq!(unescape(r"a\r\n\t\0\\\x7f\{3*ab}z"), b"a\r\n\t\0\\\x7fabababz");
}

#[tokio::test]
async fn each_request_at_once() {
    run(Way::AtOnce).await;
}

#[tokio::test]
async fn each_request_line_by_line() {
    run(Way::LineByLine).await;
}

/// Both ends are on this one thread: two turns of its runtime let the sidecar read each byte alone.
#[tokio::test]
async fn each_request_byte_by_byte() {
    run(Way::ByteByByte).await;
}

/// Tries every case, and tells of all that fail.
async fn run(way: Way) {
    let origin: &'static Echo = Box::leak(Box::new(Echo::start().await));
    let sidecar: &'static Sidecar = Box::leak(Box::new(Sidecar::start(origin.address, RULES)));
    let mut failed = Vec::new();
    for case in cases() {
        let name = case.name.clone();
        let judged = tokio::spawn(try_case(case, way, origin, sidecar)).await;
        if let Some(why) = judged.map_or_else(|panic| Some(panic.to_string()), Result::err) {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{way:?}:\n{}", failed.join("\n"));
}

async fn try_case(case: Case, way: Way, origin: &Echo, sidecar: &Sidecar) -> Result<(), String> {
    if let Some(path) = &case.primed {
        sidecar.get(path).await;
    }
    let mut neighbour = sidecar.connect().await;
    clean(&mut neighbour, "/before").await?;
    origin.forget();
    let stored = sidecar.stored();

    let (answers, refusal) = exchange(&case, way, sidecar).await?;
    judge(&case, &answers, refusal)?;

    clean(&mut sidecar.connect().await, "/after").await?;
    clean(&mut neighbour, "/beside").await?;
    origin.is_quiet().await;
    let mut reached: Vec<_> = origin.requests().iter().map(|r| r.asked().to_owned()).collect();
    reached.retain(|asked| !["GET /after", "GET /beside", "GET /last"].contains(&asked.as_str()));
    equal("the origin saw", &reached, &case.origin)?;
    if sidecar.stored() > stored {
        return Err("something was stored".into());
    }
    let begun = origin.heard(b" /p ") || origin.heard(b" /cached ");
    if case.then == Then::Refused && case.answers.is_empty() && begun {
        return Err("the origin saw its beginning".into());
    }
    Ok(())
}

/// A request that is right gets its own answer.
async fn clean(wire: &mut Wire, path: &str) -> Result<(), String> {
    if !wire.try_send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await {
        return Err(format!("the connection for {path} is closed"));
    }
    let answer = wire.response().await;
    equal("a clean request got", &(answer.status(), answer.text()), &(200, format!("GET {path}")))
}

/// Sends the bytes; the answers up to the end of the connection, a refusal apart.
async fn exchange(case: &Case, way: Way, sidecar: &Sidecar) -> Result<(Vec<Message>, Option<u16>), String> {
    let mut wire = sidecar.connect().await;
    for piece in way.pieces(&case.bytes) {
        if !wire.try_send(piece).await {
            break; // Refused before its end.
        }
        yield_now().await;
        yield_now().await;
    }
    if case.then == Then::Kept {
        let last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        wire.try_send(last).await;
    }
    let methods = case.answers.iter().map(|asked| asked.split(' ').next().unwrap_or_default());
    let mut methods = methods.chain(["GET"]);
    let (mut answers, mut refusal) = (Vec::new(), None);
    while let Some(mut head) = wire.next_head().await {
        if head.status() < 200 {
            continue;
        }
        if refusal.is_some() {
            return Err("an answer follows the refusal".into());
        }
        let ends = head.response_ends(methods.next().ok_or("too many answers")?);
        wire.body(&mut head, ends).await;
        match head.status() {
            200 => answers.push(head),
            status => refusal = Some(status),
        }
    }
    equal("bytes after the last answer", &wire.rest().await, &Vec::new())?;
    Ok((answers, refusal))
}

fn judge(case: &Case, answers: &[Message], refusal: Option<u16>) -> Result<(), String> {
    let mut expected = case.answers.clone();
    if case.then == Then::Kept {
        expected.push("GET /last".into());
    }
    let body = |asked: &String| if asked.starts_with("HEAD ") { String::new() } else { asked.clone() };
    let expected: Vec<_> = expected.iter().map(body).collect();
    equal("answers", &answers.iter().map(Message::text).collect(), &expected)?;
    match (case.then, refusal) {
        (_, None) => Ok(()),
        (Then::Refused | Then::Aborted, Some(status)) if REFUSALS.contains(&status) => Ok(()),
        (_, Some(status)) => Err(format!("answered with {status}")),
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?}, not {should:?}")) }
}
