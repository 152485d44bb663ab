//! Source code as the checks look at it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// One file.
pub(crate) struct Source {
    /// From the top of the repository.
    pub(crate) path: String,
    /// Without comments, tests and the insides of literals: blanks stand in their place.
    pub(crate) code: String,
    /// With comments and tests.
    pub(crate) prose: String,
    /// Its lines without those of its tests.
    pub(crate) lines: usize,
}

impl Source {
    /// Takes the text of a file.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut code = blank(text, &[Token::Comment, Token::Literal]);
        let tests = tests(&code);
        let test_lines: usize = tests.iter().map(|range| code[range.clone()].lines().count()).sum();
        for range in tests {
            let blanks = blanks(&code[range.clone()]);
            code.replace_range(range, &blanks);
        }
        let lines = text.lines().count() - test_lines;
        Self { path: path.to_owned(), code, prose: blank(text, &[Token::Literal]), lines }
    }

    /// A finding at a place of the code.
    pub(crate) fn finding(&self, at: usize, what: &str) -> String {
        let line = self.code[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// Where `word` stands in the code as a word of its own, or as a path.
    pub(crate) fn places<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
            !self.code[..at].ends_with(in_word) && !self.code[at + word.len()..].starts_with(in_word)
        })
    }
}

/// The sources below a folder of the repository, but for modules that are tests as a whole.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    collect(&top.join(folder), &mut files);
    files.sort();
    let relative = |file: &Path| file.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
    let sources = files.iter().filter(|file| !file.ends_with("tests.rs"));
    sources.map(|file| Source::new(&relative(file), &fs::read_to_string(file).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Code,
    Comment,
    Literal,
}

/// The text with blanks in place of some tokens; lines and lengths stay.
fn blank(text: &str, tokens: &[Token]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (token, length) = token(rest);
        let (this, next) = rest.split_at(length);
        match tokens.contains(&token) {
            true => out.push_str(&blanks(this)),
            false => out.push_str(this),
        }
        rest = next;
    }
    out
}

fn blanks(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// What a text begins with, and how long that is.
fn token(text: &str) -> (Token, usize) {
    let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    if word > 0 {
        let raw = matches!(&text[..word], "r" | "br" | "cr").then(|| raw_string(&text[word..])).flatten();
        return raw.map_or((Token::Code, word), |length| (Token::Literal, word + length));
    }
    if text.starts_with("//") {
        return (Token::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Token::Comment, text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('"') {
        return (Token::Literal, quoted(text, '"'));
    }
    let mut chars = text.chars();
    let first = chars.next().map_or(1, char::len_utf8);
    let (second, third) = (chars.next(), chars.next());
    match (text.starts_with('\''), second, third) {
        (true, Some('\\'), _) | (true, _, Some('\'')) => (Token::Literal, quoted(text, '\'')),
        _ => (Token::Code, first), // A lifetime, or anything else.
    }
}

/// The length of a literal with escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of `#"…"#`, if that is what comes.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let inside = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(inside.find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len()))
}

/// Where the items are that only tests have.
fn tests(code: &str) -> Vec<Range<usize>> {
    let places = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    places.map(|at| at..at + item(&code[at..])).collect()
}

/// The length of the item that a code begins with: up to its `;` or the end of its block.
pub(crate) fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_literals_and_tests_are_blanked_and_lines_stay() {
    let source = Source::new(
        "a.rs",
        "fn a<'x>(b: &'x str) { // one\n  c(\"two \\\" {\", '{', '\\'', r#\"th\"ree\"#, b\"four\"); /* five\n */ }\n\
         #[cfg(test)]\nmod tests { fn d() { six } }\nfn e() {}\n",
    );
    for gone in ["one", "two", "ree", "four", "five", "six"] {
        assert!(!source.code.contains(gone), "{gone}: {}", source.code);
    }
    for kept in ["fn a<'x>(b: &'x str) {", "c(", ");", "fn e() {}"] {
        assert!(source.code.contains(kept), "{kept}: {}", source.code);
    }
    assert!(source.prose.contains("one") && source.prose.contains("six") && !source.prose.contains("two"));
    assert_eq!((source.code.lines().count(), source.lines), (6, 4));
    let at = source.places("e").next().unwrap();
    assert_eq!(source.finding(at, "here"), "a.rs:6: here");
}
