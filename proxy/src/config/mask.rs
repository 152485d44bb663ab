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

/// A line of the file, the first being 0.
pub(super) fn mask_line(source: &str, number: usize) -> Vec<Shown> {
    let lines: Vec<&str> = source.lines().take(number + 1).collect();
    let Some((line, before)) = lines.split_last().filter(|_| lines.len() > number) else {
        return Vec::new();
    };
    let letters: Vec<char> = line.chars().collect();
    if is_below_secret(before, line) {
        let start = letters.iter().position(|c| !c.is_whitespace()).unwrap_or(letters.len());
        let all = start..letters.len();
        return mask(&letters, std::slice::from_ref(&all));
    }
    let mut secrets = url_secrets(&letters);
    if secrets.is_empty() {
        secrets.extend(bare_secret(&letters));
    }
    secrets.extend(named_secrets(&letters, Text::File));
    secrets.extend(private_key(&letters));
    mask(&letters, &secrets)
}

/// A text of ours, which may quote the file between backquotes.
pub(super) fn mask_text(text: &str) -> Vec<Shown> {
    let letters: Vec<char> = text.chars().collect();
    let mut secrets = url_secrets(&letters);
    secrets.extend(named_secrets(&letters, Text::Ours));
    mask(&letters, &secrets)
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

/// Whose text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// The file's: `name: value` is one of its entries.
    File,
    /// Ours: it is one only in a quotation; elsewhere a path stands before a colon.
    Ours,
}

/// A key in PEM form that somebody has written into the file, instead of the path of a file that holds it.
fn private_key(letters: &[char]) -> Option<Range<usize>> {
    after(letters, 0, "PRIVATE KEY-----").map(|start| start..letters.len())
}

/// What may be a password in a URL: all from `://` to the last `@`; without an `@`, what follows
/// a colon and is no port; and whatever an option after `?` is set to, since its name may be
/// misspelled.
fn url_secrets(letters: &[char]) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    if let Some(start) = after(letters, 0, "://") {
        let at = letters.iter().rposition(|&c| c == '@').filter(|&at| at >= start);
        secrets.extend(at.map(|at| start..at).or_else(|| misplaced_password(letters, start)));
    }
    let mut from = after(letters, 0, ":/").and_then(|url| after(letters, url, "?"));
    while let Some(start) = from {
        let end = end_of(letters, start, "&");
        secrets.extend(option_secret(letters, start..end));
        from = (letters.get(end) == Some(&'&')).then_some(end + 1);
    }
    secrets
}

/// The value of an option; all of what has none. The number of a database is no secret.
fn option_secret(letters: &[char], option: Range<usize>) -> Option<Range<usize>> {
    let text = letters.get(option.clone())?;
    let value = text.iter().position(|&c| c == '=').map_or(0, |sign| sign + 1);
    let is_database =
        text.strip_prefix(&['d', 'b', '=']).is_some_and(|db| db.iter().all(char::is_ascii_digit));
    (!is_database && value < text.len()).then_some(option.start + value..option.end)
}

/// What follows a name that promises a secret: of `name=…` a word, of `name: …` all the rest.
fn named_secrets(letters: &[char], text: Text) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let mut from = 0;
    while let Some(name) = next_word(letters, from) {
        from = name.end;
        let secret = is_secret(letters.get(name).unwrap_or_default());
        if let Some(value) = secret.then(|| value(letters, from, text)).flatten() {
            from = value.end;
            secrets.push(value);
        }
    }
    secrets
}

fn next_word(letters: &[char], from: usize) -> Option<Range<usize>> {
    let in_word = |c: &char| c.is_alphanumeric() || "_-".contains(*c);
    let start = from + letters.get(from..)?.iter().position(in_word)?;
    let length = letters.get(start..)?.iter().position(|c| !in_word(c));
    Some(start..length.map_or(letters.len(), |length| start + length))
}

fn is_secret(name: &[char]) -> bool {
    // Misspelled, too: then it is the line of the name that is shown.
    const WITHIN: [&str; 7] = ["passw", "pasw", "passphrase", "secret", "token", "apikey", "authorization"];
    const AT_THE_END: [&str; 6] = ["pass", "pwd", "_key", "-key", "_auth", "-auth"];
    const WHOLE: [&str; 3] = ["pw", "auth", "cookie"];
    let name: String = name.iter().map(char::to_ascii_lowercase).collect();
    WITHIN.iter().any(|word| name.contains(word))
        || AT_THE_END.iter().any(|word| name.ends_with(word))
        || WHOLE.contains(&name.as_str())
}

/// The value of a name that ends at `from`; nothing where none follows.
fn value(letters: &[char], from: usize, text: Text) -> Option<Range<usize>> {
    let skip = |from: usize, skipped: fn(&char) -> bool| {
        letters.get(from..)?.iter().position(|c| !skipped(c)).map(|length| from + length)
    };
    let sign = skip(from, |c| c.is_whitespace() || "\"'".contains(*c))?;
    let start = skip(sign + 1, |c| c.is_whitespace())?;
    let rest = letters.len();
    let end = match (letters.get(sign)?, letters.get(start)?, text) {
        ('=', '"' | '\'', _) | (':', _, Text::File) => rest,
        ('=', ..) => end_of(letters, start, "&"),
        (':', ..) if is_quoted(letters, sign) => end_of_quotation(letters, start),
        _ => return None,
    };
    (start < end).then_some(start..end)
}

/// Whether an odd number of backquotes stands before.
fn is_quoted(letters: &[char], place: usize) -> bool {
    let before = letters.get(..place).unwrap_or_default();
    before.iter().filter(|&&c| c == '`').count() % 2 == 1
}

fn end_of_quotation(letters: &[char], from: usize) -> usize {
    let rest = letters.get(from..).unwrap_or_default();
    rest.iter().rposition(|&c| c == '`').map_or(letters.len(), |length| from + length)
}

/// Whether a line belongs to the value of a secret that begins on an earlier one: one that is less
/// indented, or of which such a one is.
fn is_below_secret(before: &[&str], line: &str) -> bool {
    // An item's dash indents what is in it.
    let indent = |line: &str| line.find(|c: char| !c.is_whitespace() && c != '-');
    let Some(mut least) = indent(line) else { return false };
    let above = before.iter().rev().filter(|line| {
        let less = indent(line).filter(|indent| *indent < least);
        least = less.unwrap_or(least);
        less.is_some()
    });
    above.into_iter().any(|line| opens_secret(line))
}

fn opens_secret(line: &str) -> bool {
    let letters: Vec<char> = line.chars().collect();
    let mut from = 0;
    while let Some(name) = next_word(&letters, from) {
        from = name.end;
        let colon = letters
            .get(from..)
            .unwrap_or_default()
            .iter()
            .find(|c| !c.is_whitespace() && !"\"'".contains(**c));
        if colon == Some(&':') && is_secret(letters.get(name).unwrap_or_default()) {
            return true;
        }
    }
    false
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
