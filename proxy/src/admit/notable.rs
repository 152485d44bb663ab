//! Which of the fields that matter here a request has: noted once while it is read, so that a request
//! that has none of them, as most, is not searched for each.

use http::{HeaderMap, HeaderName};

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notable(u32);

/// The bit of a name. Most names are told apart by their length alone.
fn bit(name: &str) -> u32 {
    match name {
        "authorization" => 1 << 0,
        "cache-control" => 1 << 1,
        "connection" => 1 << 2,
        "content-length" => 1 << 3,
        "cookie" => 1 << 4,
        "expect" => 1 << 5,
        "if-match" => 1 << 6,
        "if-modified-since" => 1 << 7,
        "if-none-match" => 1 << 8,
        "if-unmodified-since" => 1 << 9,
        "pragma" => 1 << 10,
        "range" => 1 << 11,
        "te" => 1 << 12,
        "transfer-encoding" => 1 << 13,
        "via" => 1 << 14,
        _ => 0,
    }
}

macro_rules! sets {
    ($($(#[$doc:meta])+ $name:ident = $($bit:literal)|+;)+) => {
        impl Notable {
            $($(#[$doc])+ pub const $name: Self = Self($(1 << $bit)|+);)+
        }
    };
}

sets! {
    /// `Authorization`
    AUTHORIZATION = 0;
    /// What says how fresh an answer must be (RFC 9111 §5.2, §5.4).
    CONTROL = 1 | 10;
    /// `Connection`
    CONNECTION = 2;
    /// What frames a body (RFC 9112 §6).
    FRAMING = 3 | 13;
    /// `Cookie`
    COOKIE = 4;
    /// `Expect`
    EXPECT = 5;
    /// What a changed representation must not meet (RFC 9110 §13.1.1, §13.1.4).
    PRECONDITIONS = 6 | 9;
    /// What the client has already (RFC 9110 §13.1.2, §13.1.3).
    VALIDATORS = 7 | 8;
    /// `Range`
    RANGE = 11;
    /// `TE`
    TE = 12;
    /// `Via`
    VIA = 14;
}

impl Notable {
    /// Those of a whole head.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        headers.keys().for_each(|name| found.note(name));
        found
    }

    /// Adds a field, if it is one of them.
    pub fn note(&mut self, name: &HeaderName) {
        self.0 |= bit(name.as_str());
    }

    /// Whether any of these is there.
    #[must_use]
    pub fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_in_the_set_that_says_so() {
        let has = |name: &'static str, set| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), "x".parse().unwrap())]);
            Notable::of(&headers).has(set)
        };
        for (name, set) in [
            ("authorization", Notable::AUTHORIZATION),
            ("cache-control", Notable::CONTROL),
            ("pragma", Notable::CONTROL),
            ("connection", Notable::CONNECTION),
            ("content-length", Notable::FRAMING),
            ("transfer-encoding", Notable::FRAMING),
            ("cookie", Notable::COOKIE),
            ("expect", Notable::EXPECT),
            ("if-match", Notable::PRECONDITIONS),
            ("if-unmodified-since", Notable::PRECONDITIONS),
            ("if-none-match", Notable::VALIDATORS),
            ("if-modified-since", Notable::VALIDATORS),
            ("range", Notable::RANGE),
            ("te", Notable::TE),
            ("via", Notable::VIA),
        ] {
            assert!(has(name, set), "{name}");
            assert!(!has("accept", set) && !has("x-range", set), "{name}");
            let others = ["host", "user-agent"].into_iter().any(|other| has(other, set));
            assert!(!others, "{name}");
        }
        assert!(!has("if-range", Notable::RANGE));
    }
}
