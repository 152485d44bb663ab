//! Requests from random bytes: of the words that matter where they stand, mostly well-formed, and with a few
//! slips. What random bytes alone would hardly ever be.

use arbitrary::{Result, Unstructured};

/// Of what requests are made. A choice beyond the end of a list is a word of random bytes.
pub struct Words {
    pub methods: &'static [&'static str],
    pub targets: &'static [&'static str],
    pub hosts: &'static [&'static str],
    /// Names and values.
    pub fields: &'static [(&'static str, &'static [&'static str])],
    pub bodies: &'static [&'static str],
}

/// The most requests of one connection.
const REQUESTS: usize = 4;
const FIELDS: usize = 6;
const SLIPS: usize = 3;

/// What may slip into a request.
const SLIP: [&str; 24] = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "_",
    "0",
    "1",
    "\x0b",
    "\x7f",
    "\u{e9}",
    "\"",
    "#",
    "?",
    "\r\n\r\n",
    "\r\n ",
    "0\r\n\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// What a connection sends: the data as they are where the first byte is odd, else requests made of them.
pub fn connection(data: &[u8], words: &Words) -> Vec<u8> {
    match data.split_first() {
        None => Vec::new(),
        Some((raw, data)) if raw % 2 == 1 => data.to_vec(),
        Some((_, data)) => requests(&mut Unstructured::new(data), words).unwrap_or_default(),
    }
}

fn requests(u: &mut Unstructured<'_>, words: &Words) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..u.int_in_range(1..=REQUESTS)? {
        request(u, words, &mut bytes)?;
    }
    // No slip at all is as likely as all others together.
    let slips = if u.arbitrary()? { u.int_in_range(0..=SLIPS)? } else { 0 };
    for _ in 0..slips {
        slip(u, &mut bytes)?;
    }
    Ok(bytes)
}

fn request(u: &mut Unstructured<'_>, words: &Words, out: &mut Vec<u8>) -> Result<()> {
    let versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
    for part in
        [pick(u, words.methods)?, b" ".into(), pick(u, words.targets)?, b" ".into(), pick(u, &versions)?]
    {
        out.extend(part);
    }
    out.extend(b"\r\nHost: ");
    out.extend(pick(u, words.hosts)?);
    out.extend(b"\r\n");
    for _ in 0..u.int_in_range(0..=FIELDS)? {
        field(u, words, out)?;
    }
    body(u, words, out)
}

fn field(u: &mut Unstructured<'_>, words: &Words, out: &mut Vec<u8>) -> Result<()> {
    let (name, values) = u.choose(words.fields)?;
    out.extend(name.as_bytes());
    out.extend(b": ");
    out.extend(pick(u, values)?);
    out.extend(b"\r\n");
    Ok(())
}

/// The framing, the end of the head, and the body.
fn body(u: &mut Unstructured<'_>, words: &Words, out: &mut Vec<u8>) -> Result<()> {
    let kind = u.int_in_range(0..=9_u8)?;
    let body = if kind < 4 { Vec::new() } else { pick(u, words.bodies)? };
    let length = format!("Content-Length: {}\r\n", body.len());
    let (framing, sent) = match kind {
        0..4 => (String::new(), body),
        4..6 => (length, body),
        6..8 => ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(u, &body)?),
        8 => (format!("Content-Length: {}\r\n", u.arbitrary::<u8>()?), body),
        _ => (format!("{length}Transfer-Encoding: chunked\r\n"), chunked(u, &body)?),
    };
    out.extend(framing.as_bytes());
    out.extend(b"\r\n");
    out.extend(sent);
    Ok(())
}

fn chunked(u: &mut Unstructured<'_>, body: &[u8]) -> Result<Vec<u8>> {
    let size = u.int_in_range(1..=16)?;
    let extension = ["", "", ";a", ";a=\"b\"", " "][usize::from(u.int_in_range(0..=4_u8)?)];
    let trailers = ["", "", "X-Sum: 1\r\n", "Host: evil\r\n", "Content-Length: 9\r\n"];
    let trailers = trailers[usize::from(u.int_in_range(0..=4_u8)?)];
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(format!("0\r\n{trailers}\r\n").as_bytes());
    Ok(out)
}

/// One of the words, or random bytes in its place.
fn pick(u: &mut Unstructured<'_>, words: &[&str]) -> Result<Vec<u8>> {
    let at = usize::from(u.arbitrary::<u8>()?);
    match words.get(at % (words.len() + 1)) {
        Some(word) => Ok(word.as_bytes().to_vec()),
        None => {
            let length = u.int_in_range(0..=12)?;
            Ok(u.bytes(length.min(u.len()))?.to_vec())
        }
    }
}

/// One byte less, a few more, or a part twice.
fn slip(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let at = u.int_in_range(0..=bytes.len())?;
    match u.int_in_range(0..=3_u8)? {
        0 if at < bytes.len() => drop(bytes.remove(at)),
        1 => {
            let end = (at + u.int_in_range(0..=40)?).min(bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let word = u.choose(&SLIP)?.bytes();
            bytes.splice(at..at, word);
        }
    }
    Ok(())
}
