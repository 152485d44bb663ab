//! The line of the file that an error is about: clipped, without passwords, safe on a terminal.

use super::{
    mask::{Shown, mask_line, mask_text},
    yaml::Span,
};

/// The longest piece of a line that is shown, in characters.
const WIDTH: usize = 100;
/// The longest message, in characters: a value from the environment may be long.
const MAX_TEXT: usize = 400;

/// The line of `span`, and under it carets and `advice`.
pub(super) fn with_caret(source: &str, span: Span, advice: &str) -> String {
    let start = span.column.saturating_sub(1);
    let width = source
        .get(span.start..span.end)
        .map_or(0, |text| text.lines().next().unwrap_or_default().chars().count());
    let shown = clip(mask_line(source, span.line.saturating_sub(1)), start);
    let before = shown.iter().filter(|shown| shown.column < start).count();
    let under = shown.iter().filter(|shown| (start..start + width).contains(&shown.column)).count();
    let text: String = shown.iter().map(|shown| shown.letter).collect();
    let number = span.line.to_string();
    let carets = format!("{}{} {advice}", " ".repeat(before), "^".repeat(under.max(1)));
    let margin = " ".repeat(number.len());
    let line = format!("  {number} | {text}");
    format!("{}\n  {margin} | {}", line.trim_end(), carets.trim_end())
}

/// A text for people: not too long, no control characters, no passwords.
pub(super) fn printable(text: &str) -> String {
    let shown = mask_text(text);
    let end = if shown.len() > MAX_TEXT { "…" } else { "" };
    shown.into_iter().take(MAX_TEXT).map(|shown| shown.letter).chain(end.chars()).collect()
}

/// A piece of a long line, around `column`.
fn clip(line: Vec<Shown>, column: usize) -> Vec<Shown> {
    if line.len() <= WIDTH {
        return line;
    }
    let skip = column.saturating_sub(WIDTH / 2).min(line.len() - WIDTH);
    line.into_iter().skip(skip).take(WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(source: &str, word: &str) -> String {
        let start = source.find(word).unwrap();
        let column = source[..start].chars().count() + 1;
        with_caret(source, Span { line: 1, column, start, end: start + word.len() }, "here")
    }

    #[test]
    fn the_caret_stands_under_the_word() {
        assert_eq!(shown("  ttl: 300", "300"), "  1 |   ttl: 300\n    |        ^^^ here");
        assert_eq!(shown("\u{e9}: \u{1F511}x", "x"), "  1 | \u{e9}: \u{1F511}x\n    |     ^ here");
    }

    #[test]
    fn passwords_are_left_out_and_the_caret_follows() {
        for (line, word, text, caret) in [
            ("redis: redis://:s3@h x", "x", "redis: redis://***@h x", 21),
            ("redis: redis://u:s3@cr@h", "redis://u:s3@cr@h", "redis: redis://***@h", 7),
            ("redis: u:s3@h x", "x", "redis: ***@h x", 13),
            ("redis: redis+unix:///a?pass=s3&db=1 y", "y", "redis: redis+unix:///a?pass=***&db=1 y", 37),
            ("redis: redis://:s3", "redis", "redis: redis://:***", 0),
            ("redis: redis://u:s3h/0", "redis", "redis: redis://u:***/0", 0),
            ("password: s3, with, commas", "password", "password: ***", 0),
            ("{ \"Pass\" : s3 }", "Pass", "{ \"Pass\" : ***", 3),
            ("x-api-token:s3", "x-api", "x-api-token:***", 0),
            ("redis: ${REDIS_PASSWORD:-s3}", "redis", "redis: ${REDIS_PASSWORD:***", 0),
            ("redis: redis://h?password=s3&db=1 y", "y", "redis: redis://h?password=***&db=1 y", 35),
            ("redis: redis+unix:/a?passwd='s3 s3'", "redis", "redis: redis+unix:/a?passwd=***", 0),
            ("redis: redis+unix:///a?pas=s3&s3", "redis", "redis: redis+unix:///a?pas=***&***", 0),
            ("credentials: ignore", "ignore", "credentials: ignore", 13),
            ("set_cookie: strip", "strip", "set_cookie: strip", 12),
            ("key: { query: { except: [token] } }", "token", "key: { query: { except: [token] } }", 25),
            ("redis: redis://h:6379/0", "redis", "redis: redis://h:6379/0", 0),
            ("upstream: http://[::1]:80/a", "http", "upstream: http://[::1]:80/a", 10),
            ("match: /@me/x", "/@me/x", "match: /@me/x", 7),
        ] {
            let expected = shown(line, word);
            let mut lines = expected.lines().map(|line| line.get(6..).unwrap());
            assert_eq!(lines.next(), Some(text));
            assert_eq!(lines.next().unwrap().find('^'), Some(caret), "{line}");
        }
    }

    #[test]
    fn what_a_password_goes_on_with_is_left_out_too() {
        for source in [
            "store:\n  password:\n    here s3",
            "- secret: |\n    one\n      here s3",
            "token: \"a\n\n  here s3\"",
        ] {
            let start = source.find("here").unwrap();
            let line = source[..start].lines().count();
            let shown = with_caret(source, Span { line, column: 1, start, end: start + 4 }, "");
            assert!(!shown.contains("s3") && shown.contains("***"), "{shown}");
        }
        let source = "- password: s3\n  match: here";
        assert!(
            with_caret(source, Span { line: 2, column: 10, start: 24, end: 28 }, "").contains("match: here")
        );
    }

    #[test]
    fn a_text_that_quotes_a_password_is_left_without() {
        assert_eq!(
            printable("store.password: `password: s3` at h?token=s3"),
            "store.password: `password: ***` at h?token=***"
        );
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a [31mb ");
    }

    #[test]
    fn long_lines_are_clipped_around_the_caret() {
        let line = format!("{}here{}", "a".repeat(5000), "b".repeat(5000));
        let text = shown(&line, "here");
        assert!(text.len() < 300 && text.contains("ahereb") && text.contains("^^^^"));
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_can_be_shown(source in "\\PC{0,40}(\n.{0,20})?", line in 0usize..4, column in 0usize..50, start in 0usize..60, end in 0usize..60) {
            with_caret(&source, Span { line, column, start, end }, "here");
        }
    }
}
