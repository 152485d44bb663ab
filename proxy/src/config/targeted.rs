//! `targeted_cache_control`: the fields that govern before `Cache-Control` (RFC 9213).

use http::HeaderName;

use super::{
    keys::{Kind, Text},
    problem::Wrong,
    reader::{At, Reader},
};
use crate::policy::targeted::is_targeted;

const WANTED: &str = "a list of fields, [CDN-Cache-Control]";
/// Each is looked for in every response.
const MOST: usize = 4;

pub(super) const FIELDS: Kind = Kind::List { of: &Kind::Text(&FIELD), least: 0, most: MOST };
const FIELD: Text = Text {
    is: "a field whose name ends in -Cache-Control, CDN-Cache-Control",
    like: "[A-Za-z0-9!#$%&'*+.^_`|~-]+-[Cc][Aa][Cc][Hh][Ee]-[Cc][Oo][Nn][Tt][Rr][Oo][Ll]",
    bare: false,
};

/// Reads `targeted_cache_control`: the first field that a response has governs; `[]` is none.
pub(super) fn targeted(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<HeaderName>> {
    let fields = reader.list(at, WANTED, field)?;
    if fields.len() > MOST {
        let wrong = Wrong::new(format!("more than {MOST} fields"), format!("write {MOST} at most"));
        reader.wrong(at, wrong);
        return None;
    }
    Some(fields)
}

fn field(text: &str) -> Result<HeaderName, Wrong> {
    if text.eq_ignore_ascii_case("cache-control") {
        let advice = "leave it out: it governs where none of the others is there";
        return Err(Wrong::new("`Cache-Control` is for every cache", advice));
    }
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    name.filter(is_targeted).ok_or_else(|| {
        let message = format!("`{text}` is not the name of a targeted field");
        Wrong::new(message, "write a name that ends in -Cache-Control, CDN-Cache-Control")
    })
}
