//! Walks the tree and collects every finding, so that one run shows them all.

use std::borrow::Cow;

use super::{
    expand::{Env, expand},
    keys::Keys,
    problem::{Problem, Wrong},
    suggest::{either, nearest},
    yaml::{Node, Span, Value},
};

/// A node, and the path that leads to it.
#[derive(Clone, Debug)]
pub(super) struct At<'n> {
    pub(super) node: &'n Node,
    /// Where its key stands; in a list and at the root, where it begins itself.
    key: Span,
    pub(super) path: String,
}

/// The entries of a map whose keys are known, each at most once.
#[derive(Debug)]
pub(super) struct Entries<'n> {
    entries: Vec<(&'n str, At<'n>)>,
    map: At<'n>,
    /// What was said about unknown keys.
    advice: Vec<Cow<'static, str>>,
}

/// Findings, and where variables come from.
pub(super) struct Reader<'e> {
    env: Env<'e>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'n> At<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node, key: node.span, path: String::new() }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else { return None };
        let at = |(place, node): (usize, &'n Node)| {
            let path = format!("{}[{place}]", self.path);
            Self { node, key: node.span, path }
        };
        Some(items.iter().enumerate().map(at).collect())
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    fn key_path(&self, key: &str) -> String {
        let key = if key.chars().count() > 40 { "(a long key)" } else { key };
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'n> Entries<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&At<'n>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, at)| at)
    }

    /// Whether an unknown key was told to be this one: its absence is the same mistake.
    pub(super) fn has_told_of(&self, key: &str) -> bool {
        self.advice.iter().any(|said| said.contains(&format!("`{key}`")))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(&'n str, At<'n>)> {
        self.entries.iter()
    }
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: Env<'e>) -> Self {
        Self { env, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a finding about a value.
    pub(super) fn wrong(&mut self, at: &At<'_>, wrong: Wrong) {
        self.note(at.node.span, &at.path, wrong);
    }

    /// Notes a finding about a key.
    pub(super) fn wrong_key(&mut self, at: &At<'_>, wrong: Wrong) {
        self.note(at.key, &at.path, wrong);
    }

    fn note(&mut self, span: Span, path: &str, wrong: Wrong) {
        self.problems.push(Problem { span, path: path.to_owned(), wrong });
    }

    /// A key that has to be there.
    pub(super) fn require<'n>(
        &mut self,
        entries: &Entries<'n>,
        key: &str,
        advice: &'static str,
    ) -> Option<At<'n>> {
        let found = entries.get(key).cloned();
        if found.is_none() && !entries.has_told_of(key) {
            self.wrong(&entries.map, Wrong::new(format!("`{key}` is missing"), advice));
        }
        found
    }

    /// The text of a scalar, expanded. `wanted` says what belongs here, with an example.
    pub(super) fn text(&mut self, at: &At<'_>, wanted: &str) -> Option<String> {
        let wrong = match &at.node.value {
            Value::Scalar(text) => match expand(text, self.env) {
                Ok(text) => return Some(text),
                Err(wrong) => wrong,
            },
            Value::Null => Wrong::new("no value", format!("write {wanted}")),
            Value::List(_) => Wrong::new("a list has no place here", format!("write {wanted}")),
            Value::Map(_) => Wrong::new("a map has no place here", format!("write {wanted}")),
        };
        self.wrong(at, wrong);
        None
    }

    /// A scalar with a meaning.
    pub(super) fn scalar<T>(
        &mut self,
        at: &At<'_>,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(at, wanted)?;
        parse(&text).map_err(|wrong| self.wrong(at, wrong)).ok()
    }

    /// One word of several.
    pub(super) fn word<T: Copy>(&mut self, at: &At<'_>, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let wanted = either(&names);
        self.scalar(at, &wanted, |text| {
            let found = words.iter().find(|(name, _)| *name == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let advice = nearest(text, names.iter().copied());
                let advice =
                    advice.map_or(format!("write {wanted}"), |near| format!("did you mean `{near}`?"));
                Wrong::new(format!("`{text}` is not known here"), advice)
            })
        })
    }

    /// The items of a list without duplicates; a scalar is a list of one.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        at: &At<'_>,
        wanted: &str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let items = at.items().unwrap_or_else(|| vec![at.clone()]);
        let found_before = self.problems.len();
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            match self.scalar(&item, wanted, &parse) {
                Some(value) if list.contains(&value) => {
                    self.wrong(&item, Wrong::new("listed twice", "remove one of them"));
                }
                Some(value) => list.push(value),
                None => {}
            }
        }
        (self.problems.len() == found_before).then_some(list)
    }

    /// The `things` of a list, of which there are so many at most.
    pub(super) fn items<'n>(
        &mut self,
        at: &At<'n>,
        things: &str,
        most: usize,
        advice: &'static str,
    ) -> Option<Vec<At<'n>>> {
        let items = at.items();
        match &items {
            None => self.wrong(at, Wrong::new("a list is expected here", advice)),
            Some(items) if items.len() > most => {
                self.wrong(at, Wrong::new(format!("more than {most} {things}"), ""));
            }
            Some(_) => return items,
        }
        None
    }

    /// The entries of a map. Keys that are unknown or doubled are findings.
    pub(super) fn entries<'n>(&mut self, at: &At<'n>, wanted: &str, keys: &Keys) -> Option<Entries<'n>> {
        let all = self.any_entries(at, wanted)?;
        let mut known = Vec::with_capacity(all.entries.len());
        let mut advice = Vec::new();
        for (key, value) in all.entries {
            if keys.has(key) {
                known.push((key, value));
            } else {
                let wrong = keys.explain(key);
                advice.push(wrong.advice.clone());
                self.wrong_key(&value, wrong);
            }
        }
        Some(Entries { entries: known, map: all.map, advice })
    }

    /// The entries of a map whose keys are free; doubled ones are findings.
    pub(super) fn any_entries<'n>(&mut self, at: &At<'n>, wanted: &str) -> Option<Entries<'n>> {
        let Value::Map(map) = &at.node.value else {
            let what = match &at.node.value {
                Value::Null => "no value",
                Value::List(_) => "a list has no place here",
                _ => "a map is expected here",
            };
            self.wrong(at, Wrong::new(what, format!("write {wanted}")));
            return None;
        };
        let mut entries: Vec<(&str, At<'_>)> = Vec::with_capacity(map.len());
        let mut places: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for (key, node) in map {
            let path = at.key_path(&key.name);
            if let Some(line) = places.get(key.name.as_str()) {
                let advice = format!("line {line} has it already: remove one of them");
                self.note(key.span, &path, Wrong::new(format!("`{}` is given twice", key.name), advice));
                continue;
            }
            places.insert(&key.name, key.span.line);
            entries.push((&key.name, At { node, key: key.span, path }));
        }
        Some(Entries { entries, map: at.clone(), advice: Vec::new() })
    }
}
