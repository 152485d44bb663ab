//! What goes over the wire of `/purge`: written by one end, read by the other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ITEMS;
use crate::{
    config::nearest,
    epoch::{Epoch, Mode},
    purge::{AskedAs, PurgeReport, PurgeRequest, PurgeUrl, PurgeUrlError, Reached},
};

/// A body that does something.
const EXAMPLE: &str = r#"{"urls": ["http://shop.example/products?page=2"]}"#;

/// Of the rules there are, in a message.
const RULES_NAMED: usize = 10;

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Body {
    pub(super) urls: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) rules: Vec<String>,
    pub(super) all: bool,
    pub(super) soft: bool,
    pub(super) wait: bool,
}

impl Default for Body {
    fn default() -> Self {
        let nothing = Vec::new;
        Self { urls: nothing(), tags: nothing(), rules: nothing(), all: false, soft: false, wait: true }
    }
}

/// What is wrong with a body.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("{0}; write for example {EXAMPLE}")]
    Json(#[from] serde_json::Error),
    #[error("it is no JSON object: write for example {EXAMPLE}")]
    NoObject,
    #[error("it names nothing to purge: write for example {EXAMPLE}, or {{\"all\": true}}")]
    Nothing,
    #[error("{0} items are too many for one purge: send at most {ITEMS}")]
    TooMany(usize),
    #[error("urls[{0}]: {1}")]
    Url(usize, PurgeUrlError),
    #[error("tags[{0}]: a tag is not empty, and has no blanks around it and no control characters")]
    Tag(usize),
    #[error("rules[{at}]: no rule is called `{name}`; {advice}")]
    Rule { at: usize, name: String, advice: String },
}

impl Body {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        // A list would be taken for the members in their order.
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        if is_object { Ok(serde_json::from_slice(bytes)?) } else { Err(BodyError::NoObject) }
    }

    /// What it asks for, where these are the names of the rules.
    pub(super) fn request(&self, rules: &[Arc<str>]) -> Result<PurgeRequest, BodyError> {
        match self.urls.len() + self.tags.len() + self.rules.len() {
            0 if !self.all => return Err(BodyError::Nothing),
            items if items > ITEMS => return Err(BodyError::TooMany(items)),
            _ => {}
        }
        let url = |(at, text): (usize, &String)| PurgeUrl::parse(text).map_err(|why| BodyError::Url(at, why));
        let urls = self.urls.iter().enumerate().map(url).collect::<Result<_, _>>()?;
        if let Some(at) = self.tags.iter().position(|tag| !could_be_a_tag(tag)) {
            return Err(BodyError::Tag(at));
        }
        let known = |name: &String| rules.iter().any(|rule| **rule == **name);
        if let Some((at, name)) = self.rules.iter().enumerate().find(|(_, name)| !known(name)) {
            return Err(BodyError::Rule { at, name: name.clone(), advice: instead(name, rules) });
        }
        let mode = if self.soft { Mode::Soft } else { Mode::Hard };
        let (tags, rules) = (self.tags.clone(), self.rules.clone());
        Ok(PurgeRequest { urls, tags, rules, everything: self.all, mode, wait: self.wait })
    }
}

fn could_be_a_tag(tag: &str) -> bool {
    !tag.is_empty() && tag.trim() == tag && !tag.contains(char::is_control)
}

/// What to write instead of a name that no rule has: a few names are all told.
fn instead(name: &str, rules: &[Arc<str>]) -> String {
    match nearest(name, rules.iter().map(|rule| &**rule)) {
        Some(near) if rules.len() > RULES_NAMED => format!("did you mean `{near}`?"),
        _ => listed(rules),
    }
}

fn listed(rules: &[Arc<str>]) -> String {
    let names: Vec<String> = rules.iter().take(RULES_NAMED).map(|name| format!("`{name}`")).collect();
    match rules.len().saturating_sub(RULES_NAMED) {
        0 if names.is_empty() => "the file has no rules".to_owned(),
        0 => format!("there are {}", names.join(", ")),
        more => format!("there are {} and {more} more", names.join(", ")),
    }
}

/// What is answered to a purge that was carried out, here or everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) reached: Extent,
    pub(super) purged: Purged,
    pub(super) soft: bool,
    /// Microseconds.
    pub(super) epoch: Option<u64>,
    pub(super) members: usize,
    pub(super) waited_ms: f64,
    #[serde(default)]
    pub(super) elsewhere: Vec<Elsewhere>,
}

/// A URL whose path clients ask for with other hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Elsewhere {
    pub(super) url: String,
    /// Nothing was stored for it, but may be with one of these.
    pub(super) hosts: Vec<String>,
    /// What is stored with one of these, no URL names.
    #[serde(default)]
    pub(super) forwarded: Vec<Forwarded>,
}

/// With which hosts a trusted proxy asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forwarded {
    pub(super) host: String,
    pub(super) forwarded_host: String,
}

/// [`Reached`], in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Extent {
    Fleet,
    Asked,
    Local,
}

/// What went, as it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purged {
    pub(super) urls: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) rules: Vec<String>,
    pub(super) all: bool,
}

impl Answer {
    pub(super) fn new(body: Body, report: &PurgeReport) -> Self {
        let reached = match report.reached {
            Reached::Fleet => Extent::Fleet,
            Reached::Asked => Extent::Asked,
            Reached::LocalOnly(_) => Extent::Local,
        };
        let elsewhere = report
            .elsewhere
            .iter()
            .filter_map(|elsewhere| Some(Elsewhere::new(body.urls.get(elsewhere.place)?, &elsewhere.hosts)));
        let elsewhere = elsewhere.collect();
        let Body { urls, tags, rules, all, soft, wait: _ } = body;
        let (epoch, members) = (report.epoch.map(Epoch::number), report.members);
        let waited_ms = report.waited_ms();
        let purged = Purged { urls, tags, rules, all };
        Self { reached, purged, soft, epoch, members, waited_ms, elsewhere }
    }
}

impl Elsewhere {
    fn new(url: &str, asked: &[AskedAs]) -> Self {
        let plain = asked.iter().filter(|asked| asked.forwarded.is_none());
        let forwarded = asked.iter().filter_map(|AskedAs { host, forwarded }| {
            Some(Forwarded { host: host.to_string(), forwarded_host: forwarded.as_ref()?.to_string() })
        });
        let hosts = plain.map(|asked| asked.host.to_string()).collect();
        Self { url: url.to_owned(), hosts, forwarded: forwarded.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rules() -> Vec<Arc<str>> {
        vec!["/cached_products".into(), "home".into()]
    }

    fn request(body: &Value) -> Result<PurgeRequest, BodyError> {
        Body::read(body.to_string().as_bytes())?.request(&rules())
    }

    #[test]
    fn the_examples_of_the_description_are_understood() {
        let description: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
        let media = &description["paths"]["/purge"]["post"]["requestBody"]["content"]["application/json"];
        let examples = media["examples"].as_object().unwrap();
        assert_eq!(examples.len(), 4);
        for (name, example) in examples {
            let request = request(&example["value"]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(name == "all", request.everything);
        }
        request(&serde_json::from_str(EXAMPLE).unwrap()).unwrap();
    }

    #[test]
    fn the_members_are_those_described() {
        let description: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
        let described = |name: &str| {
            let members = description["components"]["schemas"][name]["properties"].as_object().unwrap();
            members.keys().cloned().collect::<Vec<_>>()
        };
        let members = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let defaults = serde_json::to_value(Body::default()).unwrap();
        for (name, default) in defaults.as_object().unwrap() {
            let described = &description["components"]["schemas"]["Purge"]["properties"][name]["default"];
            assert_eq!(default, described, "{name}");
        }
        assert_eq!(members(defaults), described("Purge"));
        let report = PurgeReport {
            epoch: None,
            reached: Reached::Fleet,
            members: 1,
            waited: std::time::Duration::from_micros(1500),
            elsewhere: vec![],
        };
        let answer = serde_json::to_value(Answer::new(Body::default(), &report)).unwrap();
        assert_eq!(answer["waited_ms"], 1.5);
        assert_eq!(members(answer), described("Purged"));
    }

    #[test]
    fn says_what_is_wrong_where() {
        let many = |count: usize| vec!["x"; count];
        for (body, told) in [
            (json!({}), "names nothing"),
            (json!({ "all": false, "urls": [] }), "names nothing"),
            (json!({ "url": "http://a/" }), "unknown field `url`, expected one of `urls`, `tags`"),
            (json!({ "urls": "http://a/" }), "expected a sequence"),
            (json!({ "all": "yes" }), "expected a boolean"),
            (json!([[], [], [], true]), "no JSON object"),
            (json!(null), "write for example {\"urls\""),
            (json!({ "urls": ["http://a/", "/b"] }), "urls[1]: `/b` names no host"),
            (json!({ "tags": ["a", ""] }), "tags[1]: "),
            (json!({ "tags": [" a"] }), "tags[0]: "),
            (json!({ "tags": ["a\n"] }), "tags[0]: "),
            (
                json!({ "rules": ["home", "x"] }),
                "rules[1]: no rule is called `x`; there are `/cached_products`, `home`",
            ),
            (json!({ "tags": many(1001) }), "1001 items"),
            (json!({ "tags": many(600), "rules": many(401) }), "1001 items"),
        ] {
            let error = request(&body).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
        assert!(request(&json!({ "tags": many(1000) })).is_ok());
        assert!(Body::read(br#"{"all": true, "all": false}"#).unwrap_err().to_string().contains("duplicate"));
        assert!(listed(&[]).contains("no rules"));
        let many: Vec<Arc<str>> =
            (0..60).map(|number| format!("/products/{number}/reviews").into()).collect();
        assert_eq!(instead("/Products/7/review", &many), "did you mean `/products/7/reviews`?");
        assert!(instead("/orders", &many).ends_with("`/products/9/reviews` and 50 more"));
    }

    proptest! {
        #[test]
        fn no_body_panics(text in r#"[{}\[\]":,a-z/ ]{0,64}"#, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for body in [text.as_bytes(), &bytes] {
                let _ = Body::read(body).map(|body| body.request(&rules()));
            }
        }
    }
}
