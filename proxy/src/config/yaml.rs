//! The one place that knows the YAML library: text in, a tree of nodes with their places out.
//!
//! Scalars stay text. What a scalar means is decided by the key it stands at, after `${…}` is
//! expanded in it, and not by YAML's guess: `off`, `300` and `1e3` are texts here.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{
    DuplicateKeyPolicy, Error, Location, NonFiniteFloatPolicy, Options, Spanned, budget,
    from_str_with_options, options,
};

use super::problem::{Problem, Wrong};

/// The longest file that is read, in bytes.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// The deepest that collections may stand in each other. Ours need five.
const MAX_DEPTH: usize = 16;
/// Nodes in all, those that aliases repeat included.
const MAX_NODES: usize = 100_000;

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `~`, `null`, or nothing at all.
    Null,
    Scalar(String),
    List(Vec<Node>),
    /// As written, duplicates included.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) name: String,
}

/// A place in the text. Line and column count from 1, in characters; start and end are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Parses one document.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let tree = from_str_with_options::<Spanned<Tree>>(text, parser_options());
    tree.map(|tree| node(text, tree)).map_err(|error| syntax_problem(&error))
}

fn parser_options() -> Options {
    options! {
        budget: budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES, max_events: 4 * MAX_NODES },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_NODES },
        // Passed through, so that every duplicate can be reported with both its places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What serde makes of a node; `Guessed` is a scalar that YAML takes for no text.
enum Tree {
    Null,
    Text(String),
    Guessed,
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Guessed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Guessed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Guessed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Guessed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

fn node(source: &str, tree: Spanned<Tree>) -> Node {
    let span = Span::from(tree.defined);
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Text(text) => Value::Scalar(text),
        Tree::Guessed => Value::Scalar(source.get(span.start..span.end).unwrap_or_default().to_owned()),
        Tree::List(items) => Value::List(items.into_iter().map(|item| node(source, item)).collect()),
        Tree::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Key { span: key.defined.into(), name: key.value }, node(source, value)))
                .collect(),
        ),
    };
    Node { span, value }
}

impl From<Location> for Span {
    fn from(location: Location) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let span = location.span();
        let start = count(span.byte_offset().unwrap_or_default());
        let end = start.saturating_add(count(span.byte_len().unwrap_or_default()));
        Self { line: count(location.line()), column: count(location.column()), start, end }
    }
}

fn syntax_problem(error: &Error) -> Problem {
    let span = error.location().map_or(Span { line: 1, column: 1, start: 0, end: 0 }, Span::from);
    let text = error.without_snippet().to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    Problem { span, path: String::new(), wrong: explain(error.without_snippet(), message) }
}

/// The library's words where they help, ours where they do not.
fn explain(error: &Error, message: &str) -> Wrong {
    match error {
        Error::AliasError { error, .. } => explain(error.without_snippet(), message),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            Wrong::new("the file is nested too deep, or its aliases repeat too much", "")
        }
        Error::MultipleDocuments { .. } => {
            Wrong::new("more than one YAML document", "remove this `---` and what follows")
        }
        Error::UnknownAnchor { .. } => Wrong::new(
            "this `*` repeats an anchor (`&`) that is not there",
            "put a value that begins with `*` in quotes",
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Wrong::new("this alias is inside what it repeats", "")
        }
        Error::NullIntoString { .. } => Wrong::new("a key is missing before the `:`", ""),
        Error::UnsupportedTag { .. } => {
            Wrong::new("tags (`!…`) mean nothing here", "remove it, or put the value in quotes")
        }
        Error::Unexpected { .. } => Wrong::new("a key is a single word", ""),
        _ => Wrong::new(format!("not YAML: {message}"), advice(message)),
    }
}

/// The usual cause of an error of the scanner.
fn advice(message: &str) -> &'static str {
    const CAUSES: [(&str, &str); 10] = [
        ("did not find expected key", "put a value that begins with `[` or `{` in quotes"),
        ("simple key expected", "put a space after the `:`"),
        ("mapping values are not allowed", "a `:` too many, or not indented like the line above"),
        ("tab", "indent with spaces"),
        ("unexpected character", "put a value that begins with this character in quotes"),
        ("anchor or alias", "put a value that begins with `*` or `&` in quotes"),
        ("quoted scalar", "is a quote missing at the end?"),
        ("unclosed bracket", "never closed"),
        ("expected '-' indicator", "indent it like the lines above"),
        ("indentation", "indent it like the lines around it"),
    ];
    CAUSES.iter().find(|(part, _)| message.contains(part)).map_or("", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scalars(text: &str) -> Vec<String> {
        let Value::List(items) = parse(text).unwrap().value else { panic!("a list") };
        items
            .into_iter()
            .map(|item| match item.value {
                Value::Scalar(text) => text,
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        let text = "[off, 300, 0x10, 1.50, .inf, 99999999999999999999, \"300\", 'it''s', a b, ~, -0, 1_000]";
        let expected = "off|300|0x10|1.50|.inf|99999999999999999999|300|it's|a b|Null|-0|1_000";
        assert_eq!(scalars(text).join("|"), expected);
    }

    #[test]
    fn an_alias_bomb_is_refused_at_once() {
        let mut text = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let inside = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("b{level}: &a{level} [{inside}]\n"));
        }
        let problem = parse(&text).unwrap_err();
        assert_eq!(problem.wrong.message, "the file is nested too deep, or its aliases repeat too much");
    }

    #[test]
    fn depth_is_bounded_however_it_is_written() {
        let flow = "[".repeat(100_000);
        let block: String = (0..300).map(|depth| format!("{}- \n", " ".repeat(depth))).collect();
        let inline = "- ".repeat(100_000);
        for text in [flow, block, inline] {
            assert!(parse(&text).is_err());
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[ -~\n\t\u{e9}\\[\\]{}&*!|>'\"%#:?-]{0,80}") {
            let _ = parse(&text);
        }
    }
}
