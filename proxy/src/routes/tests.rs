//! `find` by table, and against a matcher that tries one rule after the other.

use http::{HeaderName, HeaderValue, header::HOST};
use proptest::prelude::*;

use super::*;
use crate::{admit::Scheme, policy::rule::CacheRule};

fn rule(pattern: &str) -> Rule {
    Rule {
        name: pattern.into(),
        pattern: Pattern::parse(pattern).unwrap(),
        methods: None,
        host: None,
        headers: Vec::new(),
        cache: Some(Arc::new(CacheRule::new(None))),
        fingerprint: 1,
    }
}

fn off(pattern: &str) -> Rule {
    Rule { cache: None, fingerprint: 0, name: format!("{pattern} off").into(), ..rule(pattern) }
}

fn target(host: &str, path: &str) -> Target {
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
    Target::parse(&bytes::Bytes::copy_from_slice(path.as_bytes()), &headers, Scheme::Http, true).unwrap()
}

fn found(rules: &Rules, method: &Method, path: &str) -> String {
    let rule = rules.find(method, &target("a.test", path), &HeaderMap::new());
    rule.map_or_else(|| "-".to_owned(), |rule| rule.name.to_string())
}

#[test]
fn the_first_match_wins_whatever_its_kind() {
    let rules =
        Rules::new(vec![rule("/a/b"), rule("/a/*"), rule("/*/c"), rule("/x/c/d"), rule("/x/**"), off("/**")])
            .unwrap();
    for (path, name) in [
        ("/a/b", "/a/b"),
        ("/a/b?c=d", "/a/b"),
        ("/a/c", "/a/*"),
        ("/z/c", "/*/c"),
        ("/x/c", "/*/c"),
        ("/x/c/d", "/x/c/d"),
        ("/x/", "/x/**"),
        ("/x", "/** off"),
        ("/", "/** off"),
    ] {
        assert_eq!(found(&rules, &Method::GET, path), name, "{path}");
    }
}

#[test]
fn an_ambiguous_target_never_falls_under_a_rule_that_caches() {
    let rules = Rules::new(vec![rule("/static/**"), off("/static2/**"), rule("/**")]).unwrap();
    for path in ["/static/../account", "/static/%2e%2e/a", "/static/a%2fb", "/static//a", "/static/./a"] {
        assert_eq!(found(&rules, &Method::GET, path), "-", "{path}");
    }
    assert_eq!(found(&rules, &Method::GET, "/static2/../account"), "/static2/** off");
    assert_eq!(found(&rules, &Method::GET, "/static/a"), "/static/**");
}

#[test]
fn get_implies_head_and_nothing_else() {
    let get = Rule { methods: Some(vec![Method::GET]), ..rule("/a") };
    let rules = Rules::new(vec![get, off("/a")]).unwrap();
    assert_eq!(found(&rules, &Method::GET, "/a"), "/a");
    assert_eq!(found(&rules, &Method::HEAD, "/a"), "/a");
    assert_eq!(found(&rules, &Method::POST, "/a"), "/a off");
    assert_eq!(found(&rules, &Method::from_bytes(b"get").unwrap(), "/a"), "/a off");
}

#[test]
fn hosts_match_any_port_unless_they_name_one() {
    for (host, authority, expected) in [
        ("a.test", "a.test", true),
        ("a.test", "a.test:8080", true),
        ("a.test:8080", "a.test:8080", true),
        ("a.test:8080", "a.test", false),
        ("a.test", "a.tests", false),
        ("[::1]", "[::1]:8080", true),
    ] {
        assert_eq!(host_matches(host, authority), expected, "{host} {authority}");
    }
}

#[test]
fn headers_narrow_by_presence_or_by_one_line_of_the_field() {
    let name = HeaderName::from_static("x-beta");
    let present = Rule { headers: vec![(name.clone(), None)], ..rule("/a") };
    let one = Rule {
        headers: vec![(name.clone(), Some(HeaderValue::from_static("1")))],
        name: "one".into(),
        ..rule("/a")
    };
    let rules = Rules::new(vec![one, present, off("/a")]).unwrap();
    let find = |values: &[&'static str]| {
        let headers = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect();
        rules.find(&Method::GET, &target("a.test", "/a"), &headers).unwrap().name.to_string()
    };
    assert_eq!(find(&[]), "/a off");
    assert_eq!(find(&["2"]), "/a");
    assert_eq!(find(&["2", "1"]), "one");
}

#[test]
fn covering_ignores_methods_and_headers_but_not_host_and_path() {
    let post = Rule { methods: Some(vec![Method::POST]), name: "post".into(), ..rule("/a") };
    let elsewhere = Rule { host: Some("b.test".into()), name: "elsewhere".into(), ..rule("/a") };
    let rules = Rules::new(vec![post, elsewhere, rule("/b"), rule("/*")]).unwrap();
    let target = target("a.test", "/a");
    let names: Vec<_> = rules.covering(&target).map(|rule| rule.name.to_string()).collect();
    assert_eq!(names, ["post", "/*"]);
}

#[test]
fn what_keeps_a_request_out_of_a_rule_is_named() {
    let name = HeaderName::from_static("x-beta");
    let rules = Rules::new(vec![
        rule("/b"),
        Rule { methods: Some(vec![Method::POST]), ..off("/a") },
        Rule { host: Some("b.test".into()), name: "elsewhere".into(), ..rule("/a") },
        Rule { headers: vec![(name.clone(), None)], name: "beta".into(), ..rule("/a") },
        rule("/a"),
        off("/**"),
    ])
    .unwrap();
    let (get, headers) = (Method::GET, HeaderMap::new());
    let why = |path| {
        let target = target("a.test", path);
        let passed_over = rules.passed_over(&get, &target, &headers);
        passed_over.map(|(_, why)| format!("{why:?}")).collect::<Vec<_>>()
    };
    assert_eq!(why("/a"), ["Path", "Method", "Host", "Header(\"x-beta\")"]);
    assert_eq!(why("/b"), [""; 0]);
    assert_eq!(why("/a/../b"), ["Path"; 5]);
    let only = Rules::new(vec![rule("/**")]).unwrap();
    let (doubtful, headers) = (target("a.test", "/a//b"), HeaderMap::new());
    let found: Vec<_> = only.passed_over(&get, &doubtful, &headers).map(|(_, why)| why).collect();
    assert_eq!(found, [Mismatch::Ambiguous]);
}

#[test]
fn a_rule_that_can_never_match_is_refused_with_both_names() {
    let error = Rules::new(vec![rule("/a/**"), rule("/b"), off("/a/b")]).unwrap_err();
    assert_eq!((error.earlier_index, error.later_index), (0, 2));
    assert_eq!(
        error.to_string(),
        "the rule `/a/b off` can never match: the rule `/a/**` comes first and takes all its requests"
    );
}

#[test]
fn a_narrower_rule_shadows_only_what_is_as_narrow() {
    let get = |rule: Rule| Rule { methods: Some(vec![Method::GET]), ..rule };
    let head = |rule: Rule| Rule { methods: Some(vec![Method::HEAD]), ..rule };
    let on = |host: &str, rule: Rule| Rule { host: Some(host.into()), ..rule };
    let with = |value: Option<&'static str>, rule: Rule| Rule {
        headers: vec![(HeaderName::from_static("x"), value.map(HeaderValue::from_static))],
        ..rule
    };
    let (a, b) = (rule("/a"), off("/a"));
    let shadows: [(Rule, Rule, bool); 10] = [
        (a.clone(), get(b.clone()), true),
        (get(a.clone()), b.clone(), false),
        (get(a.clone()), head(b.clone()), true),
        (head(a.clone()), get(b.clone()), false),
        (on("h", a.clone()), b.clone(), false),
        (on("h", a.clone()), on("h:1", b.clone()), true),
        (on("h:1", a.clone()), on("h", b.clone()), false),
        (with(None, a.clone()), with(Some("1"), b.clone()), true),
        (with(Some("1"), a.clone()), with(None, b.clone()), false),
        (with(Some("1"), a), with(Some("2"), b), false),
    ];
    for (earlier, later, expected) in shadows {
        let text = format!("{earlier:?} {later:?}");
        assert_eq!(Rules::new(vec![earlier, later]).is_err(), expected, "{text}");
    }
}

fn naive<'r>(rules: &'r [Rule], method: &Method, target: &Target, headers: &HeaderMap) -> Option<&'r Rule> {
    let path: Vec<&str> = target.path().split('/').collect();
    let path_matches = |rule: &Rule| {
        let pattern: Vec<&str> = rule.pattern.as_str().split('/').collect();
        let open = pattern.last() == Some(&"**");
        let fixed = pattern.len() - usize::from(open);
        (if open { path.len() > fixed } else { path.len() == fixed })
            && pattern
                .iter()
                .take(fixed)
                .zip(&path)
                .all(|(p, s)| if *p == "*" { !s.is_empty() } else { p == s })
    };
    rules.iter().find(|rule| {
        path_matches(rule)
            && rule.methods.as_ref().is_none_or(|methods| {
                methods.contains(method) || *method == Method::HEAD && methods.contains(&Method::GET)
            })
            && rule.host.as_ref().is_none_or(|host| host_matches(host, target.authority()))
            && rule.headers.iter().all(|(name, value)| {
                headers.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            })
            && !(rule.cache.is_some() && target.is_ambiguous())
    })
}

prop_compose! {
    fn any_rule()(
        segments in prop::collection::vec(prop_oneof!["a", "b", "\\*"], 0..3),
        tail in prop_oneof!["", "a", "\\*\\*"],
        method in prop::option::of(prop_oneof![Just(Method::GET), Just(Method::POST)]),
        host in prop::option::of(prop_oneof![Just("a.test"), Just("b.test")]),
        caches: bool,
    ) -> Rule {
        let path: String = segments.iter().map(|s| format!("/{s}")).collect();
        Rule {
            methods: method.map(|m| vec![m]),
            host: host.map(Into::into),
            ..if caches { rule(&format!("{path}/{tail}")) } else { off(&format!("{path}/{tail}")) }
        }
    }
}

proptest! {
    #[test]
    fn find_agrees_with_trying_every_rule(
        rules in prop::collection::vec(any_rule(), 0..8),
        path in "(/(a|b|c|\\.\\.|)){1,4}(\\?q)?",
        method in prop_oneof![Just(Method::GET), Just(Method::HEAD), Just(Method::POST)],
    ) {
        // Drop what is shadowed, so that most draws compile.
        let hidden: Vec<usize> = shadowed(&rules).map(|found| found.later_index).collect();
        let mut place = 0;
        let mut rules = rules;
        rules.retain(|_| { place += 1; !hidden.contains(&(place - 1)) });
        let target = target("a.test", &path);
        let expected = naive(&rules, &method, &target, &HeaderMap::new()).cloned();
        let compiled = Rules::new(rules).unwrap();
        let headers = HeaderMap::new();
        prop_assert_eq!(compiled.find(&method, &target, &headers), expected.as_ref());
        let before = compiled.passed_over(&method, &target, &headers).count();
        prop_assert_eq!(compiled.iter().nth(before), expected.as_ref());
    }

    #[test]
    fn what_is_shadowed_never_matches_first(
        rules in prop::collection::vec(any_rule(), 2..8),
        path in "(/(a|b|c|)){1,4}",
    ) {
        let target = target("a.test", &path);
        if let Some(first) = naive(&rules, &Method::GET, &target, &HeaderMap::new()) {
            let place = rules.iter().position(|rule| std::ptr::eq(rule, first)).unwrap();
            // A rule that caches leaves ambiguous targets alone, so one behind it may see those.
            if !target.is_ambiguous() {
                prop_assert!(shadowed(&rules).all(|found| found.later_index != place));
            }
        }
    }

    #[test]
    fn parsing_a_pattern_never_panics(text in ".{0,40}") {
        let _ = Pattern::parse(&text);
    }
}
