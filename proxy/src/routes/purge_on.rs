//! One entry of `purge_on`: which writes purge what.

use std::sync::Arc;

use http::Method;

use super::{Pattern, host_matches};
use crate::{admit::Target, tags::Tag};

/// Requests that, when the app answers them with success, purge more than their own URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeOn {
    /// The path, as in a rule.
    pub pattern: Pattern,
    /// The methods, all of them unsafe; absent: every unsafe one.
    pub methods: Option<Vec<Method>>,
    /// The host, as [`host_matches`] has it; absent: all.
    pub host: Option<String>,
    /// The names of the tags that are purged.
    pub tags: Arc<[Box<str>]>,
    /// The names of the rules that are purged, which are in the same file.
    pub rules: Vec<Arc<str>>,
    /// What is purged is marked stale and not removed.
    pub soft: bool,
}

impl PurgeOn {
    /// The most entries that one file may have: each is compared with every write.
    pub const MAX: usize = 256;

    /// Whether the request is one of those: a safe method never is (RFC 9110 §9.2.1). An ambiguous
    /// target counts by its raw path, as every other does: a purge too many costs a fetch.
    #[must_use]
    pub fn matches(&self, method: &Method, target: &Target) -> bool {
        !method.is_safe()
            && self.methods.as_deref().is_none_or(|methods| methods.contains(method))
            && self.host.as_deref().is_none_or(|host| host_matches(host, target.authority()))
            && self.pattern.matches(target.path().as_bytes())
    }

    /// All that it purges.
    pub fn purges(&self) -> impl Iterator<Item = Tag> {
        let tags = self.tags.iter().map(|name| Tag::named(name.as_bytes()));
        tags.chain(self.rules.iter().map(|name| Tag::rule(name)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::HOST};

    use super::*;
    use crate::admit::Scheme;

    fn products() -> PurgeOn {
        PurgeOn {
            pattern: Pattern::parse("/products/**").unwrap(),
            methods: None,
            host: None,
            tags: ["products".into()].into(),
            rules: vec!["/list".into()],
            soft: false,
        }
    }

    fn matches(entry: &PurgeOn, method: &str, host: &str, path: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        let target = Target::parse(&path.to_owned().into(), &headers, Scheme::Http, true).unwrap();
        entry.matches(&Method::from_bytes(method.as_bytes()).unwrap(), &target)
    }

    #[test]
    fn section_9_2_1_only_unsafe_methods_purge() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "UNHEARD", "get"] {
            assert!(matches(&products(), method, "a", "/products/5"), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert!(!matches(&products(), method, "a", "/products/5"), "{method}");
        }
        let get = PurgeOn { methods: Some(vec![Method::GET]), ..products() };
        assert!(!matches(&get, "GET", "a", "/products/5"));
    }

    #[test]
    fn path_method_and_host_have_to_match() {
        let narrow = PurgeOn {
            methods: Some(vec![Method::POST, Method::PUT]),
            host: Some("shop.example".to_owned()),
            ..products()
        };
        for (method, host, path, expected) in [
            ("POST", "shop.example", "/products/5", true),
            ("PUT", "SHOP.example:8080", "/products/5?a=b", true),
            ("POST", "shop.example", "/products//5", true),
            ("DELETE", "shop.example", "/products/5", false),
            ("POST", "other.example", "/products/5", false),
            ("POST", "shop.example", "/products", false),
            ("POST", "shop.example", "/Products/5", false),
        ] {
            assert_eq!(matches(&narrow, method, host, path), expected, "{method} {host} {path}");
        }
    }

    #[test]
    fn tags_and_rules_are_named_apart() {
        let purged: Vec<_> = products().purges().collect();
        assert_eq!(purged, [Tag::named(b"products"), Tag::rule("/list")]);
    }
}
