//! `tags` of a rule and of `purge_on`.

use std::sync::Arc;

use super::{
    keys::{Kind, Text},
    problem::Wrong,
    reader::{At, Reader},
};

/// The most tags one list may hold: each is stored with every response of a rule.
const MAX_TAGS: usize = 32;
/// The longest name, in bytes.
const MAX_BYTES: usize = 128;

pub(super) const TAGS: Kind = Kind::List { of: &Kind::Text(&TAG), least: 0, most: MAX_TAGS };
const TAG: Text = Text { is: "the name of a tag, products", like: "[!-+.-~-]{1,128}", bare: true };

/// Reads a list of names that could stand in `Cache-Tag`, each as one.
pub(super) fn tags(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Arc<[Box<str>]>> {
    let names = reader.list(at, "a list of tags, [products]", tag)?;
    if names.len() > MAX_TAGS {
        reader
            .wrong(at, Wrong::new(format!("more than {MAX_TAGS} tags"), format!("write {MAX_TAGS} at most")));
        return None;
    }
    Some(names.into())
}

fn tag(text: &str) -> Result<Box<str>, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("an empty name", "write the name of a tag, products"));
    }
    if text.len() > MAX_BYTES {
        return Err(Wrong::new(format!("longer than {MAX_BYTES} bytes"), "write a shorter name"));
    }
    match text.chars().find(|&c| !c.is_ascii_graphic() || c == ',') {
        None => Ok(text.into()),
        Some(letter @ (',' | ' ')) => {
            let list: Vec<&str> = text.split([',', ' ']).filter(|name| !name.is_empty()).collect();
            let advice = match list.as_slice() {
                [] => "write the name of a tag, products".to_owned(),
                names => format!("write a list, [{}]", names.join(", ")),
            };
            let what = if letter == ',' { "a comma" } else { "a blank" };
            Err(Wrong::new(format!("`{text}`: {what} ends the name of a tag"), advice))
        }
        Some(_) => {
            let message = format!("`{text}` is not the name of a tag");
            Err(Wrong::new(message, "write visible ASCII letters, products"))
        }
    }
}
