//! Configuration files along their schema: sections that are known, with keys that they have and values that
//! mostly fit, at the edges of what is allowed and beyond. What changes of single bytes would hardly ever make.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use regex::Regex;
use serde_json::{Map, Value, json};

/// The most keys of a map, and items of a list, beside those that have to be.
const KEYS: usize = 3;
const ITEMS: usize = 3;

/// Of what values are made: each of the schema's forms has some of them.
const SPELLED: &str = "
    0 1 64 300 10000 18446744073709551616 -1 0% 10% 50% 100% 101% true false off none origin
    0B 1B 1KiB 4KiB 32KiB 1MiB 2MiB 1GiB 18014398509481984KiB 0s 1ms 5s 2m 1h30m 400d 106751991168d
    é a ab-cache-control Set-Cookie Host a:1 a* text/html text/* POST GET / /a /a/** /** /*/b
    127.0.0.1:0 [::1]:1 tls://127.0.0.1:2 unix:/a http://a:1 h2c://a:1 https://a 10.0.0.0/8 10.0.0.0/33
    redis://a rediss://a:b@c/1 ${X:-1} ${";

static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| SPELLED.split_whitespace().collect());

/// A node of the schema, with the words that fit it.
enum Node {
    Map { needed: Vec<(String, Node)>, known: Vec<(String, Node)> },
    Free { value: Box<Node> },
    List { of: Box<Node>, least: usize },
    Either(Vec<Node>),
    OneOf(Vec<Value>),
    Count { least: u64, most: u64 },
    Text { fitting: Vec<&'static str> },
}

/// The text of a file. JSON is YAML.
pub fn file(data: &[u8]) -> String {
    static SCHEMA: LazyLock<Node> = LazyLock::new(|| node(&sidecache::config::schema()));
    value(&SCHEMA, &mut Unstructured::new(data)).map(|file| with_needed(file).to_string()).unwrap_or_default()
}

/// What a file needs is right, unless it was made beside others of its kind: one mistake hides what is behind it.
fn with_needed(file: Value) -> Value {
    let mut needed = json!({ "listen": "127.0.0.1:1", "upstream": "http://a:1", "routes": [] });
    let (Some(map), Value::Object(made)) = (needed.as_object_mut(), file) else { return needed };
    map.extend(made);
    needed
}

fn node(schema: &Value) -> Node {
    if let Some(choices) = schema["anyOf"].as_array() {
        return Node::Either(choices.iter().map(node).collect());
    }
    if let Some(values) = schema["enum"].as_array() {
        return Node::OneOf(values.clone());
    }
    match schema["type"].as_str() {
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => map(properties, &schema["required"]),
            None => Node::Free { value: Box::new(node(&schema["additionalProperties"])) },
        },
        Some("array") => Node::List {
            of: Box::new(node(&schema["items"])),
            least: usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap_or(0),
        },
        Some("integer") => Node::Count {
            least: schema["minimum"].as_u64().unwrap_or(0),
            most: schema["maximum"].as_u64().unwrap_or(u64::MAX),
        },
        Some("boolean") => Node::OneOf(vec![Value::Bool(false), Value::Bool(true)]),
        _ => Node::Text { fitting: fitting(schema["pattern"].as_str().unwrap_or_default()) },
    }
}

fn map(properties: &Map<String, Value>, required: &Value) -> Node {
    let (mut needed, mut known) = (Vec::new(), Vec::new());
    for (name, schema) in properties {
        let is_needed = required.as_array().is_some_and(|names| names.contains(&json!(name)));
        // Of the file itself, `with_needed` has them.
        let is_needed = is_needed && !properties.contains_key("upstream");
        if is_needed { &mut needed } else { &mut known }.push((name.clone(), node(schema)));
    }
    Node::Map { needed, known }
}

fn fitting(pattern: &str) -> Vec<&'static str> {
    let pattern = Regex::new(pattern).expect("the schema has patterns that both kinds of engine take");
    WORDS.iter().copied().filter(|word| pattern.is_match(word)).collect()
}

fn value(node: &Node, u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match node {
        Node::Map { needed, known } => {
            let mut map = Map::new();
            for (name, node) in needed {
                map.insert(name.clone(), value(node, u)?);
            }
            for _ in 0..u.int_in_range(0..=KEYS)? {
                let (name, node) = u.choose(known)?;
                map.insert(name.clone(), value(node, u)?);
            }
            Value::Object(map)
        }
        Node::Free { value: of } => {
            let mut map = Map::new();
            for _ in 0..u.int_in_range(0..=KEYS)? {
                map.insert(any(u)?.to_owned(), value(of, u)?);
            }
            Value::Object(map)
        }
        Node::List { of, least } => {
            let items = u.int_in_range(*least..=least + ITEMS)?;
            Value::Array((0..items).map(|_| value(of, u)).collect::<Result<_>>()?)
        }
        Node::Either(nodes) => value(u.choose(nodes)?, u)?,
        Node::OneOf(values) => u.choose(values)?.clone(),
        Node::Count { least, most } => json!(*u.choose(&[
            *least,
            *most,
            least.saturating_add(1),
            least.saturating_sub(1),
            most.saturating_add(1),
            u64::MAX,
        ])?),
        Node::Text { fitting } => Value::from(text(fitting, u)?),
    })
}

/// Mostly one that fits.
fn text(fitting: &[&'static str], u: &mut Unstructured<'_>) -> Result<&'static str> {
    if fitting.is_empty() || u.ratio(1, 8)? { any(u) } else { Ok(*u.choose(fitting)?) }
}

fn any(u: &mut Unstructured<'_>) -> Result<&'static str> {
    Ok(*u.choose(&WORDS)?)
}
