//! Keeps passwords out of what is shown of a file.
//!
//! The text may be broken in any way, so what could be a password is judged by its neighbours,
//! and rather too much is hidden than too little.

use std::ops::Range;

/// A letter that is shown, and the column of the line it stands for.
pub(super) struct Shown {
    pub(super) column: usize,
    pub(super) letter: char,
}

/// A line of the file.
pub(super) fn mask_line(line: &str) -> Vec<Shown> {
    let letters: Vec<char> = line.chars().collect();
    let mut secrets = url_secrets(&letters);
    if secrets.is_empty() {
        secrets.extend(bare_secret(&letters));
    }
    mask(&letters, &secrets)
}

/// A text of ours, which may quote the file.
pub(super) fn mask_text(text: &str) -> Vec<Shown> {
    let letters: Vec<char> = text.chars().collect();
    mask(&letters, &url_secrets(&letters))
}

/// Three stars for each secret, spaces for control characters.
fn mask(letters: &[char], secrets: &[Range<usize>]) -> Vec<Shown> {
    let mut shown = Vec::with_capacity(letters.len());
    for (column, &letter) in letters.iter().enumerate() {
        match secrets.iter().find(|secret| secret.contains(&column)) {
            Some(secret) if secret.start == column => {
                shown.extend("***".chars().map(|letter| Shown { column, letter }));
            }
            Some(_) => {}
            None => shown.push(Shown { column, letter: if letter.is_control() { ' ' } else { letter } }),
        }
    }
    shown
}

/// What may be a password in a URL: all from `://` to the last `@`; without an `@`, what follows
/// a colon and is no port; `pass=…`.
fn url_secrets(letters: &[char]) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    if let Some(start) = after(letters, 0, "://") {
        let at = letters.iter().rposition(|&c| c == '@').filter(|&at| at >= start);
        secrets.extend(at.map(|at| start..at).or_else(|| misplaced_password(letters, start)));
    }
    let mut from = 0;
    while let Some(start) = after(letters, from, "pass=") {
        from = end_of(letters, start, "&");
        secrets.push(start..from);
    }
    secrets
}

/// `redis://user:password`, its host forgotten.
fn misplaced_password(letters: &[char], start: usize) -> Option<Range<usize>> {
    let authority = start..end_of(letters, start, "/?");
    let host = letters.get(authority.clone())?;
    let colon = match host.first() {
        Some('[') => host.iter().position(|&c| c == ']')? + 1,
        _ => host.iter().position(|&c| c == ':')?,
    };
    let port = host.get(colon + 1..)?;
    let is_port = port.len() <= 5 && port.iter().all(char::is_ascii_digit);
    (!is_port).then_some(start + colon + 1..authority.end)
}

/// `user:password@host` whose author forgot the scheme; a path may have an `@`.
fn bare_secret(letters: &[char]) -> Option<Range<usize>> {
    let at = letters.iter().rposition(|&c| c == '@')?;
    let before = letters.get(..at)?;
    let value =
        before.windows(2).position(|pair| matches!(pair, [':' | '-', ' '])).map_or(0, |colon| colon + 2);
    let value = value + before.get(value..)?.iter().position(|c| !c.is_whitespace())?;
    let value = value..at;
    let is_path =
        before.get(value.clone())?.first() == Some(&'/') && !before.get(value.clone())?.contains(&':');
    (!is_path).then_some(value)
}

/// Where `what` ends, looked for from a place on.
fn after(letters: &[char], from: usize, what: &str) -> Option<usize> {
    let what: Vec<char> = what.chars().collect();
    let place = letters.get(from..)?.windows(what.len()).position(|window| *window == *what)?;
    Some(from + place + what.len())
}

/// Where a word ends: at a space, a quote, or one of `also`.
fn end_of(letters: &[char], from: usize, also: &str) -> usize {
    let ends = |c: &char| c.is_whitespace() || "\"'`,}".contains(*c) || also.contains(*c);
    letters
        .get(from..)
        .and_then(|rest| rest.iter().position(ends))
        .map_or(letters.len(), |length| from + length)
}
