//! The JSON Schema of the file, for editors: draft 7, which their YAML servers know best.
//!
//! It accepts whatever the reader accepts. What the reader alone sees: values that depend on another key, on
//! the other rules or on a variable, and how large a number within a text is.

use serde_json::{Map, Value, json};

use super::keys::{ANY, Absent, Key, Keys, Kind, Text};

/// How a variable begins, or a dollar sign. What becomes of it is not known here.
const VARIABLE: &str = "[$][${]";

/// The schema of what [`super::Config::parse`] reads.
#[must_use]
pub fn schema() -> Value {
    with(map(&super::KEYS), json!({ "$schema": "http://json-schema.org/draft-07/schema#" }))
}

fn map(keys: &Keys) -> Value {
    let properties: Map<String, Value> =
        keys.known.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = keys.known.iter().filter(|key| matches!(key.absent, Absent::Refused));
    let required: Vec<&str> = required.map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let absent = match key.absent {
        Absent::Refused => "Required.".to_owned(),
        Absent::Is(value) => format!("Default: `{value}`"),
        Absent::Means(words) => format!("Default: {words}"),
    };
    with(value(&key.takes), json!({ "description": format!("{}\n\n{absent}", key.doc) }))
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text(form) => text(form),
        Kind::Words(words) => {
            let words: Vec<Value> = words.iter().flat_map(|word| as_yaml_has_it(word)).collect();
            either(vec![json!({ "enum": words }), json!({ "type": "string", "pattern": VARIABLE })])
        }
        Kind::Switch => either(vec![json!({ "type": "boolean" }), pattern("true|false", "true or false")]),
        Kind::Count { least, most } => either(vec![
            json!({ "type": "integer", "minimum": least, "maximum": most }),
            pattern("[0-9]+", &format!("a number from {least} to {most}")),
        ]),
        Kind::List { of, least, most } => either(vec![value(of), list(of, *least, *most)]),
        Kind::Items { of, least, most } => list(of, *least, *most),
        Kind::Map(keys) => map(keys),
        Kind::Maps { of, least, most } => items(&map(of), *least, *most),
        Kind::Free { key, value: of } => json!({
            "type": "object",
            "propertyNames": { "pattern": whole(key.like), "patternErrorMessage": key.is },
            "additionalProperties": value(of),
        }),
        Kind::Empty => json!({ "enum": [null, ""] }),
        Kind::Either(kinds) => either(kinds.iter().map(value).collect()),
    }
}

fn text(form: &Text) -> Value {
    let schema = pattern(form.like, form.is);
    if form.bare { with(schema, json!({ "type": ["string", "number", "boolean"] })) } else { schema }
}

/// A text of a form, or one with a variable in it. `told` is what an editor says of any other.
fn pattern(like: &str, told: &str) -> Value {
    let pattern = format!("{}|{VARIABLE}", whole(like));
    json!({ "type": "string", "pattern": pattern, "patternErrorMessage": format!("write {told}") })
}

fn whole(like: &str) -> String {
    format!("^(?:{like})$")
}

/// What YAML reads where the word stands without quotes, if that is no text, and with them.
fn as_yaml_has_it(word: &str) -> Vec<Value> {
    serde_json::from_str(word).ok().into_iter().chain([Value::from(word)]).collect()
}

/// A list of scalars, each at most once.
fn list(of: &Kind, least: usize, most: usize) -> Value {
    // To a schema, 1 and 1.0 are the same; to the reader, they are texts.
    let distinct = !matches!(of, Kind::Text(Text { bare: true, .. }));
    let list = items(&value(of), least, most);
    if distinct { with(list, json!({ "uniqueItems": true })) } else { list }
}

fn items(of: &Value, least: usize, most: usize) -> Value {
    let mut schema = json!({ "type": "array", "items": of });
    if least > 0 {
        schema = with(schema, json!({ "minItems": least }));
    }
    if most < ANY {
        schema = with(schema, json!({ "maxItems": most }));
    }
    schema
}

/// Any of these; what is itself a choice joins in.
fn either(kinds: Vec<Value>) -> Value {
    let choices: Vec<Value> = kinds
        .into_iter()
        .flat_map(|kind| match kind.get("anyOf").and_then(Value::as_array) {
            Some(choices) => choices.clone(),
            None => vec![kind],
        })
        .collect();
    json!({ "anyOf": choices })
}

/// Both together.
fn with(schema: Value, more: Value) -> Value {
    match (schema, more) {
        (Value::Object(mut schema), Value::Object(more)) => {
            schema.extend(more);
            Value::Object(schema)
        }
        (schema, _) => schema,
    }
}

#[cfg(test)]
mod tests;
