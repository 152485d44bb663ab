//! Which requests share a resource, and that no others do.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{QueryPolicy, ResourceKey, origin};
use crate::admit::{Scheme, Target};

#[test]
fn section_4_3_1_an_origin_is_scheme_host_and_port_and_every_key_begins_with_it() {
    let target = |scheme, host: &str, path: &str, proto: Option<&str>| {
        let mut headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_str(host).unwrap())]);
        headers.extend(proto.map(|proto| {
            (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_str(proto).unwrap())
        }));
        let mut target = Target::parse(&path.to_owned().into(), &headers, scheme, true).unwrap();
        target.trust(&headers);
        target
    };
    let ours = target(Scheme::Http, "shop.example", "/a", None);
    for (same, policy) in [
        (target(Scheme::Http, "SHOP.example:80", "/", None), QueryPolicy::All),
        (target(Scheme::Http, "shop.example", "/b/c?d", None), QueryPolicy::All),
        (target(Scheme::Http, "shop.example", "/b/c?d", None), QueryPolicy::None),
    ] {
        assert_eq!(origin(&same), origin(&ours), "{same:?}");
        assert_eq!(ResourceKey::new(&same, &policy).origin(), origin(&ours), "{same:?}");
    }
    for other in [
        target(Scheme::Https, "shop.example", "/a", None),
        target(Scheme::Http, "shop.example:8080", "/a", None),
        target(Scheme::Http, "other.example", "/a", None),
        target(Scheme::Http, "shop.example", "/a", Some("https")),
    ] {
        assert_ne!(origin(&other), origin(&ours), "{other:?}");
        assert_eq!(ResourceKey::new(&other, &QueryPolicy::All).origin(), origin(&other), "{other:?}");
    }
}

/// All texts of up to so many of these pieces.
pub(super) fn texts(pieces: &[&str], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = 0;
    for _ in 0..longest {
        let longer =
            all[last..].iter().flat_map(|text| pieces.iter().map(move |piece| format!("{text}{piece}")));
        let longer: Vec<_> = longer.collect();
        last = all.len();
        all.extend(longer);
    }
    all
}

#[test]
fn no_two_of_many_resources_share_a_key() {
    // Pieces that look like what a key is made of: every pair of them is compared, more than 10^9 in all.
    let paths = texts(&["/", "a", "b", "?", "&", "=", ":", "a:81", "%2f", "{a}", "s"], 4);
    let mut seen = HashMap::new();
    for host in ["a", "b", "aa", "a.b", "a:81", "a:8"] {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(host))]);
        for (path, scheme) in paths.iter().zip([Scheme::Http, Scheme::Https].into_iter().cycle()) {
            let raw = format!("/{path}");
            let Ok(target) = Target::parse(&raw.clone().into(), &headers, scheme, true) else { continue };
            let key = ResourceKey::new(&target, &QueryPolicy::All);
            let before = seen.insert(key.as_bytes().to_vec(), (host, raw.clone()));
            assert_eq!(before, None, "{host} {raw}");
        }
    }
    assert!(seen.len() > 50_000, "only {}", seen.len());
}
