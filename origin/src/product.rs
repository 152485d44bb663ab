//! What a product is, and what may be written into one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The longest name, in characters.
pub const NAME_LIMIT: usize = 100;
/// The longest description, in characters.
pub const DESCRIPTION_LIMIT: usize = 2_000;
/// The most digits before the decimal point of a price.
pub const PRICE_DIGITS: usize = 7;

/// Fields the service sets. A client may send them back as it received them; they are not read.
const READ_ONLY: [&str; 3] = ["id", "date_created", "date_modified"];

/// A product as it is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Given by the database, never given twice.
    pub id: i64,
    /// Unique among products.
    pub name: String,
    /// Free text.
    pub description: String,
    /// In no particular currency.
    pub price: Price,
    /// RFC 3339, UTC, with milliseconds.
    pub date_created: String,
    /// RFC 3339, UTC, with milliseconds.
    pub date_modified: String,
}

/// An amount of money of at least zero, exact to the cent.
///
/// In JSON it is a string, `"12.50"`: as a number it would pass through binary floating point in
/// most clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    cents: i64,
}

impl Price {
    /// The price of that many cents.
    #[must_use]
    pub const fn from_cents(cents: i64) -> Self {
        Self { cents }
    }

    /// The price in cents.
    #[must_use]
    pub const fn cents(self) -> i64 {
        self.cents
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.cents / 100, self.cents % 100)
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a decimal of at most {PRICE_DIGITS} digits and two decimals, such as \"12.50\"")]
pub struct NotAPrice;

impl FromStr for Price {
    type Err = NotAPrice;

    /// Digits, at most [`PRICE_DIGITS`], then optionally a point and one or two digits.
    fn from_str(text: &str) -> Result<Self, NotAPrice> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "00"));
        let digits = |part: &str, limit: usize| {
            (1..=limit).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, PRICE_DIGITS) || !digits(decimals, 2) {
            return Err(NotAPrice);
        }
        let cents = format!("{whole}{decimals:0<2}").parse().map_err(|_| NotAPrice)?;
        Ok(Self { cents })
    }
}

/// The fields a client writes, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// One line of 1 to [`NAME_LIMIT`] characters, without blanks around it.
    pub name: String,
    /// At most [`DESCRIPTION_LIMIT`] characters.
    pub description: String,
    /// See [`Price`].
    pub price: Price,
}

/// Why a JSON value is no product.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is an array, a string, a number…
    #[error("the body must be a JSON object with name, description and price")]
    NotAnObject,
    /// Every field that is wrong, with the reason.
    #[error("the product is not valid")]
    Fields(BTreeMap<String, String>),
}

impl Draft {
    /// Reads a draft from JSON.
    ///
    /// # Errors
    ///
    /// [`Invalid`] names every wrong, missing and unknown field at once.
    pub fn from_json(value: Value) -> Result<Self, Invalid> {
        let Value::Object(object) = value else { return Err(Invalid::NotAnObject) };
        let mut fields = Fields { object, wrong: BTreeMap::new() };
        let name = fields.take("name", name);
        let description = fields.take("description", description);
        let price = fields.take("price", |text| text.parse().map_err(|error: NotAPrice| error.to_string()));
        match (name, description, price, fields.wrong()) {
            (Some(name), Some(description), Some(price), None) => Ok(Self { name, description, price }),
            (.., wrong) => Err(Invalid::Fields(wrong.unwrap_or_default())),
        }
    }
}

/// A JSON object while it is read field by field.
struct Fields {
    object: Map<String, Value>,
    wrong: BTreeMap<String, String>,
}

impl Fields {
    fn take<T>(&mut self, field: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let read = match self.object.remove(field) {
            Some(Value::String(text)) => read(&text),
            Some(_) => Err("must be a string".to_owned()),
            None => Err("is required".to_owned()),
        };
        read.map_err(|reason| self.wrong.insert(field.to_owned(), reason)).ok()
    }

    /// What was wrong, what is left over included; `None` when all is well.
    fn wrong(mut self) -> Option<BTreeMap<String, String>> {
        let unknown = self.object.into_iter().map(|(field, _)| field);
        let unknown = unknown.filter(|field| !READ_ONLY.contains(&field.as_str()));
        self.wrong.extend(unknown.map(|field| (field, "is not a field of a product".to_owned())));
        (!self.wrong.is_empty()).then_some(self.wrong)
    }
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line, without control characters".to_owned());
    }
    at_most(NAME_LIMIT, text)
}

fn description(text: &str) -> Result<String, String> {
    at_most(DESCRIPTION_LIMIT, text)
}

fn at_most(limit: usize, text: &str) -> Result<String, String> {
    match text.chars().count() {
        count if count > limit => Err(format!("must be at most {limit} characters, not {count}")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prices_are_exact() {
        for (text, cents, printed) in [
            ("0", 0, "0.00"),
            ("0.05", 5, "0.05"),
            ("12", 1_200, "12.00"),
            ("12.5", 1_250, "12.50"),
            ("19.99", 1_999, "19.99"),
            ("9999999.99", 999_999_999, "9999999.99"),
        ] {
            let price: Price = text.parse().unwrap();
            assert_eq!((price.cents(), price.to_string().as_str()), (cents, printed), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1,50", "1.234", " 1", "1e3", "10000000", "१"] {
            assert_eq!(text.parse::<Price>(), Err(NotAPrice), "{text}");
        }
    }

    #[test]
    fn a_product_that_was_received_can_be_sent_back() {
        let price = Price::from_cents(1_250);
        let product = Product {
            id: 7,
            name: "Lamp".to_owned(),
            description: String::new(),
            price,
            date_created: String::new(),
            date_modified: String::new(),
        };
        let draft = Draft::from_json(serde_json::to_value(product).unwrap()).unwrap();
        assert_eq!(draft, Draft { name: "Lamp".to_owned(), description: String::new(), price });
    }

    #[test]
    fn every_wrong_field_is_named() {
        let value = json!({ "name": " ", "price": 12.5, "colour": "red" });
        let Err(Invalid::Fields(wrong)) = Draft::from_json(value) else { panic!("it was accepted") };
        let expected = [
            ("colour", "is not a field of a product"),
            ("description", "is required"),
            ("name", "must not be empty"),
            ("price", "must be a string"),
        ];
        assert_eq!(wrong, expected.map(|(field, reason)| (field.to_owned(), reason.to_owned())).into());
    }

    #[test]
    fn limits_count_characters() {
        let draft = |name: String| {
            Draft::from_json(json!({ "name": name, "description": "", "price": "1" })).map(|draft| draft.name)
        };
        assert_eq!(draft("é".repeat(NAME_LIMIT)), Ok("é".repeat(NAME_LIMIT)));
        assert!(draft("é".repeat(NAME_LIMIT + 1)).is_err());
        assert!(draft("two\nlines".to_owned()).is_err());
        assert_eq!(draft("  trimmed ".to_owned()), Ok("trimmed".to_owned()));
    }

    #[test]
    fn only_an_object_is_a_product() {
        for value in [json!([]), json!("name"), json!(null), json!(1)] {
            assert_eq!(Draft::from_json(value), Err(Invalid::NotAnObject));
        }
    }
}
